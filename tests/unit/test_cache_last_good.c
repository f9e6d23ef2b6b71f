/* The format of last good answers: what was written is read, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include "cache/last_good.h"

static struct cache_entry *sample(void)
{
    static const struct str names[] = {{"accept-language", 15}, {"x-theme", 7}};
    static const struct str values[] = {{"de,fr", 5}, {NULL, 0}};
    static const struct str tags[] = {{"recco", 5}};
    static const struct up_header headers[] = {{{"ETag", 4}, {"\"one\"", 5}},
                                               {{"X-Empty", 7}, {"", 0}}};
    const struct str body = STR("{\"items\":[1,2,3]}");
    const struct rules rules = {.received_ms = 1700000000000,
                                .age_ms = 5000,
                                .lifetime_ms = 60000,
                                .stale_if_error_ms = 3600000,
                                .is_public = true,
                                .etag = {"\"one\"", 5}};
    struct json_doc doc;
    json_doc_init(&doc);
    assert_int_equal(json_parse(&doc, body.p, body.n, 10, NULL), JSON_OK);
    return cache_entry_create(&(struct cache_entry_parts){.key = cache_key(STR("shop GET /a\n")),
                                                          .vary_names = names,
                                                          .vary_values = values,
                                                          .vary_count = 2,
                                                          .tags = tags,
                                                          .tag_count = 1,
                                                          .status = 200,
                                                          .headers = headers,
                                                          .header_count = 2,
                                                          .content_type = STR("application/json"),
                                                          .body = body,
                                                          .doc = &doc,
                                                          .rules = &rules});
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    struct cache_entry *entry = sample();
    struct str bytes = last_good_encode(entry);
    struct cache_entry *read = last_good_decode(bytes);
    assert_non_null(read);
    assert_true(str_eq(read->key, entry->key) && str_eq(read->body, entry->body));
    assert_int_equal(read->hash, entry->hash);
    assert_int_equal(read->status, 200);
    assert_int_equal(read->vary_count, 2);
    assert_true(str_eq(read->vary_values[0], STR("de,fr")));
    assert_null(read->vary_values[1].p);
    assert_true(str_eq(read->tags[0], STR("recco")));
    assert_true(str_eq(read->headers[1].name, STR("X-Empty")));
    assert_true(str_eq(read->rules.etag, STR("\"one\"")));
    assert_int_equal(json_count(json_get(json_root(&read->doc), STR("items"))), 3);
    assert_true(read->is_last_good && read->rules.is_public);
    cache_entry_unref(&read);
    cache_entry_unref(&entry);
    free((char *)(uintptr_t)bytes.p);
}

static void test_it_only_ever_stands_in(void **state)
{
    (void)state;
    struct cache_entry *entry = sample();
    struct str bytes = last_good_encode(entry);
    struct cache_entry *read = last_good_decode(bytes);
    struct rules_request request;
    const struct cache_policy policy = {.ttl_ms = 60000, .stale_while_revalidate_ms = 60000};
    rules_read_request(&policy, NULL, NULL, 0, &request);
    uint64_t came_ms = 1700000000000;
    assert_int_equal(rules_use(&entry->rules, &request, came_ms), USE_FRESH);
    assert_int_equal(rules_use(&read->rules, &request, came_ms), USE_VALIDATED);
    assert_true(rules_use_on_error(&read->rules, came_ms + 3600000));
    assert_false(rules_use_on_error(&read->rules, came_ms + 3600000 + 60000));
    cache_entry_unref(&read);
    cache_entry_unref(&entry);
    free((char *)(uintptr_t)bytes.p);
}

static void test_what_is_cut_or_damaged_is_not_read(void **state)
{
    (void)state;
    struct cache_entry *entry = sample();
    struct str bytes = last_good_encode(entry);
    for (size_t n = 0; n < bytes.n; n++) {
        char *cut = malloc(n + 1); /* so that a read past its end is seen */
        memcpy(cut, bytes.p, n);
        assert_null(last_good_decode((struct str){cut, n}));
        free(cut);
    }
    char *whole = malloc(bytes.n);
    for (size_t i = 0; i < bytes.n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(whole, bytes.p, bytes.n);
            whole[i] = (char)(whole[i] ^ 1 << bit);
            assert_null(last_good_decode((struct str){whole, bytes.n}));
        }
    }
    free(whole);
    char *longer = malloc(bytes.n + 1);
    memcpy(longer, bytes.p, bytes.n);
    longer[bytes.n] = 'x';
    assert_null(last_good_decode((struct str){longer, bytes.n + 1}));
    free(longer);
    cache_entry_unref(&entry);
    free((char *)(uintptr_t)bytes.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_it_only_ever_stands_in),
        cmocka_unit_test(test_what_is_cut_or_damaged_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
