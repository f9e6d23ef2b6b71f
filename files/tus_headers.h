/* The header fields of tus 1.0 (https://tus.io/protocols/resumable-upload), read strictly: what the
 * protocol doesn't allow is refused, never guessed. Pure, any thread. */
#ifndef GW_FILES_TUS_HEADERS_H
#define GW_FILES_TUS_HEADERS_H

#include <h2o/memory.h>
#include "config/config.h"
#include "crypto/crypto.h"

enum {
    TUS_METADATA_MAX = 4 * 1024 /* bytes of Upload-Metadata as received */
};

enum tus_parsed {
    TUS_PARSED,
    TUS_MALFORMED, /* 400 */
    TUS_TOO_LONG,  /* 413 */
    TUS_UNKNOWN    /* an algorithm that isn't supported: 400 */
};

/* Upload-Length, Upload-Offset: digits alone, below 2^63 (what a file can have). */
bool tus_parse_number(struct str text, uint64_t *number_r);

struct tus_checksum {
    enum digest_kind kind;
    uint8_t value[DIGEST_MAX];
    size_t n;
};
/* Upload-Checksum: "sha256 <base64>"; the value has the length that the algorithm gives. */
enum tus_parsed tus_parse_checksum(struct str text, struct tus_checksum *checksum_r);
/* Value of Tus-Checksum-Algorithm. */
extern const struct str tus_checksum_algorithms;

/* Upload-Metadata: "key base64,key,key base64". Keys are visible ASCII and stand once; values are
 * base64 with padding, or missing. Of the values only the file's name matters, as "filename" or,
 * without one, "name": it comes out as UTF-8 (what isn't has become U+FFFD), a path before it cut
 * off, in the pool. "" when there is none. */
enum tus_parsed tus_parse_metadata(h2o_mem_pool_t *pool, struct str text, struct str *name_r);
/* What a form would have as fields: the values whose keys are among `known`, as form_fields_print()
 * prints them; in the pool. A name that can't be a key (it has a blank, a comma, an umlaut) is one
 * with percent-escapes. Other keys mean nothing here: clients send what they like. */
struct str tus_metadata_fields(h2o_mem_pool_t *pool, struct str text,
                               const struct config_strings *known);
/* The metadata of a file of which only the name is known; "" for "". In the pool. */
struct str tus_print_metadata(h2o_mem_pool_t *pool, struct str name);

#endif
