/* PDF templates as tools write them: whatever the tool and whatever is done to the file, a
 * filled-in copy has no fault, reads as the values, and looks as if the values had been set there.
 */
#include <cairo-pdf.h>
#include <ft2build.h>
#include FT_FREETYPE_H
#include <malloc.h>
#include "pdf_fixture.h"

/* -- templates -----------------------------------------------------------------------------------
 */

/* The tutorial's: plain text, a font that every reader has. */
static void by_hand(const char *file, const char *name, const char *on)
{
    char content[4096];
    snprintf(content, sizeof(content),
             "BT /F1 30 Tf 20 140 Td (Certificate) Tj ET BT /F1 24 Tf 20 90 Td (%s) Tj 0 -60 Td "
             "[(on ) (%s)] TJ ET",
             name, on);
    write_document(file, &(struct document){.content = content});
}

static FT_Face face;

static unsigned width_of(unsigned long c)
{
    assert_int_equal(FT_Load_Char(face, c, FT_LOAD_NO_SCALE), 0);
    return (unsigned)(face->glyph->advance.x * 1000 / face->units_per_EM);
}

static void add_font_file(struct file *file)
{
    char *bytes = malloc(4 << 20);
    FILE *from = fopen(DEJAVU, "r");
    assert_non_null(from);
    size_t n = fread(bytes, 1, 4 << 20, from);
    fclose(from);
    add(file, "<< /Type /FontDescriptor /FontName /DejaVuSans /Flags 32 /FontBBox [-1021 -463 1793 "
              "1232] /ItalicAngle 0 /Ascent 928 /Descent -236 /CapHeight 928 /StemV 80 /FontFile2 "
              "7 0 R >>"); /* 6 */
    add_stream(file, "", bytes, n);
    free(bytes);
}

static void add_simple_font(struct file *file)
{
    char widths[2048], *at = widths;
    add_font_file(file);
    for (unsigned c = 32; c < 256; c++)
        at += snprintf(at, 8, "%u ", c >= 0x80 && c < 0xa0 ? 0 : width_of(c));
    add(file,
        "<< /Type /Font /Subtype /TrueType /BaseFont /DejaVuSans /Encoding /WinAnsiEncoding "
        "/FirstChar 32 /LastChar 255 /Widths [%s] /FontDescriptor 6 0 R >>",
        widths); /* 8 */
}

/* A whole TrueType font, one byte a character. */
static void with_simple_font(const char *file, const char *name, const char *on)
{
    char content[4096];
    snprintf(content, sizeof(content), "BT /F1 24 Tf 20 90 Td (%s) Tj 0 -60 Td (%s) Tj ET", name,
             on);
    write_document(file, &(struct document){
                             .content = content, .fonts = "/F1 8 0 R", .more = add_simple_font});
}

enum { FIRST = 0x20, LAST = 0x45f }; /* Latin, Greek, Cyrillic */

static void add_composite_font(struct file *file)
{
    struct buf widths, cmap;
    buf_init(&widths, 1 << 20);
    buf_init(&cmap, 1 << 20);
    add_font_file(file);
    assert_true(
        buf_printf(&cmap, "begincmap 1 begincodespacerange <0000> <FFFF> endcodespacerange "));
    for (unsigned c = FIRST; c <= LAST; c++) {
        unsigned glyph = FT_Get_Char_Index(face, c);
        if (glyph == 0)
            continue;
        assert_true(buf_printf(&widths, "%u [%u] ", glyph, width_of(c)) &&
                    buf_printf(&cmap, "1 beginbfchar <%04X> <%04X> endbfchar ", glyph, c));
    }
    assert_true(buf_printf(&cmap, "endcmap"));
    begin_object(file); /* 8 */
    assert_true(buf_printf(&file->pdf,
                           "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /DejaVuSans "
                           "/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 "
                           ">> /CIDToGIDMap /Identity /FontDescriptor 6 0 R /W [%.*s] >>\nendobj\n",
                           (int)widths.n, widths.p));
    add_stream(file, "", cmap.p, cmap.n); /* 9 */
    add(file, "<< /Type /Font /Subtype /Type0 /BaseFont /DejaVuSans /Encoding /Identity-H "
              "/DescendantFonts [8 0 R] /ToUnicode 9 0 R >>"); /* 10 */
    buf_fini(&widths);
    buf_fini(&cmap);
}

static void glyphs(const char *utf8, char *hex)
{
    struct str text = str_from(utf8);
    *hex = '\0';
    for (size_t i = 0; i < text.n;) {
        uint32_t c = (uint8_t)text.p[i];
        size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : 3;
        if (n == 2)
            c = (c & 31) << 6 | ((uint8_t)text.p[i + 1] & 63);
        hex += sprintf(hex, "%04X", FT_Get_Char_Index(face, c));
        i += n;
    }
}

/* The same as glyph numbers, two bytes each, as office programs and browsers write it. */
static void with_composite_font(const char *file, const char *name, const char *on)
{
    char content[16384], a[8192], b[512];
    glyphs(name, a);
    glyphs(on, b);
    snprintf(content, sizeof(content), "BT /F1 24 Tf 20 90 Td <%s> Tj 0 -60 Td [<%s>] TJ ET", a, b);
    write_document(
        file,
        &(struct document){.content = content, .fonts = "/F1 10 0 R", .more = add_composite_font});
}

/* cairo's: a subset, so what the page shows elsewhere is what can be drawn. */
static void by_cairo(const char *file, const char *name, const char *on)
{
    cairo_surface_t *surface = cairo_pdf_surface_create(in_folder(file), 20000, 200);
    cairo_t *cr = cairo_create(surface);
    cairo_select_font_face(cr, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, 8);
    cairo_move_to(cr, 20, 20);
    cairo_show_text(cr, "ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz 0123456789 -.\\()");
    cairo_set_font_size(cr, 24);
    cairo_move_to(cr, 20, 90);
    cairo_show_text(cr, name);
    cairo_move_to(cr, 20, 150);
    cairo_show_text(cr, on);
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
}

static void by_reportlab(const char *file, const char *name, const char *on)
{
    static const char script[] =
        "import sys\n"
        "from reportlab.pdfbase import pdfmetrics\n"
        "from reportlab.pdfbase.ttfonts import TTFont\n"
        "from reportlab.pdfgen import canvas\n"
        "pdfmetrics.registerFont(TTFont('DejaVu', '" DEJAVU "'))\n"
        "c = canvas.Canvas(sys.argv[1], pagesize=(20000, 200), invariant=1)\n"
        "c.setFont('DejaVu', 24)\n"
        "c.drawString(20, 90, sys.argv[2])\n"
        "c.setFont('Times-Roman', 24)\n"
        "c.drawString(20, 30, sys.argv[3])\n"
        "c.save()\n";
    char command[8192];
    write_file("draw.py", script, sizeof(script) - 1);
    snprintf(command, sizeof(command), "/usr/bin/python3 draw.py %s '%s' '%s'", file, name, on);
    must(command);
}

typedef void make_function(const char *file, const char *name, const char *on);
static const struct {
    const char *tool;
    make_function *make;
} tools[] = {{"by hand", by_hand},
             {"simple font", with_simple_font},
             {"composite font", with_composite_font},
             {"cairo", by_cairo},
             {"reportlab", by_reportlab}};

static const char *const changes[] = {
    "cp t.pdf v.pdf",
    "qpdf --object-streams=generate --linearize t.pdf v.pdf",
    "qpdf --stream-data=uncompress --decode-level=generalized --object-streams=disable t.pdf v.pdf",
    "qpdf --compress-streams=y --recompress-flate --compression-level=9 t.pdf v.pdf",
    "qpdf --qdf t.pdf v.pdf",
};

/* -- what is promised ----------------------------------------------------------------------------
 */

static void test_values_of_any_length_leave_no_fault_and_read_as_text(void **state)
{
    char long_value[1001];
    (void)state;
    for (size_t i = 0; i < sizeof(long_value) - 1; i++)
        long_value[i] = (char)('a' + i % 26);
    long_value[1000] = '\0';
    const char *const values[] = {"", "A", "Ada Byron.", long_value};

    for (size_t i = 0; i < COUNT(tools); i++) {
        tools[i].make("t.pdf", "%name%", "%timestamp%");
        for (size_t k = 0; k < COUNT(changes); k++) {
            must(changes[k]);
            struct pdf_template *template = load_good("v.pdf");
            for (size_t v = 0; v < COUNT(values); v++) {
                fill_file(template, &(struct values){.name = values[v]}, "out.pdf");
                const char *text = text_of("out.pdf");
                if (strstr(text, values[v]) == NULL || strstr(text, "2026-11-23") == NULL ||
                    strchr(text, '%') != NULL)
                    fail_msg("%s, %s: %zu characters: %.200s", tools[i].tool, changes[k],
                             strlen(values[v]), text);
            }
            pdf_template_destroy(&template);
        }
    }
}

static void test_it_looks_as_if_the_values_had_been_set(void **state)
{
    static const char name[] = "Ada \\(Byron) of 1815";
    (void)state;
    for (size_t i = 0; i < COUNT(tools); i++) {
        bool literal = tools[i].make == by_hand || tools[i].make == with_simple_font;
        tools[i].make("t.pdf", "%name%", "%timestamp%");
        tools[i].make("direct.pdf", literal ? "Ada \\\\\\(Byron\\) of 1815" : name, "2026-11-23");
        struct pdf_template *template = load_good("t.pdf");
        fill_file(template, &(struct values){.name = name}, "out.pdf");
        fill_file(template, &(struct values){.name = "Ada"}, "other.pdf");
        pdf_template_destroy(&template);
        size_t wrong = differing("out.pdf", "direct.pdf"),
               other = differing("out.pdf", "other.pdf");
        if (wrong > 4 || other < 200)
            fail_msg("%s: %zu pixels differ from the same text drawn directly, %zu from another",
                     tools[i].tool, wrong, other);
    }
}

static void test_cyrillic_and_accents_are_drawn_by_a_whole_font(void **state)
{
    static const char name[] = "\xd0\x90\xd0\xb4\xd0\xb0 \xc5\x81\xc3\xb3\xc3\xa9";
    (void)state;
    with_composite_font("t.pdf", "%name%", "%timestamp%");
    with_composite_font("direct.pdf", name, "2026-11-23");
    struct pdf_template *template = load_good("t.pdf");
    fill_file(template, &(struct values){.name = name}, "out.pdf");
    assert_contains(text_of("out.pdf"), name);
    assert_true(differing("out.pdf", "direct.pdf") <= 4);
    pdf_template_destroy(&template);
}

/* Word for word, to a hundredth of a millimetre. */
static void assert_same_places(const char *spelling, const char *value)
{
    static const char *const files[] = {"out.pdf", "direct.pdf"};
    double places[2][16];
    size_t counts[2] = {0, 0};

    for (size_t i = 0; i < 2; i++) {
        int code;
        const char *at = run(&code, "pdftotext -bbox %s -", files[i]);
        while ((at = strstr(at, "<word xMin=\"")) != NULL && counts[i] < 16)
            places[i][counts[i]++] = strtod(at += strlen("<word xMin=\""), NULL);
    }
    if (counts[0] == 0 || counts[0] != counts[1])
        fail_msg("%s with \"%s\": %zu words, not %zu", spelling, value, counts[0], counts[1]);
    for (size_t k = 0; k < counts[0]; k++)
        if (places[0][k] - places[1][k] > 0.03 || places[1][k] - places[0][k] > 0.03)
            fail_msg("%s with \"%s\": word %zu at %f, not at %f", spelling, value, k, places[0][k],
                     places[1][k]);
}

static void test_aligned_text_keeps_its_middle_or_end(void **state)
{
    static const struct {
        const char *spelling, *value;
        double part; /* of the width, left of the place */
    } cases[] = {
        {"%name:center%", "Ada", 0.5}, {"%name:center%", "Augusta Ada King", 0.5},
        {"%name:center%", "", 0.5},    {"%name:right%", "Augusta Ada King, Countess", 1},
        {"%name:right%", "A", 1},      {"%name:left%", "Ada", 0},
    };
    (void)state;
    for (size_t composite = 0; composite < 2; composite++)
        for (size_t i = 0; i < COUNT(cases); i++) {
            char content[2048], spelled[256], value[256];
            double of_value = 0, of_spelling = 0, spaces = 1;
            for (const char *p = cases[i].value; *p != '\0'; p++)
                of_value += width_of((uint8_t)*p) * 0.024 + spaces;
            for (const char *p = cases[i].spelling; *p != '\0'; p++)
                of_spelling += width_of((uint8_t)*p) * 0.024 + spaces;
            double end = 250 + of_spelling;
            double from = 250 + (of_spelling - of_value) * cases[i].part;
            glyphs(cases[i].spelling, spelled);
            glyphs(cases[i].value, value);
            const struct document document = {.content = content,
                                              .fonts = composite ? "/F1 10 0 R" : "/F1 8 0 R",
                                              .more =
                                                  composite ? add_composite_font : add_simple_font};
            const char *open = composite ? "<" : "(", *close = composite ? ">" : ")";
            snprintf(content, sizeof(content),
                     "BT /F1 24 Tf %g Tc 250 90 Td [%s%s%s] TJ %s%s%s Tj ET", spaces, open,
                     composite ? spelled : cases[i].spelling, close, open, composite ? "0011" : ".",
                     close);
            write_document("t.pdf", &document);
            /* What follows: where it stood, unless aligned to the left. */
            double dot = cases[i].part == 0 ? from + of_value : end;
            snprintf(content, sizeof(content),
                     "BT /F1 24 Tf %g Tc %.3f 90 Td %s%s%s Tj %.3f 0 Td %s%s%s Tj ET", spaces, from,
                     open, composite ? value : cases[i].value, close, dot - from, open,
                     composite ? "0011" : ".", close);
            write_document("direct.pdf", &document);
            struct pdf_template *template = load_good("t.pdf");
            fill_file(template, &(struct values){.name = cases[i].value}, "out.pdf");
            pdf_template_destroy(&template);
            assert_same_places(cases[i].spelling, cases[i].value);
        }
}

static void test_what_a_subset_lacks_is_told_and_refused(void **state)
{
    struct field_value fields[5];
    struct draw_problem problem;
    char *messages;
    struct buf pdf;
    h2o_mem_pool_t pool;
    struct out out;
    (void)state;

    by_cairo("t.pdf", "%name%", "");
    struct pdf_template *template = load("t.pdf", &messages);
    assert_non_null(template);
    assert_contains(messages, "warning: t.pdf: page 1: \"%name%\": its font ");
    assert_contains(messages, "DejaVuSans can't draw !-$ & ' *-, / :-@ [ ]-` {-~ U+00C0-U+00D6");
    free(messages);
    buf_init(&pdf, 1 << 20);
    assert_true(buf_append(&pdf, "kept", 4));
    static const struct {
        const char *name;
        uint32_t character;
    } cases[] = {{"Zo\xc3\xab", 0xeb},         {"\xe6\xbc\xa2", 0x6f22}, {"Ada!", '!'},
                 {"a\xcc\x81", 0x301},         {"\xd8\xb9", 0x639},      {"x\xe2\x80\xae", 0x202e},
                 {"\xf0\x9f\x8e\x93", 0x1f393}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct drawing drawing = drawing_of(&(struct values){.name = cases[i].name}, fields);
        assert_int_equal(pdf_template_draw(template, &drawing, &pdf, &problem), DRAW_CANT_SHOW);
        assert_true(str_eq(problem.field, STR("name")) && problem.field.p == fields[0].name.p);
        assert_int_equal(problem.character, cases[i].character);
        assert_int_equal(pdf.n, 4);
        h2o_mem_init_pool(&pool);
        out_init(&out, &pool, 0);
        assert_int_equal(pdf_template_write(template, &drawing, &out, &problem), DRAW_CANT_SHOW);
        assert_int_equal(out_size(&out), 0);
        h2o_mem_clear_pool(&pool);
    }
    buf_fini(&pdf);
    pdf_template_destroy(&template);
}

/* The font has the letters of "%name%" alone: it would draw boxes, or nothing. */
static void test_a_placeholder_that_can_draw_nothing_is_an_error(void **state)
{
    char *messages;
    (void)state;
    cairo_surface_t *surface = cairo_pdf_surface_create(in_folder("t.pdf"), 600, 200);
    cairo_t *cr = cairo_create(surface);
    cairo_select_font_face(cr, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_move_to(cr, 20, 20);
    cairo_show_text(cr, "%name% %timestamp%");
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
    assert_null(load("t.pdf", &messages));
    assert_contains(messages, "\"%timestamp%\" can't be drawn: its font");
    assert_contains(messages, "lacks 0-9; embed the whole font");
    free(messages);
    surface = cairo_pdf_surface_create(in_folder("t.pdf"), 600, 200);
    cr = cairo_create(surface);
    cairo_select_font_face(cr, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_move_to(cr, 20, 20);
    cairo_show_text(cr, "%name%");
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
    assert_null(load("t.pdf", &messages));
    assert_contains(messages, "page 1: \"%name%\" can't be drawn: its font ");
    assert_contains(messages, "has the letters of the placeholder and no others");
    free(messages);
}

static void test_hostile_values_are_text(void **state)
{
    char *long_value = malloc(10241);
    (void)state;
    memset(long_value, '(', 10240);
    long_value[10240] = '\0';
    const char *const values[] = {
        "%serial%",     "%%EOF %PDF-1.7",   "(((",     ") Tj ET endstream endobj", "\\",
        "<b>&amp;</b>", "xref 0 1 trailer", long_value};
    for (size_t i = 0; i < 3; i++) {
        tools[i].make("t.pdf", "%name%", "%timestamp%");
        struct pdf_template *template = load_good("t.pdf");
        for (size_t k = 0; k < COUNT(values); k++) {
            fill_file(template, &(struct values){.name = values[k], .title = values[k]}, "out.pdf");
            if (k + 1 < COUNT(values))
                assert_contains(text_of("out.pdf"), values[k]);
        }
        pdf_template_destroy(&template);
    }
    free(long_value);
}

/* A value that doesn't fit one stored block of deflate. */
static void test_a_value_longer_than_a_stored_block(void **state)
{
    enum { LONG = 200000 };
    char *value = malloc(LONG + 1);
    (void)state;
    for (size_t i = 0; i < LONG; i++)
        value[i] = (char)('a' + i % 23);
    value[LONG] = '\0';
    tools[2].make("t.pdf", "%name%", "%timestamp%");
    struct pdf_template *template = load_good("t.pdf");
    fill_file(template, &(struct values){.name = value}, "out.pdf");
    pdf_template_destroy(&template);
    free(value);
}

static void test_the_same_values_give_the_same_bytes(void **state)
{
    struct buf a, b;
    (void)state;
    buf_init(&a, 1 << 24);
    buf_init(&b, 1 << 24);
    for (size_t i = 0; i < COUNT(tools); i++) {
        tools[i].make("t.pdf", "%name%", "%timestamp%");
        struct pdf_template *template = load_good("t.pdf");
        fill(template, &(struct values){.name = "Ada"}, &a);
        pdf_template_destroy(&template);
        template = load_good("t.pdf");
        fill(template, &(struct values){.name = "Ada"}, &b);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.p, b.p, a.n);
        fill(template, &(struct values){.name = "Ada", .serial = "V0P4N"}, &b);
        assert_true(memmem(b.p, b.n, a.p + a.n - 80, 60) == NULL); /* another /ID */
        pdf_template_destroy(&template);
    }
    buf_fini(&a);
    buf_fini(&b);
}

static void test_ten_thousand_fills_take_no_memory(void **state)
{
    struct field_value fields[5];
    struct drawing drawing = drawing_of(&(struct values){.name = "Ada Lovelace"}, fields);
    struct draw_problem problem;
    struct buf pdf;
    (void)state;
    with_composite_font("t.pdf", "%name%", "%timestamp%");
    struct pdf_template *template = load_good("t.pdf");
    buf_init(&pdf, 1 << 24);
    assert_int_equal(pdf_template_draw(template, &drawing, &pdf, &problem), DRAW_OK);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 10000; i++) {
        buf_clear(&pdf);
        assert_int_equal(pdf_template_draw(template, &drawing, &pdf, &problem), DRAW_OK);
    }
    assert_int_equal(mallinfo2().uordblks, before);
    buf_fini(&pdf);
    pdf_template_destroy(&template);
}

static void test_files_that_are_no_templates(void **state)
{
    static const struct {
        const char *command, *message;
    } cases[] = {
        {"rm -f v.pdf", "error: no template \"v.pdf\" in "},
        {"printf 'no PDF' >v.pdf", "error: v.pdf: "},
        {"qpdf --encrypt secret secret 256 -- t.pdf v.pdf",
         "encrypted; save it without a password"},
        {"qpdf --encrypt '' owner 256 -- t.pdf v.pdf", "encrypted; save it without a password"},
        {"qpdf t.pdf --pages . -- v.pdf && qpdf --empty v.pdf", "it has no pages"},
    };
    (void)state;
    by_hand("t.pdf", "%name%", "%timestamp%");
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *messages;
        must(cases[i].command);
        assert_null(load("v.pdf", &messages));
        assert_contains(messages, cases[i].message);
        free(messages);
    }
}

static void test_describe_tells_a_line_a_placeholder(void **state)
{
    char *text;
    size_t n;
    (void)state;
    by_hand("t.pdf", "%name%", "%timestamp%");
    struct pdf_template *template = load_good("t.pdf");
    FILE *to = open_memstream(&text, &n);
    pdf_template_describe(template, to);
    fclose(to);
    assert_contains(text,
                    "  %name%: page 1, Helvetica (not embedded), draws U+0020 !-~ U+00A0-U+00AC");
    assert_contains(text, "\n  %timestamp%: page 1, Helvetica");
    free(text);
    pdf_template_destroy(&template);
}

static int begin(void **state)
{
    FT_Library library;
    return make_folder(state) != 0 || FT_Init_FreeType(&library) != 0 ||
           FT_New_Face(library, DEJAVU, 0, &face) != 0;
}

static int end(void **state)
{
    FT_Library library = face->glyph->library;
    FT_Done_FreeType(library);
    return remove_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_of_any_length_leave_no_fault_and_read_as_text),
        cmocka_unit_test(test_it_looks_as_if_the_values_had_been_set),
        cmocka_unit_test(test_cyrillic_and_accents_are_drawn_by_a_whole_font),
        cmocka_unit_test(test_aligned_text_keeps_its_middle_or_end),
        cmocka_unit_test(test_what_a_subset_lacks_is_told_and_refused),
        cmocka_unit_test(test_a_placeholder_that_can_draw_nothing_is_an_error),
        cmocka_unit_test(test_hostile_values_are_text),
        cmocka_unit_test(test_a_value_longer_than_a_stored_block),
        cmocka_unit_test(test_the_same_values_give_the_same_bytes),
        cmocka_unit_test(test_ten_thousand_fills_take_no_memory),
        cmocka_unit_test(test_files_that_are_no_templates),
        cmocka_unit_test(test_describe_tells_a_line_a_placeholder),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
