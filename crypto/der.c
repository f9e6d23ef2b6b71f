/* DER, read and written: see the header. */
#include "crypto/der.h"

#include <mbedtls/asn1write.h>

/* -- reading ---------------------------------------------------------------------------------- */

/* The length's octets, X.690 section 8.1.3, in the one form that DER allows (10.1). */
static bool read_length(struct str *at, size_t *length_r)
{
    if (at->n == 0)
        return false;
    uint8_t first = (uint8_t)at->p[0];
    size_t octets = first < 0x80 ? 0 : first & 0x7fu, length = first;
    if (octets > 4 || at->n - 1 < octets || first == 0x80)
        return false;
    if (octets != 0) {
        length = 0;
        for (size_t i = 1; i <= octets; i++)
            length = length << 8 | (uint8_t)at->p[i];
        if (length < 0x80 || length >> (8 * (octets - 1)) == 0)
            return false;
    }
    *at = (struct str){at->p + 1 + octets, at->n - 1 - octets};
    *length_r = length;
    return length <= at->n;
}

bool der_read_any(struct str *at, uint8_t *tag_r, struct str *value_r, struct str *whole_r)
{
    struct str rest = *at;
    size_t length;
    if (rest.n == 0)
        return false;
    uint8_t tag = (uint8_t)rest.p[0];
    rest = (struct str){rest.p + 1, rest.n - 1};
    if ((tag & 0x1f) == 0x1f || !read_length(&rest, &length)) /* a tag of several octets */
        return false;
    if (tag_r != NULL)
        *tag_r = tag;
    if (value_r != NULL)
        *value_r = (struct str){rest.p, length};
    if (whole_r != NULL)
        *whole_r = (struct str){at->p, (size_t)(rest.p - at->p) + length};
    *at = (struct str){rest.p + length, rest.n - length};
    return true;
}

bool der_read(struct str *at, uint8_t tag, struct str *value_r)
{
    return at->n != 0 && (uint8_t)at->p[0] == tag && der_read_any(at, NULL, value_r, NULL);
}

bool der_read_optional(struct str *at, uint8_t tag, struct str *value_r)
{
    if (at->n != 0 && (uint8_t)at->p[0] == tag)
        return der_read_any(at, NULL, value_r, NULL);
    *value_r = (struct str){NULL, 0};
    return true;
}

bool der_skip(struct str *at, uint8_t tag)
{
    return der_read(at, tag, NULL);
}

bool der_read_int(struct str *at, int32_t *value_r)
{
    struct str rest = *at, octets;
    if (!der_read(&rest, DER_INTEGER, &octets) || octets.n == 0 || octets.n > 4)
        return false;
    if ((octets.p[0] & 0x80) != 0 ||
        (octets.n > 1 && octets.p[0] == 0 && (octets.p[1] & 0x80) == 0))
        return false; /* negative, or not the shortest form */
    uint32_t value = 0;
    for (size_t i = 0; i < octets.n; i++)
        value = value << 8 | (uint8_t)octets.p[i];
    *at = rest;
    *value_r = (int32_t)value;
    return true;
}

bool der_read_algorithm(struct str *at, struct str *oid_r, struct str *parameters_r)
{
    struct str inside, parameters = {NULL, 0};
    if (!der_read(at, DER_SEQUENCE, &inside) || !der_read(&inside, DER_OID, oid_r))
        return false;
    if (inside.n != 0 && !der_read_any(&inside, NULL, NULL, &parameters))
        return false;
    if (parameters_r != NULL)
        *parameters_r = parameters;
    return inside.n == 0;
}

/* -- writing ---------------------------------------------------------------------------------- */

void der_put(struct der_writer *writer, struct str bytes)
{
    gw_assert(mbedtls_asn1_write_raw_buffer(&writer->p, writer->start,
                                            (const unsigned char *)bytes.p, bytes.n) >= 0);
}

void der_wrap(struct der_writer *writer, uint8_t tag, const uint8_t *end)
{
    gw_assert(mbedtls_asn1_write_len(&writer->p, writer->start, (size_t)(end - writer->p)) >= 0);
    gw_assert(mbedtls_asn1_write_tag(&writer->p, writer->start, tag) >= 0);
}

void der_put_value(struct der_writer *writer, uint8_t tag, struct str content)
{
    const uint8_t *end = writer->p;
    der_put(writer, content);
    der_wrap(writer, tag, end);
}

void der_put_int(struct der_writer *writer, uint8_t small)
{
    gw_assert(small < 128);
    der_put_value(writer, DER_INTEGER, (struct str){(const char *)&small, 1});
}

void der_put_algorithm(struct der_writer *writer, struct str oid, bool null)
{
    const uint8_t *end = writer->p;
    if (null)
        der_put_value(writer, DER_NULL, (struct str){NULL, 0});
    der_put_value(writer, DER_OID, oid);
    der_wrap(writer, DER_SEQUENCE, end);
}
