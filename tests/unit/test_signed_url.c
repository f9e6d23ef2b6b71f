/* Signed links: what they look like, what they open, and that nothing else does. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>
#include "http/signed_url.h"

static struct key key, other_key;

static int setup(void **state)
{
    struct secret secret;
    (void)state;
    assert_true(secret_from_text(STR("correct horse battery staple now"), &secret));
    key = secret_key(&secret, SIGNED_URL_PURPOSE);
    other_key = secret_key(&secret, "csrf");
    return 0;
}

/* The signed query; NUL-terminated, in one of four buffers in turn. */
static const char *sign(enum http_right right, const char *path, const char *query,
                        uint64_t expires_s)
{
    static char texts[4][512];
    static unsigned turn;
    char *text = texts[turn++ % 4];
    size_t n = signed_url_write(&key, right, str_from(path), str_from(query), expires_s, text);
    assert_true(n <= strlen(query) + SIGNED_URL_MORE);
    text[n] = '\0';
    return text;
}

static enum signed_url check(enum http_right right, const char *path, const char *query,
                             uint64_t now_s)
{
    return signed_url_check(&key, right, str_from(path), str_from(query), now_s);
}

/* A link of today must open with tomorrow's program. */
static void test_the_form_of_a_link_is_settled(void **state)
{
    (void)state;
    assert_string_equal(sign(HTTP_MAY_READ, "/files/42", "size=big", 1763800000),
                        "size=big&expires=1763800000"
                        "&sig=6JA3iPYnlNH43R44pEm3oeheoaNREU3BG35D6fPH348");
    assert_string_equal(sign(HTTP_MAY_WRITE, "/upload", "", 1763800000),
                        "expires=1763800000"
                        "&sig=qQb6HktqxmaNk5BuX-hMzPiR0QG9acDg_7NAFHkYvTE");
    assert_int_equal(strlen(sign(HTTP_MAY_READ, "/", "a", UINT64_MAX)), 1 + SIGNED_URL_MORE);
}

static void test_a_link_opens_until_its_time(void **state)
{
    (void)state;
    static const char *const queries[] = {"", "a=1", "a=1&b", "&", "a&&b&", "%65xpires=1&x=sig="};
    for (size_t i = 0; i < COUNT(queries); i++) {
        const char *link = sign(HTTP_MAY_READ, "/f/a%20b", queries[i], 1000);
        assert_int_equal(check(HTTP_MAY_READ, "/f/a%20b", link, 0), SIGNED_URL_GOOD);
        assert_int_equal(check(HTTP_MAY_READ, "/f/a%20b", link, 999), SIGNED_URL_GOOD);
        assert_int_equal(check(HTTP_MAY_READ, "/f/a%20b", link, 1000), SIGNED_URL_EXPIRED);
        assert_int_equal(check(HTTP_MAY_READ, "/f/a%20b", link, UINT64_MAX), SIGNED_URL_EXPIRED);
    }
    const char *for_ever = sign(HTTP_MAY_READ, "/", "", UINT64_MAX);
    assert_int_equal(check(HTTP_MAY_READ, "/", for_ever, UINT64_MAX - 1), SIGNED_URL_GOOD);
    const char *never = sign(HTTP_MAY_READ, "/", "", 0);
    assert_int_equal(check(HTTP_MAY_READ, "/", never, 0), SIGNED_URL_EXPIRED);
}

static void test_a_link_to_write_reads_but_not_the_other_way(void **state)
{
    (void)state;
    const char *to_write = sign(HTTP_MAY_WRITE, "/u", "", 1000);
    const char *to_read = sign(HTTP_MAY_READ, "/u", "", 1000);
    assert_int_equal(check(HTTP_MAY_WRITE, "/u", to_write, 1), SIGNED_URL_GOOD);
    assert_int_equal(check(HTTP_MAY_READ, "/u", to_write, 1), SIGNED_URL_GOOD);
    assert_int_equal(check(HTTP_MAY_READ, "/u", to_write, 2000), SIGNED_URL_EXPIRED);
    assert_int_equal(check(HTTP_MAY_READ, "/u", to_read, 1), SIGNED_URL_GOOD);
    assert_int_equal(check(HTTP_MAY_WRITE, "/u", to_read, 1), SIGNED_URL_WRONG);
    assert_int_equal(check(HTTP_MAY_WRITE, "/u", to_read, 2000), SIGNED_URL_WRONG);
}

static void test_a_link_opens_one_address_only(void **state)
{
    (void)state;
    const char *link = sign(HTTP_MAY_READ, "/f/1", "a=1", 1000);
    static const char *const paths[] = {"/f/2", "/f/1/", "/f", "/F/1", "/f/%31", "/f/1?", ""};
    for (size_t i = 0; i < COUNT(paths); i++)
        assert_int_equal(check(HTTP_MAY_READ, paths[i], link, 1), SIGNED_URL_WRONG);
    assert_int_equal(signed_url_check(&other_key, HTTP_MAY_READ, STR("/f/1"), str_from(link), 1),
                     SIGNED_URL_WRONG);
    /* Nothing moves between path and query. */
    link = sign(HTTP_MAY_READ, "/f", "1", 1000);
    char moved[512];
    snprintf(moved, sizeof(moved), "%s", link + 2);
    assert_int_equal(check(HTTP_MAY_READ, "/f1", moved, 1), SIGNED_URL_WRONG);
}

static void test_without_a_signature_there_is_none(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "", "a=1", "expires", "sig", "xsig=1&Expires=2&SIG=3", "a=sig=1", "&&"};
    for (size_t i = 0; i < COUNT(queries); i++)
        assert_int_equal(check(HTTP_MAY_READ, "/", queries[i], 1), SIGNED_URL_NONE);
    assert_int_equal(signed_url_check(&key, HTTP_MAY_READ, STR("/"), (struct str){NULL, 0}, 1),
                     SIGNED_URL_NONE);
}

/* Every single byte counts, and so does every bit of the signature. */
static void test_no_byte_can_be_changed(void **state)
{
    (void)state;
    char link[512];
    snprintf(link, sizeof(link), "%s", sign(HTTP_MAY_READ, "/f", "a=1&b=2", 1763800000));
    size_t n = strlen(link);
    for (size_t i = 0; i < n; i++) {
        char kept = link[i];
        for (int bit = 0; bit < 8; bit++) {
            link[i] = (char)(kept ^ 1 << bit);
            enum signed_url got =
                signed_url_check(&key, HTTP_MAY_READ, STR("/f"), (struct str){link, n}, 1);
            if (got != SIGNED_URL_WRONG)
                fail_msg("byte %zu, bit %d: %d for %s", i, bit, got, link);
        }
        link[i] = kept;
    }
    for (size_t cut = 0; cut < n; cut++) {
        enum signed_url got =
            signed_url_check(&key, HTTP_MAY_READ, STR("/f"), (struct str){link, cut}, 1);
        if (got != (cut < strlen("a=1&b=2&expires=") ? SIGNED_URL_NONE : SIGNED_URL_WRONG))
            fail_msg("cut to %zu: %d", cut, got);
    }
}

static void put_together(char *to, const char *order, const char *q, const char *expires,
                         const char *sig)
{
    char *start = to;
    for (; *order != '\0'; order++) {
        const char *part = *order == 'Q' ? q : *order == 'E' ? expires : *order == 'S' ? sig : NULL;
        if (part == NULL)
            *to++ = *order;
        else
            to += sprintf(to, "%s%s", to != start && to[-1] != '&' ? "&" : "", part);
    }
    *to = '\0';
}

static void test_parameters_stand_once_and_at_the_end(void **state)
{
    (void)state;
    /* Q: the query, E: the time, S: the signature. */
    static const char *const orders[] = {
        "QES&a=1",   "QES&",     "QES&expires=2000",
        "QES&sig=x", "QSE",      "EQS",
        "QE&&S",     "sig=&QES", "expires=9&QES",
        "QE",        "QS",       "&&QES",
        "QESES",     "QEES",     "QESS",
    };
    char link[512], changed[1024];
    snprintf(link, sizeof(link), "%s", sign(HTTP_MAY_READ, "/f", "q=1", 1000));
    const char *q = strtok(link, "&"), *expires = strtok(NULL, "&"), *sig = strtok(NULL, "&");
    put_together(changed, "QES", q, expires, sig);
    assert_int_equal(check(HTTP_MAY_READ, "/f", changed, 1), SIGNED_URL_GOOD);
    for (size_t i = 0; i < COUNT(orders); i++) {
        put_together(changed, orders[i], q, expires, sig);
        if (check(HTTP_MAY_READ, "/f", changed, 1) != SIGNED_URL_WRONG)
            fail_msg("%s was taken", changed);
    }
}

static void test_a_time_is_written_in_one_way(void **state)
{
    (void)state;
    static const char *const times[] = {"",
                                        "01000",
                                        "+1000",
                                        " 1000",
                                        "1000 ",
                                        "1e3",
                                        "-1",
                                        "0x1",
                                        "18446744073709551616",
                                        "99999999999999999999",
                                        "000000000000000000001000",
                                        "%31000"};
    for (size_t i = 0; i < COUNT(times); i++) {
        /* Signed by us as it stands, so that only its form is wrong. */
        uint8_t mac[32];
        char sig[BASE64_LENGTH(32) + 1], query[256];
        const struct str parts[] = {STR("read"), STR("/f"), STR(""), str_from(times[i])};
        mac_make(&key, parts, COUNT(parts), mac);
        base64url_encode(mac, sizeof(mac), sig);
        snprintf(query, sizeof(query), "expires=%s&sig=%s", times[i], sig);
        if (check(HTTP_MAY_READ, "/f", query, 1) != SIGNED_URL_WRONG)
            fail_msg("expires=%s was taken", times[i]);
    }
}

static void test_signing_again_replaces_the_signature(void **state)
{
    (void)state;
    char first[512], wanted[512];
    snprintf(first, sizeof(first), "%s", sign(HTTP_MAY_READ, "/f", "a=1", 1000));
    snprintf(wanted, sizeof(wanted), "%s", sign(HTTP_MAY_READ, "/f", "a=1", 2000));
    assert_string_equal(sign(HTTP_MAY_READ, "/f", first, 2000), wanted);
    snprintf(first, sizeof(first), "%s", sign(HTTP_MAY_READ, "/f", "", 1000));
    snprintf(wanted, sizeof(wanted), "%s", sign(HTTP_MAY_READ, "/f", "", 2000));
    assert_string_equal(sign(HTTP_MAY_READ, "/f", first, 2000), wanted);
    assert_string_equal(sign(HTTP_MAY_READ, "/f", "sig=&expires=1&expires=2", 2000), wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_form_of_a_link_is_settled),
        cmocka_unit_test(test_a_link_opens_until_its_time),
        cmocka_unit_test(test_a_link_to_write_reads_but_not_the_other_way),
        cmocka_unit_test(test_a_link_opens_one_address_only),
        cmocka_unit_test(test_without_a_signature_there_is_none),
        cmocka_unit_test(test_no_byte_can_be_changed),
        cmocka_unit_test(test_parameters_stand_once_and_at_the_end),
        cmocka_unit_test(test_a_time_is_written_in_one_way),
        cmocka_unit_test(test_signing_again_replaces_the_signature),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
