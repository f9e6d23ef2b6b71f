/* What is counted of requests, and how it is told to Prometheus. */
#include "observe/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct fixture {
    h2o_mem_pool_t pool;
    struct metrics *metrics;
    char text[1 << 20];
};

static int begin(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    h2o_mem_init_pool(&f->pool);
    f->metrics = metrics_create(2);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    metrics_destroy(&f->metrics);
    h2o_mem_clear_pool(&f->pool);
    free(f);
    return 0;
}

static const char *flatten(struct fixture *f, struct out *out)
{
    h2o_iovec_t *vecs;
    size_t count = out_vecs(out, &vecs), n = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(n + vecs[i].len < sizeof(f->text));
        memcpy(f->text + n, vecs[i].base, vecs[i].len);
        n += vecs[i].len;
    }
    f->text[n] = '\0';
    return f->text;
}

static const char *written(struct fixture *f)
{
    struct out out;
    out_init(&out, &f->pool, 0);
    metrics_write(f->metrics, &out);
    return flatten(f, &out);
}

/* A line that begins so, and says so. */
static void expect(struct fixture *f, const char *sample, const char *value)
{
    char line[512];
    snprintf(line, sizeof(line), "\n%s %s\n", sample, value);
    if (strstr(written(f), line) == NULL)
        fail_msg("no %s in: %s", line + 1, f->text);
}

static struct access_record ended(const char *method, int status, uint64_t us)
{
    return (struct access_record){.method = str_from(method),
                                  .protocol = STR("HTTP/1.1"),
                                  .scheme = STR("http"),
                                  .route = STR("home"),
                                  .status = status,
                                  .us = us};
}

static void count(struct fixture *f, unsigned loop, struct access_record record)
{
    metrics_count(f->metrics, loop, STR("/"), &record);
}

#define GET_200                                                                          \
    "http_request_method=\"GET\",url_scheme=\"http\",http_response_status_code=\"200\"," \
    "http_route=\"/\",network_protocol_version=\"1.1\""

static void test_a_bucket_has_all_up_to_its_bound(void **state)
{
    struct fixture *f = *state;
    static const uint64_t took_us[] = {0, 5000, 5001, 10000, 74999, 10000000, 10000001};
    for (size_t i = 0; i < COUNT(took_us); i++)
        count(f, 0, ended("GET", 200, took_us[i]));
#define BUCKET(le) "http_server_request_duration_seconds_bucket{" GET_200 ",le=\"" le "\"}"
    expect(f, BUCKET("0.005"), "2");
    expect(f, BUCKET("0.01"), "4");
    expect(f, BUCKET("0.05"), "4");
    expect(f, BUCKET("0.075"), "5");
    expect(f, BUCKET("7.5"), "5");
    expect(f, BUCKET("10"), "6");
    expect(f, BUCKET("+Inf"), "7");
    expect(f, "http_server_request_duration_seconds_count{" GET_200 "}", "7");
    expect(f, "http_server_request_duration_seconds_sum{" GET_200 "}", "20.095001");
}

static void test_loops_are_added_up(void **state)
{
    struct fixture *f = *state;
    count(f, 0, ended("GET", 200, 1000));
    count(f, 1, ended("GET", 200, 2000));
    count(f, 1, ended("GET", 503, 2000));
    expect(f, "http_server_request_duration_seconds_count{" GET_200 "}", "2");
    expect(f, "http_server_request_duration_seconds_sum{" GET_200 "}", "0.003000");
    expect(f,
           "http_server_request_duration_seconds_count{http_request_method=\"GET\","
           "url_scheme=\"http\",http_response_status_code=\"503\",http_route=\"/\","
           "network_protocol_version=\"1.1\",error_type=\"503\"}",
           "1");
    const char *first = strstr(f->text, "# TYPE http_server_request_duration_seconds histogram\n");
    assert_non_null(first);
    assert_null(strstr(first + 1, "# TYPE http_server_request_duration_seconds"));
}

static void test_parts_and_pages(void **state)
{
    struct fixture *f = *state;
    const struct access_part parts[] = {{.name = STR("promo"), .state = "ok", .us = 4000},
                                        {.name = STR("recco"), .state = "timeout", .us = 800000}};
    struct access_record record = ended("GET", 200, 1000);
    record.parts = parts;
    record.part_count = COUNT(parts);
    record.completed = PAGE_DEGRADED;
    count(f, 0, record);
    record.completed = PAGE_COMPLETE;
    count(f, 0, record);
    expect(f, "gw_part_duration_seconds_count{page=\"home\",part=\"recco\",state=\"timeout\"}",
           "2");
    expect(f, "gw_part_duration_seconds_sum{page=\"home\",part=\"promo\",state=\"ok\"}",
           "0.008000");
    expect(f, "gw_page_completed_total{page=\"home\",completed=\"true\"}", "1");
    expect(f, "gw_page_completed_total{page=\"home\",completed=\"false\"}", "1");
}

static void test_clients_cannot_make_labels(void **state)
{
    struct fixture *f = *state;
    static const char *const methods[] = {"FOO", "get", "GETT", "", "M-SEARCH"};
    for (size_t i = 0; i < COUNT(methods); i++)
        count(f, 0, ended(methods[i], 404, 1));
    expect(f,
           "http_server_request_duration_seconds_count{http_request_method=\"_OTHER\","
           "url_scheme=\"http\",http_response_status_code=\"404\",http_route=\"/\","
           "network_protocol_version=\"1.1\"}",
           "5");
}

static void test_a_thread_counts_where_it_is_attached(void **state)
{
    struct fixture *f = *state;
    const struct str labels[] = {STR("shop"), STR("timeout")};
    metric_add(METRIC_RETRIES, 1, labels, 2); /* nowhere */
    assert_null(metric_series(METRIC_RETRIES, labels, 2));
    metrics_attach(f->metrics, 0);
    metric_add(METRIC_RETRIES, 1, labels, 2);
    struct metric_series *series = metric_series(METRIC_RETRIES, labels, 2);
    metrics_attach(f->metrics, 1);
    metric_add(METRIC_RETRIES, 3, labels, 2);
    series_add(series, 1);
    metrics_attach(NULL, 0);
    metric_add(METRIC_RETRIES, 1, labels, 2);
    expect(f, "gw_retries_total{upstream=\"shop\",reason=\"timeout\"}", "5");
}

static void test_a_gauge_falls_too(void **state)
{
    struct fixture *f = *state;
    const struct str labels[] = {STR("GET"), STR("http")};
    metrics_attach(f->metrics, 0);
    metric_add(METRIC_ACTIVE_REQUESTS, 1, labels, 2);
    metrics_attach(f->metrics, 1); /* what began on one loop may end on another */
    metric_add(METRIC_ACTIVE_REQUESTS, (uint64_t)-1, labels, 2);
    metric_add(METRIC_ACTIVE_REQUESTS, 2, labels, 2);
    metrics_attach(NULL, 0);
    expect(f, "http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"}", "2");
}

static void test_histograms_have_bounds_of_their_own(void **state)
{
    struct fixture *f = *state;
    const struct str labels[] = {STR("0")};
    metrics_attach(f->metrics, 0);
    metric_observe(METRIC_LOOP_LAG, 400, labels, 1);
    metric_observe(METRIC_LOOP_LAG, 2000000, labels, 1);
    metrics_attach(NULL, 0);
    expect(f, "gw_loop_lag_seconds_bucket{loop=\"0\",le=\"0.0005\"}", "1");
    expect(f, "gw_loop_lag_seconds_bucket{loop=\"0\",le=\"1\"}", "1");
    expect(f, "gw_loop_lag_seconds_bucket{loop=\"0\",le=\"+Inf\"}", "2");
    expect(f, "gw_loop_lag_seconds_sum{loop=\"0\"}", "2.000400");
    assert_null(strstr(f->text, "loop=\"0\",le=\"10\""));
}

static void test_the_configuration(void **state)
{
    struct fixture *f = *state;
    unsigned long long at;
    expect(f, "gw_config_generation", "0");
    metrics_config_loaded(f->metrics, true);
    metrics_config_loaded(f->metrics, true);
    expect(f, "gw_config_generation", "2");
    expect(f, "gw_config_last_reload_successful", "1");
    metrics_config_loaded(f->metrics, false);
    expect(f, "gw_config_generation", "2");
    expect(f, "gw_config_last_reload_successful", "0");
    static const char name[] = "\ngw_config_last_reload_success_timestamp_seconds ";
    assert_int_equal(sscanf(strstr(f->text, name) + sizeof(name) - 1, "%llu", &at), 1);
    uint64_t now = (uint64_t)clock_unix_ms() / 1000;
    assert_in_range(at, now - 60, now + 1);
}

static void test_there_is_a_limit(void **state)
{
    struct fixture *f = *state;
    char name[16];
    for (int i = 0; i < METRICS_MAX_SERIES + 10; i++) {
        struct access_record record = ended("GET", 200, 1);
        snprintf(name, sizeof(name), "/%d", i);
        metrics_count(f->metrics, 0, str_from(name), &record);
    }
    struct out out;
    out_init(&out, &f->pool, 0);
    metrics_write(f->metrics, &out);
    assert_true(out_size(&out) > METRICS_MAX_SERIES * 1000);
    count(f, 0, ended("GET", 200, 1)); /* "/" came too late */
    count(f, 1, ended("GET", 200, 1)); /* another loop has room */
    for (int i = 0; i < 10; i++) {
        struct access_record record = ended("GET", 200, 1);
        metrics_count(f->metrics, 0, STR("/0"), &record); /* what is known goes on */
    }
    out_init(&out, &f->pool, 0);
    metrics_write(f->metrics, &out);
    h2o_iovec_t *vecs;
    size_t pieces = out_vecs(&out, &vecs);
    static const char last[] = "\ngw_metrics_dropped_total 11\n";
    h2o_iovec_t tail = vecs[pieces - 1];
    assert_true(tail.len >= sizeof(last) - 1);
    assert_memory_equal(tail.base + tail.len - (sizeof(last) - 1), last, sizeof(last) - 1);
}

static void test_values_are_escaped(void **state)
{
    struct fixture *f = *state;
    struct out out;
    const struct str labels[] = {STR("a"), STR("x\"y\\z\nw"), STR("b"), STR("")};
    out_init(&out, &f->pool, 0);
    metric_begin(&out, "gw_x", METRIC_GAUGE, "Text.");
    metric_put(&out, "gw_x", labels, COUNT(labels), UINT64_MAX);
    metric_put_micro(&out, "gw_x", NULL, 0, 1000001);
    assert_string_equal(flatten(f, &out),
                        "# HELP gw_x Text.\n# TYPE gw_x gauge\n"
                        "gw_x{a=\"x\\\"y\\\\z\\nw\",b=\"\"} 18446744073709551615\n"
                        "gw_x 1.000001\n");
}

static void test_the_process(void **state)
{
    struct fixture *f = *state;
    struct out out;
    unsigned long long fds, start;
    out_init(&out, &f->pool, 0);
    metrics_write_process(&out);
    const char *text = flatten(f, &out), *at = strstr(text, "\nprocess_open_fds ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, " process_open_fds %llu", &fds), 1);
    assert_in_range(fds, 3, 1000);
    at = strstr(text, "\nprocess_start_time_seconds ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, " process_start_time_seconds %llu", &start), 1);
    uint64_t now = (uint64_t)clock_unix_ms() / 1000;
    assert_in_range(start, now - 600, now + 2);
}

static void test_closed_connections_are_counted_by_kind(void **state)
{
    struct fixture *f = *state;
    const struct str pings = STR("pings"), resets = STR("resets");
    metrics_attach(f->metrics, 0);
    metric_add(METRIC_ABUSE, 1, &pings, 1);
    metrics_attach(f->metrics, 1);
    metric_add(METRIC_ABUSE, 1, &pings, 1);
    metric_add(METRIC_ABUSE, 1, &resets, 1);
    metrics_attach(NULL, 0);
    expect(f, "gw_abuse_closed_total{kind=\"pings\"}", "2");
    expect(f, "gw_abuse_closed_total{kind=\"resets\"}", "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_bucket_has_all_up_to_its_bound, begin, end),
        cmocka_unit_test_setup_teardown(test_loops_are_added_up, begin, end),
        cmocka_unit_test_setup_teardown(test_parts_and_pages, begin, end),
        cmocka_unit_test_setup_teardown(test_clients_cannot_make_labels, begin, end),
        cmocka_unit_test_setup_teardown(test_a_thread_counts_where_it_is_attached, begin, end),
        cmocka_unit_test_setup_teardown(test_a_gauge_falls_too, begin, end),
        cmocka_unit_test_setup_teardown(test_histograms_have_bounds_of_their_own, begin, end),
        cmocka_unit_test_setup_teardown(test_the_configuration, begin, end),
        cmocka_unit_test_setup_teardown(test_there_is_a_limit, begin, end),
        cmocka_unit_test_setup_teardown(test_values_are_escaped, begin, end),
        cmocka_unit_test_setup_teardown(test_the_process, begin, end),
        cmocka_unit_test_setup_teardown(test_closed_connections_are_counted_by_kind, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
