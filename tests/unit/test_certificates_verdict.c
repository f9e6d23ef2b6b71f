/* What is said of a file follows from what was found in it, case by case. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "certificates/verdict.h"

static void test_the_strongest_finding_decides(void **state)
{
    (void)state;
    static const struct {
        struct file_findings findings;
        enum file_state state;
    } cases[] = {
        {{.signature = SIGNATURE_NONE}, FILE_UNKNOWN},
        /* The digest alone is enough, with a signature of ours, of a key that we have no more, or
         * none. */
        {{.whole_known = true}, FILE_UNALTERED},
        {{.whole_known = true, .signature = SIGNATURE_GOOD, .to_the_end = true}, FILE_UNALTERED},
        {{.whole_known = true, .signature = SIGNATURE_BROKEN}, FILE_UNALTERED},
        /* So is a good signature; to the file's end or not is the difference. */
        {{.signature = SIGNATURE_GOOD, .to_the_end = true}, FILE_UNALTERED},
        {{.signature = SIGNATURE_GOOD}, FILE_EXTENDED},
        {{.signature = SIGNATURE_GOOD, .front_known = true}, FILE_EXTENDED},
        {{.front_known = true}, FILE_EXTENDED},
        {{.front_known = true, .signature = SIGNATURE_BROKEN}, FILE_EXTENDED},
        {{.signature = SIGNATURE_ALTERED}, FILE_ALTERED},
        {{.signature = SIGNATURE_ALTERED, .to_the_end = true}, FILE_ALTERED},
        {{.signature = SIGNATURE_BROKEN}, FILE_FORGED},
        {{.signature = SIGNATURE_BROKEN, .to_the_end = true}, FILE_FORGED},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(file_state_name(file_state_of(&cases[i].findings)),
                            file_state_name(cases[i].state));
}

/* Green only for what holds and is as it was; amber is to be looked at; the rest is red. */
static void test_only_what_is_unaltered_and_valid_is_good(void **state)
{
    (void)state;
    static const char *const tones[][4] = {
        /*                  valid   revoked superseded unknown */
        [FILE_NONE] = {"good", "bad", "care", "bad"},
        [FILE_UNKNOWN] = {"bad", "bad", "bad", "bad"},
        [FILE_FORGED] = {"bad", "bad", "bad", "bad"},
        [FILE_ALTERED] = {"bad", "bad", "bad", "bad"},
        [FILE_EXTENDED] = {"care", "bad", "care", "care"},
        [FILE_UNALTERED] = {"good", "bad", "care", "care"},
    };
    for (unsigned file = FILE_NONE; file <= FILE_UNALTERED; file++)
        for (unsigned standing = STANDING_VALID; standing <= STANDING_UNKNOWN; standing++) {
            struct verdict verdict = verdict_of((enum file_state)file, (enum standing)standing);
            assert_string_equal(verdict.tone, tones[file][standing]);
            assert_true(strlen(verdict.headline) > 10 && strlen(verdict.explanation) > 20);
            /* A page says of each what its standing is. */
            if (standing == STANDING_REVOKED && (file == FILE_NONE || file > FILE_FORGED))
                assert_true(strstr(verdict.headline, "revoked") != NULL ||
                            strstr(verdict.explanation, "revoked") != NULL);
            if (standing == STANDING_SUPERSEDED && (file == FILE_NONE || file > FILE_FORGED))
                assert_true(strstr(verdict.headline, "replaced") != NULL ||
                            strstr(verdict.explanation, "replaced") != NULL);
        }
}

static void test_a_standing_is_the_records_status(void **state)
{
    (void)state;
    struct certificate_record record = {.status = CERTIFICATE_VALID};
    assert_string_equal(standing_name(standing_of(&record)), "valid");
    record.status = CERTIFICATE_REVOKED;
    assert_string_equal(standing_name(standing_of(&record)), "revoked");
    record.status = CERTIFICATE_SUPERSEDED;
    assert_string_equal(standing_name(standing_of(&record)), "superseded");
    assert_string_equal(standing_name(standing_of(NULL)), "unknown");
}

static void test_a_name_stands_for_a_status(void **state)
{
    static const struct {
        struct str name;
        enum certificate_status status;
    } cases[] = {{STR("valid"), CERTIFICATE_VALID},
                 {STR("revoked"), CERTIFICATE_REVOKED},
                 {STR("superseded"), CERTIFICATE_SUPERSEDED}};
    static const struct str none[] = {STR("unknown"), STR(""), STR("Valid"), STR("valid ")};
    enum certificate_status status;
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_true(status_named(cases[i].name, &status));
        assert_int_equal(status, cases[i].status);
    }
    for (size_t i = 0; i < COUNT(none); i++)
        assert_false(status_named(none[i], &status));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_strongest_finding_decides),
        cmocka_unit_test(test_only_what_is_unaltered_and_valid_is_good),
        cmocka_unit_test(test_a_standing_is_the_records_status),
        cmocka_unit_test(test_a_name_stands_for_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
