/* One loop, one client, a few upstreams configured by hand, and calls that are waited for. */
#ifndef TESTS_UPSTREAMS_FIXTURE_H
#define TESTS_UPSTREAMS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/unit/upstreams_origin.h"
#include "upstreams/internal.h"

enum { MAX_UPSTREAMS = 4 };

struct fixture {
    struct config_upstream configured[MAX_UPSTREAMS];
    char urls[MAX_UPSTREAMS][160];
    struct config *config;
    struct diag *diag;
    struct upstreams *ups;
    struct loop *loop;
    struct offload *names;
    struct up_client *client;
};

/* A call with what it left behind. */
struct ask {
    struct up_call *call;
    struct up_result result; /* its body and content_type are good until ask_release() */
    bool done;
    unsigned *countdown;
};

static inline void set_url(struct fixture *f, size_t i, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(f->urls[i], sizeof(f->urls[i]), format, args);
    va_end(args);
    f->configured[i].url = str_from(f->urls[i]);
}

/* Each upstream as the defaults of the configuration would have it, but quicker to give up. */
static inline void fixture_init(struct fixture *f)
{
    static const char *const names[MAX_UPSTREAMS] = {"a", "b", "c", "d"};
    *f = (struct fixture){.config = NULL};
    for (size_t i = 0; i < MAX_UPSTREAMS; i++)
        f->configured[i] = (struct config_upstream){.name = str_from(names[i]),
                                                    .connect_timeout_ms = 1000,
                                                    .timeout_ms = 3000,
                                                    .max_idle = 32,
                                                    .connection_lifetime_ms = 60000,
                                                    .max_inflight = 256,
                                                    .max_queue = 256,
                                                    .queue_timeout_ms = 1000,
                                                    .max_body = 1 << 20,
                                                    .resolve_every_ms = 30000};
    f->diag = diag_create();
    f->config = config_parse(STR(""), "test.toml", "/", f->diag);
    f->config->upstreams = f->configured;
}

static inline void fixture_start(struct fixture *f, size_t upstreams)
{
    f->config->upstream_count = upstreams;
    f->ups = upstreams_create(f->config, f->diag);
    if (diag_errors(f->diag) != 0)
        diag_print(f->diag, stderr);
    assert_int_equal(diag_errors(f->diag), 0);
    f->loop = loop_create(0);
    f->names = offload_create("names", 4, 16);
    f->client = up_client_create(f->ups, f->loop, f->names);
}

static inline void fixture_stop(struct fixture *f)
{
    up_client_destroy(&f->client);
    offload_destroy(&f->names);
    upstreams_destroy(&f->ups);
    loop_destroy(&f->loop);
    f->config->upstreams = NULL;
    f->config->upstream_count = 0;
    config_destroy(&f->config);
    diag_destroy(&f->diag);
}

static inline void ask_done(struct up_call *call, const struct up_result *result, void *arg)
{
    struct ask *ask = arg;
    assert_ptr_equal(ask->call, call);
    assert_false(ask->done);
    ask->done = true;
    ask->result = *result;
    if (ask->countdown != NULL)
        --*ask->countdown;
}

static inline void ask_request(struct fixture *f, struct ask *ask, const struct up_request *request)
{
    ask->done = false;
    ask->call = up_call_start(f->client, request, ask_done, ask);
    assert_non_null(ask->call);
    assert_false(ask->done); /* never inside start */
}

static inline void ask_with(struct fixture *f, struct ask *ask, size_t upstream, const char *target,
                            const struct up_header *headers, size_t header_count,
                            uint64_t timeout_ms)
{
    struct up_request request = {.upstream = upstream_find(f->ups, f->configured[upstream].name),
                                 .target = str_from(target),
                                 .headers = headers,
                                 .header_count = header_count,
                                 .timeout_ms = timeout_ms};
    ask_request(f, ask, &request);
}

static inline void ask_start(struct fixture *f, struct ask *ask, size_t upstream,
                             const char *target)
{
    ask_with(f, ask, upstream, target, NULL, 0, 0);
}

/* Ten seconds at most, far more than anything here takes. */
static inline void ask_wait(struct fixture *f, struct ask *ask)
{
    uint64_t until_us = clock_us() + 10 * 1000 * 1000;
    while (!ask->done && clock_us() < until_us)
        loop_turn(f->loop, 100);
    assert_true(ask->done);
}

static inline void turn_for(struct fixture *f, unsigned ms)
{
    uint64_t until_us = clock_us() + ms * 1000;
    while (clock_us() < until_us)
        loop_turn(f->loop, 5);
}

/* Until the breaker of "a" lets a probe through: open_for and its tenth are over by the loop's own
 * clock, too, which stands still while a turn runs. */
static inline void wait_until_probed(struct fixture *f)
{
    const struct breaker *breaker = &upstream_find(f->ups, STR("a"))->breaker;
    uint64_t retry_in_us;
    while (breaker_look(breaker, loop_now_ms(f->loop) * 1000, &retry_in_us) == BREAKER_OPEN &&
           retry_in_us != 0)
        loop_turn(f->loop, 1 + (int)(retry_in_us / 1000));
}

static inline void ask_release(struct ask *ask)
{
    up_call_release(&ask->call);
    assert_null(ask->call);
}

static inline struct up_result ask_for(struct fixture *f, struct ask *ask, size_t upstream,
                                       const char *target)
{
    ask_start(f, ask, upstream, target);
    ask_wait(f, ask);
    return ask->result;
}

static inline bool body_is(struct ask *ask, const char *text)
{
    return str_eq(ask->result.body, str_from(text));
}

#endif
