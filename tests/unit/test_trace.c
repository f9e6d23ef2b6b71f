/* W3C Trace Context and Baggage, read and written; spans as OTLP has them; what is kept of a query.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/json.h"
#include "observe/metrics.h"
#include "observe/trace.h"

#define PARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static void test_parents(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool taken, sampled;
    } rows[] = {
        {PARENT, true, true},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true, false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe", true, false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", true, true},
        {"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true, true},
        {"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", true, true},
        {"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-", true, true},
        {"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more", false, false},
        {PARENT "-", false, false},
        {PARENT "-more", false, false},
        {"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false, false},
        {"00-00000000000000000000000000000000-b7ad6b7169203331-01", false, false},
        {"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false, false},
        {"00-0000000000000000000000000000000a-b7ad6b7169203331-01", true, true},
        {"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false, false},
        {"00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01", false, false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-001", false, false},
        {"00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false, false},
        {"0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false, false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false, false},
        {"", false, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trace_link link;
        assert_int_equal(trace_parent_read(str_from(rows[i].text), &link), rows[i].taken);
        if (rows[i].taken)
            assert_int_equal(link.sampled, rows[i].sampled);
    }
}

static void test_a_parent_is_written_as_it_was_read(void **state)
{
    (void)state;
    struct trace_link link;
    char text[TRACE_PARENT_TEXT + 1] = "";
    assert_true(trace_parent_read(STR(PARENT), &link));
    assert_true(link.trace[0] == 0x0af7651916cd43dd && link.span == 0xb7ad6b7169203331);
    assert_ptr_equal(trace_parent_put(text, &link), text + TRACE_PARENT_TEXT);
    assert_string_equal(text, PARENT);
}

static void test_states(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {"rojo=00f067aa0ba902b7", true},
        {"rojo=1,congo=2", true},
        {" rojo=1 ,\tcongo=2 ", true},
        {"a=1,,b=2,", true},
        {"a=x y", true},
        {"a=~!@#$%^&*()_+", true},
        {"fw529a3039@dt=FfffffffA", true},
        {"0tenant@sys=1", true},
        {"a_-*/b=1", true},
        {"", false},
        {",", false},
        {"a", false},
        {"a=", false},
        {"=1", false},
        {"A=1", false},
        {"0a=1", false},
        {"a=b=c", false},
        {"a=\xc3\xa4", false},
        {"a=1,a=2", false},
        {"a@=1", false},
        {"@a=1", false},
        {"a@0b=1", false},
        {"a@b@c=1", false},
        {"a@abcdefghijklmno=1", false}, /* 15 characters */
        {"a@abcdefghijklmn=1", true},
        {"a =1", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (trace_state_valid(str_from(rows[i].text)) != rows[i].valid)
            fail_msg("\"%s\"", rows[i].text);
    char many[1024];
    for (int count = 32; count <= 33; count++) {
        size_t n = 0;
        for (int i = 0; i < count; i++)
            n += (size_t)snprintf(many + n, sizeof(many) - n, "%sk%d=v", i ? "," : "", i);
        assert_int_equal(trace_state_valid((struct str){many, n}), count == 32);
    }
    memset(many, 'x', sizeof(many));
    memcpy(many, "a=", 2);
    assert_true(trace_state_valid((struct str){many, 2 + 256}));
    assert_false(trace_state_valid((struct str){many, 2 + 257}));
}

static void test_baggage(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {"a=1", true},
        {"a=", true},
        {"userId=Am%C3%A9lie, serverNode=DF%2028,isProduction=false", true},
        {"a = 1 ; property ; key = value , b=2", true},
        {"a=b=c", true},
        {"", false},
        {"a", false},
        {"=1", false},
        {"a=1,,b=2", false},
        {"a b=1", false},
        {"a=1 2", false},
        {"a=\"1\"", false},
        {"a=\\", false},
        {"a=\x7f", false},
        {"a=1;", true},
        {"a=1;b c", false},
        {"a=1;b=\"", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (trace_baggage_valid(str_from(rows[i].text)) != rows[i].valid)
            fail_msg("\"%s\"", rows[i].text);
}

static void test_queries(void **state)
{
    (void)state;
    static const struct {
        const char *query, *shown;
    } rows[] = {
        {"", ""},
        {"a=1&b", "a=1&b"},
        {"sig=secret", "sig=REDACTED"},
        {"a=1&sig=secret&b=2", "a=1&sig=REDACTED&b=2"},
        {"sig=&sig", "sig=REDACTED&sig"},
        {"design=1&SIG=2", "design=1&SIG=2"},
        {"X-Amz-Signature=a&access_token=b", "X-Amz-Signature=REDACTED&access_token=REDACTED"},
        {"&&", "&&"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char room[128];
        struct str shown = trace_redact(room, sizeof(room), str_from(rows[i].query));
        assert_int_equal(shown.n, strlen(rows[i].shown));
        assert_memory_equal(shown.p, rows[i].shown, shown.n);
    }
    char little[8];
    struct str cut = trace_redact(little, sizeof(little), STR("a=123456789"));
    assert_int_equal(cut.n, 7);
}

static void test_a_thread_without_traces(void **state)
{
    (void)state;
    struct trace_link link = {.trace = {1, 2}, .sampled = true};
    uint64_t parent;
    assert_false(trace_arrive(STR(PARENT), true, &link, &parent));
    assert_false(trace_hands_on_baggage());
    trace_write_inner(&link, STR("nothing"), 1, 2, NULL, STR(""));
}

static void test_ids_of_parts(void **state)
{
    (void)state;
    struct trace_link link = {.trace = {1, 2}, .span = 7, .sampled = true, .told = true};
    struct trace_link first = trace_of_part(&link, 0), second = trace_of_part(&link, 1);
    assert_true(first.span != 0 && first.span != second.span && first.span != link.span);
    assert_true(first.span == trace_of_part(&link, 0).span);
    assert_true(first.trace[0] == 1 && first.trace[1] == 2 && first.sampled && first.told);
}

/* -- a loop's batches -------------------------------------------------------------------------- */

struct sink {
    struct traces *traces;
    struct buf got;
    unsigned batches;
    bool refuses;
};

static bool take(void *arg, struct str batch)
{
    struct sink *sink = arg;
    if (sink->refuses)
        return false;
    buf_clear(&sink->got);
    assert_true(buf_append(&sink->got, batch.p, batch.n));
    sink->batches++;
    return true;
}

static uint64_t spans_in(const struct sink *sink)
{
    struct json_doc doc;
    json_doc_init(&doc);
    enum json_error error = json_parse(&doc, sink->got.p, sink->got.n, 32, NULL);
    if (error != JSON_OK)
        fail_msg("%s: %.*s", json_error_text(error), (int)sink->got.n, sink->got.p);
    struct json_value one = json_at(json_get(json_root(&doc), STR("resourceSpans")), 0);
    struct json_value scope = json_at(json_get(one, STR("scopeSpans")), 0);
    uint64_t count = json_count(json_get(scope, STR("spans")));
    json_doc_fini(&doc);
    return count;
}

static void write_span(struct str name)
{
    const struct trace_attribute attributes[] = {
        {"number", {NULL, 0}, -7}, {"text", {"a\"\xff\n", 4}, 0}, {"none", {"", 0}, 0}};
    const struct trace_span span = {.link = {.trace = {1, 2}, .span = 3, .sampled = true},
                                    .id = trace_new_span(),
                                    .kind = TRACE_INTERNAL,
                                    .name = name,
                                    .begin_us = 10,
                                    .end_us = 5,
                                    .attributes = attributes,
                                    .attribute_count = COUNT(attributes),
                                    .error = STR("what"),
                                    .message = STR("why")};
    trace_write(&span);
}

static void test_batches(void **state)
{
    (void)state;
    struct loop *loop = loop_create(0);
    struct metrics *metrics = metrics_create(1);
    metrics_attach(metrics, 0);
    struct sink sink = {.traces = traces_create(loop)};
    struct buf head;
    buf_init(&head, 4096);
    buf_init(&sink.got, 4 << 20);
    const struct str resource[] = {STR("service.name"), STR("a\"b")};
    trace_head(&head, resource, COUNT(resource), STR("1.0"));
    const struct trace_settings settings = {
        .context = true, .threshold = (uint64_t)1 << 53, .head = buf_str(&head)};

    assert_false(traces_flush(sink.traces));
    traces_serve(sink.traces, &settings, take, &sink);
    write_span(STR("one"));
    write_span(STR("two"));
    assert_true(traces_flush(sink.traces));
    assert_int_equal(sink.batches, 1);
    assert_int_equal(spans_in(&sink), 2);
    assert_non_null(memmem(sink.got.p, sink.got.n, "\"intValue\":\"-7\"", 15));
    assert_null(memmem(sink.got.p, sink.got.n, "none", 4));

    write_span(STR("three")); /* waits for the first batch's end */
    assert_true(traces_flush(sink.traces));
    assert_int_equal(sink.batches, 1);
    traces_sent(sink.traces, TRACE_UNSENT, 0); /* and goes out again, whole */
    assert_true(traces_flush(sink.traces));
    assert_int_equal(sink.batches, 2);
    assert_int_equal(spans_in(&sink), 2);
    traces_sent(sink.traces, TRACE_TAKEN, 1);
    assert_true(traces_flush(sink.traces));
    assert_int_equal(spans_in(&sink), 1);
    traces_sent(sink.traces, TRACE_LOST, 0);
    assert_false(traces_flush(sink.traces));

    /* what has no room is dropped, and what has is whole */
    sink.refuses = true;
    char *name = malloc(2048);
    memset(name, 'n', 2048);
    for (int i = 0; i < 2000; i++)
        write_span((struct str){name, 2048});
    free(name);
    sink.refuses = false;
    assert_true(traces_flush(sink.traces));
    uint64_t kept = spans_in(&sink);
    assert_true(kept > 200 && kept < 600);
    traces_sent(sink.traces, TRACE_TAKEN, 0);

    /* a timer sends what nobody asks for */
    write_span(STR("late"));
    unsigned before = sink.batches;
    for (int i = 0; i < 300 && sink.batches == before; i++)
        loop_turn(loop, 10);
    assert_int_equal(sink.batches, before + 1);
    traces_sent(sink.traces, TRACE_TAKEN, 0);

    /* off: nothing is written, nobody is asked */
    traces_serve(sink.traces, NULL, NULL, NULL);
    write_span(STR("off"));
    assert_false(traces_flush(sink.traces));

    h2o_mem_pool_t pool;
    struct out out;
    h2o_mem_init_pool(&pool);
    out_init(&out, &pool, 1 << 16);
    metrics_write(metrics, &out);
    h2o_iovec_t *vecs;
    assert_int_equal(out_vecs(&out, &vecs), 1);
    char expected[64];
    snprintf(expected, sizeof(expected), "{outcome=\"dropped\"} %d\n", 2000 - (int)kept);
    assert_non_null(memmem(vecs[0].base, vecs[0].len, expected, strlen(expected)));
    snprintf(expected, sizeof(expected), "{outcome=\"exported\"} %d\n", 1 + (int)kept + 1);
    assert_non_null(memmem(vecs[0].base, vecs[0].len, expected, strlen(expected)));
    assert_non_null(memmem(vecs[0].base, vecs[0].len, "{outcome=\"rejected\"} 1\n", 23));
    assert_non_null(memmem(vecs[0].base, vecs[0].len, "{outcome=\"failed\"} 1\n", 21));
    h2o_mem_clear_pool(&pool);

    traces_destroy(&sink.traces);
    buf_fini(&sink.got);
    buf_fini(&head);
    metrics_attach(NULL, 0);
    metrics_destroy(&metrics);
    loop_destroy(&loop);
}

static void test_who_decides(void **state)
{
    (void)state;
    struct loop *loop = loop_create(0);
    struct traces *traces = traces_create(loop);
    struct trace_settings settings = {.context = true, .parent_based = true, .threshold = 0};
    struct trace_link link;
    uint64_t parent;
    traces_serve(traces, &settings, NULL, NULL);
    assert_true(trace_arrive(STR(PARENT), true, &link, &parent));
    assert_true(link.sampled && parent == 0xb7ad6b7169203331 && link.span != parent);
    assert_true(trace_arrive(STR(PARENT), false, &link, &parent)); /* a stranger's word */
    assert_true(!link.sampled && link.trace[0] == 0x0af7651916cd43dd);
    assert_true(trace_arrive((struct str){NULL, 0}, true, &link, &parent));
    assert_true(!link.sampled && parent == 0 && trace_is(&link) && link.told);
    settings.threshold = (uint64_t)1 << 53;
    settings.context = false;
    assert_true(trace_arrive(STR(PARENT), true, &link, &parent));
    assert_true(link.sampled && parent == 0 && !link.told && link.trace[0] != 0x0af7651916cd43dd);
    traces_serve(traces, NULL, NULL, NULL);
    assert_false(trace_arrive(STR(PARENT), true, &link, &parent));
    traces_destroy(&traces);
    loop_destroy(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parents),
        cmocka_unit_test(test_a_parent_is_written_as_it_was_read),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_baggage),
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_a_thread_without_traces),
        cmocka_unit_test(test_ids_of_parts),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_who_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
