/* The table of docs/pages.md, row by row: what each answer of an upstream becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "pages/outcome.h"

#define JSON_TYPE "application/json"

static const struct place_key items_key = {.text = {"items", 5}, .index = SIZE_MAX};
static const struct placement whole = {0};
static const struct placement items = {.select = {(struct place_key *)(uintptr_t)&items_key, 1}};
static const struct placement spread = {.spread = true};

static const struct {
    const char *name;
    struct up_result result;
    const char *body, *type;
    const struct placement *placement; /* NULL = whole */
    enum part_state state;
    const char *error, *detail; /* NULL error: the status says it */
    const char *data;           /* of an ok part */
} cases[] = {
    /* whole answers */
    {"200 with JSON",
     {.status = 200},
     "{\"a\":1.10}",
     JSON_TYPE,
     NULL,
     PART_OK,
     NULL,
     "",
     "{\"a\":1.10}"},
    {"201 with JSON", {.status = 201}, "[1]", JSON_TYPE, NULL, PART_OK, NULL, "", "[1]"},
    {"JSON null", {.status = 200}, "null", JSON_TYPE, NULL, PART_OK, NULL, "", "null"},
    {"a scalar", {.status = 200}, " 7 ", JSON_TYPE, NULL, PART_OK, NULL, "", "7"},
    {"204", {.status = 204}, "", "", NULL, PART_OK, NULL, "", "null"},
    {"205", {.status = 205}, "", "", NULL, PART_OK, NULL, "", "null"},
    {"204 with a select", {.status = 204}, "", "", &items, PART_OK, NULL, "", "null"},
    {"200 with an empty body",
     {.status = 200},
     "",
     JSON_TYPE,
     NULL,
     PART_ERROR,
     "http_protocol_error",
     "an empty body",
     NULL},
    {"200 with blanks",
     {.status = 200},
     " \n",
     JSON_TYPE,
     NULL,
     PART_ERROR,
     "http_protocol_error",
     NULL,
     NULL},
    {"301",
     {.status = 301},
     "{}",
     JSON_TYPE,
     NULL,
     PART_ERROR,
     NULL,
     "redirects are not followed (status 301)",
     NULL},
    {"304",
     {.status = 304},
     "",
     "",
     NULL,
     PART_ERROR,
     NULL,
     "redirects are not followed (status 304)",
     NULL},
    {"404 with JSON",
     {.status = 404},
     "{\"error\":1}",
     JSON_TYPE,
     NULL,
     PART_ERROR,
     NULL,
     "status 404",
     NULL},
    {"500 with HTML",
     {.status = 500},
     "<h1>",
     "text/html",
     NULL,
     PART_ERROR,
     NULL,
     "status 500",
     NULL},
    {"599", {.status = 599}, "", "", NULL, PART_ERROR, NULL, "status 599", NULL},
    {"101", {.status = 101}, "", "", NULL, PART_ERROR, "http_protocol_error", "status 101", NULL},
    {"600", {.status = 600}, "{}", "", NULL, PART_ERROR, "http_protocol_error", "status 600", NULL},
    /* content types */
    {"no content type", {.status = 200}, "{}", "", NULL, PART_OK, NULL, "", "{}"},
    {"with a charset",
     {.status = 200},
     "{}",
     "Application/JSON ; charset=utf-8",
     NULL,
     PART_OK,
     NULL,
     "",
     "{}"},
    {"a +json type",
     {.status = 200},
     "{}",
     "application/vnd.api+JSON;v=1",
     NULL,
     PART_OK,
     NULL,
     "",
     "{}"},
    {"HTML with 200",
     {.status = 200},
     "<h1>down</h1>",
     "text/html; charset=utf-8",
     NULL,
     PART_ERROR,
     "http_protocol_error",
     "content type text/html; charset=utf-8 is not JSON",
     NULL},
    {"JSON called text",
     {.status = 200},
     "{}",
     "text/plain",
     NULL,
     PART_ERROR,
     "http_protocol_error",
     "content type text/plain is not JSON",
     NULL},
    {"a type that only begins so",
     {.status = 200},
     "{}",
     "application/jsonp",
     NULL,
     PART_ERROR,
     "http_protocol_error",
     "content type application/jsonp is not JSON",
     NULL},
    {"a bare suffix",
     {.status = 200},
     "{}",
     "+json",
     NULL,
     PART_ERROR,
     "http_protocol_error",
     "content type +json is not JSON",
     NULL},
    {"HTML without a type",
     {.status = 200},
     "<h1>",
     "",
     NULL,
     PART_ERROR,
     "http_protocol_error",
     NULL,
     NULL},
    /* not JSON */
    {"cut JSON",
     {.status = 200},
     "{\"a\":",
     JSON_TYPE,
     NULL,
     PART_ERROR,
     "http_protocol_error",
     NULL,
     NULL},
    {"trailing bytes",
     {.status = 200},
     "{} x",
     JSON_TYPE,
     NULL,
     PART_ERROR,
     "http_protocol_error",
     NULL,
     NULL},
    {"bad UTF-8",
     {.status = 200},
     "\"\xff\"",
     JSON_TYPE,
     NULL,
     PART_ERROR,
     "http_protocol_error",
     NULL,
     NULL},
    /* select and spread */
    {"select", {.status = 200}, "{\"items\":[1]}", JSON_TYPE, &items, PART_OK, NULL, "", "[1]"},
    {"select of null",
     {.status = 200},
     "{\"items\":null}",
     JSON_TYPE,
     &items,
     PART_OK,
     NULL,
     "",
     "null"},
    {"nothing to select",
     {.status = 200},
     "{\"other\":1}",
     JSON_TYPE,
     &items,
     PART_ERROR,
     "http_protocol_error",
     "the answer has nothing at its select path",
     NULL},
    {"an object spread",
     {.status = 200},
     "{\"a\":1}",
     JSON_TYPE,
     &spread,
     PART_OK,
     NULL,
     "",
     "{\"a\":1}"},
    {"null spread", {.status = 200}, "null", JSON_TYPE, &spread, PART_OK, NULL, "", "null"},
    {"an array spread",
     {.status = 200},
     "[1]",
     JSON_TYPE,
     &spread,
     PART_ERROR,
     "http_protocol_error",
     "only an object can be spread into the page",
     NULL},
    /* no whole answer */
    {"late",
     {.end = UP_TIMEOUT, .error = "http_response_timeout"},
     "",
     "",
     NULL,
     PART_TIMEOUT,
     "http_response_timeout",
     "",
     NULL},
    {"late to connect",
     {.end = UP_TIMEOUT, .error = "connection_timeout", .detail = "500 ms"},
     "",
     "",
     NULL,
     PART_TIMEOUT,
     "connection_timeout",
     "500 ms",
     NULL},
    {"late after 200",
     {.end = UP_TIMEOUT, .error = "http_response_timeout", .status = 200},
     "{}",
     JSON_TYPE,
     NULL,
     PART_TIMEOUT,
     "http_response_timeout",
     "",
     NULL},
    {"refused",
     {.end = UP_FAILED, .error = "connection_refused", .detail = "port 1"},
     "",
     "",
     NULL,
     PART_ERROR,
     "connection_refused",
     "port 1",
     NULL},
    {"too large",
     {.end = UP_FAILED, .error = "http_response_body_size", .status = 200},
     "{}",
     JSON_TYPE,
     NULL,
     PART_ERROR,
     "http_response_body_size",
     "",
     NULL},
    {"cut",
     {.end = UP_FAILED, .error = "http_response_incomplete", .status = 200},
     "{}",
     JSON_TYPE,
     NULL,
     PART_ERROR,
     "http_response_incomplete",
     "",
     NULL},
    {"shed",
     {.end = UP_SHED, .error = "connection_limit_reached"},
     "",
     "",
     NULL,
     PART_SHED,
     "connection_limit_reached",
     "",
     NULL},
};

static void test_each_answer_becomes_what_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        h2o_mem_pool_t pool;
        h2o_mem_init_pool(&pool);
        struct json_doc doc;
        json_doc_init(&doc);
        struct up_result result = cases[i].result;
        result.body = str_from(cases[i].body);
        result.content_type = str_from(cases[i].type);
        struct outcome outcome;
        outcome_judge(&result, NULL, cases[i].placement ? cases[i].placement : &whole, &doc, &pool,
                      &outcome);
        if (outcome.state != cases[i].state)
            fail_msg("%s: %s", cases[i].name, part_state_name(outcome.state));
        if ((outcome.error == NULL) != (cases[i].error == NULL) ||
            (outcome.error != NULL && strcmp(outcome.error, cases[i].error) != 0))
            fail_msg("%s: error %s", cases[i].name, outcome.error ? outcome.error : "none");
        if (cases[i].detail != NULL && !str_eq(outcome.detail, str_from(cases[i].detail)))
            fail_msg("%s: %.*s", cases[i].name, (int)outcome.detail.n, outcome.detail.p);
        if (cases[i].detail == NULL)
            assert_true(outcome.detail.n != 0);
        struct out out;
        out_init(&out, &pool, 0);
        json_write(&out, outcome.value);
        h2o_iovec_t *vecs;
        assert_int_equal(out_vecs(&out, &vecs), 1);
        assert_true(str_eq((struct str){vecs[0].base, vecs[0].len},
                           str_from(cases[i].data ? cases[i].data : "null")));
        json_doc_fini(&doc);
        h2o_mem_clear_pool(&pool);
    }
}

static void test_an_answer_may_nest_128_deep(void **state)
{
    (void)state;
    char body[2 * (OUTCOME_JSON_DEPTH + 1)];
    for (size_t depth = OUTCOME_JSON_DEPTH; depth <= OUTCOME_JSON_DEPTH + 1; depth++) {
        memset(body, '[', depth);
        memset(body + depth, ']', depth);
        h2o_mem_pool_t pool;
        h2o_mem_init_pool(&pool);
        struct json_doc doc;
        json_doc_init(&doc);
        struct up_result result = {.status = 200, .body = {body, 2 * depth}};
        struct outcome outcome;
        outcome_judge(&result, NULL, &whole, &doc, &pool, &outcome);
        assert_int_equal(outcome.state, depth == 128 ? PART_OK : PART_ERROR);
        if (depth != 128)
            assert_string_equal(outcome.error, "http_protocol_error");
        json_doc_fini(&doc);
        h2o_mem_clear_pool(&pool);
    }
}

static void test_a_required_parts_state_decides_the_pages_status(void **state)
{
    (void)state;
    assert_int_equal(outcome_page_status(PART_OK), 200);
    assert_int_equal(outcome_page_status(PART_TIMEOUT), 504);
    assert_int_equal(outcome_page_status(PART_SHED), 503);
    assert_int_equal(outcome_page_status(PART_ERROR), 502);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_answer_becomes_what_the_table_says),
        cmocka_unit_test(test_an_answer_may_nest_128_deep),
        cmocka_unit_test(test_a_required_parts_state_decides_the_pages_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
