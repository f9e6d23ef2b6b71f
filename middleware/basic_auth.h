/* The value of `Authorization: Basic`, a stranger's bytes, taken apart. */
#ifndef GW_MIDDLEWARE_BASIC_AUTH_H
#define GW_MIDDLEWARE_BASIC_AUTH_H

#include "base/base.h"

/* Hashes take longer the longer a password is: longer ones are nobody's. */
enum { BASIC_PASSWORD_MAX = 255, BASIC_TEXT_MAX = 520 };
/* False: it is none (RFC 7617 section 2). Name and password point into text_r. */
bool basic_credentials(struct str field, char text_r[BASIC_TEXT_MAX], struct str *name_r,
                       struct str *password_r);

#endif
