/* Bytes on their way to disk: all of them, in order, with bounded memory, whatever fails. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "files/spool.h"

struct fixture {
    struct loop *loop;
    struct offload *disk;
    struct spool spool;
    unsigned rooms, idles, lasts;
    int error;
};

/* A file that is an unlinked temporary one; its open() may be held up. */
struct target {
    struct spool_file file;
    const char *device; /* what is opened instead */
    sem_t *gate;
    unsigned opened;
};

static struct fixture f;

static void on_room(struct spool *spool)
{
    (void)spool;
    f.rooms++;
}

static void on_idle(struct spool *spool, int error)
{
    (void)spool;
    f.idles++;
    f.error = error;
}

static void on_last(struct spool *spool)
{
    (void)spool;
    f.lasts++;
}

static int open_target(struct spool_file *file)
{
    struct target *target = CONTAINER_OF(file, struct target, file);
    if (target->gate != NULL)
        sem_wait(target->gate);
    target->opened++;
    file->fd = target->device != NULL ? open(target->device, O_RDWR | O_CLOEXEC)
                                      : open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return file->fd < 0 ? errno : 0;
}

static void begin(unsigned queue_max)
{
    f = (struct fixture){.loop = loop_create(0), .disk = offload_create("disk", 1, queue_max)};
    spool_init(&f.spool, f.loop, f.disk);
    f.spool.room = on_room;
    f.spool.idle = on_idle;
    f.spool.last = on_last;
}

static void end(void)
{
    spool_fini(&f.spool);
    offload_destroy(&f.disk);
    loop_destroy(&f.loop);
}

static void target_init(struct target *target)
{
    *target = (struct target){.file = {.fd = -1, .open = open_target}};
    target->file.digests[0] = digest_create(DIGEST_SHA256);
    target->file.digests[1] = digest_create(DIGEST_CRC32);
}

static void target_fini(struct target *target)
{
    digest_destroy(&target->file.digests[0]);
    digest_destroy(&target->file.digests[1]);
    if (target->file.fd >= 0)
        close(target->file.fd);
}

static void until(const unsigned *counter, unsigned value)
{
    for (unsigned turns = 0; *counter < value; turns++) {
        assert_true(turns < 10000);
        loop_turn(f.loop, 100);
    }
}

/* Room, waiting for it when there is none. */
static char *room(size_t *n_r)
{
    for (;;) {
        unsigned before = f.rooms;
        char *at = spool_room(&f.spool, n_r);
        if (at != NULL)
            return at;
        until(&f.rooms, before + 1);
    }
}

static void send_bytes(struct target *target, const char *bytes, size_t n)
{
    while (n != 0) {
        size_t space;
        char *at = room(&space);
        space = space < n ? space : n;
        memcpy(at, bytes, space);
        if (target != NULL)
            spool_keep(&f.spool, &target->file, at, space);
        spool_push(&f.spool, space);
        bytes += space;
        n -= space;
    }
}

static char *random_text(size_t n)
{
    char *text = malloc(n);
    uint32_t state = 12345;
    for (size_t i = 0; i < n; i++)
        text[i] = (char)((state = state * 1664525 + 1013904223) >> 24);
    return text;
}

static void assert_holds(struct target *target, const char *bytes, size_t n)
{
    char *back = malloc(n + 1);
    uint8_t expected[32], value[DIGEST_MAX];
    assert_int_equal(target->file.offset, n);
    assert_int_equal(pread(target->file.fd, back, n + 1, 0), n);
    assert_memory_equal(back, bytes, n);
    sha256(bytes, n, expected);
    digest_finish(target->file.digests[0], value);
    assert_memory_equal(value, expected, 32);
    struct digest *crc = digest_create(DIGEST_CRC32);
    uint8_t sum[DIGEST_MAX];
    digest_update(crc, bytes, n);
    digest_finish(crc, sum);
    digest_finish(target->file.digests[1], value);
    assert_memory_equal(value, sum, 4);
    digest_destroy(&crc);
    free(back);
}

static void test_a_large_body_is_on_disk_whole_and_digested(void **state)
{
    (void)state;
    enum { N = 5 * 1024 * 1024 + 321 };
    char *bytes = random_text(N);
    struct target target;
    begin(8);
    target_init(&target);
    send_bytes(&target, bytes, N);
    spool_flush(&f.spool);
    until(&f.idles, 1);
    assert_int_equal(f.error, 0);
    assert_int_equal(f.lasts, 1);
    assert_int_equal(target.opened, 1);
    assert_holds(&target, bytes, N);
    assert_int_equal(f.spool.buffers, 0); /* idle: no memory is held */
    target_fini(&target);
    free(bytes);
    end();
}

/* Bytes of two files and of none, in pieces of any size, some of them not in the room (what a
 * parser held back): each file has its own, the digest of all has all. */
static void test_each_file_has_its_own_bytes_in_order(void **state)
{
    (void)state;
    enum { N = 700 * 1024 };
    char *bytes = random_text(N), *own[2] = {malloc(N), malloc(N)}, held[SPOOL_STRAY];
    size_t own_n[2] = {0, 0}, at = 0;
    struct target targets[2];
    uint32_t random = 1;
    begin(8);
    target_init(&targets[0]);
    target_init(&targets[1]);
    f.spool.whole[0] = digest_create(DIGEST_SHA256);
    while (at < N) {
        size_t space;
        char *to = room(&space);
        random = random * 1664525 + 1013904223;
        size_t n = (random >> 8) % 3000 + 1, which = (random >> 24) % 3, stray = random % 7;
        n = n < space ? n : space;
        n = n < N - at ? n : N - at;
        memcpy(to, bytes + at, n);
        if (which < 2) {
            if (stray == 0) { /* as if "held" came from before this room */
                memset(held, 'h', sizeof(held));
                spool_keep(&f.spool, &targets[which].file, held, sizeof(held));
                memset(held, 'X', sizeof(held));
                memset(own[which] + own_n[which], 'h', sizeof(held));
                own_n[which] += sizeof(held);
            }
            size_t first = n / 3; /* two pieces that touch, as a parser gives them */
            spool_keep(&f.spool, &targets[which].file, to, first);
            spool_keep(&f.spool, &targets[which].file, to + first, n - first);
            memcpy(own[which] + own_n[which], to, n);
            own_n[which] += n;
            assert_true(own_n[which] < N);
        }
        spool_push(&f.spool, n);
        at += n;
    }
    spool_flush(&f.spool);
    until(&f.idles, 1);
    assert_holds(&targets[0], own[0], own_n[0]);
    assert_holds(&targets[1], own[1], own_n[1]);
    uint8_t expected[32], value[DIGEST_MAX];
    sha256(bytes, N, expected);
    digest_finish(f.spool.whole[0], value);
    assert_memory_equal(value, expected, 32);
    digest_destroy(&f.spool.whole[0]);
    for (size_t i = 0; i < 2; i++) {
        target_fini(&targets[i]);
        free(own[i]);
    }
    free(bytes);
    end();
}

static void test_a_slow_disk_stops_the_socket_and_goes_on(void **state)
{
    (void)state;
    enum { N = 3 * SPOOL_BUFFERS * SPOOL_BUFFER };
    char *bytes = random_text(N);
    size_t sent = 0, space;
    struct target target;
    sem_t gate;
    sem_init(&gate, 0, 0);
    begin(8);
    target_init(&target);
    target.gate = &gate;
    for (char *at; (at = spool_room(&f.spool, &space)) != NULL;) {
        memcpy(at, bytes + sent, space);
        spool_keep(&f.spool, &target.file, at, space);
        spool_push(&f.spool, space);
        sent += space;
    }
    assert_int_equal(sent, SPOOL_BUFFERS * SPOOL_BUFFER);
    loop_turn(f.loop, 0);
    assert_null(spool_room(&f.spool, &space)); /* asked again: still none, and told once */
    assert_int_equal(f.rooms, 0);
    sem_post(&gate);
    until(&f.rooms, 1);
    send_bytes(&target, bytes + sent, N - sent);
    spool_flush(&f.spool);
    until(&f.idles, 1);
    assert_holds(&target, bytes, N);
    target_fini(&target);
    sem_destroy(&gate);
    free(bytes);
    end();
}

static void test_small_uploads_take_one_job(void **state)
{
    (void)state;
    struct target target;
    begin(8);
    target_init(&target);
    send_bytes(&target, "small", 5);
    assert_false(f.spool.busy);
    spool_flush(&f.spool);
    assert_true(f.spool.busy);
    until(&f.idles, 1);
    assert_int_equal(f.lasts, 1);
    assert_holds(&target, "small", 5);
    target_fini(&target);
    end();
}

static void test_what_nobody_wants_is_not_written(void **state)
{
    (void)state;
    char *bytes = random_text(1024 * 1024);
    begin(8);
    f.spool.last = NULL;
    send_bytes(NULL, bytes, 1024 * 1024);
    assert_int_equal(f.spool.buffers, 1);
    assert_false(f.spool.busy);
    spool_flush(&f.spool);
    assert_int_equal(f.idles, 1); /* at once */
    free(bytes);
    end();
}

static void test_last_comes_without_any_byte(void **state)
{
    (void)state;
    begin(8);
    spool_flush(&f.spool);
    assert_int_equal(f.idles, 0);
    until(&f.idles, 1);
    assert_int_equal(f.lasts, 1);
    end();
}

static void test_a_full_disk_is_told_and_the_rest_thrown_away(void **state)
{
    (void)state;
    char *bytes = random_text(4 * 1024 * 1024);
    struct target target;
    begin(8);
    target_init(&target);
    target.device = "/dev/full";
    send_bytes(&target, bytes, SPOOL_BUFFER);
    until(&f.idles, 1);
    assert_int_equal(f.error, ENOSPC);
    send_bytes(&target, bytes, 4 * 1024 * 1024);
    assert_int_equal(f.idles, 1);
    assert_false(f.spool.busy);
    spool_flush(&f.spool);
    assert_int_equal(f.idles, 2);
    assert_int_equal(f.error, ENOSPC);
    assert_int_equal(f.lasts, 0);
    target_fini(&target);
    free(bytes);
    end();
}

static void test_a_file_that_cannot_be_made_is_told(void **state)
{
    (void)state;
    struct target target;
    begin(8);
    target_init(&target);
    target.device = "/nowhere/at/all";
    send_bytes(&target, "x", 1);
    spool_flush(&f.spool);
    until(&f.idles, 1);
    assert_int_equal(f.error, ENOENT);
    assert_int_equal(f.lasts, 0);
    target_fini(&target);
    end();
}

static void test_abandoned_while_written_it_is_idle_after_that(void **state)
{
    (void)state;
    char *bytes = random_text(SPOOL_BUFFERS * SPOOL_BUFFER);
    struct target target;
    sem_t gate;
    sem_init(&gate, 0, 0);
    begin(8);
    target_init(&target);
    target.gate = &gate;
    send_bytes(&target, bytes, SPOOL_BUFFERS * SPOOL_BUFFER);
    loop_turn(f.loop, 0);
    spool_abandon(&f.spool);
    assert_int_equal(f.idles, 0);
    sem_post(&gate);
    until(&f.idles, 1);
    assert_int_equal(f.lasts, 0);
    /* one buffer was under way at most; the other three never came to the disk */
    assert_true(lseek(target.file.fd, 0, SEEK_END) <= SPOOL_BUFFER);
    target_fini(&target);
    sem_destroy(&gate);
    free(bytes);
    end();
}

static void test_abandoned_before_any_job_it_is_idle_at_once(void **state)
{
    (void)state;
    struct target target;
    begin(8);
    target_init(&target);
    send_bytes(&target, "x", 1);
    spool_abandon(&f.spool);
    assert_int_equal(f.idles, 1);
    assert_int_equal(target.opened, 0);
    target_fini(&target);
    end();
}

static sem_t *blocked_gate;

static void wait_at_gate(struct offload_job *job)
{
    (void)job;
    sem_wait(blocked_gate);
}

static void do_nothing(struct offload_job *job)
{
    (void)job;
}

static void test_a_full_queue_of_jobs_loses_nothing(void **state)
{
    (void)state;
    enum { N = 2 * SPOOL_BUFFERS * SPOOL_BUFFER };
    char *bytes = random_text(N);
    struct target target;
    struct offload_job blocker = {.work = wait_at_gate}, filler = {.work = do_nothing};
    sem_t gate;
    sem_init(&gate, 0, 0);
    blocked_gate = &gate;
    begin(1);
    target_init(&target);
    assert_true(offload_submit(f.disk, &blocker));
    while (!offload_submit(f.disk, &filler)) /* until the thread has taken the first */
        loop_turn(f.loop, 1);
    send_bytes(&target, bytes, SPOOL_BUFFER);
    assert_false(f.spool.busy);
    assert_true(timer_running(&f.spool.again));
    sem_post(&gate);
    send_bytes(&target, bytes + SPOOL_BUFFER, N - SPOOL_BUFFER);
    spool_flush(&f.spool);
    until(&f.idles, 1);
    assert_holds(&target, bytes, N);
    target_fini(&target);
    sem_destroy(&gate);
    free(bytes);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_large_body_is_on_disk_whole_and_digested),
        cmocka_unit_test(test_each_file_has_its_own_bytes_in_order),
        cmocka_unit_test(test_a_slow_disk_stops_the_socket_and_goes_on),
        cmocka_unit_test(test_small_uploads_take_one_job),
        cmocka_unit_test(test_what_nobody_wants_is_not_written),
        cmocka_unit_test(test_last_comes_without_any_byte),
        cmocka_unit_test(test_a_full_disk_is_told_and_the_rest_thrown_away),
        cmocka_unit_test(test_a_file_that_cannot_be_made_is_told),
        cmocka_unit_test(test_abandoned_while_written_it_is_idle_after_that),
        cmocka_unit_test(test_abandoned_before_any_job_it_is_idle_at_once),
        cmocka_unit_test(test_a_full_queue_of_jobs_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
