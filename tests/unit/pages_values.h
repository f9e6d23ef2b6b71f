/* What variables stand for in the tests of paths, headers, conditions and bodies: a request, the
 * data of two parts, and the elements of an array. Hostile values are among all of them. */
#ifndef GW_TESTS_UNIT_PAGES_VALUES_H
#define GW_TESTS_UNIT_PAGES_VALUES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "pages/when.h"

static const struct {
    const char *name;
    struct str value;
} request_values[] = {
    {"query.user", STR("fred")},
    {"query.empty", STR("")},
    {"query.zero", STR("0")},
    {"query.quote", STR("a\"b\\c")},
    {"query.crlf", STR("a\r\nHost: evil")},
    {"query.lf", STR("a\nb")},
    {"query.nul", STR("a\0b")},
    {"query.markup", STR("<script>alert('&')</script>")},
    {"query.json", STR("\",\"admin\":true,\"x\":\"")},
    {"query.braces", STR("{query.user}}}")},
    {"query.up", STR("..")},
    {"query.broken", STR("\xff"
                         "a\xed\xa0\x80z\xc3")},
    {"query.umlaut", STR("h\xc3\xb6me")},
    {"header.DNT", STR("1")},
    {"cookie.session", STR("s=1;2")},
    {"field.name", STR("Zo\xc3\xab")},
};

static const char *const part_texts[] = {
    /* promo */
    "{\"category\":\"hats & caps\",\"kind\":\"a/b\",\"n\":1.50,\"zero\":-0.00e5,\"one\":1,\"big\":"
    "9223372036854775808,\"yes\":true,\"no\":false,\"null\":null,\"empty\":\"\",\"zeros\":\"0\","
    "\"list\":[1,\"x\"],\"none\":[],\"object\":{\"a\": {\"b\":[10,{\"c\":\"deep\"}]}},\"bare\":{ },"
    "\"up\":\"..\",\"encoded\":\"%2e%2E/%2f\",\"escaped\":\"a\\u0022\\n\\\\\\u00e9\\ud83d\\ude00\","
    "\"crlf\":\"a\\r\\nX: y\",\"nul\":\"a\\u0000b\",\"slash\":\"\\/..\\/\",\"a.b\":\"dotted\","
    "\"markup\":\"<b>&amp;</b>\"}",
    /* recco: not an object */
    "[7,\"8\"]",
    /* gone: a part without data */
    "null",
};
static const struct str part_names[] = {STR("promo"), STR("recco"), STR("gone")};
enum { PARTS = 3 };

/* What `each` goes through; the second has nothing that is asked for. */
static const char elements_text[] = "[{\"id\":1,\"name\":\"one\",\"tag\":\"a,b\",\"up\":\"x\","
                                    "\"late\":\"\"},{\"other\":null,\"id\":null},"
                                    "{\"id\":\"2/"
                                    "3\",\"name\":\"\",\"tag\":[1,2],\"up\":\"..\",\"late\":\"z\"},"
                                    "{\"id\":4,\"name\":\"d\\\"\\u00e9\","
                                    "\"tag\":\"\\r\\n\",\"up\":\"y\"}]";

static const struct expand_param path_params[] = {{"id", 0}};
static const struct str field_names[] = {STR("name")};

struct values {
    h2o_mem_pool_t pool;
    struct json_doc parts[PARTS], elements;
};

static inline void values_init(struct values *v)
{
    h2o_mem_init_pool(&v->pool);
    for (size_t i = 0; i < PARTS; i++) {
        json_doc_init(&v->parts[i]);
        assert_int_equal(json_parse(&v->parts[i], part_texts[i], strlen(part_texts[i]), 16, NULL),
                         JSON_OK);
    }
    json_doc_init(&v->elements);
    assert_int_equal(json_parse(&v->elements, elements_text, strlen(elements_text), 16, NULL),
                     JSON_OK);
}

static inline void values_fini(struct values *v)
{
    for (size_t i = 0; i < PARTS; i++)
        json_doc_fini(&v->parts[i]);
    json_doc_fini(&v->elements);
    h2o_mem_clear_pool(&v->pool);
}

static inline struct json_value value_of(void *arg, const struct expand_variable *variable,
                                         size_t item)
{
    struct values *v = arg;
    if (variable->source == EXPAND_PART) {
        assert_int_equal(item, 0);
        return place_select(json_root(&v->parts[variable->param]), &variable->at);
    }
    assert_int_equal(variable->source, EXPAND_ITEM);
    return place_select(json_at(json_root(&v->elements), item), &variable->at);
}

static inline struct str text_of(void *arg, const struct expand_variable *variable, size_t item)
{
    struct values *v = arg;
    if (variable->source >= EXPAND_PART)
        return place_text(value_of(arg, variable, item), &v->pool);
    assert_int_equal(item, 0);
    if (variable->source == EXPAND_PATH)
        return STR("42");
    for (size_t i = 0; i < COUNT(request_values); i++)
        if (str_eq(variable->full, str_from(request_values[i].name)))
            return request_values[i].value;
    return (struct str){NULL, 0};
}

/* everything that can be named; each and batch as wanted */
static inline struct expand_scope scope_of(bool each, bool batch)
{
    return (struct expand_scope){.params = path_params,
                                 .param_count = COUNT(path_params),
                                 .parts = part_names,
                                 .part_count = PARTS,
                                 .item = each ? STR("item") : STR(""),
                                 .batch = batch};
}

/* What the diag says, to be freed. */
static inline char *messages_of(const struct diag *diag)
{
    char *messages;
    size_t size;
    FILE *to = open_memstream(&messages, &size);
    diag_print(diag, to);
    fclose(to);
    return messages;
}

#define TOML_AT ((struct pos){"gateway.toml", 7, 10}) /* column 11 is the string's first byte */

#endif
