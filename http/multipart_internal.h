/* Between multipart.c, which finds where parts begin and end, and multipart_head.c, which knows
 * what their heads say. */
#ifndef GW_HTTP_MULTIPART_INTERNAL_H
#define GW_HTTP_MULTIPART_INTERNAL_H

#include "http/multipart.h"

/* The boundary in a request's Content-Type. False: not multipart/form-data, or none that is valid.
 */
bool multipart_boundary(struct str content_type, struct str *boundary_r);

#endif
