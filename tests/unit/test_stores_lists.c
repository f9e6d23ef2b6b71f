/* Lists are paged, partial uploads are brought up to date and expire, quotas add up. */
#include "test_stores.h"

static struct store *store;

static int setup(void **state)
{
    if (make_directory(state) != 0)
        return -1;
    store = open_store();
    return 0;
}

static int teardown(void **state)
{
    store_close(&store);
    return remove_directory(state);
}

static void reopen(void)
{
    store_close(&store);
    assert_null(store);
    store = open_store();
}

/* -- lists -- */

static bool comes_before(const struct file_record *a, const struct file_record *b)
{
    if (a->created_ms != b->created_ms)
        return a->created_ms > b->created_ms;
    return memcmp(a->id.p, b->id.p, STORE_ID) > 0;
}

static void test_a_list_is_paged_newest_first(void **state)
{
    (void)state;
    enum { N = 250 };
    struct id ids[N];
    struct file_record files[N], *page;
    size_t count;
    assert_int_equal(store_list_files(store, STR("main"), INT64_MAX, STR(""), 10, &page, &count),
                     STORE_OK);
    assert_int_equal(count, 0);
    assert_null(page);

    for (unsigned i = 0; i < N; i++) {
        ids[i] = id_of(i);
        files[i] = file_of(&ids[i]);
        files[i].created_ms += i * 7919 % 60; /* many of one millisecond */
        if (i % 5 == 0)
            files[i].route = STR("other");
    }
    assert_int_equal(
        write_and_wait(store, (struct store_write){.add_files = files, .add_file_count = N}),
        STORE_OK);
    for (size_t limit = 1; limit <= 300; limit = limit * 3 + 4) {
        struct file_record last = {.created_ms = INT64_MAX, .id = STR("")};
        struct id last_id;
        size_t seen = 0;
        for (;;) {
            assert_int_equal(store_list_files(store, STR("main"), last.created_ms, last.id, limit,
                                              &page, &count),
                             STORE_OK);
            for (size_t i = 0; i < count; i++) {
                assert_str(page[i].route, STR("main"));
                if (i > 0)
                    assert_true(comes_before(&page[i - 1], &page[i]));
                else if (seen > 0)
                    assert_true(comes_before(&last, &page[0]));
            }
            seen += count;
            if (count > 0) {
                memcpy(last_id.text, page[count - 1].id.p, STORE_ID);
                last = (struct file_record){.created_ms = page[count - 1].created_ms,
                                            .id = id_str(&last_id)};
            }
            free_files(page, count);
            if (count < limit)
                break;
        }
        assert_int_equal(seen, N - N / 5);
    }
    assert_int_equal(
        store_list_files(store, STR("main"), INT64_MAX, STR(""), SIZE_MAX, &page, &count),
        STORE_OK);
    assert_int_equal(count, N - N / 5);
    free_files(page, count);
}

/* -- partial uploads -- */

static void test_a_partial_upload_is_brought_up_to_date(void **state)
{
    (void)state;
    struct id id = id_of(7);
    struct partial_record first = {.id = id_str(&id),
                                   .route = STR("main"),
                                   .name = STR("film.mp4"),
                                   .type = STR("video/mp4"),
                                   .owner = STR("address:192.0.2.1"),
                                   .metadata = STR("filename ZmlsbS5tcDQ="),
                                   .size = UINT64_MAX,
                                   .offset = 0,
                                   .created_ms = 1000,
                                   .expires_ms = 2000};
    struct partial_record later = {.id = id_str(&id),
                                   .metadata = STR("x"),
                                   .size = 5000000000,
                                   .offset = 4999999999,
                                   .expires_ms = 9000};
    struct partial_record is;
    assert_int_equal(store_find_partial(store, id_str(&id), &is), STORE_ABSENT);
    assert_null(is.memory);
    assert_int_equal(write_and_wait(store, (struct store_write){.put_partial = &first}), STORE_OK);
    assert_int_equal(store_find_partial(store, id_str(&id), &is), STORE_OK);
    assert_str(is.metadata, first.metadata);
    assert_true(is.size == UINT64_MAX);
    assert_true(is.offset == 0);
    assert_true(is.expires_ms == 2000);
    free(is.memory);

    assert_int_equal(write_and_wait(store, (struct store_write){.put_partial = &later}), STORE_OK);
    reopen();
    assert_int_equal(store_find_partial(store, id_str(&id), &is), STORE_OK);
    assert_str(is.id, first.id);
    assert_str(is.route, first.route);
    assert_str(is.name, first.name);
    assert_str(is.type, first.type);
    assert_str(is.owner, first.owner);
    assert_str(is.metadata, later.metadata);
    assert_true(is.size == later.size);
    assert_true(is.offset == later.offset);
    assert_true(is.created_ms == first.created_ms);
    assert_true(is.expires_ms == later.expires_ms);
    free(is.memory);

    assert_int_equal(write_and_wait(store, (struct store_write){.remove_partial = id_str(&id)}),
                     STORE_OK);
    assert_int_equal(find_partial(store, id), STORE_ABSENT);
}

static void put_partial(unsigned n, struct str route, struct str owner, uint64_t size,
                        uint64_t offset, int64_t expires_ms)
{
    struct id id = id_of(n);
    struct partial_record partial = {.id = id_str(&id),
                                     .route = route,
                                     .owner = owner,
                                     .size = size,
                                     .offset = offset,
                                     .expires_ms = expires_ms};
    assert_int_equal(write_and_wait(store, (struct store_write){.put_partial = &partial}),
                     STORE_OK);
}

static void test_partial_uploads_whose_time_is_over_are_found(void **state)
{
    (void)state;
    static const struct {
        int64_t now_ms;
        size_t limit, count;
    } cases[] = {{99, 100, 0}, {100, 100, 1},   {104, 100, 5},
                 {104, 3, 3},  {1000, 100, 10}, {1000, 0, 0}};
    for (unsigned i = 0; i < 10; i++) {
        put_partial(i, STR("main"), STR("o"), 10, 5, 100 + (9 - i));
        put_partial(50 + i, STR("other"), STR("o"), 10, 5, 50);
    }
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct partial_record *partials;
        size_t count;
        assert_int_equal(store_list_expired(store, STR("main"), cases[i].now_ms, cases[i].limit,
                                            &partials, &count),
                         STORE_OK);
        assert_int_equal(count, cases[i].count);
        for (size_t j = 0; j < count; j++) {
            struct id id = id_of(9 - (unsigned)j); /* the oldest first */
            assert_str(partials[j].id, id_str(&id));
            assert_true(partials[j].expires_ms <= cases[i].now_ms);
            free(partials[j].memory);
        }
        free(partials);
    }
}

/* -- quotas -- */

struct sums {
    unsigned owners, repeated;
    uint64_t ci, address, huge;
};

static void note_owner(void *arg, struct str owner, uint64_t bytes)
{
    struct sums *sums = arg;
    uint64_t *sum = str_eq(owner, STR("token:ci"))            ? &sums->ci
                    : str_eq(owner, STR("address:192.0.2.1")) ? &sums->address
                                                              : &sums->huge;
    sums->repeated += *sum != 0;
    sums->owners++;
    *sum = bytes;
}

static struct sums sums_of(struct str route)
{
    struct sums sums = {0};
    assert_int_equal(store_each_owner(store, route, note_owner, &sums), STORE_OK);
    assert_int_equal(sums.repeated, 0);
    return sums;
}

static void test_bytes_of_an_owner_add_up(void **state)
{
    (void)state;
    assert_int_equal(sums_of(STR("main")).owners, 0);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(add_file(store, i), STORE_OK); /* token:ci, 1000 bytes each */
    struct id id = id_of(30);
    struct file_record other = file_of(&id);
    other.route = STR("other");
    assert_int_equal(
        write_and_wait(store, (struct store_write){.add_files = &other, .add_file_count = 1}),
        STORE_OK);
    put_partial(100, STR("main"), STR("token:ci"), 5, 3, 0);
    put_partial(101, STR("main"), STR("address:192.0.2.1"), 70000, 3, 0);
    put_partial(102, STR("main"), STR("address:192.0.2.1"), UINT64_MAX, 8, 0);
    put_partial(103, STR("main"), STR("huge"), INT64_MAX, 0, 0);
    put_partial(104, STR("main"), STR("huge"), INT64_MAX, 0, 0);
    for (int opened = 0; opened < 2; opened++) {
        struct sums sums = sums_of(STR("main"));
        assert_int_equal(sums.owners, 3);
        assert_int_equal(sums.ci, 20 * 1000 + 5);
        assert_int_equal(sums.address, 70000 + 8);
        assert_true(sums.huge == INT64_MAX);
        sums = sums_of(STR("other"));
        assert_int_equal(sums.owners, 1);
        assert_int_equal(sums.ci, 1000);
        reopen();
    }
    /* What fails or is refused doesn't count; what is removed doesn't any more. */
    assert_int_equal(add_file(store, 3), STORE_FAILED);
    assert_int_equal(remove_file(store, 77), STORE_ABSENT);
    assert_int_equal(sums_of(STR("main")).ci, 20 * 1000 + 5);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(remove_file(store, i), STORE_OK);
        assert_int_equal(sums_of(STR("main")).ci, (19 - i) * 1000 + 5);
    }
    struct id partial_id = id_of(100);
    assert_int_equal(
        write_and_wait(store, (struct store_write){.remove_partial = id_str(&partial_id)}),
        STORE_OK);
    assert_int_equal(sums_of(STR("main")).owners, 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_a_list_is_paged_newest_first),
        TEST(test_a_partial_upload_is_brought_up_to_date),
        TEST(test_partial_uploads_whose_time_is_over_are_found),
        TEST(test_bytes_of_an_owner_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
