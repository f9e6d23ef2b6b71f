/* How fast JSON is parsed: MB/s for bodies of 2, 20 and 200 KB, a second each, of which the best
 * tenth counts (whatever else runs on the machine only ever makes it slower).
 *
 * The bodies look like an API's answer: a list of objects with short strings and numbers. Sixteen
 * of each size take turns, all different, so that no branch predictor learns one text by heart. */
#include <stdio.h>
#include <stdlib.h>
#include "base/buf.h"
#include "base/json.h"

#define BODIES 16

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)(random_state >> 8) * n) >> 24);
}

static void append_words(struct buf *buf, unsigned count)
{
    static const char *const words[] = {"red",    "walnut", "chair", "with", "a",       "brass",
                                        "handle", "for",    "the",   "desk", "outdoor", "lamp"};
    for (unsigned i = 0; i < count; i++)
        buf_printf(buf, "%s%s", i == 0 ? "" : " ", words[random_below(COUNT(words))]);
}

static void append_item(struct buf *buf)
{
    static const char *const kinds[] = {"chair", "table", "lamp", "shelf"};
    unsigned id = random_below(1000000);

    buf_printf(buf, "{\"id\":%u,\"sku\":\"A-%u\",\"title\":\"", id, random_below(100000));
    append_words(buf, 2 + random_below(4));
    buf_printf(buf, "\",\"price\":%u.%02u,\"stock\":%u,\"kind\":\"%s\",\"new\":%s,",
               random_below(2000), random_below(100), random_below(300),
               kinds[random_below(COUNT(kinds))], random_below(2) ? "true" : "false");
    buf_printf(buf, "\"image\":\"/img/%u.webp\",\"rating\":%u.%u,\"tags\":[\"%s\",\"%s\"]}", id,
               random_below(5), random_below(10), kinds[random_below(COUNT(kinds))],
               kinds[random_below(COUNT(kinds))]);
}

static void make_body(struct buf *buf, size_t size)
{
    buf_clear(buf);
    buf_printf(buf, "{\"items\":[");
    append_item(buf);
    while (buf->n < size) {
        buf_append(buf, ",", 1);
        append_item(buf);
    }
    buf_printf(buf, "],\"total\":%u}", random_below(1000));
}

static void measure(size_t size)
{
    struct buf bodies[BODIES];
    struct json_doc doc;
    size_t bytes = 0, nodes = 0;
    double best = 0;

    json_doc_init(&doc);
    for (int i = 0; i < BODIES; i++) {
        buf_init(&bodies[i], 1024 * 1024);
        make_body(&bodies[i], size);
        bytes += bodies[i].n;
    }
    for (int tenth = 0; tenth < 10; tenth++) {
        uint64_t before = clock_us(), taken;
        size_t rounds = 0;
        do {
            nodes = 0;
            for (int i = 0; i < BODIES; i++) {
                gw_assert(json_parse(&doc, bodies[i].p, bodies[i].n, 64, NULL) == JSON_OK);
                nodes += doc.count;
            }
            rounds++;
            taken = clock_us() - before;
        } while (taken < 100000);
        double rate = (double)(rounds * bytes) / (double)taken;
        best = rate > best ? rate : best;
    }
    printf("%6zu bytes: %5.0f MB/s, %7.2f us a body, %.1f bytes a node\n", size, best,
           (double)bytes / BODIES / best, (double)bytes / (double)nodes);
    for (int i = 0; i < BODIES; i++)
        buf_fini(&bodies[i]);
    json_doc_fini(&doc);
}

int main(void)
{
    measure(2000);
    measure(20000);
    measure(200000);
    return 0;
}
