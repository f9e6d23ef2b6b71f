/* What is JSON and what is not, and what the tape of it says.
 *
 * Each text is parsed where its last byte is the last of a page and the next page may not be read,
 * by the parser as built and by its byte-wise form, which is compiled in here a second time (with
 * an allocator that can be told to fail). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/json.h"

static int allocations_left = -1; /* negative: any number */

static void *counted_realloc(void *p, size_t n)
{
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return realloc(p, n);
}

enum json_error json_parse_bytewise(struct json_doc *doc, const char *text, size_t n,
                                    unsigned max_depth, size_t *error_at_r);
#define GW_JSON_PORTABLE
#define json_parse json_parse_bytewise
#define realloc    counted_realloc
#include "base/json_parse.c"
#undef json_parse
#undef realloc
#include "tests/unit/json_texts.h"
#include <cmocka.h> /* after the parser: it takes common words as macros */

typedef enum json_error parse_fn(struct json_doc *, const char *, size_t, unsigned, size_t *);
static parse_fn *const parsers[] = {json_parse, json_parse_bytewise};

/* -- texts at the end of readable memory ---------------------------------------------------- */

#define ROOM (1024 * 1024)
static char *room; /* ROOM bytes, then a page that may not be touched */

static int make_room(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    room = mmap(NULL, ROOM + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return room == MAP_FAILED || mprotect(room + ROOM, page, PROT_NONE) != 0 ? -1 : 0;
}

static int free_room(void **state)
{
    (void)state;
    return munmap(room, ROOM + (size_t)sysconf(_SC_PAGESIZE));
}

static const char *at_the_edge(const char *text, size_t n)
{
    assert_true(n <= ROOM);
    char *copy = room + ROOM - n;
    memcpy(copy, text, n);
    return copy;
}

/* What must hold of any tape: positions rise, containers close, `next` skips exactly the inside. */
static uint32_t check_node(const struct json_doc *doc, uint32_t at)
{
    const struct json_node *node = &doc->nodes[at];
    const char *text = doc->text;

    assert_true(at < doc->count && node->start <= node->end && node->end <= doc->length);
    switch (node->type) {
    case JSON_STRING:
        assert_true(text[node->start - 1] == '"' && text[node->end] == '"');
        assert_int_equal(node->escaped,
                         memchr(text + node->start, '\\', node->end - node->start) != NULL);
        assert_int_equal(node->next, at + 1);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        assert_int_equal(text[node->start], node->type == JSON_ARRAY ? '[' : '{');
        assert_int_equal(text[node->end - 1], node->type == JSON_ARRAY ? ']' : '}');
        for (at++; at < node->next;) {
            if (node->type == JSON_OBJECT) {
                assert_int_equal(doc->nodes[at].type, JSON_STRING);
                at = check_node(doc, at);
            }
            at = check_node(doc, at);
        }
        assert_int_equal(at, node->next);
        break;
    default:
        assert_true(node->type >= JSON_NULL && node->type <= JSON_NUMBER);
        assert_int_equal(node->next, at + 1);
        break;
    }
    return node->next;
}

/* The error stands at error_at or, where that says nothing better, up to `slack` bytes later. */
static void expect_near(const char *text, size_t n, unsigned max_depth, enum json_error error,
                        size_t error_at, size_t slack)
{
    struct json_doc doc;

    json_doc_init(&doc);
    for (size_t i = 0; i < COUNT(parsers); i++) {
        size_t at = SIZE_MAX;
        enum json_error got = parsers[i](&doc, at_the_edge(text, n), n, max_depth, &at);
        if (got != error || (error != JSON_OK && (at < error_at || at > error_at + slack)))
            fail_msg("parser %zu says '%s' at %zu, not '%s' at %zu, to %.*s", i,
                     json_error_text(got), at, json_error_text(error), error_at, (int)n, text);
        if (error == JSON_OK) {
            assert_int_equal(check_node(&doc, 0), doc.count);
            assert_int_equal(at, SIZE_MAX);
        } else {
            assert_int_equal(doc.count, 0);
        }
    }
    json_doc_fini(&doc);
}

static void expect_deeper(const char *text, size_t n, unsigned max_depth, enum json_error error,
                          size_t error_at)
{
    expect_near(text, n, max_depth, error, error_at, 0);
}

/* The verdict stands whatever spaces follow (they let the vector scans see the text); only where
 * the text ended too early it may now end later. */
static void expect(const char *text, size_t n, enum json_error error, size_t error_at)
{
    char padded[512];

    expect_deeper(text, n, 64, error, error_at);
    assert_true(n + 40 <= sizeof(padded));
    memcpy(padded, text, n);
    memset(padded + n, ' ', 40);
    for (size_t more = 1; more <= 40; more++)
        expect_near(padded, n + more, 64, error, error_at, error_at == n ? more : 0);
}

/* -- the grammar ---------------------------------------------------------------------------- */

static void test_what_the_grammar_allows_is_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(valid); i++)
        expect(valid[i].text, valid[i].n, JSON_OK, 0);
}

static void test_what_it_does_not_is_refused_where_it_stands(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(invalid); i++)
        expect(invalid[i].text, invalid[i].n, invalid[i].error, invalid[i].at);
}

static void test_every_proper_prefix_is_refused(void **state)
{
    (void)state;
    static const char text[] =
        "{\"name\":\"caf\xc3\xa9 "
        "\\ud83d\\ude00\",\"list\":[1.5e3,-20,true,false,null,{}],\"x\":\"\"}";
    struct json_doc doc;
    json_doc_init(&doc);
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        for (size_t i = 0; i < COUNT(parsers); i++) {
            size_t at = SIZE_MAX;
            assert_int_not_equal(parsers[i](&doc, at_the_edge(text, n), n, 64, &at), JSON_OK);
            assert_true(at <= n);
        }
    }
    json_doc_fini(&doc);
    expect(TEXT(text), JSON_OK, 0);
}

/* Any byte at any place of a string, short and around the 64 bytes that are looked at together. */
static void test_each_byte_at_each_place_of_a_string(void **state)
{
    (void)state;
    char text[80];
    for (size_t n = 1; n <= 70; n += n == 20 ? 40 : 1) {
        for (size_t place = 0; place < n; place++) {
            for (int byte = 0; byte < 256; byte++) {
                memset(text, 'a', sizeof(text));
                text[0] = text[n + 1] = '"';
                text[place + 1] = (char)byte;
                size_t at = place + 1;
                enum json_error error = JSON_OK;
                if (byte == '"') { /* ends there; what follows is too much */
                    error = JSON_TRAILING;
                    at++;
                } else if (byte == '\\') { /* \a, or \" and no end */
                    error = place + 1 < n ? JSON_BAD_ESCAPE : JSON_SYNTAX;
                    at = place + 1 < n ? at : n + 2;
                } else if (byte < 0x20) {
                    error = JSON_SYNTAX;
                } else if (byte >= 0x80) {
                    error = JSON_BAD_UTF8;
                }
                expect_deeper(text, n + 2, 1, error, at);
            }
        }
    }
}

/* Numbers of any length wherever they begin, whole and with a fraction, followed or at the end. */
static void test_numbers_end_where_they_end(void **state)
{
    (void)state;
    struct json_doc doc;
    json_doc_init(&doc);
    for (size_t before = 0; before <= 70; before++) {
        for (size_t whole = 1; whole <= 70; whole += whole < 20 ? 1 : 5) {
            for (size_t fraction = 0; fraction <= 70; fraction += fraction < 20 ? 1 : 5) {
                char text[256];
                size_t n = 0;
                text[n++] = '[';
                text[n++] = '"';
                memset(text + n, 'x', before);
                n += before;
                n += (size_t)snprintf(text + n, sizeof(text) - n, "\",%s", fraction % 2 ? "-" : "");
                size_t start = n - fraction % 2;
                memset(text + n, '7', whole + 1 + fraction);
                n += whole;
                if (fraction != 0) {
                    text[n] = '.';
                    n += 1 + fraction;
                }
                text[n] = ']';
                for (size_t i = 0; i < COUNT(parsers); i++) {
                    const char *edge = at_the_edge(text, n + 1);
                    assert_int_equal(parsers[i](&doc, edge, n + 1, 1, NULL), JSON_OK);
                    assert_int_equal(doc.nodes[2].start, start);
                    assert_int_equal(doc.nodes[2].end, n);
                    edge = at_the_edge(text + start, n - start);
                    assert_int_equal(parsers[i](&doc, edge, n - start, 1, NULL), JSON_OK);
                    assert_int_equal(doc.nodes[0].end, n - start);
                }
            }
        }
    }
    json_doc_fini(&doc);
}

static size_t encode(unsigned code, size_t bytes, char *text)
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = bytes - 1; i > 0; i--, code >>= 6)
        text[i] = (char)(0x80 | (code & 0x3f));
    text[0] = (char)(lead[bytes] | code);
    return bytes;
}

/* Every code that two, three and four bytes can hold is good exactly when it needs that many bytes,
 * is no surrogate and not past U+10FFFF. */
static void test_utf8_takes_each_character_in_its_one_form(void **state)
{
    (void)state;
    char text[8] = "\"";
    struct json_doc doc;
    json_doc_init(&doc);
    for (size_t bytes = 2; bytes <= 4; bytes++) {
        static const unsigned first[] = {0, 0, 0x80, 0x800, 0x10000};
        static const unsigned limit[] = {0, 0, 0x800, 0x10000, 0x200000};
        for (unsigned code = 0; code < limit[bytes]; code++) {
            bool good = code >= first[bytes] && code < 0x110000 && (code < 0xd800 || code > 0xdfff);
            text[1 + encode(code, bytes, text + 1)] = '"';
            if (json_parse(&doc, text, bytes + 2, 0, NULL) != (good ? JSON_OK : JSON_BAD_UTF8))
                fail_msg("U+%04X in %zu bytes", code, bytes);
        }
    }
    json_doc_fini(&doc);
}

static void test_depth_is_capped(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned max_depth;
        enum json_error error;
        size_t at;
    } cases[] = {
        {"1", 0, JSON_OK, 0},
        {"[]", 0, JSON_TOO_DEEP, 0},
        {" {}", 0, JSON_TOO_DEEP, 1},
        {"[]", 1, JSON_OK, 0},
        {"[[]]", 1, JSON_TOO_DEEP, 1},
        {"[{}]", 1, JSON_TOO_DEEP, 1},
        {"{\"a\":[]}", 1, JSON_TOO_DEEP, 5},
        {"[[],[],{\"a\":[]}]", 2, JSON_TOO_DEEP, 12},
        {"[[],[],{\"a\":[]}]", 3, JSON_OK, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        expect_deeper(cases[i].text, strlen(cases[i].text), cases[i].max_depth, cases[i].error,
                      cases[i].at);
}

static void test_a_million_brackets_need_no_stack(void **state)
{
    (void)state;
    size_t n = ROOM;
    char *text = malloc(n);
    struct json_doc doc;

    json_doc_init(&doc);
    memset(text, '[', n);
    expect_deeper(text, n, 64, JSON_TOO_DEEP, 64);
    expect_deeper(text, n, UINT32_MAX, JSON_SYNTAX, n);
    memset(text + n / 2, ']', n / 2);
    for (size_t i = 0; i < COUNT(parsers); i++) {
        assert_int_equal(parsers[i](&doc, text, n, UINT32_MAX, NULL), JSON_OK);
        assert_int_equal(doc.count, n / 2);
        for (uint32_t at = 0; at < doc.count; at++) {
            assert_int_equal(doc.nodes[at].next, doc.count);
            assert_int_equal(doc.nodes[at].end, n - at);
        }
    }
    json_doc_fini(&doc);
    free(text);
}

/* -- the tape's memory ---------------------------------------------------------------------- */

static void test_a_tape_is_used_again(void **state)
{
    (void)state;
    struct json_doc doc;
    json_doc_init(&doc);
    assert_int_equal(json_parse(&doc, TEXT("[1,2,3,[4]]"), 8, NULL), JSON_OK);
    assert_int_equal(doc.count, 6);
    const struct json_node *nodes = doc.nodes;
    assert_int_equal(json_parse(&doc, TEXT("[1,"), 8, NULL), JSON_SYNTAX);
    assert_int_equal(json_type(json_root(&doc)), JSON_MISSING);
    assert_int_equal(json_parse(&doc, TEXT("{\"a\":[]}"), 8, NULL), JSON_OK);
    assert_int_equal(doc.count, 3);
    assert_ptr_equal(doc.nodes, nodes);
    json_doc_clear(&doc);
    assert_ptr_equal(doc.nodes, nodes);
    assert_int_equal(json_type(json_root(&doc)), JSON_MISSING);
    json_doc_fini(&doc);
    assert_null(doc.nodes);
}

static void test_a_tape_never_outgrows_its_text_and_a_huge_one_is_given_back(void **state)
{
    (void)state;
    size_t n = ROOM - 1;
    char *text = malloc(n);
    struct json_doc doc;

    text[0] = '[';
    for (size_t i = 1; i < n; i++)
        text[i] = i % 2 ? '1' : ',';
    text[n - 1] = ']';
    json_doc_init(&doc);
    assert_int_equal(json_parse(&doc, text, n, 1, NULL), JSON_OK);
    assert_int_equal(doc.count, n / 2 + 1);
    assert_true(doc.capacity <= n / 2 + 4);
    json_doc_clear(&doc);
    assert_null(doc.nodes);
    assert_int_equal(doc.capacity, 0);
    json_doc_fini(&doc);
    free(text);
}

static void test_no_memory_is_an_error_and_no_crash(void **state)
{
    (void)state;
    char text[4001];
    struct json_doc doc;

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = "[,1"[i == 0 ? 0 : 1 + i % 2];
    text[sizeof(text) - 1] = ']';
    json_doc_init(&doc);
    for (int allowed = 0;; allowed++) {
        size_t at = SIZE_MAX;
        allocations_left = allowed;
        enum json_error error = json_parse_bytewise(&doc, text, sizeof(text), 1, &at);
        allocations_left = -1;
        if (error == JSON_OK) {
            assert_true(allowed > 2);
            break;
        }
        assert_int_equal(error, JSON_TOO_LARGE);
        assert_true(at < sizeof(text));
        assert_int_equal(doc.count, 0);
        json_doc_fini(&doc);
    }
    json_doc_fini(&doc);
}

static void test_a_text_past_four_gigabytes_is_refused_unread(void **state)
{
    (void)state;
    struct json_doc doc;
    json_doc_init(&doc);
    assert_int_equal(json_parse(&doc, room + ROOM, UINT32_MAX, 1, NULL), JSON_TOO_LARGE);
    assert_int_equal(json_parse(&doc, room + ROOM, SIZE_MAX, 1, NULL), JSON_TOO_LARGE);
    json_doc_fini(&doc);
}

/* -- both forms of the scans ---------------------------------------------------------------- */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static void test_both_parsers_agree_on_damaged_texts(void **state)
{
    (void)state;
    static const char whole[] =
        "{\"items\": [{\"id\":123456,\"t\":\"walnut chair "
        "\xc3\xa9\xe2\x82\xac\\u00e9\",\"p\":-19.99},\n"
        "    {\"id\":12345678901234567890,\"t\":\"\\ud83d\\ude00\",\"p\":1.5e-10, \"n\":null}],"
        "\"ok\":true,\"no\":false, \"long\":\"0123456789abcdef0123456789abcdef \xf0\x9f\x98\x80\"}";
    static const char bytes[] = "\"\\{}[]:,0123456789.-+eEtfnu \n\t\x01\x80\xc3\xa9\xed\xf4\xff";
    uint32_t random = 1;
    struct json_doc docs[COUNT(parsers)];
    size_t accepted = 0;

    for (size_t i = 0; i < COUNT(docs); i++)
        json_doc_init(&docs[i]);
    for (int round = 0; round < 50000; round++) {
        char text[sizeof(whole)];
        size_t n = sizeof(whole) - 1;
        memcpy(text, whole, n);
        for (uint32_t damage = next_random(&random) % 3; damage > 0; damage--)
            text[next_random(&random) % n] = bytes[next_random(&random) % (sizeof(bytes) - 1)];
        if (next_random(&random) % 8 == 0)
            n = next_random(&random) % n;
        size_t at[COUNT(parsers)] = {0};
        enum json_error error[COUNT(parsers)];
        for (size_t i = 0; i < COUNT(parsers); i++)
            error[i] = parsers[i](&docs[i], at_the_edge(text, n), n, 3, &at[i]);
        if (error[0] != error[1] || at[0] != at[1])
            fail_msg("'%s' at %zu or '%s' at %zu: %.*s", json_error_text(error[0]), at[0],
                     json_error_text(error[1]), at[1], (int)n, text);
        assert_int_equal(docs[0].count, docs[1].count);
        if (error[0] == JSON_OK) {
            accepted++;
            assert_memory_equal(docs[0].nodes, docs[1].nodes,
                                docs[0].count * sizeof(docs[0].nodes[0]));
            check_node(&docs[0], 0);
        }
    }
    assert_in_range(accepted, 5000, 45000);
    for (size_t i = 0; i < COUNT(docs); i++)
        json_doc_fini(&docs[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_grammar_allows_is_accepted),
        cmocka_unit_test(test_what_it_does_not_is_refused_where_it_stands),
        cmocka_unit_test(test_every_proper_prefix_is_refused),
        cmocka_unit_test(test_each_byte_at_each_place_of_a_string),
        cmocka_unit_test(test_numbers_end_where_they_end),
        cmocka_unit_test(test_utf8_takes_each_character_in_its_one_form),
        cmocka_unit_test(test_depth_is_capped),
        cmocka_unit_test(test_a_million_brackets_need_no_stack),
        cmocka_unit_test(test_a_tape_is_used_again),
        cmocka_unit_test(test_a_tape_never_outgrows_its_text_and_a_huge_one_is_given_back),
        cmocka_unit_test(test_no_memory_is_an_error_and_no_crash),
        cmocka_unit_test(test_a_text_past_four_gigabytes_is_refused_unread),
        cmocka_unit_test(test_both_parsers_agree_on_damaged_texts),
    };
    return cmocka_run_group_tests(tests, make_room, free_room);
}
