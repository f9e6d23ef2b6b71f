/* How many records a second become durable, of files and of certificates with PDFs of 10 KB,
 * without and with an Idempotency-Key, one by one and with many requests at once: each writer
 * submits its next record when the one before was answered.
 *
 *   store_speed [DIRECTORY] [seconds for each figure]
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "stores/stores.h"

static struct store *store;
static struct loop *loop;
static bool over;
static unsigned running;
static unsigned long rows, failures;
static uint64_t next_id;

enum { PDF_SIZE = 10000 };
enum kind { FILES, CERTIFICATES, CERTIFICATES_WITH_KEY, KINDS };
static char pdf[PDF_SIZE];

struct writer {
    struct store_write write;
    struct file_record file;
    struct certificate_record certificate;
    struct certificate_key key;
    char id[STORE_ID + 1];
};

static void submit(struct writer *writer)
{
    uint64_t random =
        ++next_id * 0x9e3779b97f4a7c15; /* ids are random, so are places in the index */
    snprintf(writer->id, sizeof(writer->id), "%016llx%016llx", (unsigned long long)random,
             (unsigned long long)next_id);
    writer->file.created_ms = (int64_t)next_id;
    memcpy(writer->certificate.fields, writer->id, 32);
    memcpy(writer->key.key, writer->id, 32);
    memcpy(writer->key.client, writer->id, 32);
    writer->key.made_ms = clock_unix_ms();
    memcpy(writer->certificate.sha256, writer->id, 32);
    memcpy(writer->certificate.signed_sha256, writer->id, 32);
    writer->certificate.issued_ms = (int64_t)next_id;
    if (!store_submit(store, &writer->write))
        abort();
}

static void on_done(struct store_write *write)
{
    struct writer *writer = CONTAINER_OF(write, struct writer, write);
    if (write->result == STORE_OK)
        rows++;
    else
        failures++;
    if (over)
        running--;
    else
        submit(writer);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), by_size);
    return values[count / 2];
}

/* Rows that were written within the time, and how long it really took. */
static unsigned long measure(enum kind kind, unsigned writers, double seconds, double *took_r)
{
    struct writer *all = calloc(writers, sizeof(*all));
    if (all == NULL)
        abort();
    over = false;
    rows = 0;
    running = writers;
    uint64_t from = clock_us();
    for (unsigned i = 0; i < writers; i++) {
        all[i].file = (struct file_record){.id = {all[i].id, STORE_ID},
                                           .route = STR("main"),
                                           .name = STR("holiday in the mountains.jpg"),
                                           .type = STR("image/jpeg"),
                                           .owner = STR("address:192.0.2.1"),
                                           .size = 3210987};
        all[i].certificate = (struct certificate_record){.serial = {all[i].id, SERIAL_ROOM - 1},
                                                         .route = STR("course"),
                                                         .shown = STR("{\"name\":\"Ada\"}"),
                                                         .size = PDF_SIZE};
        all[i].write = (struct store_write){.done = on_done, .loop = loop};
        all[i].key.serial = all[i].certificate.serial;
        if (kind == CERTIFICATES_WITH_KEY)
            all[i].write.tie_key = &all[i].key;
        if (kind != FILES) {
            all[i].write.add_certificate = &all[i].certificate;
            all[i].write.certificate_pdf = (struct str){pdf, PDF_SIZE};
        } else {
            all[i].write.add_files = &all[i].file;
            all[i].write.add_file_count = 1;
        }
        submit(&all[i]);
    }
    while (clock_us() < from + (uint64_t)(seconds * 1e6))
        loop_turn(loop, 10);
    *took_r = (double)(clock_us() - from) / 1e6;
    unsigned long done = rows;
    over = true;
    while (running != 0)
        loop_turn(loop, 10);
    free(all);
    return done;
}

int main(int argc, char **argv)
{
    enum { ROUNDS = 8 }; /* in turns: disks have their moods */
    static const unsigned writers[] = {1, 16, 200};
    double seconds = argc > 2 ? atof(argv[2]) : 2;
    static const char *const names[] = {"files", "certificates", "certificates with a key"};
    double speeds[KINDS][COUNT(writers)][ROUNDS];
    char path[4096];
    const char *error;
    snprintf(path, sizeof(path), "%s/store_speed.%d.db", argc > 1 ? argv[1] : ".", (int)getpid());
    store = store_open(path, &error);
    if (store == NULL) {
        fprintf(stderr, "store_speed: %s\n", error);
        return 1;
    }
    loop = loop_create(0);
    for (size_t round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < KINDS * COUNT(writers); i++) {
            double took;
            size_t at_once = i % COUNT(writers), kind = i / COUNT(writers);
            unsigned long done =
                measure((enum kind)kind, writers[at_once], seconds / ROUNDS, &took);
            speeds[kind][at_once][round] = (double)done / took;
        }
    for (size_t i = 0; i < KINDS * COUNT(writers); i++) {
        double *speed = speeds[i / COUNT(writers)][i % COUNT(writers)];
        double alone = median(speeds[i / COUNT(writers)][0], ROUNDS);
        printf("%-23s, %3u at once: %7.0f rows/s, %5.1f x one by one\n", names[i / COUNT(writers)],
               writers[i % COUNT(writers)], median(speed, ROUNDS), median(speed, ROUNDS) / alone);
    }
    store_close(&store);
    loop_destroy(&loop);
    unlink(path);
    return failures != 0;
}
