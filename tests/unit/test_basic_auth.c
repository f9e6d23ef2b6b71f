/* Names and passwords: hashes, what clients send, who the users are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "crypto/crypto.h"
#include "middleware/basic_auth.h"
#include "middleware/basic_users.h"

/* The specification's own, of "Hello world!". */
#define SHA256_HASH "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
#define SHA512_HASH                                                \
    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnI" \
    "FNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
#define ROUNDS_HASH                                                                   \
    "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/" \
    "UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."

static void test_hashes_of_passwords(void **state)
{
    (void)state;
    static const char *const hashes[] = {SHA256_HASH, SHA512_HASH, ROUNDS_HASH};
    for (size_t i = 0; i < COUNT(hashes); i++) {
        struct str hash = str_from(hashes[i]);
        assert_null(password_hash_wrong(hash));
        assert_true(password_is(hash, "Hello world!"));
        assert_false(password_is(hash, "Hello world"));
        assert_false(password_is(hash, "hello world!"));
        assert_false(password_is(hash, ""));
    }
}

static void test_other_hashes_are_refused(void **state)
{
    (void)state;
    static const char *const hashes[] = {
        "",
        "$",
        "Hello world!",
        "$apr1$x$y",
        "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC",
        "$y$j9T$x$y",
        "{SHA}x",
        "$6$",
        "$6$salt",
        "$6$salt$",
        "$6$salt$abc",
        "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc",
        "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc58",
        "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc!",
        "$5$saltstringthatistoolong$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "$5$sa:lt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "$5$rounds=$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "$5$rounds=999$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "$5$rounds=1000001$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "$5$rounds=99999999999$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "$5$rounds=5000salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
    };
    for (size_t i = 0; i < COUNT(hashes); i++)
        if (password_hash_wrong(str_from(hashes[i])) == NULL)
            fail_msg("taken: %s", hashes[i]);
}

static void test_what_clients_send(void **state)
{
    (void)state;
    static const struct {
        const char *field, *name, *password; /* NULL = refused */
    } rows[] = {
        {"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"},
        {"bASIC   QWxhZGRpbjpvcGVuIHNlc2FtZQ==  ", "Aladdin", "open sesame"},
        {"Basic dGVzdDoxMjPCow==", "test", "123\xc2\xa3"},
        {"Basic YTpiOmM=", "a", "b:c"},
        {"Basic Og==", "", ""},
        {"Basic OmE=", "", "a"},
        {"Basic YQ==", NULL, NULL},                          /* no colon */
        {"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", NULL, NULL},    /* no padding */
        {"Basic QWxhZGRpbjpvcGVuIHNlc2FtZR==", NULL, NULL},  /* loose bits */
        {"Basic QWxhZGRpbjpvcGVu IHNlc2FtZQ==", NULL, NULL}, /* a blank */
        {"Basic YTpiCg==", NULL, NULL},                      /* a line end */
        {"Basic YTpiAA==", NULL, NULL},                      /* NUL */
        {"Basic", NULL, NULL},
        {"Basic ", NULL, NULL},
        {"BasicYTpi", NULL, NULL},
        {"Bearer YTpi", NULL, NULL},
        {"", NULL, NULL},
    };
    char text[BASIC_TEXT_MAX];
    struct str name, password;
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool taken = basic_credentials(str_from(rows[i].field), text, &name, &password);
        if (taken != (rows[i].name != NULL))
            fail_msg("%s: %d", rows[i].field, taken);
        if (taken) {
            assert_true(str_eq(name, str_from(rows[i].name)));
            assert_true(str_eq(password, str_from(rows[i].password)));
        }
    }
}

static void test_names_and_passwords_have_a_length(void **state)
{
    (void)state;
    static const struct {
        size_t name, password;
        bool taken;
    } rows[] = {
        {255, 255, true}, {256, 1, false}, {1, 256, false}, {254, 256, false}, {5000, 5000, false}};
    char text[BASIC_TEXT_MAX];
    struct str name, password;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t n = rows[i].name + 1 + rows[i].password;
        char *plain = malloc(n), *field = malloc(6 + BASE64_LENGTH(n) + 1);
        memset(plain, 'a', n);
        plain[rows[i].name] = ':';
        memcpy(field, "Basic ", 6);
        size_t length = 6 + base64_encode(plain, n, field + 6);
        assert_int_equal(basic_credentials((struct str){field, length}, text, &name, &password),
                         rows[i].taken);
        free(plain);
        free(field);
    }
}

/* -- users ------------------------------------------------------------------------------------- */

/* With a users_file of that text (NULL = none) and the users `ada` and `bob` when `listed`. */
static char *errors_of(const char *file, bool listed, void (*look)(const struct basic_users *users))
{
    char path[] = "/tmp/gateway-users-XXXXXX", *text = NULL;
    size_t n;
    struct config config = {.file = STR("t")};
    static struct config_pair pairs[] = {{STR("ada"), STR(SHA512_HASH)},
                                         {STR("bob"), STR(SHA256_HASH)}};
    struct config_basic_auth section = {.name = STR("staff"), .users_file = STR("")};
    struct diag *diag = diag_create();
    struct config *loaded = config_parse(STR(""), "t", "/", diag);
    struct basic_users users;
    config.private = loaded->private;
    if (listed)
        section.users = (struct config_pairs){pairs, COUNT(pairs)};
    if (file != NULL) {
        int fd = mkstemp(path);
        assert_int_equal(write(fd, file, strlen(file)), strlen(file));
        close(fd);
        section.users_file = str_from(path);
    }
    basic_users_read(&users, &config, &section, diag);
    if (look != NULL)
        look(&users);
    FILE *to = open_memstream(&text, &n);
    diag_print(diag, to);
    fclose(to);
    basic_users_free(&users);
    diag_destroy(&diag);
    config_destroy(&loaded);
    if (file != NULL)
        unlink(path);
    for (char *at; file != NULL && (at = strstr(text, path)) != NULL;) {
        memcpy(at, "FILE", 4);
        memmove(at + 4, at + strlen(path), strlen(at + strlen(path)) + 1);
    }
    return text;
}

static void look_at_all(const struct basic_users *users)
{
    assert_int_equal(users->count, 4);
    assert_string_equal(basic_users_find(users, STR("ada"))->hash.p, SHA512_HASH);
    assert_string_equal(basic_users_find(users, STR("bob"))->hash.p, SHA256_HASH);
    assert_string_equal(basic_users_find(users, STR("c d"))->hash.p, SHA256_HASH);
    assert_string_equal(basic_users_find(users, STR("Ada"))->hash.p, ROUNDS_HASH);
    assert_null(basic_users_find(users, STR("ad")));
    assert_null(basic_users_find(users, STR("")));
    assert_null(basic_users_find(users, STR("aDA")));
}

static void test_users_come_from_both_places(void **state)
{
    (void)state;
    char *text = errors_of("# staff\n\nc d:" SHA256_HASH "\r\nAda:" ROUNDS_HASH ":a comment", true,
                           look_at_all);
    assert_string_equal(text, "");
    free(text);
}

static void test_what_is_wrong_with_users_is_told_where_it_stands(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        bool listed;
        const char *errors;
    } rows[] = {
        {NULL, false,
         "t: error: nobody is let in: it needs users, in [basic_auth.staff.users] or in "
         "users_file\n"},
        {"# nobody\n", false,
         "t: error: nobody is let in: it needs users, in [basic_auth.staff.users] or in "
         "users_file\n"},
        {"ada\n:" SHA256_HASH "\nx:secret\nx:$6$a$b\n", true,
         "FILE:1:1: error: expected \"user:hash\"\n"
         "FILE:2:1: error: a user's name has 1 to 255 bytes\n"
         "FILE:3:3: error: x: the hash is not a SHA-2 hash of crypt(3), which begins with \"$6$\" "
         "or \"$5$\"; `openssl passwd -6` makes one\n"
         "FILE:4:3: error: x: the hash is cut short or malformed\n"},
        {"c:" SHA256_HASH "\nc:" SHA256_HASH "\n", false,
         "FILE:2:1: error: c: a user of this name is there already\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *text = errors_of(rows[i].file, rows[i].listed, NULL);
        assert_string_equal(text, rows[i].errors);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hashes_of_passwords),
        cmocka_unit_test(test_other_hashes_are_refused),
        cmocka_unit_test(test_what_clients_send),
        cmocka_unit_test(test_names_and_passwords_have_a_length),
        cmocka_unit_test(test_users_come_from_both_places),
        cmocka_unit_test(test_what_is_wrong_with_users_is_told_where_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
