/* Bytes as text (RFC 4648). Decoders are strict: but for the case of hexadecimal digits there is
 * one text for the same bytes, so that what was checked can't be written in another way. */
#include "base/text.h"
#include "crypto/crypto.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char for_urls[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t encode(const char *alphabet, const uint8_t *from, size_t n, char *to)
{
    char *at = to;
    size_t i = 0;
    for (; i + 3 <= n; i += 3) {
        uint32_t bits = (uint32_t)from[i] << 16 | (uint32_t)from[i + 1] << 8 | from[i + 2];
        *at++ = alphabet[bits >> 18];
        *at++ = alphabet[bits >> 12 & 63];
        *at++ = alphabet[bits >> 6 & 63];
        *at++ = alphabet[bits & 63];
    }
    if (i < n) {
        uint32_t bits = (uint32_t)from[i] << 16 | (i + 1 < n ? (uint32_t)from[i + 1] << 8 : 0);
        *at++ = alphabet[bits >> 18];
        *at++ = alphabet[bits >> 12 & 63];
        if (i + 1 < n)
            *at++ = alphabet[bits >> 6 & 63];
    }
    *at = '\0';
    return (size_t)(at - to);
}

static int digit_value(const char *alphabet, char c)
{
    if (is_letter(c))
        return c >= 'a' ? c - 'a' + 26 : c - 'A';
    if (is_digit(c))
        return c - '0' + 52;
    return c == alphabet[62] ? 62 : c == alphabet[63] ? 63 : -1;
}

/* Without padding; its length tells how many bytes the last digits make. */
static bool decode(const char *alphabet, struct str text, uint8_t *to, size_t *n_r)
{
    uint32_t bits = 0;
    unsigned count = 0; /* of bits that make no byte yet */
    size_t n = 0;
    if (text.n % 4 == 1)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        int value = digit_value(alphabet, text.p[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            to[n++] = (uint8_t)(bits >> count);
        }
    }
    *n_r = n;
    return (bits & ((1u << count) - 1)) == 0;
}

size_t base64_encode(const void *bytes, size_t n, char *text_r)
{
    size_t length = encode(standard, bytes, n, text_r);
    while (length % 4 != 0)
        text_r[length++] = '=';
    text_r[length] = '\0';
    return length;
}

bool base64_decode(struct str text, uint8_t *bytes_r, size_t *n_r)
{
    if (text.n % 4 != 0)
        return false;
    for (int padding = 0; padding < 2 && text.n != 0 && text.p[text.n - 1] == '='; padding++)
        text.n--;
    return decode(standard, text, bytes_r, n_r);
}

size_t base64url_encode(const void *bytes, size_t n, char *text_r)
{
    return encode(for_urls, bytes, n, text_r);
}

bool base64url_decode(struct str text, uint8_t *bytes_r, size_t *n_r)
{
    return decode(for_urls, text, bytes_r, n_r);
}

void hex_encode(const void *bytes, size_t n, char *text_r)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = bytes;
    for (size_t i = 0; i < n; i++) {
        text_r[2 * i] = digits[from[i] >> 4];
        text_r[2 * i + 1] = digits[from[i] & 15];
    }
    text_r[2 * n] = '\0';
}

bool hex_decode(struct str text, uint8_t *bytes_r, size_t n)
{
    if (text.n != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(text.p[2 * i]), low = hex_value(text.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes_r[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
