/* DER (X.690): a reader that takes nothing else, for bytes of strangers, and a writer.
 *
 * The reader goes along a view: each call takes one element off its front, and says false when what
 * is there is something else: another tag, a length that isn't the shortest form, one that reaches
 * past the end. Values point into the view; nothing is copied and nothing nests by itself, so that
 * the callers bound the depth.
 *
 * The writer goes backwards, as mbedtls' does: the content first, then its length and tag before
 * it, so that no length has to be known ahead. */
#ifndef GW_CRYPTO_DER_H
#define GW_CRYPTO_DER_H

#include "base/base.h"

enum {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_GENERALIZED_TIME = 0x18,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
    DER_CONTEXT = 0xa0 /* [0], with something inside; [1] is one more */
};

/* -- reading ---------------------------------------------------------------------------------- */

/* Takes an element of any tag. value_r: its content; whole_r: with tag and length. Any may be NULL.
 * False leaves everything untouched. */
bool der_read_any(struct str *at, uint8_t *tag_r, struct str *value_r, struct str *whole_r);
/* Takes an element of this tag. */
bool der_read(struct str *at, uint8_t tag, struct str *value_r);
/* False: what is there is this tag's, but malformed. {NULL, 0} when it isn't there. */
bool der_read_optional(struct str *at, uint8_t tag, struct str *value_r);
bool der_skip(struct str *at, uint8_t tag);
/* An INTEGER of 0 to INT32_MAX. */
bool der_read_int(struct str *at, int32_t *value_r);
/* AlgorithmIdentifier: its OID, and the parameters whole ({NULL, 0} = none). */
bool der_read_algorithm(struct str *at, struct str *oid_r, struct str *parameters_r);

/* -- writing ---------------------------------------------------------------------------------- */

struct der_writer {
    uint8_t *start, *p; /* what is written stands from p on */
    uint8_t *end;
};

static inline struct der_writer der_writer(uint8_t *room, size_t size)
{
    return (struct der_writer){room, room + size, room + size};
}

static inline struct str der_written(const struct der_writer *writer)
{
    return (struct str){(const char *)writer->p, (size_t)(writer->end - writer->p)};
}

/* Room is the caller's to know: running out of it is an assert. */
void der_put(struct der_writer *writer, struct str bytes);
/* Makes what was written since p was at `end` the content of one element. */
void der_wrap(struct der_writer *writer, uint8_t tag, const uint8_t *end);
void der_put_value(struct der_writer *writer, uint8_t tag, struct str content);
void der_put_int(struct der_writer *writer, uint8_t small); /* below 128 */
/* null: with a NULL for parameters, otherwise with none. */
void der_put_algorithm(struct der_writer *writer, struct str oid, bool null);

#endif
