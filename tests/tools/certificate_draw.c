/* Draws a certificate from an .svg template, again and again, and says how long one takes:
 *
 *     certificate_draw templates certificate.svg out.pdf 1000 name='Ada Lovelace' course=...
 *
 * serial, timestamp and verify_url are there unless given. Says the growth of memory too. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "certificates/template_kinds.h"

enum { MAX_FIELDS = 32 };

/* Processor time: others may be busy on the machine. */
static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static unsigned long resident_kb(void)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm == NULL || fscanf(statm, "%*u %lu", &pages) != 1)
        abort();
    fclose(statm);
    return pages * (unsigned long)sysconf(_SC_PAGESIZE) / 1024;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: %s DIR TEMPLATE OUT COUNT [NAME=VALUE]...\n", argv[0]);
        return 2;
    }
    struct field_value fields[MAX_FIELDS] = {
        {STR("serial"), STR("8K3QF-2M7XR-V0P4N-J6T9W")},
        {STR("timestamp"), STR("2026-11-22")},
        {STR("verify_url"), STR("https://example.org/certificates/8K3QF-2M7XR-V0P4N-J6T9W")}};
    struct str names[MAX_FIELDS];
    size_t count = 3;
    for (int i = 5; i < argc && count < MAX_FIELDS; i++) {
        char *equals = strchr(argv[i], '=');
        if (equals == NULL)
            continue;
        struct field_value given = {{argv[i], (size_t)(equals - argv[i])}, str_from(equals + 1)};
        size_t at = 0;
        while (at < count && !str_eq(fields[at].name, given.name))
            at++;
        fields[at] = given;
        count += at == count;
    }
    for (size_t i = 0; i < count; i++)
        names[i] = fields[i].name;

    struct diag *diag = diag_create();
    double start = cpu_ms();
    struct svg_template *template =
        svg_template_load(argv[1], argv[2], &(struct template_fields){names, count},
                          (struct pos){"command line", 0, 0}, diag);
    diag_print(diag, stderr);
    diag_destroy(&diag);
    if (template == NULL)
        return 1;
    printf("loaded in %.1f ms\n", cpu_ms() - start);
    svg_template_describe(template, stdout);

    struct drawing drawing = {.fields = fields,
                              .field_count = count,
                              .verify_url = fields[2].value,
                              .serial = fields[0].value,
                              .when_s = 1795340000};
    struct draw_problem problem;
    struct buf pdf;
    buf_init(&pdf, 64 * 1024 * 1024);
    unsigned long before = 0;
    int n = atoi(argv[4]);
    for (int i = -10; i < n; i++) {
        if (i == 0) {
            start = cpu_ms();
            before = resident_kb();
        }
        buf_clear(&pdf);
        enum draw_result result = svg_template_draw(template, &drawing, &pdf, &problem);
        if (result == DRAW_CANT_SHOW)
            fprintf(stderr, "no font for U+%04X in %.*s\n", problem.character, (int)problem.field.n,
                    problem.field.p);
        if (result != DRAW_OK)
            return 1;
    }
    double ms = cpu_ms() - start;
    if (n > 0)
        printf("%d of %zu bytes: %.2f ms each, %.0f/s; resident %lu -> %lu KB\n", n, pdf.n, ms / n,
               n * 1000 / ms, before, resident_kb());
    FILE *out = fopen(argv[3], "wb");
    if (out == NULL || fwrite(pdf.p, 1, pdf.n, out) != pdf.n || fclose(out) != 0)
        return 1;
    buf_fini(&pdf);
    svg_template_destroy(&template);
    return 0;
}
