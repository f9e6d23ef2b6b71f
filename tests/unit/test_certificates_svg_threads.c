/* Many certificates: from several threads and processes, without growing, within their limits. */
#include "tests/unit/certificates_svg.h"

#include <pthread.h>
#include <sys/wait.h>
#include "base/log.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MANY = 300 };
static const bool sanitized = true;
#else
enum { MANY = 10000 };
static const bool sanitized = false;
#endif
enum { THREADS = 4, EACH = 12 };

static const char *const names[] = {"Ada Lovelace", "王小明", "محمد الخوارزمي", "Анна",
                                    "Konstantinopolitanska-Featherstonehaugh-Wolfeschlegelstein"};

struct drawn {
    const struct svg_template *template;
    struct buf pdfs[COUNT(names)];
    unsigned differing;
    unsigned first; /* with which name to begin */
};

static void *draw_all(void *arg)
{
    struct drawn *drawn = arg;
    struct draw_problem problem;
    struct buf again;
    buf_init(&again, 4 * 1024 * 1024);
    for (unsigned i = 0; i < EACH * COUNT(names); i++) {
        size_t which = (i + drawn->first) % COUNT(names);
        struct buf *pdf = &drawn->pdfs[which];
        bool first = pdf->max == 0;
        if (first)
            buf_init(pdf, 4 * 1024 * 1024);
        buf_clear(&again);
        if (draw_fields(drawn->template, names[which], "x", first ? pdf : &again, &problem) !=
            DRAW_OK)
            drawn->differing++;
        if (!first && !str_eq(buf_str(pdf), buf_str(&again)))
            drawn->differing++;
    }
    buf_fini(&again);
    return NULL;
}

static void free_drawn(struct drawn *drawn)
{
    for (size_t i = 0; i < COUNT(names); i++)
        buf_fini(&drawn->pdfs[i]);
}

static void test_same_drawing_is_the_same_bytes_from_every_thread(void **state)
{
    (void)state;
    struct svg_template *template = load_default();
    pthread_t threads[THREADS];
    struct drawn drawn[THREADS] = {0};
    for (unsigned i = 0; i < THREADS; i++) {
        drawn[i].template = template;
        drawn[i].first = i;
        assert_int_equal(pthread_create(&threads[i], NULL, draw_all, &drawn[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(drawn[i].differing, 0);
        for (size_t k = 0; k < COUNT(names); k++)
            assert_true(str_eq(buf_str(&drawn[i].pdfs[k]), buf_str(&drawn[0].pdfs[k])));
    }
    assert_false(str_eq(buf_str(&drawn[0].pdfs[0]), buf_str(&drawn[0].pdfs[1])));
    for (unsigned i = 0; i < THREADS; i++)
        free_drawn(&drawn[i]);
    svg_template_destroy(&template);
}

/* This program again, which has another layout in memory and another order of drawing behind it. */
static void test_same_drawing_is_the_same_bytes_from_another_process(void **state)
{
    (void)state;
    char self[512];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(n > 0);
    self[n] = '\0';
    char *one = output_of("%s draw 0 | sha256sum", self);
    char *two = output_of("%s draw 3 | sha256sum", self);
    assert_string_equal(one, two);
    free(one);
    free(two);
}

static int draw_to_stdout(int before)
{
    struct svg_template *template = load_default();
    struct draw_problem problem;
    struct buf pdf;
    buf_init(&pdf, 4 * 1024 * 1024);
    for (int i = 0; i < before; i++) {
        buf_clear(&pdf);
        draw_fields(template, names[(size_t)i % COUNT(names)], "y", &pdf, &problem);
    }
    buf_clear(&pdf);
    draw_fields(template, names[1], "x", &pdf, &problem);
    bool written = pdf.n != 0 && fwrite(pdf.p, 1, pdf.n, stdout) == pdf.n;
    buf_fini(&pdf);
    svg_template_destroy(&template);
    return written ? 0 : 1;
}

static unsigned long resident_kb(void)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    assert_non_null(statm);
    assert_int_equal(fscanf(statm, "%*u %lu", &pages), 1);
    fclose(statm);
    return pages * (unsigned long)sysconf(_SC_PAGESIZE) / 1024;
}

static void test_memory_stays_flat_over_ten_thousand(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    struct svg_template *template =
        load_text(&folder, SVG("<text x='5' y='50' gw:fit='100'>{{name}} {{course}}</text>"
                               "{{#qr}}<path d='{{path}}'/>{{/qr}}"));
    struct draw_problem problem;
    struct buf pdf;
    unsigned long before = 0;
    buf_init(&pdf, 4 * 1024 * 1024);
    for (int i = 0; i < MANY; i++) {
        char course[32];
        snprintf(course, sizeof(course), "%d", i);
        if (i == MANY / 2) /* Pango's and cairo's caches of fonts are full by now */
            before = resident_kb();
        buf_clear(&pdf);
        assert_int_equal(
            draw_fields(template, names[(size_t)i % COUNT(names)], course, &pdf, &problem),
            DRAW_OK);
    }
    if (!sanitized)
        assert_in_range(resident_kb(), 0, before + 3 * 1024);
    buf_fini(&pdf);
    svg_template_destroy(&template);
    folder_remove(&folder);
}

static void test_a_pdf_past_the_limit_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    struct svg_template *template = load_default();
    struct draw_problem problem;
    struct buf pdf;
    buf_init(&pdf, 20 * 1024);
    assert_true(buf_append(&pdf, "before", 6));
    assert_int_equal(draw_fields(template, "Ada", "x", &pdf, &problem), DRAW_FAILED);
    assert_true(str_eq(buf_str(&pdf), STR("before")));
    buf_fini(&pdf);
    svg_template_destroy(&template);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "draw") == 0)
        return draw_to_stdout(atoi(argv[2]));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_drawing_is_the_same_bytes_from_every_thread),
        cmocka_unit_test(test_same_drawing_is_the_same_bytes_from_another_process),
        cmocka_unit_test(test_memory_stays_flat_over_ten_thousand),
        cmocka_unit_test(test_a_pdf_past_the_limit_leaves_the_buffer_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
