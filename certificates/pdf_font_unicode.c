/* ToUnicode CMaps (ISO 32000-1 section 9.10.3): PostScript by origin, but what writers make of it
 * is bfchar and bfrange with hexadecimal strings, and that is what is read. */
#include "certificates/pdf_font.h"
#include "certificates/pdf_lexer.h"

enum { MAX_TARGET = 64 }; /* bytes of a string there; longer ones mean nothing */

static bool read_code(struct str token, uint32_t *code_r)
{
    uint8_t bytes[MAX_TARGET];
    if (token.n > MAX_TARGET)
        return false;
    size_t n = pdf_string_read(token, bytes);
    *code_r = 0;
    for (size_t i = 0; i < n; i++)
        *code_r = *code_r << 8 | bytes[i];
    return n == 1 || n == 2;
}

/* The last character moves on by `plus`, as in a range. More characters than fit: none. */
static struct pdf_chars read_target(struct str token, uint32_t plus)
{
    uint8_t bytes[MAX_TARGET];
    struct pdf_chars chars = {{0}};
    size_t count = 0, n = token.n > MAX_TARGET ? 0 : pdf_string_read(token, bytes);

    for (size_t i = 0; i + 1 < n; i += 2) {
        uint32_t unit = (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
        if (unit >= 0xd800 && unit < 0xdc00 && i + 3 < n) {
            uint32_t low = (uint32_t)(bytes[i + 2] << 8 | bytes[i + 3]);
            unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            i += 2;
        }
        if (count == PDF_CODE_CHARS || unit > 0x10ffff)
            return (struct pdf_chars){{0}};
        chars.c[count++] = unit;
    }
    if (count != 0 && chars.c[count - 1] != 0)
        chars.c[count - 1] += plus;
    return chars;
}

static void set(struct pdf_chars *chars, size_t count, uint32_t code, struct pdf_chars value)
{
    if (code < count && value.c[0] != 0)
        chars[code] = value;
}

void pdf_font_read_unicode(struct str cmap, struct pdf_chars *chars, size_t count)
{
    struct pdf_lexer lexer = {.text = cmap};
    struct str token, last, target;
    enum pdf_token_kind kind;
    enum { NOTHING, CHARS, RANGES } inside = NOTHING;
    uint32_t from, to;

    while ((kind = pdf_next(&lexer, &token)) != PDF_END) {
        if (kind == PDF_WORD) {
            inside = str_eq(token, STR("beginbfchar"))    ? CHARS
                     : str_eq(token, STR("beginbfrange")) ? RANGES
                                                          : NOTHING;
            continue;
        }
        if (inside == NOTHING || kind != PDF_STRING || !read_code(token, &from))
            continue;
        if (inside == CHARS) {
            if (pdf_next(&lexer, &target) == PDF_STRING)
                set(chars, count, from, read_target(target, 0));
            continue;
        }
        if (pdf_next(&lexer, &last) != PDF_STRING || !read_code(last, &to))
            continue;
        kind = pdf_next(&lexer, &target);
        if (kind == PDF_STRING) {
            for (uint32_t code = from; code <= to && code < count; code++)
                set(chars, count, code, read_target(target, code - from));
        } else if (kind == PDF_OPEN) {
            for (uint32_t code = from; pdf_next(&lexer, &target) == PDF_STRING; code++)
                set(chars, count, code, read_target(target, 0));
        }
    }
}
