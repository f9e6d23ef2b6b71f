/* Any bytes as what a request for a certificate sends: whatever is taken out of it must be fit to
 * stand on one, and what isn't must be named.
 *
 * The input: a byte that chooses the body's kind, the query up to a NUL, the body. */
#include <stdlib.h>
#include "base/text.h"
#include "certificates/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char configuration[] =
    "[certificates.c]\npath = '/c'\ntemplate = 'c.pdf'\nregister = false\n"
    "[certificates.c.fields.name]\nmax_length = 20\n"
    "[certificates.c.fields.code]\npattern = '(\\p{Lu}+-?)+'\nrequired = false\n"
    "[certificates.c.fields.deep]\nfrom = 'json.a.b'\nrequired = false\n"
    "[certificates.c.fields.shown]\nfrom = 'form.shown'\nfallback = 'x'\n";
enum { FIELDS = 4, LONGEST = 20 };

static const struct str types[] = {STR("application/x-www-form-urlencoded"),
                                   STR("application/json; charset=utf-8"),
                                   STR("multipart/form-data; boundary=b")};

/* What fields.h promises of a value. */
static void check_value(struct str value, size_t longest)
{
    size_t characters = 0;
    gw_assert(value.p != NULL && utf8_valid(value));
    for (const char *p = value.p, *end = p + value.n; p != end; characters++) {
        uint32_t code = utf8_decode(p, utf8_length(p, end));
        gw_assert(code >= 0x20 && (code < 0x7f || code > 0x9f));
        gw_assert(code != 0x2028 && code != 0x2029);
        gw_assert((code < 0x202a || code > 0x202e) && (code < 0x2066 || code > 0x2069));
        gw_assert((code & 0xfffe) != 0xfffe);
        p += utf8_length(p, end);
    }
    gw_assert(characters <= longest);
    gw_assert(value.n == 0 || (value.p[0] != ' ' && value.p[value.n - 1] != ' '));
}

static void take(const struct fields *fields, const struct input *input, h2o_mem_pool_t *pool)
{
    struct field_value values[FIELDS];
    struct field_fault items[FIELDS];
    struct field_faults faults = {items, 0};
    const struct field_request request = {.input = input, .pool = pool};
    fields_from_request(fields, &request, values, &faults);
    gw_assert(faults.count <= FIELDS);
    for (size_t i = 0, told = 0; i < FIELDS; i++) {
        bool wrong = told < faults.count && str_eq(items[told].field, values[i].name);
        if (wrong)
            gw_assert(utf8_valid(items[told++].detail));
        else
            check_value(values[i].value, i == 0 ? LONGEST : 200);
        gw_assert(i + 1 != FIELDS || told == faults.count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fields *fields;
    static struct config *config;
    struct input input;
    h2o_mem_pool_t pool;
    if (fields == NULL) {
        struct diag *diag = diag_create();
        config = config_parse(str_from(configuration), "fuzz", "/", diag);
        fields = fields_create(config, &config->certificates[0], NULL, diag);
        gw_assert(diag_errors(diag) == 0 && fields->count == FIELDS);
        diag_destroy(&diag);
    }
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    size_t query_n = strnlen(text, size - 1);
    struct str query = {text, query_n}, body = {text + query_n, size - 1 - query_n};
    if (body.n != 0) /* the NUL */
        body = (struct str){body.p + 1, body.n - 1};
    h2o_mem_init_pool(&pool);
    input_init(&input);
    if (input_read_query(&input, query, &pool) == NULL &&
        (body.n == 0 ||
         input_read_body(&input, types[data[0] % COUNT(types)], body, &pool) == NULL))
        take(fields, &input, &pool);
    input_fini(&input);
    h2o_mem_clear_pool(&pool);
    return 0;
}
