/* Which signatures are found in what strangers send. */
#include "certificates/pdf_read.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "certificates/pdf_sign.h"
#include "tests/unit/pdf_samples.h"

static const uint8_t der[] = {0x30, 0x03, 0x02, 0x01, 0x00};

static struct buf signed_sample(struct pdf_hole *hole_r)
{
    struct buf pdf = sample_template();
    const struct pdf_signature signature = {.when_s = 1795426200, .room = 64};
    const char *error;
    assert_true(pdf_sign_prepare(&pdf, &signature, hole_r, &error));
    pdf_sign_fill(&pdf, *hole_r, der, sizeof(der));
    return pdf;
}

/* In a block of its own size: a read past the end is seen. */
static size_t find(const struct buf *pdf, struct pdf_found_signature found[PDF_MAX_SIGNATURES])
{
    char *copy = malloc(pdf->n + 1);
    memcpy(copy, pdf->p, pdf->n);
    size_t count = pdf_find_signatures((struct str){copy, pdf->n}, found);
    free(copy);
    return count;
}

static void must_find_ours(const struct buf *pdf, struct pdf_hole hole, size_t end)
{
    struct pdf_found_signature found[PDF_MAX_SIGNATURES];
    uint8_t read[65];
    assert_int_equal(find(pdf, found), 1);
    assert_int_equal(found[0].hole_from, hole.from);
    assert_int_equal(found[0].hole_to, hole.to);
    assert_int_equal(found[0].end, end);
    assert_int_equal(pdf_read_contents(buf_str(pdf), found, read), sizeof(der));
    assert_memory_equal(read, der, sizeof(der));
}

static void test_what_we_signed_is_found(void **state)
{
    (void)state;
    struct pdf_hole hole;
    struct buf pdf = signed_sample(&hole);
    size_t n = pdf.n;
    must_find_ours(&pdf, hole, n);

    pdf.p[20] ^= 1; /* altered */
    must_find_ours(&pdf, hole, n);
    pdf.p[20] ^= 1;

    assert_true(buf_append(&pdf, "1 0 obj (more) endobj", 21));
    must_find_ours(&pdf, hole, n); /* whose end is not the file's */
    buf_fini(&pdf);
}

static void test_what_was_moved_or_cut_is_not_found(void **state)
{
    (void)state;
    struct pdf_hole hole;
    struct buf pdf = signed_sample(&hole);
    struct pdf_found_signature found[PDF_MAX_SIGNATURES];
    for (size_t n = pdf.n - 1; n > pdf.n - 300; n--) {
        struct buf cut = {.p = pdf.p, .n = n};
        assert_int_equal(find(&cut, found), 0);
    }
    assert_true(buf_append(&pdf, " ", 1));
    memmove(pdf.p + 21, pdf.p + 20, pdf.n - 21);
    assert_int_equal(find(&pdf, found), 0);
    buf_fini(&pdf);
}

/* A file of 100 bytes: a hole "<...>" of `hole_n` bytes at 50 behind `before`, the range at 0. */
static void test_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *range, *hole;
        size_t end; /* 0 = isn't found */
    } cases[] = {
        {"/ByteRange[0 50 60 40]", "/Contents <00112233>", 100},
        {"/ByteRange [ 0 50 60 40 ]", "/Contents <00aAfF33>", 100},
        {"/ByteRange\n[\n0\r50\t60\f40\n]", "/Contents\n<00112233>", 100},
        {"/ByteRange [00 050 060 040]", "/Contents<00112233>", 100},
        {"/ByteRange [0 50 60 0]", "/Contents <00112233>", 60},
        {"/ByteRange [0 50 60 1]", "/Contents <00112233>", 61},
        {"(/ByteRange [0 50 60 40])", "/Contents <00112233>", 100}, /* the cryptography decides */
        /* ranges that aren't around the hole */
        {"/ByteRange [0 50 60 41]", "/Contents <00112233>", 0},
        {"/ByteRange [1 49 60 40]", "/Contents <00112233>", 0},
        {"/ByteRange [0 49 60 40]", "/Contents <00112233>", 0},
        {"/ByteRange [0 51 60 40]", "/Contents <00112233>", 0},
        {"/ByteRange [0 50 59 41]", "/Contents <00112233>", 0},
        {"/ByteRange [0 50 61 39]", "/Contents <00112233>", 0},
        {"/ByteRange [0 50 50 50]", "/Contents <00112233>", 0},
        {"/ByteRange [0 60 50 40]", "/Contents <00112233>", 0},
        {"/ByteRange [0 100 100 0]", "/Contents <00112233>", 0},
        {"/ByteRange [0 99 101 0]", "/Contents <00112233>", 0},
        /* numbers that aren't */
        {"/ByteRange [0 50 60]", "/Contents <00112233>", 0},
        {"/ByteRange [0 50 60 40 0]", "/Contents <00112233>", 0},
        {"/ByteRange [-0 50 60 40]", "/Contents <00112233>", 0},
        {"/ByteRange [0 50 60 40.0]", "/Contents <00112233>", 0},
        {"/ByteRange[0 50 60 18446744073709551596]", "/Contents <00112233>", 0},
        {"/ByteRange[0 18446744073709551666 60 40]", "/Contents <00112233>", 0},
        {"/ByteRange 0 50 60 40", "/Contents <00112233>", 0},
        {"/ByteRange 5 0 R", "/Contents <00112233>", 0},
        {"/ByteRanges [0 50 60 40]", "/Contents <00112233>", 0},
        /* holes that aren't one string of digits behind /Contents */
        {"/ByteRange [0 50 60 40]", "/Contents <001122 3>", 0},
        {"/ByteRange [0 50 60 40]", "/Contents <00><22x3>", 0},
        {"/ByteRange [0 50 60 40]", "/Contents <0011>/A 1", 0},
        {"/ByteRange [0 50 60 40]", "/Contents (00112233)", 0},
        {"/ByteRange [0 50 60 40]", "/Contents <<112233>>", 0},
        {"/ByteRange [0 50 60 40]", "/Contents <0011223>>", 0},
        {"/ByteRange [0 50 60 40]", "/Cont%nts <00112233>", 0},
        {"/ByteRange [0 50 60 40]", "/Contents/<00112233>", 0},
        {"/ByteRange [0 50 60 40]", "/Contents            <00112233>", 0},
        {"/ByteRange [0 50 61 39]", "/Contents <001122330>", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char bytes[101];
        struct pdf_found_signature found[PDF_MAX_SIGNATURES];
        size_t to_hole = (size_t)(strcspn(cases[i].hole, "<(") % strlen(cases[i].hole));
        memset(bytes, ' ', 100);
        assert_true(strlen(cases[i].range) <= 50 - to_hole || to_hole >= 20);
        memcpy(bytes + 50 - to_hole, cases[i].hole, strlen(cases[i].hole));
        if (to_hole < 20)
            memcpy(bytes, cases[i].range, strlen(cases[i].range));
        else
            memcpy(bytes + 70, cases[i].range, strlen(cases[i].range));
        struct buf pdf = {.p = bytes, .n = 100};
        size_t count = find(&pdf, found);
        if (count != (cases[i].end != 0))
            fail_msg("%s %s: %zu", cases[i].range, cases[i].hole, count);
        if (count != 0) {
            assert_int_equal(found[0].hole_from, 50);
            assert_int_equal(found[0].hole_to, 60);
            assert_int_equal(found[0].end, cases[i].end);
        }
    }
}

static void test_the_hole_holds_one_sequence_and_zeros(void **state)
{
    (void)state;
    static const struct {
        const char *hole;
        size_t n;
    } cases[] = {
        {"<3003020100>", 5},
        {"<3003020100000000>", 5},
        {"<308103020100>", 6},
        {"<30820003020100>", 7},
        {"<30840000000302010000>", 9},
        {"<3003020100000001>", 0}, /* something behind it */
        {"<3004020100>", 0},       /* longer than the hole */
        {"<30847fffffff020100>", 0},
        {"<3080020100>", 0}, /* indefinite length is not DER */
        {"<3088000000000000000302010000>", 0},
        {"<3082>", 0},
        {"<30>", 0},
        {"<>", 0},
        {"<3000>", 0},
        {"<3103020100>", 0},
        {"<0000000000>", 0},
        {"<30030201zz>", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t n = strlen(cases[i].hole);
        struct pdf_found_signature found = {0, n, n};
        uint8_t *read = malloc(n / 2);
        assert_int_equal(pdf_read_contents(str_from(cases[i].hole), &found, read), cases[i].n);
        free(read);
    }
}

static void test_several_are_found_in_their_order_and_no_more_than_sixteen(void **state)
{
    (void)state;
    struct buf pdf = sample_template();
    const struct pdf_signature signature = {.when_s = 1795426200, .room = 64};
    struct pdf_found_signature found[PDF_MAX_SIGNATURES];
    for (size_t i = 1; i <= PDF_MAX_SIGNATURES + 2; i++) {
        struct pdf_hole hole;
        const char *error;
        assert_true(pdf_sign_prepare(&pdf, &signature, &hole, &error));
        size_t count = find(&pdf, found);
        assert_int_equal(count, i < PDF_MAX_SIGNATURES ? i : PDF_MAX_SIGNATURES);
        if (i > PDF_MAX_SIGNATURES)
            continue;
        assert_int_equal(found[i - 1].hole_from, hole.from);
        assert_int_equal(found[i - 1].end, pdf.n);
    }
    buf_fini(&pdf);
}

/* A hundred thousand ranges around one hole of four million bytes that is none at its last digit:
 * read each time, it would take minutes. */
static void test_hostile_ranges_take_no_time(void **state)
{
    (void)state;
    enum { HOLE = 4000000, RANGES = 100000 };
    struct buf pdf;
    struct pdf_found_signature found[PDF_MAX_SIGNATURES];
    buf_init(&pdf, 1 << 24);
    buf_printf(&pdf, "/Contents");
    size_t blanks = 1000000;
    assert_true(buf_reserve(&pdf, HOLE + blanks));
    memset(pdf.p + pdf.n, ' ', blanks);
    pdf.n += blanks;
    size_t from = pdf.n;
    memset(pdf.p + from, '0', HOLE);
    pdf.n += HOLE;
    pdf.p[from] = '<';
    pdf.p[from + HOLE - 2] = 'x';
    pdf.p[from + HOLE - 1] = '>';
    pdf.p[from + 500001] = '>'; /* and another, which is one but for its far /Contents */
    pdf.p[from + 500002] = '0';
    for (int i = 0; i < RANGES; i++)
        buf_printf(&pdf, "/ByteRange[0 %zu %zu 0]", from, from + (i % 2 ? HOLE : 500002));
    uint64_t began = clock_us();
    assert_int_equal(pdf_find_signatures(buf_str(&pdf), found), 0);
    assert_true(clock_us() - began < 3000000);
    buf_fini(&pdf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_we_signed_is_found),
        cmocka_unit_test(test_what_was_moved_or_cut_is_not_found),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_the_hole_holds_one_sequence_and_zeros),
        cmocka_unit_test(test_several_are_found_in_their_order_and_no_more_than_sixteen),
        cmocka_unit_test(test_hostile_ranges_take_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
