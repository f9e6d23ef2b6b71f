/* What the tests of .svg templates share: a folder with a template, a drawing of it, and the
 * judges: qpdf and poppler's tools, which know nothing of us. */
#ifndef GW_TEST_CERTIFICATES_SVG_H
#define GW_TEST_CERTIFICATES_SVG_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "certificates/template_kinds.h"

#define SVG(inside)                                                                           \
    "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" " \
    "width=\"400\" height=\"300\">" inside "</svg>"
#define VERIFY_URL "https://example.org/certificates/8K3QF-2M7XR-V0P4N-J6T9W"

static const struct str all_fields[] = {STR("name"), STR("course"), STR("serial"), STR("timestamp"),
                                        STR("verify_url")};

/* -- files ------------------------------------------------------------------------------------- */

struct folder {
    char path[256];
};

static inline struct folder folder_make(void)
{
    struct folder folder = {"/tmp/gw-svg-XXXXXX"};
    assert_non_null(mkdtemp(folder.path));
    return folder;
}

static inline void folder_remove(struct folder *folder)
{
    char command[300];
    snprintf(command, sizeof(command), "rm -r %s", folder->path);
    assert_int_equal(system(command), 0);
}

static inline void write_file(const struct folder *folder, const char *name, const void *bytes,
                              size_t n)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

/* What a shell command prints, malloc'ed; it must succeed. */
static inline char *output_of(const char *format, ...)
{
    char command[1024], *text = NULL;
    size_t n = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    FILE *pipe = popen(command, "r"), *to = open_memstream(&text, &n);
    char bytes[4096];
    for (size_t got; (got = fread(bytes, 1, sizeof(bytes), pipe)) > 0;)
        fwrite(bytes, 1, got, to);
    fclose(to);
    if (pclose(pipe) != 0)
        fail_msg("failed: %s\n%s", command, text);
    return text;
}

/* -- templates --------------------------------------------------------------------------------- */

/* What loading says, malloc'ed, the folder's name left out. */
static inline struct svg_template *load_in(const struct folder *folder, const char *name,
                                           char **said_r)
{
    struct diag *diag = diag_create();
    struct template_fields fields = {all_fields, COUNT(all_fields)};
    struct svg_template *template =
        svg_template_load(folder->path, name, &fields, (struct pos){"gateway.toml", 3, 12}, diag);
    size_t n;
    FILE *to = open_memstream(said_r, &n);
    diag_print(diag, to);
    fclose(to);
    diag_destroy(&diag);
    for (char *at; (at = strstr(*said_r, folder->path)) != NULL;) {
        size_t cut = strlen(folder->path) + (at[strlen(folder->path)] == '/');
        memmove(at, at + cut, strlen(at + cut) + 1);
    }
    return template;
}

static inline struct svg_template *load_text(const struct folder *folder, const char *text)
{
    char *said;
    write_file(folder, "t.svg", text, strlen(text));
    struct svg_template *template = load_in(folder, "t.svg", &said);
    if (template == NULL)
        fail_msg("%s", said);
    free(said);
    return template;
}

static inline struct svg_template *load_default(void)
{
    char dir[512], *said;
    assert_non_null(getcwd(dir, sizeof(dir) - sizeof("/templates")));
    strcat(dir, "/templates");
    struct diag *diag = diag_create();
    struct template_fields fields = {all_fields, COUNT(all_fields)};
    struct svg_template *template =
        svg_template_load(dir, "certificate.svg", &fields, (struct pos){NULL, 0, 0}, diag);
    size_t n;
    FILE *to = open_memstream(&said, &n);
    diag_print(diag, to);
    fclose(to);
    assert_string_equal(said, ""); /* no warning either */
    free(said);
    diag_destroy(&diag);
    assert_non_null(template);
    return template;
}

/* -- drawings ---------------------------------------------------------------------------------- */

static inline enum draw_result draw_fields(const struct svg_template *template, const char *name,
                                           const char *course, struct buf *pdf,
                                           struct draw_problem *problem_r)
{
    struct field_value fields[] = {{STR("name"), str_from(name)},
                                   {STR("course"), str_from(course)},
                                   {STR("serial"), STR("8K3QF-2M7XR-V0P4N-J6T9W")},
                                   {STR("timestamp"), STR("2026-11-22")},
                                   {STR("verify_url"), STR(VERIFY_URL)}};
    struct drawing drawing = {.fields = fields,
                              .field_count = COUNT(fields),
                              .title = STR("Certificate of learning"),
                              .verify_url = STR(VERIFY_URL),
                              .serial = STR("8K3QF-2M7XR-V0P4N-J6T9W"),
                              .when_s = 1795340000};
    return svg_template_draw(template, &drawing, pdf, problem_r);
}

/* Into out.pdf of the folder. */
static inline void draw_file(const struct svg_template *template, const struct folder *folder,
                             const char *name, const char *course)
{
    struct buf pdf;
    struct draw_problem problem;
    buf_init(&pdf, 16 * 1024 * 1024);
    assert_int_equal(draw_fields(template, name, course, &pdf, &problem), DRAW_OK);
    write_file(folder, "out.pdf", pdf.p, pdf.n);
    buf_fini(&pdf);
}

/* As `name`. */
static inline void assert_refused(const struct svg_template *template, const char *name,
                                  const char *field)
{
    struct buf pdf;
    struct draw_problem problem;
    buf_init(&pdf, 16 * 1024 * 1024);
    assert_int_equal(draw_fields(template, name, "", &pdf, &problem), DRAW_CANT_SHOW);
    assert_true(str_eq(problem.field, str_from(field)));
    assert_int_equal(pdf.n, 0);
    buf_fini(&pdf);
}

/* No fault in it; every font is embedded, as a subset, with what maps it back to text; no picture,
 * wherever it might hide. */
static inline void judge(const struct folder *folder)
{
    free(output_of("qpdf --check %s/out.pdf 2>&1", folder->path));
    char *bad = output_of("pdffonts %s/out.pdf | tail -n +3 | grep -vc 'yes yes yes' || true",
                          folder->path);
    assert_string_equal(bad, "0\n");
    free(bad);
    char *pictures = output_of("qpdf --qdf --object-streams=disable %s/out.pdf - | "
                               "grep -ac '/Subtype /Image' || true",
                               folder->path);
    assert_string_equal(pictures, "0\n");
    free(pictures);
}

static inline char *text_of_pdf(const struct folder *folder)
{
    return output_of("pdftotext -layout %s/out.pdf -", folder->path);
}

#endif
