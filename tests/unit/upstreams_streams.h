/* A streamed call whose consumer takes and gives as a test has it: it counts and sums up what
 * comes, pauses as often as it is told to, and makes its request's body from a pattern. */
#ifndef TESTS_UPSTREAMS_STREAMS_H
#define TESTS_UPSTREAMS_STREAMS_H

#include "tests/unit/upstreams_fixture.h"

struct streamed {
    struct up_stream stream;
    struct ask ask;
    struct fixture *f;
    struct up_request request;
    /* what it does */
    bool stops;            /* takes nothing until told to; see streamed_go() */
    unsigned takes_one_in; /* refuses all other pieces; 0, 1 = takes all */
    bool resumes;          /* by itself, at once, what it refused */
    unsigned gives_one_in; /* likewise of read() */
    size_t gives_at_most;  /* bytes at once; 0 = as many as there is room */
    uint64_t gives;        /* bytes in all, then 0 */
    uint64_t breaks_at;    /* UP_READ_BROKEN there; 0 = never */
    uint64_t has;          /* NOTHING_YET from there on; 0 = all of it */
    bool cancels_at_head, cancels_at_body;
    uint64_t cancels_after; /* bytes of the body */
    /* what came */
    unsigned heads, pieces, refused, reads;
    int status;
    size_t header_count;
    const struct up_header *headers;
    uint64_t taken, given;
    unsigned long crc;
    size_t largest;
    char text[8192]; /* the body, where it is small */
    size_t text_n;
};

static inline struct streamed *streamed_of(struct up_stream *stream)
{
    return CONTAINER_OF(stream, struct streamed, stream);
}

static inline unsigned long pattern_crc(uint64_t n)
{
    char bytes[4096];
    unsigned long crc = crc32(0, NULL, 0);
    for (uint64_t at = 0; at < n; at += sizeof(bytes)) {
        size_t some = n - at < sizeof(bytes) ? (size_t)(n - at) : sizeof(bytes);
        pattern_fill(bytes, at, some);
        crc = crc32(crc, (const unsigned char *)bytes, (unsigned)some);
    }
    return crc;
}

static inline void streamed_head(struct up_stream *stream, int status,
                                 const struct up_header *headers, size_t count)
{
    struct streamed *s = streamed_of(stream);
    assert_int_equal(s->heads, 0);
    assert_false(s->ask.done);
    s->heads++;
    s->status = status;
    s->headers = headers;
    s->header_count = count;
    if (s->cancels_at_head)
        up_call_cancel(&s->ask.call);
}

static inline bool streamed_body(struct up_stream *stream, const char *bytes, size_t n)
{
    struct streamed *s = streamed_of(stream);
    assert_int_equal(s->heads, 1);
    assert_false(s->ask.done);
    assert_non_null(s->ask.call); /* not after it was cancelled */
    assert_true(n > 0);
    s->largest = n > s->largest ? n : s->largest;
    if (s->stops || (s->takes_one_in > 1 && ++s->pieces % s->takes_one_in != 0)) {
        s->refused++;
        if (s->resumes)
            up_call_resume(s->ask.call);
        return false;
    }
    if (s->cancels_at_body && s->taken >= s->cancels_after) {
        up_call_cancel(&s->ask.call);
        return true;
    }
    for (size_t i = 0; i < n && s->text_n < sizeof(s->text) - 1; i++)
        s->text[s->text_n++] = bytes[i];
    s->taken += n;
    s->crc = crc32(s->crc, (const unsigned char *)bytes, (unsigned)n);
    return true;
}

static inline ssize_t streamed_read(struct up_stream *stream, char *to, size_t room)
{
    struct streamed *s = streamed_of(stream);
    assert_true(room > 0);
    assert_non_null(s->ask.call);
    if (s->breaks_at != 0 && s->given >= s->breaks_at)
        return UP_READ_BROKEN;
    bool refuses = s->gives_one_in > 1 && ++s->reads % s->gives_one_in != 0;
    if (refuses || (s->has != 0 && s->given >= s->has)) {
        if (refuses)
            up_call_resume(s->ask.call);
        return UP_READ_NOTHING_YET;
    }
    uint64_t left = (s->has != 0 ? s->has : s->gives) - s->given;
    size_t n = room < left ? room : (size_t)left;
    if (s->gives_at_most != 0 && n > s->gives_at_most)
        n = s->gives_at_most;
    pattern_fill(to, s->given, n);
    s->given += n;
    return (ssize_t)n;
}

/* `gives`: bytes of the request's body, UINT64_MAX = there is none. */
static inline void streamed_init(struct fixture *f, struct streamed *s, const char *method,
                                 const char *target, uint64_t gives)
{
    *s = (struct streamed){.f = f, .crc = crc32(0, NULL, 0)};
    s->stream = (struct up_stream){.head = streamed_head,
                                   .body = streamed_body,
                                   .read = gives == UINT64_MAX ? NULL : streamed_read,
                                   .length = gives,
                                   .idle_ms = 3000};
    s->gives = gives;
    s->request = (struct up_request){.upstream = upstream_find(f->ups, STR("a")),
                                     .target = str_from(target),
                                     .method = method,
                                     .stream = &s->stream};
}

static inline void streamed_start(struct streamed *s)
{
    ask_request(s->f, &s->ask, &s->request);
}

/* Thirty seconds at most, far more than anything here takes. */
static inline void streamed_wait(struct streamed *s)
{
    uint64_t until_us = clock_us() + 30 * 1000 * 1000;
    while (!s->ask.done && clock_us() < until_us)
        loop_turn(s->f->loop, 100);
    assert_true(s->ask.done);
}

static inline void streamed_run(struct streamed *s)
{
    streamed_start(s);
    streamed_wait(s);
}

/* Takes again. */
static inline void streamed_go(struct streamed *s)
{
    s->stops = false;
    up_call_resume(s->ask.call);
}

static inline void streamed_release(struct streamed *s)
{
    ask_release(&s->ask);
}

#define expect_answered(s, wanted)                                             \
    do {                                                                       \
        if ((s)->ask.result.end != UP_ANSWERED)                                \
            fail_msg("%s, %s", (s)->ask.result.error, (s)->ask.result.detail); \
        assert_int_equal((s)->heads, 1);                                       \
        assert_int_equal((s)->status, wanted);                                 \
        assert_int_equal((s)->ask.result.status, wanted);                      \
    } while (0)

/* The pattern, so many bytes of it. */
#define expect_body(s, n)                                \
    do {                                                 \
        assert_int_equal((s)->taken, n);                 \
        assert_int_equal((s)->ask.result.wire_bytes, n); \
        assert_int_equal((s)->crc, pattern_crc(n));      \
    } while (0)

#endif
