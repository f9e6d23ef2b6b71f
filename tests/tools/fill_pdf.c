/* Fills in a PDF template by hand: fill_pdf [-n TIMES] FILE field=value ... >filled.pdf
 * Without a value (field=) it is empty; -n measures, microseconds for each on stderr. */
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "certificates/template_kinds.h"

static double microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
    enum { MAX_FIELDS = 64 };
    struct field_value values[MAX_FIELDS];
    struct str names[MAX_FIELDS];
    struct draw_problem problem;
    size_t count = 0;
    long times = 1;
    int option, status = 1;

    while ((option = getopt(argc, argv, "n:")) != -1)
        if (option == 'n')
            times = strtol(optarg, NULL, 10);
    if (optind >= argc) {
        fprintf(stderr, "usage: fill_pdf [-n TIMES] FILE field=value ...\n");
        return 2;
    }
    char *file = argv[optind], *dir = strdup(file), *base = strdup(file);
    for (int i = optind + 1; i < argc && count < MAX_FIELDS; i++) {
        const char *equals = strchr(argv[i], '=');
        if (equals == NULL)
            continue;
        names[count] = (struct str){argv[i], (size_t)(equals - argv[i])};
        values[count] = (struct field_value){names[count], str_from(equals + 1)};
        count++;
    }
    struct diag *diag = diag_create();
    struct template_fields fields = {names, count};
    struct pdf_template *template =
        pdf_template_load(dirname(dir), basename(base), &fields, (struct pos){file, 0, 0}, diag);
    diag_print(diag, stderr);
    if (template != NULL) {
        struct drawing drawing = {
            .fields = values, .field_count = count, .when_s = 1795397400, .title = STR("")};
        struct buf pdf;
        enum draw_result result = DRAW_OK;
        h2o_mem_pool_t pool;

        buf_init(&pdf, 256 << 20);
        pdf_template_describe(template, stderr);
        double before = microseconds();
        for (long i = 0; i < times && result == DRAW_OK; i++) {
            buf_clear(&pdf);
            result = pdf_template_draw(template, &drawing, &pdf, &problem);
        }
        double drawn = microseconds();
        for (long i = 0; i < times && result == DRAW_OK; i++) {
            struct out out;
            h2o_mem_init_pool(&pool);
            out_init(&out, &pool, 0);
            result = pdf_template_write(template, &drawing, &out, &problem);
            h2o_mem_clear_pool(&pool);
        }
        if (times > 1)
            fprintf(stderr, "%zu bytes: %.2f us drawn, %.2f us written\n", pdf.n,
                    (drawn - before) / (double)times, (microseconds() - drawn) / (double)times);
        if (result == DRAW_CANT_SHOW)
            fprintf(stderr, "%.*s: U+%04X can't be drawn\n", (int)problem.field.n, problem.field.p,
                    problem.character);
        else
            fwrite(pdf.p, 1, pdf.n, stdout);
        status = result == DRAW_OK ? 0 : 1;
        buf_fini(&pdf);
    }
    pdf_template_destroy(&template);
    diag_destroy(&diag);
    free(dir);
    free(base);
    return status;
}
