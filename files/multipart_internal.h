/* Between multipart.c, which finds where parts begin and end, and multipart_head.c, which knows
 * what their heads say. */
#ifndef GW_FILES_MULTIPART_INTERNAL_H
#define GW_FILES_MULTIPART_INTERNAL_H

#include "files/multipart.h"

/* The boundary in a request's Content-Type. False: not multipart/form-data, or none that is valid.
 */
bool multipart_boundary(struct str content_type, struct str *boundary_r);
/* Reads multipart->head (head_n bytes that end with an empty line, every LF after a CR) into
 * multipart->part. Returns NULL, or what is wrong with it. */
const char *multipart_head(struct multipart *multipart);

#endif
