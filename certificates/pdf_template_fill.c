/* Fills in a template: what each request pays for. Everything varying is written into one stretch
 * of memory whose size is bounded beforehand; nothing is committed until all values could be drawn.
 * No allocation, no libqpdf, no deflating. */
#include <stdlib.h>
#include <zlib.h>
#include "base/log.h"
#include "base/text.h"
#include "certificates/pdf_filled.h"
#include "certificates/pdf_font.h"

struct fill {
    const struct pdf_template *template;
    const struct drawing *drawing;
    char *at;
    char *start;     /* of the stretch */
    size_t referred; /* bytes of the document that are pointed at, so far */
    bool copies;     /* a buffer: nothing is pointed at */
    size_t cut_count;
    struct {
        char *at;
        struct str bytes;
    } cuts[PDF_MAX_REFERRED]; /* what is pointed at, and before which byte of the stretch */
    uint32_t missing;         /* the character that can't be drawn */
    uint16_t failed;          /* whose it is */
    uint32_t offsets[PDF_MAX_VARYING];
    struct str values[PDF_MAX_FIELDS];
};

static size_t offset(const struct fill *fill)
{
    return (size_t)(fill->at - fill->start) + fill->referred;
}

static inline void put(struct fill *fill, const void *bytes, size_t n)
{
    memcpy(fill->at, bytes, n);
    fill->at += n;
}

static void refer(struct fill *fill, struct str bytes)
{
    if (fill->copies || bytes.n < PDF_REFER_MIN) {
        put(fill, bytes.p, bytes.n);
        return;
    }
    fill->cuts[fill->cut_count].at = fill->at;
    fill->cuts[fill->cut_count++].bytes = bytes;
    fill->referred += bytes.n;
}

/* `digits` wide, zeros in front. */
static void put_padded(char *to, uint64_t value, unsigned digits)
{
    while (digits-- > 0) {
        to[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

static char *put_number(char *to, int64_t value)
{
    char digits[24];
    size_t n = sizeof(digits);
    uint64_t rest = value < 0 ? (uint64_t)-value : (uint64_t)value;
    do
        digits[--n] = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (value < 0)
        digits[--n] = '-';
    memcpy(to, digits + n, sizeof(digits) - n);
    return to + sizeof(digits) - n;
}

/* -- values -------------------------------------------------------------------------------------
 */

static const char hex[] = "0123456789ABCDEF";

static char *put_glyphs(char *to, const struct pdf_hole *hole, struct str value,
                        uint32_t *missing_r, int64_t *width_r)
{
    const char *p = value.p, *end = value.p + value.n;
    int64_t width = 0;

    while (p < end) {
        size_t length = (unsigned char)*p < 0x80 ? 1 : utf8_length(p, end);
        uint32_t c = length ? utf8_decode(p, length) : 0xfffd;
        const struct pdf_drawn *drawn = pdf_font_draw(hole->font, c);
        if (drawn->n == 0) {
            *missing_r = c;
            return NULL;
        }
        memcpy(to, drawn->bytes, sizeof(drawn->bytes));
        to += drawn->n;
        width += (int64_t)drawn->width * 1000 + hole->char_space;
        if (c == ' ' && !hole->font->composite)
            width += hole->word_space;
        p += length ? length : 1;
    }
    *width_r = width;
    return to;
}

/* The text keeps its middle or its end, and what follows it its place: a number moves by so many
 * thousandths to the left. */
static char *put_aligned(char *to, const struct pdf_hole *hole, struct str value,
                         uint32_t *missing_r)
{
    enum { NUMBER_ROOM = 24 };
    bool composite = hole->font->composite;
    char *string = to + NUMBER_ROOM;
    int64_t width;

    char *end = put_glyphs(string + 1, hole, value, missing_r, &width);
    if (end == NULL)
        return NULL;
    int64_t over = (width - hole->width) / 1000,
            before = hole->align == PDF_ALIGN_RIGHT ? over : over / 2;
    *string = composite ? '<' : '(';
    *end++ = composite ? '>' : ')';
    to = put_number(to, before);
    memmove(to, string, (size_t)(end - string));
    to += end - string;
    return put_number(to, over - before);
}

static char *put_unit(char *to, uint32_t unit)
{
    to[0] = hex[unit >> 12 & 15];
    to[1] = hex[unit >> 8 & 15];
    to[2] = hex[unit >> 4 & 15];
    to[3] = hex[unit & 15];
    return to + 4;
}

static char *put_text(char *to, struct str value)
{
    const char *p = value.p, *end = value.p + value.n;
    while (p < end) {
        size_t length = utf8_length(p, end);
        uint32_t c = length ? utf8_decode(p, length) : 0xfffd;
        if (c >= 0x10000) {
            to = put_unit(to, 0xd800 + ((c - 0x10000) >> 10));
            to = put_unit(to, 0xdc00 + (c & 0x3ff));
        } else {
            to = put_unit(to, c);
        }
        p += length ? length : 1;
    }
    return to;
}

static char *put_uri(char *to, struct str value)
{
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~') {
            *to++ = c;
        } else {
            *to++ = '%';
            *to++ = hex[(unsigned char)c >> 4];
            *to++ = hex[c & 15];
        }
    }
    return to;
}

/* An address is no part of one: it stands in a link as it is, but for what a string must escape. */
static char *put_address(char *to, struct str value)
{
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c <= ' ' || (unsigned char)c >= 0x7f || c == '(' || c == ')' || c == '\\')
            to = put_uri(to, (struct str){value.p + i, 1});
        else
            *to++ = c;
    }
    return to;
}

static char *put_xml(char *to, struct str value)
{
    for (size_t i = 0; i < value.n; i++) {
        struct str as = {value.p + i, 1};
        switch (value.p[i]) {
        case '&':
            as = STR("&amp;");
            break;
        case '<':
            as = STR("&lt;");
            break;
        case '>':
            as = STR("&gt;");
            break;
        case '"':
            as = STR("&quot;");
            break;
        case '\'':
            as = STR("&#39;");
            break;
        default:
            break;
        }
        memcpy(to, as.p, as.n);
        to += as.n;
    }
    return to;
}

static char *put_value(char *to, const struct pdf_hole *hole, const struct fill *fill,
                       uint32_t *missing_r)
{
    struct str value = fill->values[hole->field];
    int64_t width;

    switch ((enum pdf_hole_kind)hole->kind) {
    case PDF_HOLE_GLYPHS:
        return put_glyphs(to, hole, value, missing_r, &width);
    case PDF_HOLE_ALIGNED:
        return put_aligned(to, hole, value, missing_r);
    case PDF_HOLE_TEXT:
        return put_text(to, value);
    case PDF_HOLE_URI:
        return put_uri(to, value);
    case PDF_HOLE_ADDRESS:
        return put_address(to, value);
    case PDF_HOLE_XML:
        return put_xml(to, value);
    case PDF_HOLE_NONE:
        break;
    }
    return to;
}

/* -- pieces -------------------------------------------------------------------------------------
 */

static void put_constant(struct fill *fill, const struct pdf_piece *piece)
{
    if (piece->referred)
        refer(fill, piece->bytes);
    else
        put(fill, piece->bytes.p, piece->bytes.n);
}

static bool put_plain(struct fill *fill, const struct pdf_pieces *pieces)
{
    for (size_t i = 0; i < pieces->count; i++) {
        const struct pdf_piece *piece = &pieces->list[i];
        put_constant(fill, piece);
        char *end = put_value(fill->at, &piece->hole, fill, &fill->missing);
        if (end == NULL) {
            fill->failed = piece->hole.field;
            return false;
        }
        fill->at = end;
    }
    return true;
}

enum { BLOCK = 5, BLOCK_MAX = 65535 };

static void put_block_head(char *to, size_t n)
{
    to[0] = 0; /* not the last one, stored */
    to[1] = (char)(n & 255);
    to[2] = (char)(n >> 8);
    to[3] = (char)(~n & 255);
    to[4] = (char)(~n >> 8 & 255);
}

/* The n bytes at at + BLOCK become stored blocks; returns their end. */
static char *make_blocks(char *at, size_t n)
{
    if (n > BLOCK_MAX) { /* from behind: each further block moves by its head */
        size_t more = (n - 1) / BLOCK_MAX;
        char *bytes = at + BLOCK;
        for (size_t k = more; k > 0; k--) {
            size_t from = k * BLOCK_MAX, length = k == more ? n - from : BLOCK_MAX;
            memmove(bytes + from + k * BLOCK, bytes + from, length);
            put_block_head(bytes + from + (k - 1) * BLOCK, length);
        }
        put_block_head(at, BLOCK_MAX);
        return at + n + (more + 1) * BLOCK;
    }
    put_block_head(at, n);
    return at + BLOCK + n;
}

static bool put_deflated(struct fill *fill, const struct pdf_pieces *pieces)
{
    uLong adler = 1;

    for (size_t i = 0; i < pieces->count; i++) {
        const struct pdf_piece *piece = &pieces->list[i];
        put_constant(fill, piece);
        adler = adler32_combine(adler, piece->adler, (z_off_t)piece->plain);
        if (piece->hole.kind == PDF_HOLE_NONE)
            continue;
        char *bytes = fill->at + BLOCK;
        char *end = put_value(bytes, &piece->hole, fill, &fill->missing);
        if (end == NULL) {
            fill->failed = piece->hole.field;
            return false;
        }
        size_t n = (size_t)(end - bytes);
        if (n == 0)
            continue;
        uLong own = adler32_z(1, (const Bytef *)bytes, n);
        adler = adler32_combine(adler, own, (z_off_t)n);
        fill->at = make_blocks(fill->at, n);
    }
    char last[6] = {3,          0, (char)(adler >> 24), (char)(adler >> 16), (char)(adler >> 8),
                    (char)adler};
    put(fill, last, sizeof(last));
    return true;
}

static bool put_object(struct fill *fill, const struct pdf_object *object)
{
    put(fill, object->head.p, object->head.n);
    if (!object->stream)
        return put_plain(fill, &object->pieces);
    char *length = fill->at;
    memset(fill->at, ' ', PDF_LENGTH_ROOM);
    fill->at += PDF_LENGTH_ROOM;
    put(fill, " >>\nstream\n", 11);
    size_t from = offset(fill);
    if (!(object->deflated ? put_deflated : put_plain)(fill, &object->pieces))
        return false;
    put_number(length, (int64_t)(offset(fill) - from));
    put(fill, "\nendstream", 10);
    return true;
}

/* -- the document -------------------------------------------------------------------------------
 */

/* "D:20261123093000Z" of seconds since 1970: days -> year, month, day in the Gregorian calendar,
 * counted from March 1st of the year 0, so that leap days come last. */
static void put_date(struct fill *fill, int64_t when_s)
{
    uint64_t seconds = when_s > 0 ? (uint64_t)when_s : 0;
    uint64_t days = seconds / 86400 + 719468, of_day = seconds % 86400;
    uint64_t era = days / 146097, of_era = days % 146097;
    uint64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t month = (5 * of_year + 2) / 153; /* 0 = March */
    char *at = fill->at;

    memcpy(at, "(D:", 3);
    put_padded(at + 3, era * 400 + year_of_era + (month >= 10), 4);
    put_padded(at + 7, month < 10 ? month + 3 : month - 9, 2);
    put_padded(at + 9, of_year - (153 * month + 2) / 5 + 1, 2);
    put_padded(at + 11, of_day / 3600, 2);
    put_padded(at + 13, of_day / 60 % 60, 2);
    put_padded(at + 15, of_day % 60, 2);
    memcpy(at + 17, "Z)", 2);
    fill->at = at + 19;
}

static bool put_info(struct fill *fill, const struct pdf_object *info)
{
    if (!put_object(fill, info))
        return false;
    put(fill, "/CreationDate ", 14);
    put_date(fill, fill->drawing->when_s);
    put(fill, " /ModDate ", 10);
    put_date(fill, fill->drawing->when_s);
    if (fill->drawing->title.n != 0) {
        put(fill, " /Title <FEFF", 13);
        fill->at = put_text(fill->at, fill->drawing->title);
        put(fill, ">", 1);
    } else if (!put_plain(fill, &fill->template->title)) {
        return false;
    }
    put(fill, " >>", 3);
    return true;
}

/* Of /ID: tells documents apart, by serial or else by values; no secret, no proof (FNV-1a). */
static void put_id(struct fill *fill)
{
    uint64_t low = 0xcbf29ce484222325, high = 0x84222325cbf29ce4;
    struct str one = fill->drawing->serial;
    bool by_serial = one.n != 0;

    for (size_t i = 0; i < (by_serial ? 1 : fill->template->name_count); i++) {
        struct str value = by_serial ? one : fill->values[i];
        for (size_t k = 0; k <= value.n; k++) {
            uint8_t byte = k < value.n ? (uint8_t)value.p[k] : 0xff;
            low = (low ^ byte) * 0x100000001b3;
            high = (high ^ byte) * 0x100000001b3 + low;
        }
    }
    for (int shift = 48; shift >= 0; shift -= 16)
        fill->at = put_unit(fill->at, (uint32_t)(high >> shift) & 0xffff);
    for (int shift = 48; shift >= 0; shift -= 16)
        fill->at = put_unit(fill->at, (uint32_t)(low >> shift) & 0xffff);
}

static bool put_document(struct fill *fill)
{
    const struct pdf_template *template = fill->template;
    size_t count = template->object_count;

    refer(fill, template->prefix);
    for (size_t i = 0; i < count; i++) {
        fill->offsets[i] = (uint32_t)offset(fill);
        if (!(i + 1 == count ? put_info : put_object)(fill, &template->objects[i]))
            return false;
        put(fill, "\nendobj\n", 8);
    }
    size_t xref = offset(fill);
    char *entries = fill->at + template->xref_entries;
    put(fill, template->xref.p, template->xref.n);
    for (size_t i = 0; i < count; i++)
        put_padded(entries + template->objects[i].id * PDF_XREF_ENTRY, fill->offsets[i], 10);
    put(fill, template->trailer.p, template->trailer.n);
    put_id(fill);
    put(fill, ">] >>\nstartxref\n", 16);
    fill->at = put_number(fill->at, (int64_t)xref);
    put(fill, "\n%%EOF\n", 7);
    return true;
}

/* Returns the bytes that the stretch needs at most. */
static size_t begin(struct fill *fill, const struct pdf_template *template,
                    const struct drawing *drawing)
{
    size_t bound = template->fixed + drawing->title.n * PDF_GROWTH;

    fill->template = template;
    fill->drawing = drawing;
    fill->referred = fill->cut_count = 0;
    for (size_t i = 0; i < template->name_count; i++) {
        struct str name = template->names[i];
        fill->values[i] = (struct str){NULL, 0};
        if (i < drawing->field_count && str_eq(drawing->fields[i].name, name)) {
            fill->values[i] = drawing->fields[i].value;
        } else {
            for (size_t k = 0; k < drawing->field_count; k++)
                if (str_eq(drawing->fields[k].name, name))
                    fill->values[i] = drawing->fields[k].value;
        }
        bound += fill->values[i].n * template->growth[i];
    }
    return bound;
}

static enum draw_result tell_missing(const struct fill *fill, struct draw_problem *problem_r)
{
    struct str name = fill->template->names[fill->failed];
    for (size_t i = 0; i < fill->drawing->field_count; i++)
        if (str_eq(fill->drawing->fields[i].name, name))
            *problem_r = (struct draw_problem){fill->drawing->fields[i].name, fill->missing};
    return DRAW_CANT_SHOW;
}

enum draw_result pdf_template_draw(const struct pdf_template *template,
                                   const struct drawing *drawing, struct buf *pdf,
                                   struct draw_problem *problem_r)
{
    struct fill fill;
    size_t bound = begin(&fill, template, drawing) + template->referred;

    if (!buf_reserve(pdf, bound)) {
        log_event(LOG_ERROR, "a certificate grew too large", "template=%s bytes=%zu",
                  log_quote(template->name), bound);
        return DRAW_FAILED;
    }
    fill.copies = true;
    fill.start = fill.at = pdf->p + pdf->n;
    if (!put_document(&fill))
        return tell_missing(&fill, problem_r);
    gw_assert((size_t)(fill.at - fill.start) <= bound);
    pdf->n += (size_t)(fill.at - fill.start);
    return DRAW_OK;
}

enum draw_result pdf_template_write(const struct pdf_template *template,
                                    const struct drawing *drawing, struct out *out,
                                    struct draw_problem *problem_r)
{
    struct fill fill;
    size_t bound = begin(&fill, template, drawing);

    fill.copies = false;
    fill.start = fill.at = out_room(out, bound);
    if (!put_document(&fill))
        return tell_missing(&fill, problem_r);
    gw_assert((size_t)(fill.at - fill.start) <= bound);
    for (size_t i = 0; i < fill.cut_count; i++) {
        out->at = fill.cuts[i].at;
        out_refer(out, fill.cuts[i].bytes.p, fill.cuts[i].bytes.n);
    }
    out->at = fill.at;
    return DRAW_OK;
}
