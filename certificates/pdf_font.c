/* A font dictionary (ISO 32000-1 section 9.6 to 9.10) -> what its codes mean and what it can draw.
 * Most tools embed subsets: a font that spells "%name%" may know no other letter, and text set in
 * it passes every check of syntax and shows boxes. So what counts as drawable is what has all of a
 * meaning, a width, and an outline in the program that is embedded. */
#include <stdlib.h>
#include "certificates/pdf_font.h"
#include "certificates/pdf_font_names.h"

struct pdf_fonts {
    struct pdf_font **list;
    size_t count, capacity;
};

struct pdf_fonts *pdf_fonts_create(struct pdf_loading *loading)
{
    struct pdf_fonts *fonts = h2o_mem_alloc_pool(loading->scratch, sizeof(*fonts));
    *fonts = (struct pdf_fonts){NULL, 0, 0};
    return fonts;
}

/* -- codes --------------------------------------------------------------------------------------
 */

static uint16_t to_width(double width)
{
    return width <= 0 ? 0 : width >= 65535 ? 65535 : (uint16_t)(width + 0.5);
}

static qpdf_oh get(struct pdf_loading *loading, qpdf_oh dict, const char *key)
{
    return qpdf_oh_get_key_if_dict(loading->qpdf, dict, key);
}

static size_t items(struct pdf_loading *loading, qpdf_oh array)
{
    if (!qpdf_oh_is_array(loading->qpdf, array))
        return 0;
    int count = qpdf_oh_get_array_n_items(loading->qpdf, array);
    return count > 0 ? (size_t)count : 0;
}

static double number(struct pdf_loading *loading, qpdf_oh value)
{
    return qpdf_oh_is_number(loading->qpdf, value) ? qpdf_oh_get_numeric_value(loading->qpdf, value)
                                                   : 0;
}

static qpdf_oh item(struct pdf_loading *loading, qpdf_oh array, size_t index)
{
    return qpdf_oh_get_array_item(loading->qpdf, array, (int)index);
}

static enum pdf_encoding encoding_named(struct str name)
{
    static const struct {
        const char *name;
        enum pdf_encoding encoding;
    } known[] = {{"WinAnsiEncoding", PDF_ENCODING_WIN_ANSI},
                 {"MacRomanEncoding", PDF_ENCODING_MAC_ROMAN},
                 {"StandardEncoding", PDF_ENCODING_STANDARD},
                 {"PDFDocEncoding", PDF_ENCODING_DOCUMENT}};
    for (size_t i = 0; i < COUNT(known); i++)
        if (str_eq(name, str_from(known[i].name)))
            return known[i].encoding;
    return PDF_ENCODING_NONE;
}

static void read_differences(struct pdf_loading *loading, struct pdf_font *font, qpdf_oh list)
{
    size_t count = items(loading, list);
    long long code = 0;

    for (size_t i = 0; i < count; i++) {
        qpdf_oh member = item(loading, list, i);
        if (qpdf_oh_is_integer(loading->qpdf, member)) {
            code = qpdf_oh_get_int_value(loading->qpdf, member);
        } else if (qpdf_oh_is_name(loading->qpdf, member)) {
            if (code >= 0 && code < 256) {
                const char *name = qpdf_oh_get_name(loading->qpdf, member);
                font->names[code] = pdf_copy(loading->scratch, str_from(name + 1));
            }
            code++;
        }
        qpdf_oh_release(loading->qpdf, member);
    }
}

static void read_simple_encoding(struct pdf_loading *loading, struct pdf_font *font)
{
    qpdf_oh encoding = get(loading, font->dict, "/Encoding");
    struct str name = pdf_get_name(loading, font->dict, "/Encoding");

    font->names = h2o_mem_alloc_pool(loading->scratch, 256 * sizeof(*font->names));
    memset(font->names, 0, 256 * sizeof(*font->names));
    if (qpdf_oh_is_dictionary(loading->qpdf, encoding)) {
        name = pdf_get_name(loading, encoding, "/BaseEncoding");
        read_differences(loading, font, get(loading, encoding, "/Differences"));
    }
    font->base = encoding_named(name);
    bool symbols = str_eq(font->name, STR("Symbol")) || str_eq(font->name, STR("ZapfDingbats"));
    if (name.n == 0 && !font->embedded && !font->type3 && !symbols)
        font->base = PDF_ENCODING_STANDARD;
    for (unsigned code = 0; code < 256; code++)
        font->chars[code].c[0] = font->names[code].n != 0
                                     ? pdf_glyph_unicode(font->names[code])
                                     : pdf_encoding_unicode(font->base, (uint8_t)code);
}

static void read_simple_widths(struct pdf_loading *loading, struct pdf_font *font)
{
    qpdf_oh widths = get(loading, font->dict, "/Widths");
    qpdf_oh first = get(loading, font->dict, "/FirstChar");
    qpdf_oh descriptor = get(loading, font->dict, "/FontDescriptor");
    qpdf_oh missing = get(loading, descriptor, "/MissingWidth");
    size_t count = items(loading, widths);
    long long from =
        qpdf_oh_is_integer(loading->qpdf, first) ? qpdf_oh_get_int_value(loading->qpdf, first) : 0;

    font->has_widths = count != 0;
    for (unsigned code = 0; code < 256; code++)
        font->widths[code] = to_width(number(loading, missing));
    for (size_t i = 0; i < count && i < 256; i++) {
        long long code = from + (long long)i;
        qpdf_oh width = item(loading, widths, i);
        if (code >= 0 && code < 256)
            font->widths[code] = to_width(number(loading, width));
        qpdf_oh_release(loading->qpdf, width);
    }
}

/* /W: "first [w w w]" and "first last w" (section 9.7.4.3). */
static void read_composite_widths(struct pdf_loading *loading, struct pdf_font *font)
{
    qpdf_oh list = get(loading, font->dict, "/W"), usual = get(loading, font->dict, "/DW");
    size_t count = items(loading, list);
    bool told = qpdf_oh_is_number(loading->qpdf, usual);
    uint16_t width = told ? to_width(number(loading, usual)) : 1000;

    for (unsigned code = 0; code < 65536; code++)
        font->widths[code] = width;
    for (size_t i = 0; i + 1 < count;) {
        long long code = (long long)number(loading, item(loading, list, i));
        qpdf_oh second = item(loading, list, i + 1);
        if (qpdf_oh_is_array(loading->qpdf, second)) {
            size_t widths = items(loading, second);
            for (size_t k = 0; k < widths; k++, code++)
                if (code >= 0 && code < 65536)
                    font->widths[code] = to_width(number(loading, item(loading, second, k)));
            i += 2;
        } else {
            long long last = (long long)number(loading, second);
            if (i + 2 >= count)
                break;
            width = to_width(number(loading, item(loading, list, i + 2)));
            for (code = code < 0 ? 0 : code; code <= last && code < 65536; code++)
                font->widths[code] = width;
            i += 3;
        }
    }
}

static void read_font(struct pdf_loading *loading, struct pdf_font *font)
{
    static const char *const files[] = {"/FontFile", "/FontFile2", "/FontFile3"};
    struct str subtype = pdf_get_name(loading, font->dict, "/Subtype");
    qpdf_oh unicode = get(loading, font->dict, "/ToUnicode");
    struct str cmap;

    font->name = pdf_copy(loading->keep, pdf_get_name(loading, font->dict, "/BaseFont"));
    font->composite = str_eq(subtype, STR("Type0"));
    font->type3 = str_eq(subtype, STR("Type3"));
    size_t codes = font->composite ? 65536 : 256;
    bool vertical = false; /* /W tells nothing about how far such text goes */
    if (font->composite) {
        struct str encoding = pdf_get_name(loading, font->dict, "/Encoding");
        vertical = str_eq(encoding, STR("Identity-V"));
        qpdf_oh descendants = get(loading, font->dict, "/DescendantFonts");
        if ((!str_eq(encoding, STR("Identity-H")) && !str_eq(encoding, STR("Identity-V"))) ||
            items(loading, descendants) == 0 || !qpdf_oh_is_stream(loading->qpdf, unicode))
            return;
        font->dict = item(loading, descendants, 0);
    }
    qpdf_oh descriptor = get(loading, font->dict, "/FontDescriptor");
    for (size_t i = 0; i < COUNT(files); i++)
        if (qpdf_oh_is_stream(loading->qpdf, get(loading, descriptor, files[i])))
            font->embedded = true;
    font->chars = h2o_mem_alloc_pool(loading->scratch, codes * sizeof(*font->chars));
    memset(font->chars, 0, codes * sizeof(*font->chars));
    font->widths = h2o_mem_alloc_pool(loading->scratch, codes * sizeof(*font->widths));
    if (font->composite) {
        read_composite_widths(loading, font);
        font->has_widths = !vertical;
    } else {
        read_simple_encoding(loading, font);
        read_simple_widths(loading, font);
    }
    if (qpdf_oh_is_stream(loading->qpdf, unicode) && pdf_stream_data(loading, unicode, &cmap))
        pdf_font_read_unicode(cmap, font->chars, codes);
}

struct pdf_font *pdf_font_get(struct pdf_loading *loading, qpdf_oh resources, struct str name)
{
    struct pdf_fonts *fonts = loading->fonts;
    char key[256];

    if (name.n + 2 > sizeof(key))
        return NULL;
    snprintf(key, sizeof(key), "/%.*s", (int)name.n, name.p);
    qpdf_oh dict = get(loading, get(loading, resources, "/Font"), key);
    if (!qpdf_oh_is_dictionary(loading->qpdf, dict))
        return NULL;
    /* "8 0 R"; one that stands in the resources themselves is known by all that it says */
    struct str written = str_from(qpdf_oh_unparse(loading->qpdf, dict));
    for (size_t i = 0; i < fonts->count; i++)
        if (str_eq(fonts->list[i]->written, written))
            return fonts->list[i];
    written = pdf_copy(loading->scratch, written);
    struct pdf_font *font = h2o_mem_alloc_pool(loading->keep, sizeof(*font));
    *font = (struct pdf_font){.dict = dict, .written = written};
    read_font(loading, font);
    fonts->list = pdf_grow(loading->scratch, fonts->list, fonts->count, &fonts->capacity,
                           sizeof(struct pdf_font *));
    return fonts->list[fonts->count++] = font;
}

/* -- what it can draw ---------------------------------------------------------------------------
 */

bool pdf_is_blank(uint32_t c)
{
    return c == ' ' || c == 0xa0 || (c >= 0x2000 && c <= 0x200a) || c == 0x202f || c == 0x3000;
}

bool pdf_is_simple(uint32_t c)
{
    static const struct {
        uint32_t from, to;
    } not_simple[] = {
        {0, 0x1f},           {0x7f, 0x9f},     {0xad, 0xad},       {0x300, 0x36f},
        {0x483, 0x489},      {0x590, 0x8ff},   {0x900, 0x109f},    {0x135d, 0x135f},
        {0x1700, 0x17ff},    {0x1800, 0x1cff}, {0x1ab0, 0x1aff},   {0x1dc0, 0x1dff},
        {0x200b, 0x200f},    {0x2028, 0x202e}, {0x2060, 0x206f},   {0x20d0, 0x20ff},
        {0x302a, 0x302f},    {0x3099, 0x309a}, {0xa800, 0xabff},   {0xd7b0, 0xf8ff},
        {0xfb1d, 0xfdff},    {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f},   {0xfe70, 0xfeff},
        {0xfff0, 0xfffc},    {0xfffe, 0xffff}, {0x10800, 0x11fff}, {0x1e800, 0x1efff},
        {0xe0000, 0x10ffff},
    };
    for (size_t i = 0; i < COUNT(not_simple); i++)
        if (c >= not_simple[i].from && c <= not_simple[i].to)
            return false;
    return true;
}

struct pdf_drawn pdf_font_code(const struct pdf_font *font, uint32_t code)
{
    static const char hex[] = "0123456789ABCDEF";
    struct pdf_drawn drawn = {.width = font->widths[code]};

    if (font->composite) {
        drawn.n = 4;
        for (int i = 0; i < 4; i++)
            drawn.bytes[i] = hex[code >> (12 - 4 * i) & 15];
    } else if (code == '(' || code == ')' || code == '\\' || code == '\r' || code == '\n') {
        drawn.n = 2;
        drawn.bytes[0] = '\\';
        drawn.bytes[1] = code == '\r' ? 'r' : code == '\n' ? 'n' : (char)code;
    } else {
        drawn.n = 1;
        drawn.bytes[0] = (char)code;
    }
    return drawn;
}

static int compare_others(const void *a, const void *b)
{
    const struct pdf_other *x = a, *y = b;
    return x->c != y->c ? (x->c > y->c) - (x->c < y->c) : (x->code > y->code) - (x->code < y->code);
}

void pdf_font_judge(struct pdf_loading *loading, struct pdf_font *font)
{
    size_t codes = font->composite ? 65536 : 256, capacity = 0, kept = 0;

    if (font->direct != NULL)
        return;
    font->direct = h2o_mem_alloc_pool(loading->keep, PDF_DIRECT * sizeof(*font->direct));
    memset(font->direct, 0, PDF_DIRECT * sizeof(*font->direct));
    bool *drawable = h2o_mem_alloc_pool(loading->scratch, codes * sizeof(*drawable));
    memset(drawable, !font->embedded && !font->type3, codes * sizeof(*drawable));
    pdf_font_read_glyphs(loading, font, drawable);

    for (uint32_t code = 0; code < codes; code++) {
        uint32_t c = font->chars[code].c[0];
        if (c == 0 || font->chars[code].c[1] != 0 || !drawable[code] || !pdf_is_simple(c) ||
            (font->has_widths && font->widths[code] == 0))
            continue;
        if (c < PDF_DIRECT) {
            if (font->direct[c].n == 0)
                font->direct[c] = pdf_font_code(font, code);
            continue;
        }
        font->others = pdf_grow(loading->keep, font->others, font->other_count, &capacity,
                                sizeof(*font->others));
        font->others[font->other_count++] = (struct pdf_other){c, code, pdf_font_code(font, code)};
    }
    if (font->other_count == 0)
        return;
    qsort(font->others, font->other_count, sizeof(*font->others), compare_others);
    for (size_t i = 0; i < font->other_count; i++) /* of several codes the first */
        if (i == 0 || font->others[i].c != font->others[kept - 1].c)
            font->others[kept++] = font->others[i];
    font->other_count = kept;
}

static void print_character(FILE *to, uint32_t c)
{
    if (c > ' ' && c < 0x7f)
        fputc((int)c, to);
    else
        fprintf(to, "U+%04X", c);
}

void pdf_print_ranges(FILE *to, bool (*has)(const void *of, uint32_t c), const void *of,
                      uint32_t from, uint32_t until)
{
    const char *separator = "";
    for (uint32_t c = from; c < until; c++) {
        uint32_t last = c;
        if (!has(of, c))
            continue;
        while (last + 1 < until && has(of, last + 1) && last != ' ' && last != '~')
            last++;
        fputs(separator, to);
        print_character(to, c);
        if (last > c) {
            fputc(last > c + 1 ? '-' : ' ', to);
            print_character(to, last);
        }
        separator = " ";
        c = last;
    }
}
