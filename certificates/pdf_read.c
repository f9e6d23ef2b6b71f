/* One pass over the bytes for the word, and behind it four numbers. A hole is read digit by digit;
 * since a hostile file may point a thousand ranges at one hole, all holes together may cost no more
 * than the file is long. Those of an honest file don't overlap. */
#include "certificates/pdf_read.h"
#include "certificates/pdf_document.h"
#include "base/text.h"
#include "crypto/crypto.h"

enum { BLANKS_MAX = 8 }; /* between "/Contents" and its string; we write one */

/* What follows the word: four numbers in brackets. Reads no further than the next word begins. */
static bool read_range(struct str rest, size_t range_r[4])
{
    size_t i = 0;
    while (i < rest.n && pdf_is_space(rest.p[i]))
        i++;
    if (i == rest.n || rest.p[i++] != '[')
        return false;
    for (int k = 0; k < 4; k++) {
        size_t number = 0, digits;
        while (i < rest.n && pdf_is_space(rest.p[i]))
            i++;
        for (digits = i; i < rest.n && is_digit(rest.p[i]); i++) {
            number = number * 10 + (size_t)(rest.p[i] - '0');
            if (number > SIZE_MAX / 16) /* far past any file */
                return false;
        }
        if (i == digits)
            return false;
        range_r[k] = number;
    }
    while (i < rest.n && pdf_is_space(rest.p[i]))
        i++;
    return i < rest.n && rest.p[i] == ']';
}

static bool is_behind_contents(struct str pdf, size_t at)
{
    struct str word = STR("/Contents");
    for (int blanks = 0; blanks < BLANKS_MAX && at > 0 && pdf_is_space(pdf.p[at - 1]); blanks++)
        at--;
    return at >= word.n && memcmp(pdf.p + at - word.n, word.p, word.n) == 0;
}

/* Whether from..to is "<", pairs of digits, ">". Takes what it reads off *allowed. */
static bool is_hole(struct str pdf, size_t from, size_t to, size_t *allowed)
{
    if ((to - from) % 2 != 0 || to - from > *allowed || pdf.p[from] != '<' || pdf.p[to - 1] != '>')
        return false;
    size_t i = from + 1;
    while (i < to - 1 && hex_value(pdf.p[i]) >= 0)
        i++;
    *allowed -= i - from;
    return i == to - 1;
}

size_t pdf_find_signatures(struct str pdf, struct pdf_found_signature found[PDF_MAX_SIGNATURES])
{
    struct str word = STR("/ByteRange");
    size_t count = 0, allowed = pdf.n, at = 0;
    while (count < PDF_MAX_SIGNATURES && at < pdf.n) {
        const char *p = memmem(pdf.p + at, pdf.n - at, word.p, word.n);
        if (!p)
            break;
        at = (size_t)(p - pdf.p) + word.n;
        size_t range[4]; /* offset and length, twice */
        if (!read_range((struct str){pdf.p + at, pdf.n - at}, range) || range[0] != 0 ||
            range[1] >= range[2] || range[2] > pdf.n || range[3] > pdf.n - range[2])
            continue;
        if (is_hole(pdf, range[1], range[2], &allowed) && is_behind_contents(pdf, range[1]))
            found[count++] = (struct pdf_found_signature){range[1], range[2], range[2] + range[3]};
    }
    return count;
}

/* The length of the SEQUENCE at the front, header included (X.690 section 8.1.3); 0 = there is
 * none that ends within n bytes. */
static size_t sequence_length(const uint8_t *der, size_t n)
{
    if (n < 2 || der[0] != 0x30)
        return 0;
    size_t header = 2, length = der[1];
    if (length >= 0x80) {
        size_t digits = length & 0x7f;
        length = 0;
        if (digits == 0 || digits > 4 || n < header + digits)
            return 0;
        for (; header < 2 + digits; header++)
            length = length << 8 | der[header];
    }
    return length != 0 && length <= n - header ? header + length : 0;
}

size_t pdf_read_contents(struct str pdf, const struct pdf_found_signature *found, uint8_t *der_r)
{
    size_t n = (found->hole_to - found->hole_from - 2) / 2;
    if (!hex_decode((struct str){pdf.p + found->hole_from + 1, 2 * n}, der_r, n))
        return 0;
    size_t length = sequence_length(der_r, n);
    for (size_t i = length; i < n; i++)
        if (der_r[i] != 0)
            return 0;
    return length;
}
