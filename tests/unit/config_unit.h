/* Parsing a text as the configuration tests do. */
#ifndef GW_TESTS_UNIT_CONFIG_UNIT_H
#define GW_TESTS_UNIT_CONFIG_UNIT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include "config/config.h"

#define DIR      "/etc/gateway"
#define UPSTREAM "[upstreams.a]\nurl = 'http://a'\n"
#define UPLOAD   "[uploads.main]\npath = '/u'\ndir = 'u'\n"

/* The configuration of a text, and its errors as printed (to be freed). */
static inline struct config *parse_in(const char *dir, struct str text, char **errors_r)
{
    size_t n;
    struct diag *diag = diag_create();
    struct config *config = config_parse(text, "t", dir, diag);
    FILE *to = open_memstream(errors_r, &n);
    assert_non_null(to);
    diag_print(diag, to);
    assert_int_equal(fclose(to), 0);
    diag_destroy(&diag);
    return config;
}

static inline struct config *parse_well(const char *text)
{
    char *errors;
    struct config *config = parse_in(DIR, str_from(text), &errors);
    assert_string_equal(errors, "");
    free(errors);
    return config;
}

static inline void assert_str(struct str s, const char *wanted)
{
    assert_non_null(s.p);
    assert_int_equal(s.p[s.n], '\0');
    assert_int_equal(strlen(s.p), s.n);
    assert_string_equal(s.p, wanted);
}

struct error_row {
    const char *text, *errors;
};

static inline void assert_errors(const struct error_row *rows, size_t count)
{
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        char *errors;
        struct config *config = parse_in(DIR, str_from(rows[i].text), &errors);
        if (strcmp(errors, rows[i].errors) != 0) {
            wrong++;
            print_error("-- for\n%s\n-- wanted\n%s-- got\n%s\n", rows[i].text, rows[i].errors,
                        errors);
        }
        free(errors);
        config_destroy(&config);
    }
    assert_int_equal(wrong, 0);
}

#endif
