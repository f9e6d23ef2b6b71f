/* What is told about an SVG template before anybody gets a certificate, and what it can reach. */
#include "tests/unit/certificates_svg.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include "certificates/template.h"

#define FIELDS "<text y='9'>{{name}}{{course}}</text>"

static void test_mistakes_are_told_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *template, *said;
        bool loads;
    } rows[] = {
        {SVG(FIELDS), "", true},
        {SVG(FIELDS "{{#qr}}<path d='{{path}}' id='q{{size}}{{qr.size}}'/>{{/qr}}"), "", true},
        {SVG("{{nmae}}{{course}}"),
         "t.svg:1:109: error: the certificate has no field \"nmae\", did you mean \"name\"?\n",
         false},
        {SVG(FIELDS "\n{{^cours}}\n{{path}}{{/cours}}"),
         "t.svg:2:1: error: the certificate has no field \"cours\", did you mean \"course\"?\n"
         "t.svg:3:1: error: the certificate has no field \"path\"\n",
         false},
        {SVG(FIELDS "{{#teacher}}{{teacher}}{{/teacher}}{{^school}}-{{/school}}"), "", true},
        {SVG(FIELDS "{{teacher}}{{#teacher}}{{/teacher}}"),
         "t.svg:1:146: error: the certificate has no field \"teacher\"\n", false},
        {SVG("{{name.first}}{{course}}"),
         "t.svg:1:109: error: the certificate has no field \"name.first\"\n", false},
        {SVG("{{! nmae }}" FIELDS "{{=<% %>=}}<!-- <% name %> {{nmae}} --><%={{ }}=%>{{>*name}}"),
         "t.svg:1:207: error: a certificate's partial can't be named by a value\n", false},
        {SVG("\n<text y='9'>{{{name}}}{{& course}}</text>"),
         "t.svg:2:13: warning: the value of \"name\" gets into the SVG unescaped: a name with < or "
         "& breaks it, and whoever sends one can draw; write {{name}}\n"
         "t.svg:2:23: warning: the value of \"course\" gets into the SVG unescaped: a name with < "
         "or & breaks it, and whoever sends one can draw; write {{course}}\n",
         true},
        {SVG("<text y='9'>{{name}}</text>"),
         "gateway.toml:3:12: warning: the field \"course\" isn't shown by t.svg\n", true},
        {SVG(FIELDS "{{#name}}"), "t.svg:1:146: error: {{#name}} is never closed\n", false},
        {SVG(FIELDS "\n<g opacity='.5'/>\n<g\n opacity='1' style='fill:red; opacity : {{name}}'/>"),
         "t.svg:2:4: warning: \"opacity\" turns what it is on into a picture: text there can't be "
         "found, copied or printed sharply; fill-opacity and stroke-opacity don't\n"
         "t.svg:4:31: warning: \"opacity\" turns what it is on into a picture: text there can't be "
         "found, copied or printed sharply; fill-opacity and stroke-opacity don't\n",
         true},
        {SVG(FIELDS "<style>\n/* opacity: .1 */ .a { fill-opacity: .5; filter: none }\n"
                    ".b { mask: url(#m) }</style>"),
         "t.svg:3:6: warning: \"mask\" turns what it is on into a picture: text there can't be "
         "found, copied or printed sharply; clip-path doesn't\n",
         true},
        {SVG(FIELDS "<!-- <g opacity='.5'> {{! } --><g/>-->"),
         "t.svg:1:168: error: tag is never "
         "closed, no \"}}\" follows\n",
         false},
        {SVG(FIELDS "<!-- <g opacity='.5'/> --><![CDATA[<g opacity='.5'/>]]>"), "", true},
        {SVG(FIELDS "<text gw:fit='9' y='1'>x</text>"),
         "t.svg:1:152: error: gw:fit needs x and y on the same <text>, a number each: it shrinks "
         "about there\n",
         false},
        {SVG(FIELDS "<text gw:fit='9' x='{{name}}' y='1'>x</text>"),
         "t.svg:1:152: error: gw:fit needs x and y on the same <text>, a number each: it shrinks "
         "about there\n",
         false},
        {SVG(FIELDS "<text gw:fit='wide' x='1' y='1'>x</text>"),
         "t.svg:1:152: error: gw:fit must be a width: a number, in the units of x and y\n", false},
        {SVG(FIELDS "<g gw:fit='5'/>"), "t.svg:1:149: error: gw:fit is for <text>\n", false},
        {SVG(FIELDS "<text gw:fit='5' x='1' y='1' transform='scale(2)'>x</text>"),
         "t.svg:1:152: error: gw:fit makes a transform of its own: put this one on a <g> around "
         "the <text>\n",
         false},
        {SVG(FIELDS "<a xlink:href='https://example.org/'><text>x</text></a>"),
         "t.svg:1:146: error: links can't be drawn: the PDF that cairo writes of <a> is damaged\n",
         false},
        {SVG(FIELDS "<image href='none.png'/><image xlink:href='/etc/hostname'/>"
                    "<image href='{{name}}'/><image href='data:,x'/>"),
         "t.svg:1:153: warning: the picture \"none.png\" isn't there\n"
         "t.svg:1:177: warning: the picture \"/etc/hostname\" isn't drawn: only files in the "
         "template's folder or below it are\n",
         true},
        {SVG(FIELDS "<text>\xf0\x92\x80\x80</text>"),
         "t.svg: warning: no installed font can draw U+12000, which stands in it\n", true},
        {SVG(FIELDS "<g></h>"), "t.svg: error: XML parse error: ", false},
        {"<svg xmlns=\"http://www.w3.org/2000/svg\">" FIELDS "</svg>",
         "t.svg: error: the <svg> has neither width and height nor a viewBox, so the page has no "
         "size\n",
         false},
        {"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"10m\" height=\"999in\">" FIELDS
         "</svg>",
         "t.svg: error: ", false},
        {SVG(FIELDS "{{>seal}}"), "t.svg:1:146: error: no template \"seal\" in \n", false},
        {SVG(FIELDS "{{>../t.svg}}"), "t.svg:1:146: error: no template \"../t.svg\" in \n", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct folder folder = folder_make();
        char *said;
        write_file(&folder, "t.svg", rows[i].template, strlen(rows[i].template));
        struct svg_template *template = load_in(&folder, "t.svg", &said);
        /* what librsvg says may go on */
        bool begins = rows[i].said[0] != '\0' && rows[i].said[strlen(rows[i].said) - 1] != '\n';
        if (begins ? strncmp(said, rows[i].said, strlen(rows[i].said)) != 0
                   : strcmp(said, rows[i].said) != 0)
            fail_msg("row %zu says:\n%s", i, said);
        assert_int_equal(template != NULL, rows[i].loads);
        free(said);
        svg_template_destroy(&template);
        folder_remove(&folder);
    }
}

static void test_partials_are_read_and_their_text_shrinks_too(void **state)
{
    (void)state;
    static const char line[] = "<text x='0' y='20' gw:fit='100' font-family='DejaVu Sans'>"
                               "{{name}}</text>{{nmae}}";
    struct folder folder = folder_make();
    char *said;
    write_file(&folder, "t.svg", SVG("{{>line}}{{course}}"),
               sizeof(SVG("{{>line}}{{course}}")) - 1);
    write_file(&folder, "line.svg", line, sizeof(line) - 1);
    assert_null(load_in(&folder, "t.svg", &said));
    assert_string_equal(said, "line.svg:1:74: error: the certificate has no field \"nmae\", did "
                              "you mean \"name\"?\n");
    free(said);

    write_file(&folder, "line.svg", line, sizeof(line) - 1 - strlen("{{nmae}}"));
    struct svg_template *template = load_in(&folder, "t.svg", &said);
    assert_string_equal(said, "");
    free(said);
    draw_file(template, &folder, "Wolfeschlegelsteinhausenbergerdorff", "");
    double left, right;
    char *bbox = output_of("pdftotext -bbox %s/out.pdf - | grep '<word'", folder.path);
    assert_int_equal(sscanf(bbox, " <word xMin=\"%lf\" yMin=\"%*f\" xMax=\"%lf\"", &left, &right),
                     2);
    assert_true(left < 1 && right > 73 && right < 76); /* 100 px */
    free(bbox);
    svg_template_destroy(&template);
    folder_remove(&folder);
}

/* A picture of one pixel. */
static const unsigned char png[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48,
    0x44, 0x52, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x02, 0x00, 0x00,
    0x00, 0x90, 0x77, 0x53, 0xde, 0x00, 0x00, 0x00, 0x0c, 0x49, 0x44, 0x41, 0x54, 0x08,
    0xd7, 0x63, 0xf8, 0xcf, 0xc0, 0x00, 0x00, 0x03, 0x01, 0x01, 0x00, 0x18, 0xdd, 0x8d,
    0xb0, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};

static int listening(unsigned *port_r)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    *port_r = ntohs(at.sin_port);
    return fd;
}

/* The template lets the value name a picture: it may be one next to it, and nothing else. */
static void test_values_reach_no_file_outside_and_no_network(void **state)
{
    (void)state;
    struct folder outer = folder_make();
    char inside[300], names[10][300];
    unsigned port;
    int fd = listening(&port);
    write_file(&outer, "secret.png", png, sizeof(png));
    snprintf(inside, sizeof(inside), "%s/templates", outer.path);
    assert_int_equal(mkdir(inside, 0755), 0);
    write_file(&outer, "templates/photo.png", png, sizeof(png));
    char link[320];
    snprintf(link, sizeof(link), "%s/link.png", inside);
    assert_int_equal(symlink("../secret.png", link), 0);
    static const char text[] =
        SVG("<text y='20'>{{course}}</text><image width='9' height='9' xlink:href='{{name}}'/>"
            "<style>@import url('{{name}}');</style><use xlink:href='{{name}}#a'/>");
    write_file(&outer, "templates/t.svg", text, sizeof(text) - 1);

    snprintf(names[0], 300, "photo.png");
    snprintf(names[1], 300, "../secret.png");
    snprintf(names[2], 300, "%s/secret.png", outer.path);
    snprintf(names[3], 300, "file://%s/secret.png", outer.path);
    snprintf(names[4], 300, "http://127.0.0.1:%u/a.png", port);
    snprintf(names[5], 300, "//127.0.0.1:%u/a.png", port);
    snprintf(names[6], 300, "link.png");
    snprintf(names[7], 300, "%%2e%%2e/secret.png");
    snprintf(names[8], 300, "photo.png/../../secret.png");
    snprintf(names[9], 300, "data:image/png;base64,AAAA");
    struct folder folder;
    strcpy(folder.path, outer.path);
    strcat(folder.path, "/templates");
    char *said;
    struct svg_template *template = load_in(&folder, "t.svg", &said);
    assert_non_null(template);
    free(said);
    for (size_t i = 0; i < COUNT(names); i++) {
        if (strchr(names[i], ':') != NULL) {
            assert_refused(template, names[i], "name");
            continue;
        }
        draw_file(template, &folder, names[i], "");
        char *pictures = output_of("pdfimages -list %s/out.pdf | tail -n +3 | wc -l", folder.path);
        if (atoi(pictures) != (i == 0))
            fail_msg("%s: %s pictures", names[i], pictures);
        free(pictures);
    }
    assert_int_equal(poll(&(struct pollfd){fd, POLLIN, 0}, 1, 0), 0);
    close(fd);
    svg_template_destroy(&template);
    folder_remove(&outer);
}

/* -- the other kind, as far as choosing it goes ------------------------------------------------ */

__attribute__((weak)) struct pdf_template *pdf_template_load(const char *dir, const char *name,
                                                             const struct template_fields *fields,
                                                             struct pos at, struct diag *diag)
{
    (void)dir, (void)fields;
    diag_error(diag, at, "the .pdf kind was asked for %s", name);
    return NULL;
}
__attribute__((weak)) void pdf_template_destroy(struct pdf_template **template_p)
{
    assert_null(*template_p);
}
__attribute__((weak)) enum draw_result pdf_template_draw(const struct pdf_template *template,
                                                         const struct drawing *drawing,
                                                         struct buf *pdf,
                                                         struct draw_problem *problem_r)
{
    (void)template, (void)drawing, (void)pdf, (void)problem_r;
    return DRAW_FAILED;
}
__attribute__((weak)) enum draw_result pdf_template_write(const struct pdf_template *template,
                                                          const struct drawing *drawing,
                                                          struct out *out,
                                                          struct draw_problem *problem_r)
{
    (void)template, (void)drawing, (void)out, (void)problem_r;
    return DRAW_FAILED;
}
__attribute__((weak)) void pdf_template_describe(const struct pdf_template *template, FILE *to)
{
    (void)template, (void)to;
}

static void test_the_ending_tells_the_kind(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    static const char text[] = SVG("<text x='1' y='9' gw:fit='50'>{{name}}</text>");
    write_file(&folder, "t.svg", text, sizeof(text) - 1);
    struct template_fields fields = {all_fields, 1};
    static const char *const wrong[] = {"t.png", "svg", ".svg", "t.SVG", "t.svg.txt", ""};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct diag *diag = diag_create();
        assert_null(cert_template_load(folder.path, wrong[i], &fields, (struct pos){0}, diag));
        assert_int_equal(diag_errors(diag), 1);
        diag_destroy(&diag);
    }
    struct diag *diag = diag_create();
    assert_null(cert_template_load(folder.path, "t.pdf", &fields, (struct pos){0}, diag));
    assert_int_equal(diag_errors(diag), 1); /* the .pdf kind's own */

    struct cert_template *template =
        cert_template_load(folder.path, "t.svg", &fields, (struct pos){0}, diag);
    assert_non_null(template);
    assert_true(cert_template_is_heavy(template));
    char *described;
    size_t n;
    FILE *to = open_memstream(&described, &n);
    cert_template_describe(template, to);
    fclose(to);
    assert_string_equal(described, "  {{name}}\n  1 text may shrink (gw:fit)\n");
    free(described);
    struct buf pdf;
    struct draw_problem problem;
    buf_init(&pdf, 1024 * 1024);
    assert_int_equal(cert_template_draw(template, &(struct drawing){0}, &pdf, &problem), DRAW_OK);
    buf_fini(&pdf);
    cert_template_destroy(&template);
    diag_destroy(&diag);
    folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes_are_told_with_their_place),
        cmocka_unit_test(test_partials_are_read_and_their_text_shrinks_too),
        cmocka_unit_test(test_values_reach_no_file_outside_and_no_network),
        cmocka_unit_test(test_the_ending_tells_the_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
