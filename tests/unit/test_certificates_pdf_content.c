/* Content streams of PDF templates: however a placeholder is spelled in operators, it is found and
 * filled in where it stood; what isn't one stays; what can't work is told when it is loaded. */
#include "pdf_fixture.h"

static char *content_of(const char *file)
{
    int code;
    const char *text = run(&code,
                           "qpdf --filtered-stream-data --show-object=$(qpdf --show-pages %s | "
                           "grep -A1 content: | sed -n 's/^ *\\([0-9]*\\) 0 R/\\1/p') %s",
                           file, file);
    assert_int_equal(code, 0);
    return strdup(text);
}

/* name = "Ann (B\\)", course = "" */
static void test_a_placeholder_is_found_however_it_is_written(void **state)
{
    static const struct {
        const char *content, *becomes;
    } cases[] = {
        {"BT /F1 9 Tf (%name%) Tj ET", "BT /F1 9 Tf [(Ann \\(B\\\\\\))] TJ ET"},
        {"BT /F1 9 Tf (to %name%!) Tj ET", "BT /F1 9 Tf [(to Ann \\(B\\\\\\)!)] TJ ET"},
        {"BT /F1 9 Tf (\\045n\\141me%) Tj ET", "BT /F1 9 Tf [(Ann \\(B\\\\\\))] TJ ET"},
        {"BT /F1 9 Tf <256e616d6525> Tj ET", "BT /F1 9 Tf [(Ann \\(B\\\\\\))] TJ ET"},
        {"BT /F1 9 Tf [(a)-5(%n)3(am)-20(e%)-7(b)] TJ ET",
         "BT /F1 9 Tf [(a)-5 (Ann \\(B\\\\\\))-7 (b)] TJ ET"},
        {"BT /F1 9 Tf [(%na)<6d6525>] TJ ET", "BT /F1 9 Tf [(Ann \\(B\\\\\\))] TJ ET"},
        {"BT /F1 9 Tf (%na) Tj 5 0 Td (me%.) Tj ET",
         "BT /F1 9 Tf [(Ann \\(B\\\\\\))] TJ 5 0 Td [(.)] TJ ET"},
        {"BT /F1 9 Tf (%) Tj ET BT /F1 9 Tf (name) Tj ET BT (%) Tj ET",
         "BT /F1 9 Tf [(Ann \\(B\\\\\\))] TJ ET BT /F1 9 Tf [] TJ ET BT [] TJ ET"},
        {"BT /F1 9 Tf (%name%) ' ET", "BT /F1 9 Tf T* [(Ann \\(B\\\\\\))] TJ ET"},
        {"BT /F1 9 Tf 1 2 (%name%) \" ET", "BT /F1 9 Tf 1 Tw 2 Tc T* [(Ann \\(B\\\\\\))] TJ ET"},
        {"q BT /F1 9 Tf ET q /F2 1 Tf Q BT (%name%) Tj ET Q",
         "q BT /F1 9 Tf ET q /F2 1 Tf Q BT [(Ann \\(B\\\\\\))] TJ ET Q"},
        {"BT /F1 9 Tf (50%%name%%) Tj ET", "BT /F1 9 Tf [(50%Ann \\(B\\\\\\)%)] TJ ET"},
        {"BT /F1 9 Tf (<%course%>) Tj (%name%) Tj ET",
         "BT /F1 9 Tf [(<>)] TJ [(Ann \\(B\\\\\\))] TJ ET"},
        {"/Span << /ActualText (%name%) >> BDC BT /F1 9 Tf (%name%) Tj ET EMC",
         "/Span << /ActualText <FEFF0041006E006E002000280042005C0029> >> BDC BT /F1 9 Tf "
         "[(Ann \\(B\\\\\\))] TJ ET EMC"},
        {"BI /W 1 /H 1 /BPC 8 /CS /G ID (\nEI BT /F1 9 Tf (%name%) Tj ET",
         "BI /W 1 /H 1 /BPC 8 /CS /G ID (\nEI BT /F1 9 Tf [(Ann \\(B\\\\\\))] TJ ET"},
        {"% (%name%)\nBT /F1 9 Tf (%name%) Tj ET",
         "% (%name%)\nBT /F1 9 Tf [(Ann \\(B\\\\\\))] TJ ET"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        write_document("c.pdf", &(struct document){.content = cases[i].content});
        struct pdf_template *template = load_good("c.pdf");
        fill_file(template, &(struct values){.name = "Ann (B\\)"}, "out.pdf");
        char *content = content_of("out.pdf");
        assert_string_equal(content, cases[i].becomes);
        free(content);
        pdf_template_destroy(&template);
    }
}

static void test_what_is_no_placeholder_stays(void **state)
{
    static const char *const texts[] = {
        "(100 % sure, 5 % less)", "(%%)",         "(%)", "(% name%)", "(%1st%)",
        "(%name% %na)",           "(%name:top%)",
    };
    char content[128], *after, expected[128];
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        snprintf(content, sizeof(content), "BT /F1 9 Tf %s Tj (%%course%%) Tj ET", texts[i]);
        write_document("c.pdf", &(struct document){.content = content});
        struct pdf_template *template = load_good("c.pdf");
        fill_file(template, &(struct values){.name = "x", .course = "y"}, "out.pdf");
        after = content_of("out.pdf");
        if (strstr(texts[i], "%name%") == NULL)
            snprintf(expected, sizeof(expected), "BT /F1 9 Tf %s Tj [(y)] TJ ET", texts[i]);
        else
            snprintf(expected, sizeof(expected), "BT /F1 9 Tf [(x %%na)] TJ [(y)] TJ ET");
        assert_string_equal(after, expected);
        free(after);
        pdf_template_destroy(&template);
    }
}

static void add_two_fonts(struct file *file)
{
    add(file, "<< /Type /Font /Subtype /Type1 /BaseFont /Times-Roman >>");
}

static void test_what_cant_work_is_told(void **state)
{
    static const struct {
        struct document document;
        const char *message;
    } cases[] = {
        {{.content = "BT /F1 9 Tf (%nmae%) Tj ET"},
         "gateway.toml:3:1: error: c.pdf: page 1: \"%nmae%\" is no field; did you mean "
         "\"%name%\"?"},
        {{.content = "BT /F1 9 Tf (%address%) Tj ET"}, "page 1: \"%address%\" is no field"},
        {{.content = "BT /F1 9 Tf (%name%) Tj ET", .info = "/Title (for %nmae%)"},
         "Info: \"%nmae%\" is no field; did you mean"},
        {{.content = "BT /F1 9 Tf (%na) Tj /F2 9 Tf (me%) Tj ET",
          .fonts = HELVETICA " /F2 6 0 R",
          .more = add_two_fonts},
         "page 1: \"%name%\" is set in two fonts"},
        {{.content = "BT /F1 9 Tf (%name:center%) Tj ET"},
         "can't be aligned: its font Helvetica tells no widths"},
        {{.content = "BT /F1 9 Tf 3 Tr (%name%) Tj ET"},
         "warning: c.pdf: page 1: \"%name%\" is "
         "invisible text"},
        {{.content = "BT /F1 9 Tf (nothing) Tj ET"},
         "warning: c.pdf: \"%name%\" does not stand as text"},
        {{.content = "BT /F1 9 Tf (nothing) Tj ET", .info = "/Title (%name%)"},
         "warning: c.pdf: \"%name%\" does not stand as text on a page"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *messages;
        write_document("c.pdf", &cases[i].document);
        struct pdf_template *template = load("c.pdf", &messages);
        assert_contains(messages, cases[i].message);
        assert_int_equal(template == NULL, strstr(messages, "error:") != NULL);
        free(messages);
        pdf_template_destroy(&template);
    }
}

static void add_form(struct file *file)
{
    static const char form[] = "BT /F1 20 Tf 20 50 Td (%name%) Tj ET";
    add_stream(file, "/Type /XObject /Subtype /Form /BBox [0 0 20000 200]", form, sizeof(form) - 1);
    add_stream(file,
               "/Type /XObject /Subtype /Form /BBox [0 0 20000 200] /Resources << /XObject << /X "
               "6 0 R >> /Font << " HELVETICA " >> >>",
               "/X Do", 5);
    static const char look[] = "BT /F1 20 Tf 2 2 Td (%course%) Tj ET";
    add_stream(file,
               "/Type /XObject /Subtype /Form /BBox [0 0 600 30] /Resources << /Font << " HELVETICA
               " >> >>",
               look, sizeof(look) - 1);
}

static void test_forms_and_appearances_are_filled_in(void **state)
{
    (void)state;
    write_document("c.pdf",
                   &(struct document){
                       .content = "/Y Do",
                       .resources = "/XObject << /Y 7 0 R /X 6 0 R >>",
                       .page = "/Annots [<< /Type /Annot /Subtype /Stamp /Rect [20 100 620 130] "
                               "/AP << /N 8 0 R >> /F 4 /Contents (of %name%) >>]",
                       .more = add_form});
    struct pdf_template *template = load_good("c.pdf");
    fill_file(template, &(struct values){.name = "Grace", .course = "Compilers"}, "out.pdf");
    const char *text = text_of("out.pdf");
    assert_contains(text, "Grace");
    assert_contains(text, "Compilers");
    pdf_template_destroy(&template);
}

static void add_metadata(struct file *file)
{
    static const char xmp[] =
        "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><t>%name% %no%</t></x:xmpmeta>";
    add_stream(file, "/Type /Metadata /Subtype /XML", xmp, sizeof(xmp) - 1);
}

static void test_placeholders_outside_of_pages(void **state)
{
    int code;
    (void)state;
    write_document(
        "c.pdf",
        &(struct document){
            .content = "BT /F1 9 Tf (%name%) Tj ET",
            .catalog = "/Metadata 6 0 R",
            .info = "/Title (For %name%) /Author <FEFF00250063006F00750072007300650025> "
                    "/CreationDate (D:19990101000000Z)",
            .page = "/Annots [<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /A << /S /URI /URI "
                    "(http://x.example/%20?n=%name%&%C3%A4) >> >> << /Type /Annot /Subtype /Link "
                    "/Rect [0 0 9 9] /A << /S /URI /URI (%verify_url%) >> >>]",
            .more = add_metadata});
    struct pdf_template *template = load_good("c.pdf");
    fill_file(
        template,
        &(struct values){.name = "O'Neill & <b>", .course = "\xd0\x94\xe6\xbc\xa2\xf0\x9f\x8e\x93"},
        "out.pdf");
    const char *info = run(&code, "pdfinfo -rawdates out.pdf; pdfinfo -url out.pdf; "
                                  "pdfinfo -meta out.pdf");
    assert_contains(info, "Title:           For O'Neill & <b>\n");
    assert_contains(info, "Author:          \xd0\x94\xe6\xbc\xa2\xf0\x9f\x8e\x93\n");
    assert_contains(info, "CreationDate:    D:20261123013000Z\n");
    assert_contains(info, "ModDate:         D:20261123013000Z\n");
    assert_contains(info, "http://x.example/%20?n=O%27Neill%20%26%20%3Cb%3E&%C3%A4\n");
    assert_contains(info, "https://example.org/certificates/8K3QF?a=%28b%29\n");
    assert_contains(info, "<t>O&#39;Neill &amp; &lt;b&gt; %no%</t>");
    fill_file(template,
              &(struct values){.name = "A", .title = "\xc3\x84 title", .when_s = 951825599},
              "out.pdf");
    info = run(&code, "pdfinfo -rawdates out.pdf");
    assert_contains(info, "Title:           \xc3\x84 title\n");
    assert_contains(info, "CreationDate:    D:20000229115959Z\n");
    assert_null(strstr(info, "For A"));
    pdf_template_destroy(&template);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_placeholder_is_found_however_it_is_written),
        cmocka_unit_test(test_what_is_no_placeholder_stays),
        cmocka_unit_test(test_what_cant_work_is_told),
        cmocka_unit_test(test_forms_and_appearances_are_filled_in),
        cmocka_unit_test(test_placeholders_outside_of_pages),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
