/* Placeholders outside of what pages show: text strings of Info, annotations, links, the structure
 * tree (ISO 32000-1 section 7.9.2), and XMP metadata. How placeholders are spelled stands here too.
 *
 * A text string with a placeholder becomes UTF-16BE in hexadecimal digits whole, whatever it was:
 * the one form that takes any value. */
#include <stdio.h>
#include "base/buf.h"
#include "base/text.h"
#include "certificates/pdf_font_names.h"
#include "certificates/pdf_internal.h"
#include "certificates/pdf_lexer.h"

static bool begins_name(uint32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_of_name(uint32_t c)
{
    return begins_name(c) || (c >= '0' && c <= '9') || c == '-';
}

size_t pdf_spelling_read(const uint32_t *text, size_t n, struct pdf_spelling *spelling_r)
{
    static const struct {
        const char *word;
        enum pdf_align align;
    } aligns[] = {{"%", PDF_ALIGN_LEFT},
                  {":left%", PDF_ALIGN_LEFT},
                  {":center%", PDF_ALIGN_CENTER},
                  {":right%", PDF_ALIGN_RIGHT}};
    size_t at = 1, length = 0;

    *spelling_r = (struct pdf_spelling){.is_hex = true};
    if (n < 3 || text[0] != '%' || !begins_name(text[1]))
        return 0;
    for (; at < n && is_of_name(text[at]); at++) {
        if (length + 1 == sizeof(spelling_r->name))
            return 0;
        spelling_r->name[length++] = (char)text[at];
        spelling_r->is_hex = spelling_r->is_hex && hex_value((char)text[at]) >= 0;
    }
    spelling_r->name_length = length;
    spelling_r->is_hex = spelling_r->is_hex && length == 2;
    for (size_t i = 0; i < COUNT(aligns); i++) {
        size_t k = 0;
        while (aligns[i].word[k] != '\0' && at + k < n &&
               text[at + k] == (uint32_t)aligns[i].word[k])
            k++;
        if (aligns[i].word[k] == '\0') {
            spelling_r->align = aligns[i].align;
            return at + k;
        }
    }
    return 0;
}

int pdf_spelling_field(const struct pdf_loading *loading, const struct pdf_spelling *spelling)
{
    struct str name = {spelling->name, spelling->name_length};
    for (size_t i = 0; i < loading->fields->count; i++)
        if (str_eq(loading->fields->names[i], name))
            return (int)i;
    return -1;
}

/* -- text strings -------------------------------------------------------------------------------
 */

size_t pdf_text_read(struct str token, uint32_t *text_r)
{
    uint8_t *bytes =
        (uint8_t *)text_r + 3 * token.n; /* its last quarter: read behind, write ahead */
    size_t n = pdf_string_read(token, bytes), count = 0;

    if (n >= 2 && bytes[0] == 0xfe && bytes[1] == 0xff) {
        for (size_t i = 2; i + 1 < n; i += 2) {
            uint32_t unit = (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
            if (unit >= 0xd800 && unit < 0xdc00 && i + 3 < n) {
                uint32_t low = (uint32_t)(bytes[i + 2] << 8 | bytes[i + 3]);
                unit = 0x10000 + ((unit - 0xd800) << 10) + ((low - 0xdc00) & 0x3ff);
                i += 2;
            }
            text_r[count++] = unit;
        }
    } else if (n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) {
        const char *p = (const char *)bytes + 3, *end = (const char *)bytes + n;
        while (p < end) {
            size_t length = utf8_length(p, end);
            text_r[count++] = length ? utf8_decode(p, length) : 0xfffd;
            p += length ? length : 1;
        }
    } else {
        for (size_t i = 0; i < n; i++)
            text_r[count++] = pdf_encoding_unicode(PDF_ENCODING_DOCUMENT, bytes[i]);
    }
    return count;
}

void pdf_cut(struct pdf_loading *loading, struct buf *bytes, struct pdf_hole hole,
             struct pdf_pieces *pieces)
{
    pieces->list = pdf_grow(loading->keep, pieces->list, pieces->count, &pieces->capacity,
                            sizeof(*pieces->list));
    pieces->list[pieces->count++] =
        (struct pdf_piece){.bytes = pdf_copy(loading->keep, buf_str(bytes)), .hole = hole};
    buf_clear(bytes);
}

static void append_text(struct buf *bytes, uint32_t c, bool uri)
{
    if (uri)
        (void)buf_printf(bytes, c == '(' || c == ')' || c == '\\' ? "\\%c" : "%c", (int)(c & 0xff));
    else if (c >= 0x10000)
        (void)buf_printf(bytes, "%04X%04X", 0xd800 + ((c - 0x10000) >> 10 & 0x3ff),
                         0xdc00 + (c & 0x3ff));
    else
        (void)buf_printf(bytes, "%04X", c);
}

bool pdf_text_pieces(struct pdf_loading *loading, struct str token, bool uri, bool strict,
                     struct buf *bytes, struct pdf_pieces *pieces)
{
    if (memchr(token.p, '%', token.n) == NULL && token.p[0] != '<')
        return false;
    uint32_t *text = h2o_mem_alloc_pool(loading->scratch, (token.n + 1) * sizeof(*text));
    size_t n = pdf_text_read(token, text);
    bool any = false;

    for (size_t i = 0; i < n; i++) { /* looks first: without placeholders it stays as it is */
        struct pdf_spelling spelling;
        size_t length = pdf_spelling_read(text + i, n - i, &spelling);
        if (length == 0)
            continue;
        if (pdf_spelling_field(loading, &spelling) >= 0) {
            any = true;
            i += length - 1;
        } else if (strict && !(uri && spelling.is_hex)) {
            pdf_unknown_field(loading, &spelling);
        }
    }
    if (!any)
        return false;
    (void)buf_append(bytes, uri ? "(" : "<FEFF", uri ? 1 : 5);
    for (size_t i = 0; i < n; i++) {
        struct pdf_spelling spelling;
        size_t length = pdf_spelling_read(text + i, n - i, &spelling);
        int field = length ? pdf_spelling_field(loading, &spelling) : -1;
        if (field < 0) {
            append_text(bytes, text[i], uri);
            continue;
        }
        struct pdf_hole hole = {.kind = uri ? PDF_HOLE_URI : PDF_HOLE_TEXT,
                                .field = (uint16_t)field};
        if (uri && i == 0 && str_eq(loading->fields->names[field], STR("verify_url")))
            hole.kind = PDF_HOLE_ADDRESS;
        pdf_cut(loading, bytes, hole, pieces);
        pdf_add_placeholder(loading, field, NULL);
        i += length - 1;
    }
    (void)buf_append(bytes, uri ? ")" : ">", 1);
    return true;
}

bool pdf_object_read(struct pdf_loading *loading, struct str object, struct pdf_pieces *pieces_r)
{
    /* Where people write text; elsewhere, what looks like a placeholder may be anything. */
    static const char *const text_keys[] = {"/Title",   "/Author", "/Subject",    "/Keywords",
                                            "/Creator", "/URI",    "/Contents",   "/V",
                                            "/TU",      "/Alt",    "/ActualText", "/RC"};
    struct pdf_lexer lexer = {.text = object};
    struct str token, key = {NULL, 0};
    size_t copied = 0;
    enum pdf_token_kind kind;
    struct buf bytes;

    buf_init(&bytes, SIZE_MAX / 2);
    *pieces_r = (struct pdf_pieces){NULL, 0, 0};
    while ((kind = pdf_next(&lexer, &token)) != PDF_END) {
        if (kind == PDF_NAME)
            key = token;
        if (kind != PDF_STRING || str_eq(key, STR("/JS")))
            continue;
        size_t at = (size_t)(token.p - object.p);
        bool strict = false;
        for (size_t i = 0; i < COUNT(text_keys); i++)
            strict = strict || str_eq(key, str_from(text_keys[i]));
        size_t before = bytes.n;
        (void)buf_append(&bytes, object.p + copied, at - copied);
        if (pdf_text_pieces(loading, token, str_eq(key, STR("/URI")), strict, &bytes, pieces_r))
            copied = at + token.n;
        else
            bytes.n = before;
    }
    if (pieces_r->count != 0) {
        (void)buf_append(&bytes, object.p + copied, object.n - copied);
        pdf_cut(loading, &bytes, (struct pdf_hole){.kind = PDF_HOLE_NONE}, pieces_r);
    }
    buf_fini(&bytes);
    return pieces_r->count != 0;
}

bool pdf_metadata_read(struct pdf_loading *loading, struct str xml, struct pdf_pieces *pieces_r)
{
    struct buf bytes;
    size_t copied = 0;

    buf_init(&bytes, SIZE_MAX / 2);
    *pieces_r = (struct pdf_pieces){NULL, 0, 0};
    for (size_t i = 0; i < xml.n; i++) {
        uint32_t text[80];
        size_t n = 0;
        struct pdf_spelling spelling;
        if (xml.p[i] != '%')
            continue;
        for (; n < COUNT(text) && i + n < xml.n; n++)
            text[n] = (unsigned char)xml.p[i + n];
        size_t length = pdf_spelling_read(text, n, &spelling);
        int field = length ? pdf_spelling_field(loading, &spelling) : -1;
        if (field < 0)
            continue;
        (void)buf_append(&bytes, xml.p + copied, i - copied);
        pdf_cut(loading, &bytes, (struct pdf_hole){.kind = PDF_HOLE_XML, .field = (uint16_t)field},
                pieces_r);
        pdf_add_placeholder(loading, field, NULL);
        copied = i + length;
        i = copied - 1;
    }
    if (pieces_r->count != 0) {
        (void)buf_append(&bytes, xml.p + copied, xml.n - copied);
        pdf_cut(loading, &bytes, (struct pdf_hole){.kind = PDF_HOLE_NONE}, pieces_r);
    }
    buf_fini(&bytes);
    return pieces_r->count != 0;
}
