/* What a signature costs: for each kind of key, processor time and time for the key's own work, for
 * a whole CMS, for checking one, and how many a second come out of 1 and 4 threads.
 *
 *     build/tools/sign_speed [SECONDS]     (0.5: for each figure) */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "crypto/sign_internal.h"

enum { THREADS_MAX = 4 };

static double seconds_each = 0.5;

struct work {
    struct signer *signer;
    void (*once)(struct signer *signer);
    size_t count;
};

static uint8_t digest[DIGEST_MAX];
static struct cms cms;
static uint8_t der[4096];
static size_t der_n;

static void key_alone(struct signer *signer)
{
    uint8_t value[SIGNATURE_VALUE_MAX];
    key_pool_sign(signer->keys, signer->algorithm, digest, value);
}

static void whole(struct signer *signer)
{
    struct cms made;
    uint8_t room[4096];
    cms_sign(signer, digest, &made);
    cms_write(&made, (struct str){NULL, 0}, room);
}

static void write_alone(struct signer *signer)
{
    uint8_t room[4096];
    (void)signer;
    cms_write(&cms, (struct str){NULL, 0}, room);
}

static void give_digest(void *arg, enum digest_kind kind, uint8_t *digest_r)
{
    (void)arg;
    memcpy(digest_r, digest, digest_size(kind));
}

static void check(struct signer *signer)
{
    struct cms_found found;
    gw_assert(cms_check(signer, (struct str){(const char *)der, der_n}, give_digest, NULL, &found));
    gw_assert(found.verdict == CMS_GOOD);
}

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *run(void *arg)
{
    struct work *work = arg;
    double end = now(CLOCK_MONOTONIC) + seconds_each;
    while (now(CLOCK_MONOTONIC) < end) {
        work->once(work->signer);
        work->count++;
    }
    return NULL;
}

/* Processor time of one, microseconds; *rate_r: how many a second. */
static double measure(struct signer *signer, void (*once)(struct signer *), int count,
                      double *rate_r)
{
    pthread_t threads[THREADS_MAX];
    struct work work[THREADS_MAX];
    size_t total = 0;
    once(signer);
    double cpu = now(CLOCK_PROCESS_CPUTIME_ID), start = now(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++) {
        work[i] = (struct work){signer, once, 0};
        gw_assert(pthread_create(&threads[i], NULL, run, &work[i]) == 0);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        total += work[i].count;
    }
    *rate_r = (double)total / (now(CLOCK_MONOTONIC) - start);
    return (now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)total * 1e6;
}

static struct signer *make_signer(enum key_kind kind)
{
    const struct key_order order = {kind, "Speed", NULL, 0, 4000000000};
    char paths[2][32] = {"/tmp/sign-speed-XXXXXX", "/tmp/sign-speed-XXXXXX"};
    char *texts[2], error[512], warning[512];
    gw_assert(key_make(&order, &texts[0], &texts[1], error, sizeof(error)));
    for (int i = 0; i < 2; i++) {
        int fd = mkstemp(paths[i]);
        gw_assert(write(fd, texts[i], strlen(texts[i])) == (ssize_t)strlen(texts[i]));
        close(fd);
        free(texts[i]);
    }
    struct signer *signer =
        signer_load(paths[0], STR(""), paths[1], 1, error, warning, sizeof(error));
    gw_assert(signer != NULL);
    unlink(paths[0]);
    unlink(paths[1]);
    return signer;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"RSA-2048", "RSA-3072", "P-256", "P-384"};
    if (argc > 1)
        seconds_each = atof(argv[1]);
    printf("          key us   CMS us  writing us  check us   CMS/s   4 threads: CMS/s   bytes\n");
    for (enum key_kind kind = KEY_RSA_2048; kind <= KEY_P384; kind++) {
        struct signer *signer = make_signer(kind);
        double one, four, ignored;
        cms_sign(signer, digest, &cms);
        der_n = cms_write(&cms, (struct str){NULL, 0}, der);
        double key_us = measure(signer, key_alone, 1, &ignored);
        double whole_us = measure(signer, whole, 1, &one);
        double write_us = measure(signer, write_alone, 1, &ignored);
        double check_us = measure(signer, check, 1, &ignored);
        measure(signer, whole, 4, &four);
        printf("%-8s %7.0f  %7.0f  %10.2f  %8.0f  %6.0f  %17.0f  %6zu\n", names[kind], key_us,
               whole_us, write_us, check_us, one, four, der_n);
        signer_destroy(&signer);
    }
    return 0;
}
