/* What was issued is found again by its fields and by its key, by nobody else's; and is changed as
 * the rules are. */
#include "test_stores.h"

#include "base/log.h"
#include "certificates/register.h"

static struct store *store;
static struct offload *reads;
static struct registry *registry;
static struct loop *loop;
static const struct secret secret = {"the secret of the site: 32 byte"};

static int setup(void **state)
{
    if (make_directory(state) != 0)
        return -1;
    log_setup(LOG_WARN, LOG_LOGFMT);
    store = open_store();
    reads = offload_create("reads", 2, 4);
    loop = loop_create(0);
    registry = registry_create(store, reads, &secret);
    return 0;
}

static int teardown(void **state)
{
    offload_destroy(&reads);
    store_close(&store);
    registry_destroy(&registry);
    loop_destroy(&loop);
    return remove_directory(state);
}

/* -- codes -- */

static const struct field_value ada[] = {{STR("name"), STR("Ada")}, {STR("course"), STR("C")}};

static void test_the_same_fields_have_the_same_code_and_no_others(void **state)
{
    (void)state;
    enum { MANY = 40 };
    struct field_value many[MANY], other[MANY];
    for (size_t i = 0; i < MANY; i++)
        many[i] = other[i] = (struct field_value){STR("name"), STR("value")};
    other[MANY - 1].value = STR("valu");
    static const struct field_value moved[] = {{STR("name"), STR("Adac")},
                                               {STR("ourse"), STR("C")}},
                                    turned[] = {{STR("course"), STR("C")},
                                                {STR("name"), STR("Ada")}},
                                    lower[] = {{STR("name"), STR("ada")},
                                               {STR("course"), STR("C")}};
    const struct {
        struct str route;
        const struct field_value *fields;
        size_t count;
    } cases[] = {{STR("a"), ada, 2},         {STR("b"), ada, 2},     {STR("a"), ada, 1},
                 {STR("a"), ada, 0},         {STR("a"), moved, 2},   {STR("a"), turned, 2},
                 {STR("a"), lower, 2},       {STR("a"), many, MANY}, {STR("a"), other, MANY},
                 {STR("a"), many, MANY - 1}, {STR("a"), many, 16},   {STR("a"), many, 17}};
    uint8_t codes[COUNT(cases)][32], again[32];
    for (size_t i = 0; i < COUNT(cases); i++) {
        registry_fields_code(registry, cases[i].route, cases[i].fields, cases[i].count, codes[i]);
        registry_fields_code(registry, cases[i].route, cases[i].fields, cases[i].count, again);
        assert_memory_equal(codes[i], again, 32);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(codes[i], codes[j], 32);
    }
    /* Who reads the database can't try names: it takes the secret. */
    struct secret others = secret;
    others.bytes[0] ^= 1;
    struct registry *stranger = registry_create(store, reads, &others);
    registry_fields_code(stranger, STR("a"), ada, 2, again);
    assert_memory_not_equal(codes[0], again, 32);
    registry_destroy(&stranger);
}

static void test_a_key_is_its_clients_own(void **state)
{
    (void)state;
    static const struct {
        struct str route, user, address, key;
        unsigned share; /* the same number: the same one */
    } cases[] = {{STR("a"), STR("ci"), STR("192.0.2.1"), STR("1"), 1},
                 {STR("b"), STR("ci"), STR("192.0.2.2"), STR("1"), 1},
                 {STR("a"), STR("cd"), STR("192.0.2.1"), STR("1"), 2},
                 {STR("a"), STR("ci"), STR("192.0.2.1"), STR("2"), 1},
                 {STR("a"), STR("ci1"), STR("192.0.2.1"), STR(""), 3},
                 {STR("a"), STR(""), STR("192.0.2.1"), STR("1"), 4},
                 {STR("b"), STR(""), STR("192.0.2.1"), STR("1"), 4},
                 {STR("a"), STR(""), STR("192.0.2.2"), STR("1"), 5},
                 {STR("a"), STR(""), STR("2001:db8::1"), STR("1"), 6},
                 {STR("a"), STR(""), STR("2001:db8::2"), STR("1"), 6},
                 {STR("a"), STR(""), STR("2001:db8:0:1::1"), STR("1"), 7},
                 {STR("a"), STR(""), STR(""), STR("1"), 8}};
    struct certificate_key codes[COUNT(cases)];
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct key_sender sender = {cases[i].user, cases[i].address};
        registry_key_codes(registry, cases[i].route, &sender, cases[i].key, &codes[i]);
        for (size_t j = 0; j < i; j++) {
            bool same = memcmp(codes[i].client, codes[j].client, 32) == 0;
            assert_memory_not_equal(codes[i].key, codes[j].key, 32);
            assert_int_equal(same, cases[i].share == cases[j].share);
        }
    }
}

/* -- adding and finding -- */

static unsigned answers;

static void on_add(struct register_add *add)
{
    (void)add;
    answers++;
}

static void on_found(struct register_find *find)
{
    (void)find;
    answers++;
}

static void turn_until(unsigned count)
{
    while (answers < count)
        loop_turn(loop, 100);
}

/* Codes are the letter, 32 times; '\0' = no key. pdf NULL: only the key. */
static enum register_result add(const char *serial, char fields, char key, const char *pdf)
{
    struct certificate_record record = {
        .serial = str_from(serial), .route = STR("course"), .issued_ms = 1};
    struct certificate_key its_key = {.serial = str_from(serial), .made_ms = clock_unix_ms()};
    struct register_add one = {.record = pdf != NULL ? &record : NULL,
                               .pdf = str_from(pdf != NULL ? pdf : ""),
                               .key = key != '\0' ? &its_key : NULL,
                               .quota = 100 + 2 * KEY_BYTES,
                               .done = on_add,
                               .loop = loop};
    record.size = one.pdf.n;
    memset(record.fields, fields, 32);
    memset(its_key.key, key, 32);
    answers = 0;
    assert_true(register_add(registry, &one));
    turn_until(1);
    if (one.result == REGISTER_EXISTS)
        assert_int_not_equal(one.write.existing_serial[0], '\0');
    return one.result;
}

static struct register_find finding(char fields, char key, bool with_pdf)
{
    struct register_find find = {.with_pdf = with_pdf, .done = on_found, .loop = loop};
    memset(find.fields, fields, 32);
    memset(find.key, key, 32);
    return find;
}

static bool finds_by_key(char fields, char key)
{
    struct register_find find = finding(fields, key, false);
    answers = 0;
    assert_true(register_find(registry, &find));
    turn_until(1);
    assert_int_equal(find.result, REGISTER_OK);
    register_release(&find);
    return find.by_key;
}

static void assert_finds(char fields, char key, enum register_result result, const char *serial,
                         const char *pdf)
{
    for (int with_pdf = 0; with_pdf < 2; with_pdf++) {
        struct register_find find = finding(fields, key, with_pdf == 1);
        answers = 0;
        assert_true(register_find(registry, &find));
        turn_until(1);
        assert_int_equal(find.result, result);
        assert_str(find.record.serial, str_from(serial));
        assert_str(find.pdf, with_pdf == 1 ? str_from(pdf) : STR(""));
        register_release(&find);
        assert_null(find.pdf.p);
    }
}

static void test_what_was_added_is_found_by_fields_and_by_key(void **state)
{
    (void)state;
    assert_finds('f', '\0', REGISTER_ABSENT, "", "");
    assert_finds('f', 'k', REGISTER_ABSENT, "", "");
    assert_int_equal(add("A", 'f', 'k', "one"), REGISTER_OK);
    assert_int_equal(add("B", 'g', '\0', "two"), REGISTER_OK);
    assert_finds('f', '\0', REGISTER_OK, "A", "one");
    assert_finds('f', 'k', REGISTER_OK, "A", "one");
    assert_finds('f', 'l', REGISTER_OK, "A", "one"); /* another key, the same fields */
    assert_true(finds_by_key('f', 'k'));
    assert_false(finds_by_key('f', 'l'));
    assert_int_equal(add("A", '\0', 'l', NULL), REGISTER_OK);
    assert_true(finds_by_key('f', 'l'));
    assert_finds('f', 'l', REGISTER_OK, "A", "one");
    assert_finds('g', 'l', REGISTER_KEY_REUSED, "", "");
    assert_int_equal(add("B", '\0', 'l', NULL), REGISTER_EXISTS);
    assert_int_equal(add("N", '\0', 'n', NULL), REGISTER_ABSENT);
    assert_int_equal(add("A", '\0', 'm', NULL), REGISTER_FULL);
    assert_finds('g', 'k', REGISTER_KEY_REUSED, "", "");
    assert_finds('h', 'k', REGISTER_KEY_REUSED, "", "");
    assert_finds('g', '\0', REGISTER_OK, "B", "two");
    assert_int_equal(add("C", 'f', '\0', "three"), REGISTER_EXISTS);
    assert_int_equal(add("C", 'h', 'k', "three"), REGISTER_EXISTS); /* found, then: key reused */
    assert_int_equal(add("D", 'd', '\0',
                         "12345678901234567890123456789012345678901234567890"
                         "123456789012345678901234567890123456789012345"),
                     REGISTER_FULL);
    assert_finds('d', '\0', REGISTER_ABSENT, "", "");
}

static void test_too_much_to_look_for_is_refused(void **state)
{
    (void)state;
    enum { N = 4000 };
    struct register_find *finds = calloc(N, sizeof(*finds));
    unsigned taken = 0;
    answers = 0;
    for (size_t i = 0; i < N; i++) {
        finds[i] = finding('f', 'k', true);
        bool was_taken = register_find(registry, &finds[i]);
        taken += was_taken;
        if (!was_taken)
            assert_int_equal(finds[i].result, REGISTER_BUSY);
    }
    assert_in_range(taken, 4, N - 1);
    turn_until(taken);
    assert_true(register_find(registry, &finds[0])); /* and then there is room again */
    turn_until(taken + 1);
    free(finds);
}

/* -- changing -- */

static void test_a_change_says_what_came_of_it(void **state)
{
    (void)state;
    static const struct {
        const char *serial;
        enum certificate_status status;
        const char *by, *why; /* why not; NULL = it became so */
        enum certificate_status becomes;
        const char *becomes_by;
    } cases[] = {
        {"A", CERTIFICATE_REVOKED, "", NULL, CERTIFICATE_REVOKED, ""},
        {"A", CERTIFICATE_REVOKED, "", NULL, CERTIFICATE_REVOKED, ""},
        {"A", CERTIFICATE_SUPERSEDED, "", "it is revoked, and stays so", 0, NULL},
        {"B", CERTIFICATE_SUPERSEDED, "A", "what supersedes it must be another", 0, NULL},
        {"B", CERTIFICATE_SUPERSEDED, "B", "what supersedes it must be another", 0, NULL},
        {"B", CERTIFICATE_SUPERSEDED, "nobody", "what supersedes it must be another", 0, NULL},
        {"B", CERTIFICATE_SUPERSEDED, "", NULL, CERTIFICATE_SUPERSEDED, ""},
        {"B", CERTIFICATE_SUPERSEDED, "", NULL, CERTIFICATE_SUPERSEDED, ""},
        {"B", CERTIFICATE_SUPERSEDED, "A", "what supersedes it must be another", 0, NULL},
        {"B", CERTIFICATE_SUPERSEDED, "C", NULL, CERTIFICATE_SUPERSEDED, "C"},
        {"B", CERTIFICATE_SUPERSEDED, "C", NULL, CERTIFICATE_SUPERSEDED, "C"},
        {"B", CERTIFICATE_SUPERSEDED, "", NULL, CERTIFICATE_SUPERSEDED, "C"},
        {"B", CERTIFICATE_SUPERSEDED, "D", "another certificate supersedes it", 0, NULL},
        {"B", CERTIFICATE_REVOKED, "", NULL, CERTIFICATE_REVOKED, "C"},
    };
    assert_int_equal(add("A", 'a', '\0', "a"), REGISTER_OK);
    assert_int_equal(add("B", 'b', 'k', "b"), REGISTER_OK);
    assert_int_equal(add("C", 'c', '\0', "c"), REGISTER_OK);
    assert_int_equal(add("D", 'd', '\0', "d"), REGISTER_OK);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct certificate_change change = {.serial = str_from(cases[i].serial),
                                            .status = cases[i].status,
                                            .superseded_by = str_from(cases[i].by),
                                            .changed_ms = (int64_t)i + 1};
        struct certificate_record record;
        const char *why;
        enum register_result result = register_change(store, &change, &record, &why);
        assert_int_equal(result, cases[i].why != NULL ? REGISTER_CONFLICT : REGISTER_OK);
        if (cases[i].why != NULL) {
            assert_non_null(strstr(why, cases[i].why));
            assert_null(record.memory);
            continue;
        }
        assert_null(why);
        assert_int_equal(record.status, cases[i].becomes);
        assert_str(record.superseded_by, str_from(cases[i].becomes_by));
        free(record.memory);
    }
    struct certificate_record record;
    const char *why;
    struct certificate_change nobody = {.serial = STR("nobody"), .status = CERTIFICATE_REVOKED};
    assert_int_equal(register_change(store, &nobody, &record, &why), REGISTER_ABSENT);

    assert_finds('a', '\0', REGISTER_OK, "A", "a"); /* revoked: found, not made anew */
    assert_finds('b', '\0', REGISTER_ABSENT, "", "");
    assert_finds('b', 'k', REGISTER_OK, "B", "b"); /* superseded: by its key alone */
    assert_int_equal(add("E", 'b', '\0', "e"), REGISTER_OK);
    assert_finds('b', '\0', REGISTER_OK, "E", "e");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_the_same_fields_have_the_same_code_and_no_others),
        TEST(test_a_key_is_its_clients_own),
        TEST(test_what_was_added_is_found_by_fields_and_by_key),
        TEST(test_too_much_to_look_for_is_refused),
        TEST(test_a_change_says_what_came_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
