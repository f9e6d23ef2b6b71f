/* Types by content, and which of them an upload section takes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "files/media_type.h"

static void test_types_are_told_by_content(void **state)
{
    static const struct {
        struct str head;
        const char *type;
    } cases[] = {
        {{"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0", 29}, "image/png"},
        {STR("GIF89a\1\0\1\0"), "image/gif"},
        {STR("%PDF-1.4\n"), "application/pdf"},
        {STR("\xff\xd8\xff\xe0\0\x10JFIF\0"), "image/jpeg"},
        {STR("just some words\n"), "text/plain"},
        {STR("{\"a\":[1,2,3]}"), "application/json"},
        {STR("<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>"), "image/svg+xml"},
        {STR("\1\2\3\4\xfe\xff\x80\x81"), "application/octet-stream"},
        {STR(""), "application/octet-stream"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char type[MEDIA_TYPE_MAX];
        media_type_detect(cases[i].head.p, cases[i].head.n, type);
        assert_string_equal(type, cases[i].type);
    }
    media_type_unload();
}

static void test_allowed_types_may_be_families(void **state)
{
    static const struct {
        struct str allow[2];
        size_t count;
        const char *type;
        bool allowed;
    } cases[] = {
        {{{0}}, 0, "anything/at-all", true},
        {{STR("image/png"), STR("application/pdf")}, 2, "application/pdf", true},
        {{STR("image/png"), STR("application/pdf")}, 2, "image/jpeg", false},
        {{STR("image/*")}, 1, "image/jpeg", true},
        {{STR("image/*")}, 1, "imagery/jpeg", false},
        {{STR("image/*")}, 1, "application/image/x", false},
        {{STR("Image/PNG")}, 1, "image/png", true},
        {{STR("IMAGE/*")}, 1, "image/png", true},
        {{STR("image/p*")}, 1, "image/png", false},
        {{STR("*/*")}, 1, "image/png", true},
        {{STR("*")}, 1, "image/png", false},
        {{STR("")}, 1, "image/png", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str items[2] = {cases[i].allow[0], cases[i].allow[1]};
        struct config_strings allow = {items, cases[i].count};
        assert_int_equal(media_type_allowed(&allow, str_from(cases[i].type)), cases[i].allowed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types_are_told_by_content),
        cmocka_unit_test(test_allowed_types_may_be_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
