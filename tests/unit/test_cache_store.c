/* The store of kept answers: bounded, by key and by what Vary names, and what is used stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "cache/store.h"

enum { MIB = 1 << 20 };

struct made {
    const char *key;
    const char *language; /* Vary: accept-language; NULL = doesn't vary, "" = had none */
    const char *tag;
    size_t size;
    uint64_t received_ms;
};

static struct cache_entry *make(struct made made)
{
    static char body[8 * MIB];
    const struct str name = STR("accept-language");
    struct str value = {made.language, made.language ? strlen(made.language) : 0};
    if (made.language != NULL && made.language[0] == '\0')
        value = (struct str){NULL, 0};
    const struct str tag = {made.tag, made.tag ? strlen(made.tag) : 0};
    const struct rules rules = {.received_ms = made.received_ms, .lifetime_ms = 1000};
    return cache_entry_create(&(struct cache_entry_parts){.key = cache_key(str_from(made.key)),
                                                          .vary_names = &name,
                                                          .vary_values = &value,
                                                          .vary_count = made.language != NULL,
                                                          .tags = &tag,
                                                          .tag_count = made.tag != NULL,
                                                          .status = 200,
                                                          .body = {body, made.size},
                                                          .rules = &rules});
}

static bool put(struct cache_store *store, struct made made)
{
    struct cache_entry *entry = make(made);
    bool fits = cache_store_put(store, entry, cache_store_epoch(store));
    cache_entry_unref(&entry);
    return fits;
}

static struct cache_entry *find_in(struct cache_store *store, const char *key, const char *language)
{
    const struct up_header header = {STR("Accept-Language"), str_from(language ? language : "")};
    return cache_store_find(store, cache_key(str_from(key)), &header, language != NULL);
}

static bool has(struct cache_store *store, const char *key, const char *language)
{
    struct cache_entry *entry = find_in(store, key, language);
    bool found = entry != NULL;
    cache_entry_unref(&entry);
    return found;
}

static void test_what_is_put_in_is_found(void **state)
{
    (void)state;
    struct cache_store *store = cache_store_create(MIB);
    assert_false(has(store, "a", NULL));
    assert_true(put(store, (struct made){.key = "a", .size = 10}));
    assert_true(has(store, "a", NULL));
    assert_false(has(store, "b", NULL));
    struct cache_entry *held = find_in(store, "a", NULL);
    assert_true(put(store, (struct made){.key = "a", .size = 20}));
    assert_int_equal(held->body.n, 10); /* held, whatever took its place */
    cache_entry_unref(&held);
    held = find_in(store, "a", NULL);
    assert_int_equal(held->body.n, 20);
    assert_int_equal(cache_store_stats(store).entries, 1);
    assert_true(cache_store_put(store, held, cache_store_epoch(store))); /* itself */
    cache_store_destroy(&store);
    assert_int_equal(held->body.n, 20);
    cache_entry_unref(&held);
}

static bool put_at(struct cache_store *store, const char *key, uint64_t epoch)
{
    struct cache_entry *entry = make((struct made){.key = key, .size = 10});
    bool kept = cache_store_put(store, entry, epoch);
    cache_entry_unref(&entry);
    return kept;
}

static void test_what_was_asked_for_before_is_out_of_date(void **state)
{
    (void)state;
    struct cache_store *store = cache_store_create(MIB);
    uint64_t before = cache_store_epoch(store);
    assert_true(put_at(store, "a", before));
    assert_int_equal(cache_store_invalidate(store, cache_key(STR("a"))), 1);
    assert_false(put_at(store, "a", before));
    assert_false(has(store, "a", NULL));
    assert_true(put_at(store, "b", before)); /* others are as they were */
    uint64_t after = cache_store_epoch(store);
    assert_true(after > before);
    assert_true(put_at(store, "a", after));
    assert_int_equal(cache_store_remove(store, cache_key(STR("a"))), 1);
    assert_true(put_at(store, "a", after)); /* removing says nothing about what is under way */

    uint64_t long_ago = cache_store_epoch(store);
    for (int i = 0; i < 10000; i++) { /* more than it remembers */
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        cache_store_invalidate(store, cache_key(str_from(key)));
    }
    assert_false(put_at(store, "k0", long_ago)); /* forgotten, but not that there was something */
    assert_false(put_at(store, "k9999", long_ago));
    assert_true(put_at(store, "z", cache_store_epoch(store)));

    after = cache_store_epoch(store);
    assert_int_equal(cache_store_remove_prefix(store, STR("a")), 1);
    assert_false(put_at(store, "a", after));
    assert_false(put_at(store, "c", after)); /* what a purge means isn't known here: all of it */
    assert_true(put_at(store, "a", cache_store_epoch(store)));
    cache_store_destroy(&store);
}

static void test_vary_keeps_variants_apart(void **state)
{
    (void)state;
    struct cache_store *store = cache_store_create(MIB);
    put(store, (struct made){.key = "a", .language = "de,en"});
    put(store, (struct made){.key = "a", .language = "fr"});
    put(store, (struct made){.key = "a", .language = ""});
    assert_true(has(store, "a", "de,en"));
    assert_true(has(store, "a", "de ,  en")); /* section 4.1: blanks of lists mean nothing */
    assert_true(has(store, "a", "fr"));
    assert_true(has(store, "a", NULL));
    assert_false(has(store, "a", "en"));
    assert_false(has(store, "a", "de"));
    assert_false(has(store, "a", "de,en,fr"));
    const struct up_header lines[] = {{STR("accept-language"), STR("de")},
                                      {STR("X-Other"), STR("fr")},
                                      {STR("Accept-Language"), STR("en")}};
    struct cache_entry *entry = cache_store_find(store, cache_key(STR("a")), lines, 3);
    assert_non_null(entry);
    cache_entry_unref(&entry);
    assert_int_equal(cache_store_remove(store, cache_key(STR("a"))), 3);
    assert_false(has(store, "a", "fr"));
    cache_store_destroy(&store);
}

static void test_variants_of_a_key_are_bounded(void **state)
{
    (void)state;
    struct cache_store *store = cache_store_create(MIB);
    char language[16];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(language, sizeof(language), "l%u", i);
        put(store, (struct made){.key = "a", .language = language, .received_ms = i});
    }
    assert_int_equal(cache_store_stats(store).entries, 32);
    assert_false(has(store, "a", "l67"));
    assert_true(has(store, "a", "l68"));
    assert_true(has(store, "a", "l99"));
    cache_store_destroy(&store);
}

static void test_purging(void **state)
{
    (void)state;
    struct cache_store *store = cache_store_create(64 * MIB);
    put(store, (struct made){.key = "shop GET /a\n", .tag = "shop"});
    put(store, (struct made){.key = "shop GET /a\nX:1\n", .tag = "shop"});
    put(store, (struct made){.key = "shop GET /ab\n", .tag = "shop"});
    put(store, (struct made){.key = "news GET /a\n", .tag = "news"});
    put(store, (struct made){.key = "news GET /b\n"});
    assert_int_equal(cache_store_remove_prefix(store, STR("shop GET /a\n")), 2);
    assert_int_equal(cache_store_remove_tag(store, STR("shop")), 1);
    assert_int_equal(cache_store_remove_tag(store, STR("sho")), 0);
    assert_int_equal(cache_store_remove_prefix(store, STR("news ")), 2);
    assert_int_equal(cache_store_stats(store).entries, 0);
    assert_int_equal(cache_store_stats(store).bytes, 0);
    cache_store_destroy(&store);
}

static void test_it_is_bounded_in_bytes(void **state)
{
    (void)state;
    char key[32];
    for (size_t size = MIB; size <= 64 * MIB; size *= 4) {
        struct cache_store *store = cache_store_create(size);
        for (unsigned i = 0; i < 20000; i++) {
            snprintf(key, sizeof(key), "key %u", i % 5000);
            if (i % 3 == 0)
                has(store, key, NULL);
            put(store, (struct made){.key = key, .size = (i * 7919) % 20000});
            assert_true(cache_store_stats(store).bytes <= size);
        }
        assert_true(cache_store_stats(store).bytes > size / 2 ||
                    cache_store_stats(store).evictions == 0);
        assert_false(put(store, (struct made){.key = "large", .size = 5 * MIB}));
        assert_int_equal(cache_store_stats(store).refused, 1);
        cache_store_destroy(&store);
    }
}

/* What came in first goes first, whatever is used. */
struct fifo {
    uint32_t keys[1000];
    size_t next;
};

static bool fifo_ask(struct fifo *fifo, uint32_t key)
{
    for (size_t i = 0; i < COUNT(fifo->keys); i++)
        if (fifo->keys[i] == key)
            return true;
    fifo->keys[fifo->next++ % COUNT(fifo->keys)] = key;
    return false;
}

static void test_a_crowd_that_comes_once_does_not_flush_what_is_used(void **state)
{
    (void)state;
    struct cache_store *store = cache_store_create(4 * MIB);
    struct fifo *fifo = calloc(1, sizeof(*fifo));
    struct cache_entry *one = make((struct made){.key = "1234567890", .size = 4096});
    size_t fit = 4 * MIB / one->bytes;
    cache_entry_unref(&one);
    assert_true(fit > 900 && fit <= 1000);
    uint32_t chance = 1;
    unsigned asked = 0, hits = 0, fifo_hits = 0;
    for (uint32_t i = 0; i < 60000; i++) {
        char key[32];
        bool is_hot = i % 2 == 0; /* half ask for one of 600, half for what nobody asks for again */
        chance = chance * 1664525 + 1013904223;
        uint32_t number = is_hot ? (chance >> 8) % 600 + 1 : 1000000 + i;
        snprintf(key, sizeof(key), "%010u", number);
        bool hit = has(store, key, NULL), fifo_hit = fifo_ask(fifo, number);
        if (!hit)
            put(store, (struct made){.key = key, .size = 4096});
        if (is_hot && i > 20000) {
            asked++;
            hits += hit;
            fifo_hits += fifo_hit;
        }
    }
    print_message("of %u: %u hits, a FIFO has %u\n", asked, hits, fifo_hits);
    assert_true(hits > asked * 95 / 100);
    assert_true(fifo_hits < asked * 80 / 100);
    free(fifo);
    cache_store_destroy(&store);
}

/* -- threads ---------------------------------------------------------------------------------- */

static void *work(void *arg)
{
    struct cache_store *store = arg;
    uint32_t chance = (uint32_t)(uintptr_t)&chance;
    for (int i = 0; i < 4000; i++) {
        char key[32];
        chance = chance * 1664525 + 1013904223;
        snprintf(key, sizeof(key), "k%u", (chance >> 8) % 200);
        struct cache_entry *entry = find_in(store, key, NULL);
        if (entry == NULL)
            put(store, (struct made){.key = key, .tag = i % 2 ? "odd" : "even", .size = 9000});
        else
            gw_assert(str_eq(entry->key, str_from(key)) && entry->body.n == 9000);
        cache_entry_unref(&entry);
        if (i % 500 == 0)
            cache_store_remove_tag(store, STR("odd"));
        if (i % 100 == 0)
            cache_store_remove(store, cache_key(str_from(key)));
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct cache_store *store = cache_store_create(MIB);
    pthread_t threads[4];
    for (size_t i = 0; i < COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, store), 0);
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    assert_true(cache_store_stats(store).bytes <= MIB);
    cache_store_destroy(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_put_in_is_found),
        cmocka_unit_test(test_what_was_asked_for_before_is_out_of_date),
        cmocka_unit_test(test_vary_keeps_variants_apart),
        cmocka_unit_test(test_variants_of_a_key_are_bounded),
        cmocka_unit_test(test_purging),
        cmocka_unit_test(test_it_is_bounded_in_bytes),
        cmocka_unit_test(test_a_crowd_that_comes_once_does_not_flush_what_is_used),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
