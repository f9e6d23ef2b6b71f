/* What is on a certificate that was drawn from an SVG, as other programs see it. */
#include "tests/unit/certificates_svg.h"
#include "certificates/svg_internal.h"

static void test_the_default_certificate_shows_names_in_every_script(void **state)
{
    (void)state;
    static const struct {
        const char *name, *course, *found; /* what a search finds; NULL = the name */
    } rows[] = {
        {"Ada Lovelace", "Throwing on the Kick Wheel", NULL},
        {"Ada Lovelace", "", NULL},
        {"王小明", "陶艺入门课程", NULL},
        {"陳國華", "陶藝入門課程", NULL},
        {"やまだ たろう", "陶芸", NULL},
        {"김철수", "도예", NULL},
        {"محمد الخوارزمي", "دورة صناعة الخزف", "محمد الخوارزمي"},
        {"Анна Достоевская", "Гончарное дело", NULL},
        {"Γιώργος Σεφέρης", "Κεραμική", NULL},
        {"Jose\xcc\x81 Nguyễn Thị Ánh", "Łódź", NULL},
        {"José García", "Ünïcödé", NULL},
        {"आर्यभट", "कुम्हारी", NULL},
        {"O'Brien & Söhne <\"gut\">", "A&amp;B", NULL},
    };
    struct svg_template *template = load_default();
    struct folder folder = folder_make();
    for (size_t i = 0; i < COUNT(rows); i++) {
        draw_file(template, &folder, rows[i].name, rows[i].course);
        judge(&folder);
        char *text = text_of_pdf(&folder);
        const char *wanted = rows[i].found != NULL ? rows[i].found : rows[i].name;
        if (strstr(text, wanted) == NULL)
            fail_msg("\"%s\" not found in:\n%s", wanted, text);
        assert_non_null(strstr(text, "8K3QF-2M7XR-V0P4N-J6T9W"));
        assert_non_null(strstr(text, "2026-11-22"));
        assert_int_equal(strstr(text, "has completed the course\n") != NULL,
                         rows[i].course[0] != '\0');
        free(text);
    }
    folder_remove(&folder);
    svg_template_destroy(&template);
}

static void test_page_title_and_date_are_the_documents(void **state)
{
    (void)state;
    struct svg_template *template = load_default();
    struct folder folder = folder_make();
    draw_file(template, &folder, "Ada", "x");
    char *info = output_of("TZ=UTC pdfinfo -isodates %s/out.pdf", folder.path);
    assert_non_null(strstr(info, "(A4)"));
    assert_non_null(strstr(info, "Pages:           1\n"));
    assert_non_null(strstr(info, "Title:           Certificate of learning\n"));
    assert_non_null(strstr(info, "CreationDate:    2026-11-22T09:33:20Z\n"));
    free(info);
    folder_remove(&folder);
    svg_template_destroy(&template);
}

static void test_qr_code_on_paper_leads_to_the_verify_page(void **state)
{
    (void)state;
    struct svg_template *template = load_default();
    struct folder folder = folder_make();
    draw_file(template, &folder, "Ada", "x");
    char *read = output_of("cd %s && pdftoppm -r 100 -png -singlefile out.pdf page && "
                           "zbarimg -q --raw page.png",
                           folder.path);
    assert_string_equal(read, VERIFY_URL "\n");
    free(read);
    folder_remove(&folder);
    svg_template_destroy(&template);
}

/* The box of the only word of a page, in points. */
struct box {
    double left, top, right, bottom;
};

static struct box word_box(const struct folder *folder)
{
    struct box box;
    char *bbox = output_of("pdftotext -bbox %s/out.pdf - | grep '<word'", folder->path);
    assert_int_equal(sscanf(bbox, " <word xMin=\"%lf\" yMin=\"%lf\" xMax=\"%lf\" yMax=\"%lf\"",
                            &box.left, &box.top, &box.right, &box.bottom),
                     4);
    assert_null(strstr(strstr(bbox, "</word>"), "<word"));
    free(bbox);
    return box;
}

/* 400 px are 300 points; the text may be 160 px = 120 points wide, and stands at 200 px. */
static void test_long_names_shrink_where_they_stand(void **state)
{
    (void)state;
    static const struct {
        const char *anchor;
        double left, right;
    } rows[] = {{"start", 150, 270}, {"middle", 90, 210}, {"end", 30, 150}};
    static const char longname[] = "Konstantinopolitanska-Featherstonehaugh-Wolfeschlegelstein";
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[512];
        snprintf(text, sizeof(text),
                 SVG("<g style='font: 20px DejaVu Sans'>{{#name}}<text gw:fit='160' x='200' "
                     "y='100' text-anchor='%s'>{{name}}</text>{{/name}}</g>"),
                 rows[i].anchor);
        struct folder folder = folder_make();
        struct svg_template *template = load_text(&folder, text);
        draw_file(template, &folder, longname, "");
        judge(&folder);
        struct box fitted = word_box(&folder);
        assert_true(fitted.left > rows[i].left - 1 && fitted.left < rows[i].left + 2);
        assert_true(fitted.right > rows[i].right - 2 && fitted.right < rows[i].right + 1);
        /* Less high too, about a base line that stays: 75 points from the top. */
        assert_true(fitted.bottom - fitted.top < 7 && fitted.bottom > 75 && fitted.bottom < 78);

        draw_file(template, &folder, "Anna", "");
        struct box whole = word_box(&folder);
        assert_true(whole.bottom - whole.top > 14);
        draw_file(template, &folder, "", ""); /* then the text isn't there at all */
        folder_remove(&folder);
        svg_template_destroy(&template);
    }
}

static void test_hostile_values_are_text_and_nothing_else(void **state)
{
    (void)state;
    static const char *const values[] = {
        "</text><script>alert(1)</script>",
        "<image href=\"/etc/passwd\"/>",
        "&name; &#x41; ]]> <!--",
        "%PDF-1.7 %%EOF (endobj) >> stream",
        "{{serial}} {{{course}}} {{>x}}",
        "\"' onload=\"x",
        "(((((((\\)",
        "xmlns:x=\"y\" gw:fit=\"1\"",
    };
    struct folder folder = folder_make();
    struct svg_template *template =
        load_text(&folder, SVG("<text x='5' y='50' gw:fit='390' font-size='9' font-family='DejaVu "
                               "Sans' aria-label='{{name}}'>{{name}}</text>"));
    for (size_t i = 0; i < COUNT(values); i++) {
        draw_file(template, &folder, values[i], "");
        judge(&folder);
        char *text = text_of_pdf(&folder);
        if (strstr(text, values[i]) == NULL)
            fail_msg("\"%s\" not found in:\n%s", values[i], text);
        free(text);
    }
    char *huge = malloc(10001);
    memset(huge, 'W', 10000);
    huge[10000] = '\0';
    draw_file(template, &folder, huge, "");
    judge(&folder);
    free(huge);
    folder_remove(&folder);
    svg_template_destroy(&template);
}

static void test_characters_without_a_font_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *name, *course, *field;
        uint32_t character;
    } rows[] = {
        {"Ada", "x", NULL, 0},
        {"\xf0\x92\x80\x80", "x", "name", 0x12000},                  /* cuneiform */
        {"Ada", "\xf4\x8f\xbf\xbd", "course", 0x10fffd},             /* private use */
        {"\xef\xbf\xbf", "x", "name", 0xffff},                       /* XML has none */
        {"A\x01", "x", "name", 1},                                   /* nor this one */
        {"Ada \xe2\x80\xaegnirts", "x", "name", 0x202e},             /* turns the rest around */
        {"A\xe2\x81\xa7", "x", "name", 0x2067},                      /* so does this */
        {"\xd9\x85\xe2\x80\x8c\xd9\x87 \xef\xb8\x8f", "x", NULL, 0}, /* ZWNJ, variation selector */
        {"a\xe2\x80\x89z\xc2\xa0\xe3\x80\x80", "x", NULL, 0},        /* blanks of all kinds */
    };
    struct svg_template *template = load_default();
    struct buf pdf;
    buf_init(&pdf, 16 * 1024 * 1024);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct draw_problem problem = {0};
        enum draw_result result =
            draw_fields(template, rows[i].name, rows[i].course, &pdf, &problem);
        assert_int_equal(result, rows[i].field != NULL ? DRAW_CANT_SHOW : DRAW_OK);
        assert_int_equal(problem.character, rows[i].character);
        if (rows[i].field != NULL)
            assert_true(str_eq(problem.field, str_from(rows[i].field)));
    }
    buf_fini(&pdf);
    svg_template_destroy(&template);
}

static void test_fields_that_arent_shown_may_hold_anything(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    struct svg_template *template = load_text(&folder, SVG("<text y='50'>{{name}}</text>"));
    draw_file(template, &folder, "Ada", "\xf0\x92\x80\x80");
    folder_remove(&folder);
    svg_template_destroy(&template);
}

/* A line has no area, so cairo's own answer would be empty: see cairo_fill_extents. */
static void test_no_area_is_worked_out_to_know_the_ink(void **state)
{
    (void)state;
    static char text[] = SVG("<path id='line' d='M30 40h200'/>");
    h2o_mem_pool_t pool;
    struct out out;
    h2o_mem_init_pool(&pool);
    out_init(&out, &pool, 0);
    out_write(&out, text, strlen(text));
    RsvgHandle *svg = svg_parse(&out, NULL, NULL);
    assert_non_null(svg);
    RsvgRectangle ink;
    assert_true(rsvg_handle_get_geometry_for_element(svg, "#line", &ink, NULL, NULL));
    assert_true(ink.width == 200);
    g_object_unref(svg);
    h2o_mem_clear_pool(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_default_certificate_shows_names_in_every_script),
        cmocka_unit_test(test_page_title_and_date_are_the_documents),
        cmocka_unit_test(test_qr_code_on_paper_leads_to_the_verify_page),
        cmocka_unit_test(test_long_names_shrink_where_they_stand),
        cmocka_unit_test(test_hostile_values_are_text_and_nothing_else),
        cmocka_unit_test(test_characters_without_a_font_are_refused_by_name),
        cmocka_unit_test(test_fields_that_arent_shown_may_hold_anything),
        cmocka_unit_test(test_no_area_is_worked_out_to_know_the_ink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
