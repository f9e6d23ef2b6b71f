/* Records of files come back as they were written, and writes happen whole or not at all, whichever
 * others share their transaction. */
#include "test_stores.h"

#include <pthread.h>
#include <sys/stat.h>

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

/* -- files -- */

static void assert_same_file(const struct file_record *is, const struct file_record *expected)
{
    assert_str(is->id, expected->id);
    assert_str(is->route, expected->route);
    assert_str(is->name, expected->name);
    assert_str(is->type, expected->type);
    assert_str(is->owner, expected->owner);
    assert_str(is->fields, expected->fields);
    assert_true(is->size == expected->size);
    assert_true(is->created_ms == expected->created_ms);
    assert_memory_equal(is->sha256, expected->sha256, sizeof(is->sha256));
}

static void test_a_file_comes_back_as_it_was_written(void **state)
{
    (void)state;
    static char emoji[4096];
    for (size_t i = 0; i < sizeof(emoji); i += 4)
        memcpy(emoji + i, "\xf0\x9f\x90\xa2", 4);
    struct id ids[] = {id_of(1), id_of(2), id_of(3), id_of(4)};
    struct file_record files[] = {
        file_of(&ids[0]),
        {.id = id_str(&ids[1]), .route = STR("main"), .name = {emoji, sizeof(emoji)}},
        {.id = id_str(&ids[2]),
         .route = STR("r"),
         .name = STR("nul\0inside'; DROP TABLE files; --"),
         .fields = STR("{\"title\":\"\\u0000 ok\"}"),
         .size = INT64_MAX - 21, /* the fields count too */
         .created_ms = INT64_MAX},
        {.id = id_str(&ids[3]), .name = STR("\xff\xfe not UTF-8"), .created_ms = -5},
    };
    for (size_t i = 0; i < sizeof(files[1].sha256); i++)
        files[1].sha256[i] = (uint8_t)(i * 37 - 250);
    assert_int_equal(write_and_wait(store, (struct store_write){.add_files = files,
                                                                .add_file_count = COUNT(files)}),
                     STORE_OK);
    for (int opened = 0; opened < 2; opened++) {
        for (size_t i = 0; i < COUNT(files); i++) {
            struct file_record file;
            assert_int_equal(store_find_file(store, files[i].id, &file), STORE_OK);
            assert_same_file(&file, &files[i]);
            free(file.memory);
        }
        reopen();
    }
    struct file_record file;
    assert_int_equal(store_find_file(store, STR("0123"), &file), STORE_ABSENT);
    assert_null(file.memory);
    assert_int_equal(store_find_file(store, STR("' OR 1 --"), &file), STORE_ABSENT);
}

static void test_nobody_else_may_read_the_file(void **state)
{
    (void)state;
    static const char *const endings[] = {"", "-wal", "-shm"};
    store_close(&store);
    empty_directory();
    mode_t before = umask(0);
    store = open_store();
    assert_int_equal(add_file(store, 1), STORE_OK);
    umask(before);
    for (size_t i = 0; i < COUNT(endings); i++) {
        char name[160];
        struct stat about;
        snprintf(name, sizeof(name), "%s%s", path, endings[i]);
        assert_int_equal(stat(name, &about), 0);
        assert_int_equal(about.st_mode & 0777, 0600);
    }
}

/* -- writes -- */

static void test_a_write_happens_whole_or_not_at_all(void **state)
{
    (void)state;
    struct id ids[] = {id_of(1), id_of(2), id_of(3), id_of(4)}, partial_id = id_of(100);
    struct file_record files[] = {file_of(&ids[0]), file_of(&ids[1])}, twice[2];
    struct partial_record partial = {.id = id_str(&partial_id), .route = STR("main")};
    assert_int_equal(add_file(store, 3), STORE_OK);

    twice[0] = twice[1] = files[0];
    struct {
        struct store_write write;
        enum store_result result;
    } refused[] = {
        /* the file to remove isn't there */
        {{.add_files = files,
          .add_file_count = 2,
          .remove_file = id_str(&ids[3]),
          .put_partial = &partial},
         STORE_ABSENT},
        {{.remove_file = id_str(&ids[3]), .put_partial = &partial}, STORE_ABSENT},
        {{.remove_file = id_str(&ids[3])}, STORE_ABSENT},
        /* an id twice */
        {{.add_files = twice, .add_file_count = 2, .remove_file = id_str(&ids[2])}, STORE_FAILED},
        {{.add_files = twice, .add_file_count = 2}, STORE_FAILED},
    };
    for (size_t i = 0; i < COUNT(refused); i++) {
        assert_int_equal(write_and_wait(store, refused[i].write), refused[i].result);
        assert_int_equal(find_file(store, 1), STORE_ABSENT);
        assert_int_equal(find_file(store, 2), STORE_ABSENT);
        assert_int_equal(find_file(store, 3), STORE_OK);
        assert_int_equal(find_partial(store, partial_id), STORE_ABSENT);
    }

    struct store_write all = {.add_files = files,
                              .add_file_count = 2,
                              .remove_file = id_str(&ids[2]),
                              .put_partial = &partial};
    assert_int_equal(write_and_wait(store, all), STORE_OK);
    assert_int_equal(find_file(store, 1), STORE_OK);
    assert_int_equal(find_file(store, 2), STORE_OK);
    assert_int_equal(find_file(store, 3), STORE_ABSENT);
    assert_int_equal(find_partial(store, partial_id), STORE_OK);

    /* As an upload that became whole does it; then once more, when its partial record is gone. */
    struct file_record whole = file_of(&ids[3]);
    struct store_write finish = {
        .add_files = &whole, .add_file_count = 1, .remove_partial = id_str(&partial_id)};
    assert_int_equal(write_and_wait(store, finish), STORE_OK);
    assert_int_equal(find_partial(store, partial_id), STORE_ABSENT);
    assert_int_equal(remove_file(store, 4), STORE_OK);
    assert_int_equal(write_and_wait(store, finish), STORE_OK);
    assert_int_equal(find_file(store, 4), STORE_OK);
}

/* Holds the store's thread, so that what is submitted meanwhile becomes one batch. */
struct holder {
    struct store_write write;
    sem_t held, go;
};

static void hold(struct store_write *write)
{
    struct holder *holder = CONTAINER_OF(write, struct holder, write);
    sem_post(&holder->held);
    while (sem_wait(&holder->go) != 0)
        ;
}

static void hold_writer(struct holder *holder)
{
    *holder = (struct holder){.write = {.done = hold}};
    sem_init(&holder->held, 0, 0);
    sem_init(&holder->go, 0, 0);
    assert_true(store_submit(store, &holder->write));
    while (sem_wait(&holder->held) != 0)
        ;
}

struct submission {
    struct store_write write;
    struct file_record file;
    struct id id;
};

static struct loop *loop;
static unsigned answered;
static unsigned order_broken;

static void count_answer(struct store_write *write)
{
    static struct store_write *last;
    if (answered++ != 0 && write < last)
        order_broken++;
    last = write;
}

static void test_a_failing_write_takes_no_other_along(void **state)
{
    (void)state;
    enum { N = 300 };
    struct submission *all = calloc(N, sizeof(*all));
    struct holder holder;
    loop = loop_create(0);
    answered = order_broken = 0;
    hold_writer(&holder);
    for (unsigned i = 0; i < N; i++) {
        /* Every third has the id of the one before it, every third removes what isn't there after
         * it added a file. */
        all[i].id = id_of(i % 3 == 1 ? i - 1 : i);
        all[i].file = file_of(&all[i].id);
        all[i].write = (struct store_write){
            .add_files = &all[i].file, .add_file_count = 1, .done = count_answer, .loop = loop};
        if (i % 3 == 2)
            all[i].write.remove_file = STR("nothing");
        assert_true(store_submit(store, &all[i].write));
    }
    sem_post(&holder.go);
    while (answered < N)
        loop_turn(loop, 100);
    assert_int_equal(order_broken, 0);
    for (unsigned i = 0; i < N; i++) {
        static const enum store_result expected[] = {STORE_OK, STORE_FAILED, STORE_ABSENT};
        assert_int_equal(all[i].write.result, expected[i % 3]);
        if (i % 3 != 1)
            assert_int_equal(find_file(store, i), expected[i % 3]);
    }
    loop_destroy(&loop);
    free(all);
}

/* Each transaction writes every page that it changed to the WAL: five hundred of them would write
 * two thousand pages. */
static void test_what_waits_together_is_written_together(void **state)
{
    (void)state;
    enum { N = 500 };
    struct submission *all = calloc(N, sizeof(*all));
    struct holder holder;
    struct stat before, after;
    char wal[160];
    snprintf(wal, sizeof(wal), "%s-wal", path);
    loop = loop_create(0);
    answered = order_broken = 0;
    hold_writer(&holder);
    assert_int_equal(stat(wal, &before), 0);
    for (unsigned i = 0; i < N; i++) {
        all[i].id = id_of(i);
        all[i].file = file_of(&all[i].id);
        all[i].write = (struct store_write){
            .add_files = &all[i].file, .add_file_count = 1, .done = count_answer, .loop = loop};
        assert_true(store_submit(store, &all[i].write));
    }
    sem_post(&holder.go);
    while (answered < N)
        loop_turn(loop, 100);
    assert_int_equal(stat(wal, &after), 0);
    assert_true(after.st_size - before.st_size < 150 * 4096);
    loop_destroy(&loop);
    free(all);
}

static void test_too_many_writes_are_refused_and_stop_writes_those_that_wait(void **state)
{
    (void)state;
    enum { QUEUE = 8192 };
    struct submission *all = calloc(QUEUE + 1, sizeof(*all));
    struct holder holder;
    loop = loop_create(0);
    answered = order_broken = 0;
    hold_writer(&holder);
    for (unsigned i = 0; i < QUEUE + 1; i++) {
        all[i].id = id_of(i);
        all[i].file = file_of(&all[i].id);
        all[i].write = (struct store_write){
            .add_files = &all[i].file, .add_file_count = 1, .done = count_answer, .loop = loop};
        assert_int_equal(store_submit(store, &all[i].write), i < QUEUE);
    }
    sem_post(&holder.go);
    store_stop(store);
    assert_int_equal(answered, 0); /* nobody ran the loop */
    assert_false(store_submit(store, &all[QUEUE].write));
    assert_int_equal(find_file(store, QUEUE - 1), STORE_OK);
    assert_int_equal(find_file(store, QUEUE), STORE_ABSENT);
    loop_turn(loop, 0);
    assert_int_equal(answered, QUEUE);
    assert_int_equal(order_broken, 0);
    for (unsigned i = 0; i < QUEUE; i++)
        assert_int_equal(all[i].write.result, STORE_OK);
    loop_destroy(&loop);
    reopen();
    assert_int_equal(find_file(store, 0), STORE_OK);
    assert_int_equal(find_file(store, QUEUE - 1), STORE_OK);
    free(all);
}

/* -- threads -- */

enum { THREADS = 8, EACH = 60 };

static void *write_and_read(void *arg)
{
    unsigned first = *(unsigned *)arg, wrong = 0;
    for (unsigned i = first; i < first + EACH; i++) {
        struct file_record *page;
        size_t count;
        wrong += add_file(store, i) != STORE_OK || find_file(store, i) != STORE_OK;
        wrong += store_list_files(store, STR("main"), INT64_MAX, STR(""), 5, &page, &count) !=
                     STORE_OK ||
                 count == 0;
        free_files(page, count);
        wrong += i % 2 == 0 && remove_file(store, i) != STORE_OK;
        wrong += find_file(store, i) != (i % 2 == 0 ? STORE_ABSENT : STORE_OK);
    }
    *(unsigned *)arg = wrong;
    return NULL;
}

static void test_threads_read_what_they_wrote(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    unsigned args[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        args[i] = 1000 * i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_and_read, &args[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(args[i], 0);
    }
    store_close(&store);
    assert_sound();
    store = open_store();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_a_file_comes_back_as_it_was_written),
        TEST(test_nobody_else_may_read_the_file),
        TEST(test_a_write_happens_whole_or_not_at_all),
        TEST(test_a_failing_write_takes_no_other_along),
        TEST(test_what_waits_together_is_written_together),
        TEST(test_too_many_writes_are_refused_and_stop_writes_those_that_wait),
        TEST(test_threads_read_what_they_wrote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
