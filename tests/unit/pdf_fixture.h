/* PDF templates for tests, made in place: written by hand (so that each test says what is special
 * about its file), by cairo, and by reportlab; and the tools that judge what comes of them. */
#ifndef GW_TESTS_PDF_FIXTURE_H
#define GW_TESTS_PDF_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/buf.h"
#include "certificates/template_kinds.h"

#define DEJAVU "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"

static char folder[] = "/tmp/gateway-pdf-XXXXXX";

static inline int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static inline const char *in_folder(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

/* Runs a command of the shell in the folder; what it prints, until the next call. */
static inline const char *run(int *code_r, const char *format, ...)
{
    static char output[1 << 16];
    char command[4096], all[4200];
    va_list args;

    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    snprintf(all, sizeof(all), "cd %s && { %s; } 2>&1", folder, command);
    FILE *from = popen(all, "r");
    assert_non_null(from);
    size_t n = fread(output, 1, sizeof(output) - 1, from);
    output[n] = '\0';
    int status = pclose(from);
    *code_r = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    return output;
}

static inline void must(const char *command)
{
    int code;
    const char *output = run(&code, "%s", command);
    if (code != 0)
        fail_msg("%s: %s", command, output);
}

static inline int remove_folder(void **state)
{
    (void)state;
    must("rm -rf -- \"$PWD\"");
    return 0;
}

/* -- files by hand -------------------------------------------------------------------------------
 */

struct file {
    struct buf pdf;
    size_t offsets[64];
    int count;
};

static inline void add(struct file *file, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void begin_object(struct file *file)
{
    file->offsets[++file->count] = file->pdf.n;
    assert_true(buf_printf(&file->pdf, "%d 0 obj\n", file->count));
}
static inline void add(struct file *file, const char *format, ...)
{
    char text[8192];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < sizeof(text));
    begin_object(file);
    assert_true(buf_append(&file->pdf, text, (size_t)n) && buf_append(&file->pdf, "\nendobj\n", 8));
}
static inline void add_stream(struct file *file, const char *dict, const void *data, size_t n)
{
    begin_object(file);
    assert_true(buf_printf(&file->pdf, "<< %s /Length %zu >>\nstream\n", dict, n) &&
                buf_append(&file->pdf, data, n) && buf_printf(&file->pdf, "\nendstream\nendobj\n"));
}

/* A document with one page: `fonts` and further `resources` of it, and what `more` adds from object
 * 6 on. Objects: 1 catalog, 2 pages, 3 page, 4 content, 5 Info. */
struct document {
    const char *content, *fonts, *resources, *page, *info, *catalog;
    void (*more)(struct file *file);
};

static inline void write_file(const char *name, const void *bytes, size_t n)
{
    FILE *to = fopen(in_folder(name), "w");
    assert_non_null(to);
    assert_int_equal(fwrite(bytes, 1, n, to), n);
    assert_int_equal(fclose(to), 0);
}

static inline const char *or_empty(const char *text)
{
    return text ? text : "";
}

#define HELVETICA \
    "/F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"

static inline void write_document(const char *name, const struct document *document)
{
    struct file file = {.count = 0};
    buf_init(&file.pdf, 64 << 20);
    assert_true(buf_printf(&file.pdf, "%%PDF-1.4\n"));
    add(&file, "<< /Type /Catalog /Pages 2 0 R %s >>", or_empty(document->catalog));
    add(&file, "<< /Type /Pages /Kids [3 0 R] /Count 1 >>");
    add(&file,
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 20000 200] /Contents 4 0 R %s\n"
        "/Resources << /Font << %s >> %s >> >>",
        or_empty(document->page), document->fonts ? document->fonts : HELVETICA,
        or_empty(document->resources));
    add_stream(&file, "", document->content, strlen(document->content));
    add(&file, "<< %s >>", or_empty(document->info));
    if (document->more != NULL)
        document->more(&file);
    size_t xref = file.pdf.n;
    assert_true(buf_printf(&file.pdf, "xref\n0 %d\n0000000000 65535 f \n", file.count + 1));
    for (int i = 1; i <= file.count; i++)
        assert_true(buf_printf(&file.pdf, "%010zu 00000 n \n", file.offsets[i]));
    assert_true(buf_printf(&file.pdf,
                           "trailer\n<< /Size %d /Root 1 0 R /Info 5 0 R >>\nstartxref\n%zu\n"
                           "%%%%EOF\n",
                           file.count + 1, xref));
    write_file(name, file.pdf.p, file.pdf.n);
    buf_fini(&file.pdf);
}

/* -- loading and filling in ----------------------------------------------------------------------
 */

static const struct str field_names[] = {
    {"name", 4}, {"course", 6}, {"timestamp", 9}, {"serial", 6}, {"verify_url", 10}};

/* messages_r: what was reported, to be freed. */
static inline struct pdf_template *load(const char *name, char **messages_r)
{
    struct template_fields fields = {field_names, COUNT(field_names)};
    struct diag *diag = diag_create();
    size_t n;
    struct pdf_template *template =
        pdf_template_load(folder, name, &fields, (struct pos){"gateway.toml", 3, 1}, diag);
    FILE *to = open_memstream(messages_r, &n);
    diag_print(diag, to);
    fclose(to);
    assert_int_equal(template == NULL, diag_errors(diag) != 0);
    diag_destroy(&diag);
    return template;
}

static inline struct pdf_template *load_good(const char *name)
{
    char *messages;
    struct pdf_template *template = load(name, &messages);
    if (template == NULL)
        fail_msg("%s: %s", name, messages);
    free(messages);
    return template;
}

struct values {
    const char *name, *course, *title, *serial;
    int64_t when_s;
};
static inline struct drawing drawing_of(const struct values *values, struct field_value fields[5])
{
    const char *serial = values->serial ? values->serial : "8K3QF-2M7XR-V0P4N-J6T9W";
    const struct field_value all[5] = {
        {field_names[0], str_from(or_empty(values->name))},
        {field_names[1], str_from(or_empty(values->course))},
        {field_names[2], STR("2026-11-23")},
        {field_names[3], str_from(serial)},
        {field_names[4], STR("https://example.org/certificates/8K3QF?a=(b)")}};
    memcpy(fields, all, sizeof(all));
    return (struct drawing){.fields = fields,
                            .field_count = 5,
                            .title = str_from(or_empty(values->title)),
                            .verify_url = all[4].value,
                            .serial = str_from(serial),
                            .when_s = values->when_s ? values->when_s : 1795397400};
}

/* The document as bytes: drawn and written are the same. */
static inline void fill(const struct pdf_template *template, const struct values *values,
                        struct buf *pdf)
{
    struct field_value fields[5];
    struct drawing drawing = drawing_of(values, fields);
    struct draw_problem problem = {{NULL, 0}, 0};
    h2o_mem_pool_t pool;
    h2o_iovec_t *vecs;
    struct out out;

    buf_clear(pdf);
    enum draw_result result = pdf_template_draw(template, &drawing, pdf, &problem);
    if (result != DRAW_OK)
        fail_msg("%.*s: U+%04X", (int)problem.field.n, problem.field.p, problem.character);
    h2o_mem_init_pool(&pool);
    out_init(&out, &pool, 0);
    out_write(&out, "before", 6);
    assert_int_equal(pdf_template_write(template, &drawing, &out, &problem), DRAW_OK);
    assert_int_equal(out_size(&out), pdf->n + 6);
    size_t count = out_vecs(&out, &vecs), at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t skip = i == 0 ? 6 : 0;
        assert_memory_equal((char *)vecs[i].base + skip, pdf->p + at, vecs[i].len - skip);
        at += vecs[i].len - skip;
    }
    h2o_mem_clear_pool(&pool);
}

/* Fills in to a file, which qpdf finds nothing to complain about. */
static inline void fill_file(const struct pdf_template *template, const struct values *values,
                             const char *to)
{
    struct buf pdf;
    int code;

    buf_init(&pdf, 64 << 20);
    fill(template, values, &pdf);
    write_file(to, pdf.p, pdf.n);
    buf_fini(&pdf);
    const char *output = run(&code, "qpdf --check %s", to);
    if (code != 0 || strstr(output, "WARNING") != NULL ||
        strstr(output, "No syntax or stream encoding errors found") == NULL)
        fail_msg("%s: %s", to, output);
}

static inline const char *text_of(const char *file)
{
    int code;
    const char *text = run(&code, "pdftotext -raw -nopgbrk %s -", file);
    assert_int_equal(code, 0);
    return text;
}

static inline void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, text);
}

/* -- pictures ------------------------------------------------------------------------------------
 */

enum { PICTURE_WIDTH = 600, PICTURE_HEIGHT = 200 };
struct picture {
    uint8_t grey[PICTURE_WIDTH * PICTURE_HEIGHT];
};

static inline struct picture *picture_of(const char *file)
{
    struct picture *picture = malloc(sizeof(*picture));
    char magic[3], line[64];
    unsigned width, height, most;

    snprintf(line, sizeof(line), "pdftoppm -r 72 -gray -x 0 -y 0 -W 600 -H 200 %s p", file);
    must("rm -f p-*");
    must(line);
    must("mv p-* picture.pgm");
    FILE *from = fopen(in_folder("picture.pgm"), "r");
    assert_non_null(from);
    assert_int_equal(fscanf(from, "%2s %u %u %u", magic, &width, &height, &most), 4);
    assert_true(width == PICTURE_WIDTH && height == PICTURE_HEIGHT && most == 255);
    fgetc(from);
    assert_int_equal(fread(picture->grey, 1, sizeof(picture->grey), from), sizeof(picture->grey));
    fclose(from);
    return picture;
}

/* Pixels that differ so that one sees it. */
static inline size_t differing(const char *a, const char *b)
{
    struct picture *x = picture_of(a), *y = picture_of(b);
    size_t count = 0;
    for (size_t i = 0; i < sizeof(x->grey); i++)
        count += abs(x->grey[i] - y->grey[i]) > 48;
    free(x);
    free(y);
    return count;
}

#endif
