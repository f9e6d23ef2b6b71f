/* The access log as its readers see it: the lines, and what happens when nobody takes them. */
#include "observe/observe.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "observe/access_line.h"

/* -- lines ----------------------------------------------------------------------------------- */

static const struct timespec moment = {.tv_sec = 1795339800, .tv_nsec = 123999999};
#define MOMENT "2026-11-22T09:30:00.123Z"

static const struct access_part parts[] = {
    {.name = {"promo", 5}, .state = "ok", .status = 200, .us = 12345, .bytes = 1131, .attempts = 1},
    {.name = {"recco", 5},
     .state = "timeout",
     .error = "http_response_timeout",
     .us = 800114,
     .attempts = 2},
};

static struct access_record full_record(void)
{
    return (struct access_record){
        .id = STR("7f3c"),
        .client = STR("203.0.113.7"),
        .user = STR("basic:ada"),
        .method = STR("GET"),
        .path = STR("/?user=7"),
        .host = STR("shop.example"),
        .protocol = STR("HTTP/2"),
        .route = STR("home"),
        .user_agent = STR("Mozilla/5.0 (X11)"),
        .status = 200,
        .bytes = 3412,
        .us = 800901,
        .flags = "UT",
        .parts = parts,
        .part_count = COUNT(parts),
    };
}

static struct str format_line(enum access_format format, const struct access_record *record)
{
    static char line[1 << 20];
    struct access_stamp stamp = {0};
    access_stamp_set(&stamp, moment);
    size_t bound = access_line_bound(format, record);
    assert_true(bound < sizeof(line));
    memset(line + bound, 'x', 1);
    char *end = access_line_write(line, format, &stamp, record);
    assert_true((size_t)(end - line) <= bound);
    assert_int_equal(line[bound], 'x');
    return (struct str){line, (size_t)(end - line)};
}

static void check_line(enum access_format format, const struct access_record *record,
                       const char *expected)
{
    struct str line = format_line(format, record);
    char *text = strndup(line.p, line.n);
    assert_string_equal(text, expected);
    free(text);
}

static void test_every_field_has_its_place(void **state)
{
    (void)state;
    struct access_record record = full_record();
    check_line(
        ACCESS_JSON, &record,
        "{\"ts\":\"" MOMENT "\",\"id\":\"7f3c\",\"client\":\"203.0.113.7\","
        "\"user\":\"basic:ada\",\"method\":\"GET\",\"path\":\"/?user=7\",\"host\":\"shop.example\","
        "\"protocol\":\"HTTP/2\",\"route\":\"home\",\"status\":200,\"bytes\":3412,"
        "\"ms\":800.901,\"flags\":\"UT\",\"ua\":\"Mozilla/5.0 (X11)\",\"parts\":["
        "{\"name\":\"promo\",\"state\":\"ok\",\"status\":200,\"ms\":12.345,"
        "\"bytes\":1131,\"attempts\":1},"
        "{\"name\":\"recco\",\"state\":\"timeout\",\"ms\":800.114,\"bytes\":0,"
        "\"attempts\":2,\"error\":\"http_response_timeout\"}]}\n");
    check_line(ACCESS_LOGFMT, &record,
               "ts=" MOMENT " id=7f3c client=203.0.113.7 user=basic:ada method=GET "
               "path=\"/?user=7\" host=shop.example protocol=HTTP/2 route=home status=200 "
               "bytes=3412 ms=800.901 "
               "flags=UT ua=\"Mozilla/5.0 (X11)\" part.promo.state=ok part.promo.status=200 "
               "part.promo.ms=12.345 part.promo.bytes=1131 part.promo.attempts=1 "
               "part.recco.state=timeout part.recco.ms=800.114 part.recco.bytes=0 "
               "part.recco.attempts=2 part.recco.error=http_response_timeout\n");
}

static void test_a_field_without_a_value_is_left_out(void **state)
{
    (void)state;
    struct access_record record = {.status = 400, .us = 7, .flags = ""};
    check_line(ACCESS_JSON, &record,
               "{\"ts\":\"" MOMENT "\",\"status\":400,\"bytes\":0,\"ms\":0.007}\n");
    check_line(ACCESS_LOGFMT, &record, "ts=" MOMENT " status=400 bytes=0 ms=0.007\n");
}

static void test_no_byte_ends_a_line_or_begins_a_field(void **state)
{
    (void)state;
    static const struct {
        const char *value, *json, *logfmt;
    } cases[] = {
        {"/plain", "/plain", "/plain"},
        {"/a=b", "/a=b", "\"/a=b\""},
        {"/a b", "/a b", "\"/a b\""},
        {"/long-enough-for-a-word=", "/long-enough-for-a-word=", "\"/long-enough-for-a-word=\""},
        {"/long-enough for-a-word", "/long-enough for-a-word", "\"/long-enough for-a-word\""},
        {"\" status=200", "\\\" status=200", "\"\\\" status=200\""},
        {"a\",\"status\":200", "a\\\",\\\"status\\\":200", "\"a\\\",\\\"status\\\":200\""},
        {"a\\", "a\\\\", "\"a\\\\\""},
        {"1234567\\12345678", "1234567\\\\12345678", "\"1234567\\\\12345678\""},
        {"a\nts=1\r\t", "a\\nts=1\\r\\t", "\"a\\nts=1\\r\\t\""},
        {"\x01\x1f\x7f", "\\u0001\\u001f\\u007f", "\"\\u0001\\u001f\\u007f\""},
        {"12345678\x7f", "12345678\\u007f", "\"12345678\\u007f\""},
        {"\xc2\x85", "\\u0085", "\"\\u0085\""},
        {"\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029", "\"\\u2028\\u2029\""},
        {"\xe2\x80\xae\xe2\x81\xa6", "\\u202e\\u2066", "\"\\u202e\\u2066\""},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
         "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xff", "\\ufffd", "\"\\ufffd\""},
        {"\x80z", "\\ufffdz", "\"\\ufffdz\""},
        {"\xc0\xaf", "\\ufffd\\ufffd", "\"\\ufffd\\ufffd\""},
        {"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {"\xe2\x82", "\\ufffd\\ufffd", "\"\\ufffd\\ufffd\""},
        {"\xc3\"", "\\ufffd\\\"", "\"\\ufffd\\\"\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct access_record record = {.path = str_from(cases[i].value), .status = 200};
        char expected[256];
        snprintf(expected, sizeof(expected),
                 "{\"ts\":\"" MOMENT "\",\"path\":\"%s\",\"status\":200,\"bytes\":0,"
                 "\"ms\":0.000}\n",
                 cases[i].json);
        check_line(ACCESS_JSON, &record, expected);
        snprintf(expected, sizeof(expected), "ts=" MOMENT " path=%s status=200 bytes=0 ms=0.000\n",
                 cases[i].logfmt);
        check_line(ACCESS_LOGFMT, &record, expected);
    }
}

static void test_a_part_name_cannot_break_a_key(void **state)
{
    (void)state;
    struct access_part part = {.name = STR("a b=\"\n"), .state = "ok"};
    struct access_record record = {.parts = &part, .part_count = 1};
    check_line(ACCESS_LOGFMT, &record,
               "ts=" MOMENT " status=0 bytes=0 ms=0.000 part.a_b___.state=ok "
               "part.a_b___.ms=0.000 part.a_b___.bytes=0 part.a_b___.attempts=0\n");
    check_line(ACCESS_JSON, &record,
               "{\"ts\":\"" MOMENT "\",\"status\":0,\"bytes\":0,\"ms\":0.000,\"parts\":["
               "{\"name\":\"a b=\\\"\\n\",\"state\":\"ok\",\"ms\":0.000,\"bytes\":0,"
               "\"attempts\":0}]}\n");
}

static void test_a_value_is_cut_between_characters(void **state)
{
    (void)state;
    static const struct {
        const char *unit;
        size_t count, kept; /* units */
    } cases[] = {
        {"a", 2048, 2048},
        {"a", 100000, 2048},
        {"\xc3\xa4", 5000, 1024},
        {"\xe2\x82\xac", 5000, 682}, /* 2046 bytes: the next would end past the cut */
        {"\xf0\x9f\x98\x80", 5000, 512},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t unit = strlen(cases[i].unit);
        char *value = malloc(unit * cases[i].count);
        for (size_t k = 0; k < cases[i].count; k++)
            memcpy(value + k * unit, cases[i].unit, unit);
        struct access_record record = {.path = {value, unit * cases[i].count}};
        struct str line = format_line(ACCESS_JSON, &record);
        const char *after = memmem(line.p, line.n, "\",\"status\"", 10);
        size_t start = sizeof("{\"ts\":\"" MOMENT "\",\"path\":\"") - 1;
        assert_non_null(after);
        assert_int_equal(after - line.p, start + unit * cases[i].kept);
        assert_memory_equal(line.p + start, value, unit * cases[i].kept);
        free(value);
    }
}

static void test_the_longest_line_stays_within_its_bound(void **state)
{
    (void)state;
    static char bytes[4096];
    memset(bytes, 0x01, sizeof(bytes)); /* each becomes six */
    bytes[sizeof(bytes) - 1] = '\0';
    struct str value = {bytes, sizeof(bytes)};
    struct access_part part = {.name = value,
                               .state = bytes,
                               .error = bytes,
                               .status = 999,
                               .us = UINT32_MAX,
                               .bytes = UINT64_MAX,
                               .attempts = UINT32_MAX};
    struct access_record record = {.id = value,
                                   .client = value,
                                   .method = value,
                                   .path = value,
                                   .host = value,
                                   .protocol = value,
                                   .route = value,
                                   .user_agent = value,
                                   .user = value,
                                   .referer = value,
                                   .reply_us = UINT64_MAX,
                                   .status = -1,
                                   .bytes = UINT64_MAX,
                                   .us = UINT64_MAX,
                                   .flags = bytes,
                                   .parts = &part,
                                   .part_count = 1};
    /* format_line() checks the bound. */
    struct str json = format_line(ACCESS_JSON, &record);
    assert_true(json.n > 12 * 6 * 2048);
    struct str logfmt = format_line(ACCESS_LOGFMT, &record);
    assert_true(logfmt.n > 17 * 2048);
    part.begin_us = UINT32_MAX / 2; /* of what can't be, each phase is as long as it gets */
    part.times = (struct call_times){.queue = 1,
                                     .dns = 2,
                                     .connect = 3,
                                     .tls = 4,
                                     .first_byte = UINT32_MAX / 4,
                                     .total = UINT32_MAX / 2 - 1};
    assert_true(format_line(ACCESS_SLOW_JSON, &record).n > json.n);
    assert_true(format_line(ACCESS_SLOW_LOGFMT, &record).n > logfmt.n + 8 * 2048);
    assert_true(format_line(ACCESS_COMBINED, &record).n > 7 * 4 * 2048);
}

static void test_time_moves_on(void **state)
{
    (void)state;
    static const struct {
        time_t seconds;
        long nanoseconds;
        const char *text;
    } cases[] = {
        {0, 0, "1970-01-01T00:00:00.000Z"},
        {0, 999999999, "1970-01-01T00:00:00.999Z"},
        {951827696, 5000000, "2000-02-29T12:34:56.005Z"},
        {951827696, 6000000, "2000-02-29T12:34:56.006Z"},
        {951827697, 0, "2000-02-29T12:34:57.000Z"},
        {951827696, 0, "2000-02-29T12:34:56.000Z"}, /* a clock set back */
    };
    struct access_stamp stamp = {0};
    for (size_t i = 0; i < COUNT(cases); i++) {
        access_stamp_set(&stamp, (struct timespec){cases[i].seconds, cases[i].nanoseconds});
        assert_string_equal(stamp.text, cases[i].text);
    }
}

/* -- files and pipes ------------------------------------------------------------------------- */

static void test_off_is_no_log(void **state)
{
    (void)state;
    struct access_log *log = access_log_open("off", ACCESS_JSON, 1);
    assert_null(log);
    access_log_write(log, 0, &(struct access_record){0});
    assert_int_equal(access_log_dropped(log), 0);
    access_log_close(&log);
}

static void test_a_file_that_cannot_be_opened_says_why(void **state)
{
    (void)state;
    assert_null(access_log_open("/nowhere/access.log", ACCESS_JSON, 1));
    assert_int_equal(errno, ENOENT);
    assert_null(access_log_open("/", ACCESS_JSON, 1));
    assert_int_equal(errno, EISDIR);
}

static char *temporary_path(void)
{
    char *path = strdup("/tmp/test_access_log.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    return path;
}

struct writer {
    struct access_log *log;
    unsigned index, lines;
    size_t padding; /* bytes, at most 512 */
};

/* Lines that name their loop and count on. */
static void *write_lines(void *arg)
{
    struct writer *writer = arg;
    char padding[512];
    memset(padding, 'p', sizeof(padding));
    for (unsigned i = 0; i < writer->lines; i++) {
        char id[32];
        snprintf(id, sizeof(id), "%u.%u", writer->index, i);
        access_log_write(writer->log, writer->index,
                         &(struct access_record){.id = str_from(id),
                                                 .user_agent = {padding, writer->padding + i % 7},
                                                 .status = 200});
    }
    return NULL;
}

/* Reads whole lines; checks that each loop's come complete and in order. Counts those of a loop in
 * counts[loop]; gaps are allowed where lines may have been dropped. */
static void read_lines(FILE *file, unsigned *counts, unsigned loops, bool gaps)
{
    unsigned *next = calloc(loops, sizeof(*next));
    char line[2048];
    while (fgets(line, sizeof(line), file)) {
        unsigned loop, number;
        assert_non_null(strchr(line, '\n'));
        assert_int_equal(sscanf(line, "ts=%*s id=%u.%u", &loop, &number), 2);
        assert_non_null(strstr(line, " status=200 bytes=0 ms=0.000"));
        assert_true(loop < loops);
        if (gaps)
            assert_true(number >= next[loop]);
        else
            assert_int_equal(number, next[loop]);
        next[loop] = number + 1;
        counts[loop]++;
    }
    free(next);
}

static void test_loops_lose_nothing_up_to_the_close(void **state)
{
    (void)state;
    enum { LOOPS = 4, LINES = 1500 }; /* a loop's fit into its ring, if nobody reads at all */
    char *path = temporary_path();
    struct access_log *log = access_log_open(path, ACCESS_LOGFMT, LOOPS);
    assert_non_null(log);
    pthread_t threads[LOOPS];
    struct writer writers[LOOPS];
    unsigned counts[LOOPS] = {0};
    for (unsigned i = 0; i < LOOPS; i++) {
        writers[i] = (struct writer){.log = log, .index = i, .lines = LINES, .padding = 64};
        pthread_create(&threads[i], NULL, write_lines, &writers[i]);
    }
    for (unsigned i = 0; i < LOOPS; i++)
        pthread_join(threads[i], NULL);
    access_log_close(&log);
    assert_null(log);
    FILE *file = fopen(path, "r");
    read_lines(file, counts, LOOPS, false);
    fclose(file);
    for (unsigned i = 0; i < LOOPS; i++)
        assert_int_equal(counts[i], LINES);
    unlink(path);
    free(path);
}

static void test_laps_of_the_ring_lose_nothing(void **state)
{
    (void)state;
    enum { LINES = 40000 }; /* some ten laps */
    char *path = temporary_path();
    struct access_log *log = access_log_open(path, ACCESS_LOGFMT, 1);
    for (unsigned i = 0; i < LINES; i++) {
        char id[32];
        snprintf(id, sizeof(id), "0.%u", i);
        struct access_record record = {
            .id = str_from(id),
            .user_agent = {"a user agent of changing length, up to here", i % 43},
            .path = STR("/some/path/of/some/length?and=a&query=string"),
            .status = 200};
        uint64_t dropped = access_log_dropped(log);
        access_log_write(log, 0, &record);
        while (access_log_dropped(log) != dropped) {
            usleep(1000);
            dropped = access_log_dropped(log);
            access_log_write(log, 0, &record);
        }
    }
    access_log_close(&log);
    FILE *file = fopen(path, "r");
    unsigned count = 0;
    read_lines(file, &count, 1, false);
    fclose(file);
    assert_int_equal(count, LINES);
    unlink(path);
    free(path);
}

static void wait_for_size(const char *path, off_t size)
{
    struct stat st = {0};
    for (int wait = 0; wait < 5000 && st.st_size < size; wait++) {
        usleep(1000);
        assert_int_equal(stat(path, &st), 0);
    }
    assert_int_equal(st.st_size, size);
}

static void test_bursts_after_quiet_find_the_whole_ring(void **state)
{
    (void)state;
    char *path = temporary_path();
    struct access_log *log = access_log_open(path, ACCESS_LOGFMT, 1);
    char agent[2000];
    memset(agent, 'a', sizeof(agent));
    struct access_record burst = {.user_agent = {agent, sizeof(agent)}, .status = 200};
    struct access_record single = {.status = 200};
    off_t size = 0;
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 450; i++) {
            access_log_write(log, 0, &burst);
            size += (off_t)sizeof("ts=" MOMENT " status=200 bytes=0 ms=0.000 ua=\n") - 1 + 2000;
        }
        wait_for_size(path, size);
        access_log_write(log, 0, &single);
        size += (off_t)sizeof("ts=" MOMENT " status=200 bytes=0 ms=0.000\n") - 1;
        wait_for_size(path, size);
    }
    assert_int_equal(access_log_dropped(log), 0);
    access_log_close(&log);
    unlink(path);
    free(path);
}

static void test_a_line_is_written_without_a_close(void **state)
{
    (void)state;
    char *path = temporary_path();
    struct stat st;
    struct access_log *log = access_log_open(path, ACCESS_JSON, 2);
    /* Several naps: each line finds the writer asleep or about to be. */
    off_t size = 0;
    for (int i = 0; i < 20; i++) {
        access_log_write(log, (unsigned)i % 2, &(struct access_record){.status = 200});
        for (int wait = 0; wait < 5000; wait++) {
            assert_int_equal(stat(path, &st), 0);
            if (st.st_size > size)
                break;
            usleep(1000);
        }
        assert_true(st.st_size > size);
        size = st.st_size;
    }
    access_log_close(&log);
    unlink(path);
    free(path);
}

/* A pipe with a path to open its writing end by. */
struct named_pipe {
    int ends[2];
    char path[32];
};

static struct named_pipe open_pipe(void)
{
    struct named_pipe p;
    assert_int_equal(pipe2(p.ends, O_CLOEXEC), 0);
    snprintf(p.path, sizeof(p.path), "/dev/fd/%d", p.ends[1]);
    return p;
}

struct reader {
    int fd;
    unsigned counts[1];
};

static void *read_to_the_end(void *arg)
{
    struct reader *reader = arg;
    FILE *file = fdopen(reader->fd, "r");
    read_lines(file, reader->counts, 1, true);
    fclose(file);
    return NULL;
}

static void check_full_ring(struct access_log *log, int reading_end)
{
    enum { LINES = 20000 }; /* some 6 MB: far more than the pipe and the ring take */
    struct writer writer = {.log = log, .lines = LINES, .padding = 256};
    write_lines(&writer);
    uint64_t dropped = access_log_dropped(log);
    assert_true(dropped > 0 && dropped < LINES);

    struct reader reader = {.fd = reading_end};
    pthread_t thread;
    pthread_create(&thread, NULL, read_to_the_end, &reader);
    access_log_close(&log);
    close(STDOUT_FILENO); /* the pipe's last writing end, when it is stdout */
    pthread_join(thread, NULL);
    assert_int_equal(reader.counts[0], LINES - dropped);
}

static void test_a_full_ring_drops_whole_lines_and_counts_them(void **state)
{
    (void)state;
    int kept = dup(STDOUT_FILENO);
    fflush(stdout);
    struct named_pipe p = open_pipe();
    struct access_log *log = access_log_open(p.path, ACCESS_LOGFMT, 1);
    assert_non_null(log);
    close(p.ends[1]);
    check_full_ring(log, p.ends[0]);
    dup2(kept, STDOUT_FILENO);
    close(kept);
}

static void test_a_full_ring_on_a_nonblocking_stdout(void **state)
{
    (void)state;
    int kept = dup(STDOUT_FILENO);
    fflush(stdout);
    struct named_pipe p = open_pipe();
    fcntl(p.ends[1], F_SETFL, O_WRONLY | O_NONBLOCK);
    dup2(p.ends[1], STDOUT_FILENO);
    close(p.ends[1]);
    struct access_log *log = access_log_open("stdout", ACCESS_LOGFMT, 1);
    assert_non_null(log);
    check_full_ring(log, p.ends[0]);
    dup2(kept, STDOUT_FILENO);
    close(kept);
}

static void test_closing_does_not_wait_for_a_reader_that_never_reads(void **state)
{
    (void)state;
    struct named_pipe p = open_pipe();
    struct access_log *log = access_log_open(p.path, ACCESS_LOGFMT, 1);
    struct writer writer = {.log = log, .lines = 2000, .padding = 256};
    write_lines(&writer);
    static struct access_log *abandoned; /* stays reachable: the thread still holds it */
    abandoned = log;
    uint64_t before = clock_us();
    access_log_close(&log);
    assert_in_range(clock_us() - before, 1900000, 10000000);
    assert_non_null(abandoned);
    close(p.ends[0]);
    close(p.ends[1]);
}

static void test_a_destination_that_fails_costs_lines_only(void **state)
{
    (void)state;
    struct access_log *log = access_log_open("/dev/full", ACCESS_LOGFMT, 1);
    assert_non_null(log);
    struct writer writer = {.log = log, .lines = 100};
    write_lines(&writer);
    for (int wait = 0; wait < 5000 && access_log_dropped(log) < 100; wait++)
        usleep(1000);
    assert_int_equal(access_log_dropped(log), 100); /* ENOSPC */
    access_log_close(&log);

    struct named_pipe p = open_pipe();
    log = access_log_open(p.path, ACCESS_LOGFMT, 1);
    close(p.ends[0]);
    writer.log = log;
    write_lines(&writer);
    for (int wait = 0; wait < 5000 && access_log_dropped(log) < 100; wait++)
        usleep(1000);
    assert_int_equal(access_log_dropped(log), 100); /* EPIPE, and no SIGPIPE */
    access_log_close(&log);
    close(p.ends[1]);
}

static void test_a_line_torn_by_a_full_disk_does_not_spoil_the_next(void **state)
{
    (void)state;
    static const char line[] = "ts=" MOMENT " id=x status=200 bytes=0 ms=0.000\n";
    char *path = temporary_path();
    struct access_log *log = access_log_open(path, ACCESS_LOGFMT, 1);
    struct access_record record = {.id = STR("x"), .status = 200};
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    /* Two lines and half of the third fit. */
    size_t room = 2 * (sizeof(line) - 1) + sizeof(line) / 2;
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){room, before.rlim_max});
    for (int i = 0; i < 4; i++)
        access_log_write(log, 0, &record);
    for (int wait = 0; wait < 5000 && access_log_dropped(log) < 2; wait++)
        usleep(1000);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(access_log_dropped(log), 2);
    access_log_write(log, 0, &record);
    access_log_close(&log);

    char text[1024] = "";
    FILE *file = fopen(path, "r");
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    assert_int_equal(n, room + 1 + sizeof(line) - 1);
    assert_int_equal(text[room], '\n');
    assert_memory_equal(text + room + 1, "ts=", 3);
    assert_memory_equal(text + n - 5, ".000\n", 5);
    unlink(path);
    free(path);
}

static void test_a_line_longer_than_the_ring_is_dropped(void **state)
{
    (void)state;
    static struct access_part many[10000];
    for (size_t i = 0; i < COUNT(many); i++)
        many[i] = parts[0];
    struct access_log *log = access_log_open("/dev/null", ACCESS_JSON, 1);
    access_log_write(log, 0, &(struct access_record){.parts = many, .part_count = COUNT(many)});
    assert_int_equal(access_log_dropped(log), 1);
    access_log_close(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_has_its_place),
        cmocka_unit_test(test_a_field_without_a_value_is_left_out),
        cmocka_unit_test(test_no_byte_ends_a_line_or_begins_a_field),
        cmocka_unit_test(test_a_part_name_cannot_break_a_key),
        cmocka_unit_test(test_a_value_is_cut_between_characters),
        cmocka_unit_test(test_the_longest_line_stays_within_its_bound),
        cmocka_unit_test(test_time_moves_on),
        cmocka_unit_test(test_off_is_no_log),
        cmocka_unit_test(test_a_file_that_cannot_be_opened_says_why),
        cmocka_unit_test(test_loops_lose_nothing_up_to_the_close),
        cmocka_unit_test(test_laps_of_the_ring_lose_nothing),
        cmocka_unit_test(test_bursts_after_quiet_find_the_whole_ring),
        cmocka_unit_test(test_a_line_is_written_without_a_close),
        cmocka_unit_test(test_a_full_ring_drops_whole_lines_and_counts_them),
        cmocka_unit_test(test_a_full_ring_on_a_nonblocking_stdout),
        cmocka_unit_test(test_closing_does_not_wait_for_a_reader_that_never_reads),
        cmocka_unit_test(test_a_destination_that_fails_costs_lines_only),
        cmocka_unit_test(test_a_line_torn_by_a_full_disk_does_not_spoil_the_next),
        cmocka_unit_test(test_a_line_longer_than_the_ring_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
