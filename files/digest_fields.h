/* What a client says the digest of its upload is: Content-Digest and Repr-Digest (RFC 9530), which
 * are Dictionaries of Structured Fields (RFC 8941). Pure. */
#ifndef GW_FILES_DIGEST_FIELDS_H
#define GW_FILES_DIGEST_FIELDS_H

#include "base/base.h"

struct digest_fields {
    bool has_sha256, has_sha512;
    uint8_t sha256[32], sha512[64];
};

/* Reads the value of one field line into *fields, which begins as {0}; other algorithms are passed
 * over. False: malformed, or not what an earlier line says. */
bool digest_fields_read(struct digest_fields *fields, struct str value);

#endif
