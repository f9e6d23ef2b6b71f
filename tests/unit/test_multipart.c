/* Forms as browsers and other clients send them, and as nobody should: each body is read in one
 * piece, byte by byte, cut in two at every place and cut at random, and must tell the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include "base/buf.h"
#include "http/multipart.h"

#define TYPE  "multipart/form-data; boundary=AaB03x"
#define NAMED "Content-Disposition: form-data; name=\"a\"\r\n"
#define FILED "Content-Disposition: form-data; name=\"a\"; filename=\"f\"\r\n"
#define OPEN  "--AaB03x\r\n"
#define CLOSE "\r\n--AaB03x--\r\n"

/* Reads what comes in one piece more. Every piece is memory of its own and exactly its size, so
 * that reading past it, or keeping a view of it, is seen by AddressSanitizer. The transcript:
 * [name], [name<filename>] or [name<filename>type] data and a bar for each part, then "done", or
 * "!" and the error. */
static bool feed(struct multipart *multipart, struct str piece, struct buf *transcript)
{
    char *copy = malloc(piece.n);
    struct str bytes = {copy, piece.n};
    bool failed = false;
    if (piece.n != 0)
        memcpy(copy, piece.p, piece.n);
    for (enum multipart_event event = 0;
         !failed && (event = multipart_next(multipart, &bytes)) != MULTIPART_MORE;) {
        const struct multipart_part *part = &multipart->part;
        switch (event) {
        case MULTIPART_PART:
            buf_printf(transcript, "[%.*s", (int)part->name.n, part->name.p);
            if (part->is_file)
                buf_printf(transcript, "<%.*s>", (int)part->filename.n, part->filename.p);
            buf_printf(transcript, "%.*s]", (int)part->type.n, part->type.p);
            break;
        case MULTIPART_DATA:
            assert_true(multipart->data.n != 0);
            buf_append(transcript, multipart->data.p, multipart->data.n);
            break;
        case MULTIPART_END:
            buf_append(transcript, "|", 1);
            break;
        case MULTIPART_DONE:
            buf_append(transcript, "done", 4);
            break;
        default:
            buf_printf(transcript, "!%s", multipart->error);
            assert_int_equal(multipart_next(multipart, &bytes), MULTIPART_ERROR);
            failed = true;
        }
    }
    assert_true(failed || bytes.n == 0);
    free(copy);
    return !failed;
}

static void read_cut(struct str type, struct str body, const size_t *cuts, size_t count,
                     struct buf *transcript)
{
    static struct multipart multipart; /* used again for every body, as it is in a server */
    size_t at = 0;
    buf_clear(transcript);
    assert_true(multipart_init(&multipart, type));
    for (size_t i = 0; i < count; at = cuts[i++])
        if (!feed(&multipart, (struct str){body.p + at, cuts[i] - at}, transcript))
            break;
    bool done = transcript->n >= 4 && memcmp(transcript->p + transcript->n - 4, "done", 4) == 0;
    assert_true(multipart_finished(&multipart) == done);
}

static void assert_transcript(const struct buf *transcript, struct str expected)
{
    if (!str_eq(buf_str(transcript), expected))
        fail_msg("got      %.*s\nexpected %.*s", (int)transcript->n, transcript->p, (int)expected.n,
                 expected.p);
}

static void check(struct str type, struct str body, struct str expected)
{
    struct buf transcript;
    size_t *cuts = malloc((body.n + 1) * sizeof(*cuts));
    buf_init(&transcript, 1 << 20);

    cuts[0] = body.n;
    read_cut(type, body, cuts, 1, &transcript);
    assert_transcript(&transcript, expected);
    for (size_t i = 0; i < body.n; i++)
        cuts[i] = i + 1;
    read_cut(type, body, cuts, body.n, &transcript);
    assert_transcript(&transcript, expected);
    for (size_t at = 0; at <= body.n && body.n < 2000; at++) {
        cuts[0] = at;
        cuts[1] = body.n;
        read_cut(type, body, cuts, 2, &transcript);
        assert_transcript(&transcript, expected);
    }
    srand(7);
    for (int round = 0; round < 50; round++) {
        size_t count = 0, longest = 1 + (size_t)rand() % 60;
        for (size_t at = 0; at < body.n;) {
            at += (size_t)rand() % (longest + 1); /* empty pieces, too */
            cuts[count++] = at < body.n ? at : body.n;
            if (count == body.n)
                cuts[count - 1] = at = body.n;
        }
        read_cut(type, body, cuts, count, &transcript);
        assert_transcript(&transcript, expected);
    }
    buf_fini(&transcript);
    free(cuts);
}

struct body {
    struct str body, expected;
};
#define BODY(body, expected)               \
    {                                      \
        {body, sizeof(body) - 1},          \
        {                                  \
            expected, sizeof(expected) - 1 \
        }                                  \
    }

static void check_bodies(const struct body *bodies, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check(STR(TYPE), bodies[i].body, bodies[i].expected);
}

static void test_parts_are_found(void **state)
{
    static const struct body bodies[] = {
        BODY(OPEN NAMED "\r\n1" CLOSE, "[a]1|done"),
        BODY(OPEN FILED "Content-Type: text/plain; charset=utf-8\r\n\r\nx\r\ny" CLOSE,
             "[a<f>text/plain; charset=utf-8]x\r\ny|done"),
        BODY(OPEN NAMED "\r\n1\r\n" OPEN FILED "\r\n2\r\n" OPEN NAMED "\r\n3" CLOSE,
             "[a]1|[a<f>]2|[a]3|done"),
        /* around the parts */
        BODY("--AaB03x--", "done"),
        BODY("--AaB03x--\r\n", "done"),
        BODY("\r\n--AaB03x--\r\n", "done"),
        BODY("This is a form.\r\n\r\n" OPEN NAMED "\r\n1" CLOSE "The end\r\n" OPEN, "[a]1|done"),
        BODY("x" OPEN "\r\n" OPEN NAMED "\r\n1" CLOSE, "[a]1|done"),
        BODY("--AaB03y\r\n" OPEN NAMED "\r\n1" CLOSE, "[a]1|done"),
        BODY("--AaB03x \t \r\n" NAMED "\r\n1\r\n--AaB03x\t\r\n" NAMED "\r\n2\r\n--AaB03x-- \r\n",
             "[a]1|[a]2|done"),
        /* without bytes, and without a body */
        BODY(OPEN NAMED "\r\n" CLOSE, "[a]|done"),
        BODY(OPEN FILED "\r\n\r\n" OPEN FILED "\r\n" CLOSE, "[a<f>]|[a<f>]|done"),
        BODY(OPEN NAMED "\r\n" OPEN NAMED "\r\n--AaB03x--", "[a]|[a]|done"),
        /* what only looks like a boundary */
        BODY(OPEN NAMED "\r\n\r\n--AaB03\r\n--AaB03\r\n-\r\n--Aa\r--AaB03x\n--AaB03x" CLOSE,
             "[a]\r\n--AaB03\r\n--AaB03\r\n-\r\n--Aa\r--AaB03x\n--AaB03x|done"),
        BODY(OPEN NAMED "\r\n--AaB03\r\r\r\n\r\n--aAB03x\r\n\r\r\n--AaB03x--",
             "[a]--AaB03\r\r\r\n\r\n--aAB03x\r\n\r|done"),
        BODY(OPEN NAMED "\r\n-" CLOSE, "[a]-|done"),
        BODY(OPEN NAMED "\r\n--AaB03" CLOSE, "[a]--AaB03|done"),
        BODY(OPEN NAMED "\r\n\r" CLOSE, "[a]\r|done"),
        BODY(OPEN NAMED "\r\n\r\n" CLOSE, "[a]\r\n|done"),
        BODY(OPEN NAMED "\r\nxxxxxxxxxxxxxxxxxxxxx3xB03xAaB03x" CLOSE,
             "[a]xxxxxxxxxxxxxxxxxxxxx3xB03xAaB03x|done"),
        BODY(OPEN NAMED "\r\n\0\xff\0" CLOSE, "[a]\0\xff\0|done"),
    };
    (void)state;
    check_bodies(bodies, COUNT(bodies));
}

static void test_what_is_cut_short_is_never_whole(void **state)
{
    static const char whole[] = OPEN NAMED "\r\n1" CLOSE;
    static struct multipart multipart;
    struct buf transcript;
    (void)state;
    buf_init(&transcript, 4096);
    for (size_t n = 0; n < sizeof(whole) - 1; n++) {
        assert_true(multipart_init(&multipart, STR(TYPE)));
        feed(&multipart, (struct str){whole, n}, &transcript);
        assert_true(multipart_finished(&multipart) == (n >= sizeof(whole) - 1 - 2));
    }
    buf_fini(&transcript);
}

static void test_malformed_forms_are_refused(void **state)
{
#define LINE_END "!a boundary is followed by something else than a line end"
#define NO_CR    "!a line in the head of a part ends without CR"
#define FIELD    "!a field in the head of a part is malformed"
#define TWICE    "!a field in the head of a part is there twice"
    static const struct body bodies[] = {
        BODY("--AaB03x\n" NAMED "\r\n1" CLOSE, LINE_END),
        BODY("--AaB03x\r" NAMED "\r\n1" CLOSE, LINE_END),
        BODY("--AaB03xy\r\n" NAMED "\r\n1" CLOSE, LINE_END),
        BODY("--AaB03x y\r\n" NAMED "\r\n1" CLOSE, LINE_END),
        BODY("--AaB03x --\r\n", LINE_END),
        BODY(OPEN NAMED "\r\n1\r\n--AaB03x-\r\n", "[a]1|" LINE_END),
        BODY(OPEN NAMED "\r\n1\r\n--AaB03x/", "[a]1|" LINE_END),
        BODY(OPEN "Content-Disposition: form-data; name=a\n\r\n1" CLOSE, NO_CR),
        BODY(OPEN NAMED "\n1" CLOSE, NO_CR),
        BODY(OPEN "\n", NO_CR),
        BODY(OPEN "X: a\rb\r\n" NAMED "\r\n1" CLOSE, FIELD),
        BODY(OPEN NAMED "\r\r\n\r\n1" CLOSE, FIELD),
        BODY(OPEN "Content-Disposition : form-data; name=a\r\n\r\n1" CLOSE, FIELD),
        BODY(OPEN " X: y\r\n" NAMED "\r\n1" CLOSE, FIELD),
        BODY(OPEN ": y\r\n" NAMED "\r\n1" CLOSE, FIELD),
        BODY(OPEN "no colon\r\n" NAMED "\r\n1" CLOSE, FIELD),
        BODY(OPEN NAMED NAMED "\r\n1" CLOSE, TWICE),
        BODY(OPEN NAMED "content-type: a/b\r\nContent-Type: c/d\r\n\r\n1" CLOSE, TWICE),
        BODY(OPEN "\r\n1" CLOSE, "!a part has no Content-Disposition"),
        BODY(OPEN "Content-Type: text/plain\r\n\r\n1" CLOSE, "!a part has no Content-Disposition"),
        BODY(OPEN "Content-Disposition: attachment; name=a\r\n\r\n1" CLOSE,
             "!a part's Content-Disposition is not form-data"),
        BODY(OPEN "Content-Disposition:\r\n\r\n1" CLOSE,
             "!a part's Content-Disposition is not form-data"),
        BODY(OPEN "Content-Disposition: form-data\r\n\r\n1" CLOSE, "!a part has no name"),
        BODY(OPEN "Content-Disposition: form-data; name=a; name=b\r\n\r\n1" CLOSE,
             "!a part has a name twice"),
        BODY(OPEN "Content-Disposition: form-data; name=a; filename=b; FileName=c\r\n\r\n1" CLOSE,
             "!a part has a name twice"),
        BODY(OPEN "Content-Disposition: form-data; name\r\n\r\n1" CLOSE,
             "!a part's Content-Disposition is malformed"),
        BODY(OPEN "Content-Disposition: form-data; name=\"a\r\n\r\n1" CLOSE,
             "!a part's Content-Disposition is malformed"),
        BODY(OPEN "Content-Disposition: form-data; name=\"\r\n\r\n1" CLOSE,
             "!a part's Content-Disposition is malformed"),
        BODY(OPEN "Content-Disposition: form-data; name=\"a\" x; filename=b\r\n\r\n1" CLOSE,
             "!a part's Content-Disposition is malformed"),
        BODY(OPEN NAMED "Content-Type: a\x01\r\n\r\n1" CLOSE,
             "!a part's Content-Type is malformed"),
        BODY(OPEN NAMED "Content-Transfer-Encoding: base64\r\n\r\n1" CLOSE,
             "!a part's Content-Transfer-Encoding is neither binary, 8bit nor 7bit"),
        BODY(OPEN NAMED "Content-Type: Multipart/Mixed; boundary=b\r\n\r\n--b" CLOSE,
             "!a part is a multipart/mixed of its own: send each file as a part of the form"),
    };
    (void)state;
    check_bodies(bodies, COUNT(bodies));
}

static void test_fields_of_a_head_in_every_shape(void **state)
{
    static const struct body bodies[] = {
        BODY(OPEN "content-DISPOSITION:form-data;name=a\r\n\r\n1" CLOSE, "[a]1|done"),
        BODY(OPEN "Content-Disposition: \t Form-Data ;; name = a ; x=\"y;z\" ; \r\n\r\n1" CLOSE,
             "[a]1|done"),
        BODY(OPEN "Content-Disposition: form-data;\r\n\tname=a;\r\n  filename=f\r\nContent-Type:"
                  "\r\n text/plain\r\n\r\n1" CLOSE,
             "[a<f>text/plain]1|done"),
        BODY(OPEN "X-Other: x\r\n" NAMED "Content-Length: 99\r\nX:\r\n\r\n1" CLOSE, "[a]1|done"),
        BODY(OPEN NAMED "Content-Transfer-Encoding: BINARY\r\n\r\n1" CLOSE, "[a]1|done"),
        BODY(OPEN NAMED "Content-Transfer-Encoding: 8bit\r\n\r\n1" CLOSE, "[a]1|done"),
        BODY(OPEN NAMED "Content-Transfer-Encoding: 7bit\r\n\r\n1" CLOSE, "[a]1|done"),
        BODY(OPEN FILED "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b" CLOSE,
             "[a<f>multipart/mixed; boundary=b]--b|done"),
        BODY(OPEN "Content-Disposition: form-data; name=\"_charset_\"\r\n\r\nkoi8-r" CLOSE,
             "[_charset_]koi8-r|done"),
    };
    (void)state;
    check_bodies(bodies, COUNT(bodies));
}

/* What clients send for a name, after `form-data; `. */
static void test_names_in_every_form_that_clients_send(void **state)
{
#define FFFD "\xef\xbf\xbd"
    static const struct {
        struct str sent, expected;
    } cases[] = {
#define NAMES(sent, expected)              \
    {                                      \
        {sent, sizeof(sent) - 1},          \
        {                                  \
            expected, sizeof(expected) - 1 \
        }                                  \
    }
        /* browsers (WHATWG) */
        NAMES("name=\"f\"; filename=\"a.txt\"", "[f<a.txt>]"),
        NAMES("name=\"f\"; filename=\"\"", "[f<>]"),
        NAMES("name=\"\"; filename=\"a\"", "[<a>]"),
        NAMES("name=\"f\"; filename=\"Gr\xc3\xbc\xc3\x9f"
              "e \xf0\x9f\x98\x80.txt\"",
              "[f<Gr\xc3\xbc\xc3\x9f"
              "e \xf0\x9f\x98\x80.txt>]"),
        NAMES("name=\"a%22b%0D%0Ac\"; filename=\"%22x%22%0d%0a.txt\"",
              "[a\"b\r\nc<\"x\"\r\n.txt>]"),
        NAMES("name=\"100%25\"; filename=\"%41%00%2e%2F%2\"", "[100%25<%41%00%2e%2F%2>]"),
        NAMES("name=\"f\"; filename=\"a\\b\"", "[f<b>]"),
        NAMES("name=\"a\\b\"; filename=\"x\"", "[a\\b<x>]"),
        NAMES("name=\"f\"; filename=\"a\\\"", "[f<>]"),
        NAMES("filename=\"x\"; name=\"a\\\"", "[a\\<x>]"),
        NAMES("name=\"a;b=c\"; filename=\";name=d\"", "[a;b=c<;name=d>]"),
        /* older ones, and curl --form-escape */
        NAMES("name=\"a\\\"b\\\\c\"; filename=\"x\\\"y.txt\"", "[a\"b\\c<x\"y.txt>]"),
        NAMES("name=\"f\"; filename=\"C:\\fakepath\\x.txt\"", "[f<x.txt>]"),
        NAMES("name=\"f\"; filename=\"C:\\\\fakepath\\\\x.txt\"", "[f<x.txt>]"),
        NAMES("name=\"f\"; filename=\"\\\\server\\share\\x.txt\"", "[f<x.txt>]"),
        NAMES("name=\"a/b\"; filename=\"../../etc/passwd\"", "[a/b<passwd>]"),
        NAMES("name=\"f\"; filename=\"/\"", "[f<>]"),
        NAMES("name=\"f\"; filename=\"..\"", "[f<..>]"),
        NAMES("name=\"f\"; filename=\"CON\"", "[f<CON>]"),
        NAMES("name=\"f\"; filename=\"=?utf-8?B?eA==?=\"", "[f<=?utf-8?B?eA==?=>]"),
        /* without quotes nothing is an escape */
        NAMES("name=f; filename=a%22b\\\\c d.txt", "[f<c d.txt>]"),
        NAMES("name=a%22\\\\b", "[a%22\\\\b]"),
        NAMES("name=; filename=", "[<>]"),
        /* RFC 8187 */
        NAMES("name=\"f\"; filename*=UTF-8''Gr%C3%BC%c3%9Fe.txt", "[f<Gr\xc3\xbc\xc3\x9f"
                                                                  "e.txt>]"),
        NAMES("name=f; filename=\"old\"; filename*=utf-8'de'new", "[f<new>]"),
        NAMES("name=f; filename*=utf-8''n%22e%2Fw; filename=\"old\"", "[f<w>]"),
        NAMES("name=f; filename*=\"UTF-8''x%20y\"", "[f<x y>]"),
        NAMES("name=f; filename*=iso-8859-1''%e9t\xe9; filename=\"old\"", "[f<\xc3\xa9t\xc3\xa9>]"),
        NAMES("name=f; filename*=UTF-8''a%00b%ff%C3", "[f<a" FFFD "b" FFFD FFFD ">]"),
        NAMES("name=f; filename*=koi8-r''x; filename=\"\xc3\xa9\"", "[f<\xc3\xa9>]"),
        NAMES("name=f; filename*=iso-8859-1''x%4; filename=\"\xc3\xa9%22\"", "[f<\xc3\xa9\">]"),
        NAMES("name=f; filename*=UTF-8'x", "[f<>]"),
        NAMES("name=f; filename*=x", "[f<>]"),
        NAMES("name=f; name*=UTF-8''g", "[f]"),
        /* what isn't text */
        NAMES("name=\"a\0b\"; filename=\"\0\"", "[a" FFFD "b<" FFFD ">]"),
        NAMES("name=\"\xff\xc3\"; filename=\"\xed\xa0\x80z\"",
              "[" FFFD FFFD "<" FFFD FFFD FFFD "z>]"),
        NAMES("name=\"\x01\t\"", "[\x01\t]"),
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf body, expected;
        buf_init(&body, 4096);
        buf_init(&expected, 4096);
        buf_printf(&body, OPEN "Content-Disposition: form-data; ");
        buf_append(&body, cases[i].sent.p, cases[i].sent.n);
        buf_printf(&body, "\r\n\r\n1" CLOSE);
        buf_append(&expected, cases[i].expected.p, cases[i].expected.n);
        buf_printf(&expected, "1|done");
        check(STR(TYPE), buf_str(&body), buf_str(&expected));
        buf_fini(&body);
        buf_fini(&expected);
    }
}

static void append_many(struct buf *buf, const char *text, size_t times)
{
    while (times-- != 0)
        assert_true(buf_append(buf, text, strlen(text)));
}

static void test_names_and_heads_have_a_ceiling(void **state)
{
    static const struct {
        const char *before, *repeated, *after;
        size_t times;
        const char *expected; /* after the name, when it is shown */
        bool shown;
    } cases[] = {
        {OPEN "Content-Disposition: form-data; name=f; filename=\"", "\xf0\x9f\x98\x80",
         "\"\r\n\r\n1" CLOSE, 1024, ">]1|done", true},
        {OPEN "Content-Disposition: form-data; name=f; filename=\"", "\xf0\x9f\x98\x80",
         "x\"\r\n\r\n1" CLOSE, 1024, "!a name in the form is too long", false},
        {OPEN "Content-Disposition: form-data; name=f; filename=\"", "\xff", "\"\r\n\r\n1" CLOSE,
         1366, "!a name in the form is too long", false},
        {OPEN "Content-Disposition: form-data; name=\"", "x", "\"\r\n\r\n1" CLOSE, 4097,
         "!a name in the form is too long", false},
        {OPEN "Content-Disposition: form-data; name=f; filename=\"", "folder/",
         "x\"\r\n\r\n1" CLOSE, 1000, "[f<x>]1|done", false},
        {OPEN NAMED "X: ", "y", "\r\n\r\n1" CLOSE, 8 * 1024 - sizeof(NAMED "X: \r\n\r\n") + 1,
         "[a]1|done", false},
        {OPEN NAMED "X: ", "y", "\r\n\r\n1" CLOSE, 8 * 1024 - sizeof(NAMED "X: \r\n\r\n") + 2,
         "!the head of a part is too large", false},
        {OPEN NAMED, "X: y\r\n", "\r\n1" CLOSE, 1400, "!the head of a part is too large", false},
        {OPEN, "y", "", 100000, "!the head of a part is too large", false},
        {"", "y", "\r\n" OPEN NAMED "\r\n1" CLOSE, 100000, "[a]1|done", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf body, expected;
        buf_init(&body, 1 << 20);
        buf_init(&expected, 1 << 20);
        append_many(&body, cases[i].before, 1);
        append_many(&body, cases[i].repeated, cases[i].times);
        append_many(&body, cases[i].after, 1);
        if (cases[i].shown) {
            append_many(&expected, "[f<", 1);
            append_many(&expected, cases[i].repeated, cases[i].times);
        }
        append_many(&expected, cases[i].expected, 1);
        check(STR(TYPE), buf_str(&body), buf_str(&expected));
        buf_fini(&body);
        buf_fini(&expected);
    }
}

static void test_thousands_of_parts(void **state)
{
    struct buf body, expected;
    (void)state;
    buf_init(&body, 1 << 20);
    buf_init(&expected, 1 << 20);
    for (int i = 0; i < 5000; i++) {
        buf_printf(&body, OPEN "Content-Disposition: form-data; name=n%d\r\n\r\n%d\r\n", i, i * 7);
        buf_printf(&expected, "[n%d]%d|", i, i * 7);
    }
    append_many(&body, "--AaB03x--", 1);
    append_many(&expected, "done", 1);
    check(STR(TYPE), buf_str(&body), buf_str(&expected));
    buf_fini(&body);
    buf_fini(&expected);
}

static void test_boundaries_of_every_length_in_data_made_of_them(void **state)
{
    (void)state;
    for (int n = 1; n <= MULTIPART_BOUNDARY_MAX; n++)
        for (int mixed = 0; mixed < 2; mixed++) {
            struct buf type, body, expected;
            char boundary[MULTIPART_BOUNDARY_MAX + 1];
            for (int i = 0; i < n; i++)
                boundary[i] = mixed ? "-ab-"[i % 4] : '-';
            buf_init(&type, 4096);
            buf_init(&body, 1 << 16);
            buf_init(&expected, 1 << 16);
            buf_printf(&type, "multipart/form-data; boundary=%.*s", n, boundary);
            buf_printf(&body, "--%.*s\r\n" NAMED "\r\n", n, boundary);
            append_many(&expected, "[a]", 1);
            for (int i = 0; i < n; i++) { /* each beginning of a delimiter */
                buf_printf(&body, "\r\n--%.*s\r", i, boundary);
                buf_printf(&expected, "\r\n--%.*s\r", i, boundary);
            }
            buf_printf(&body, "\r\n--%.*s--", n, boundary);
            append_many(&expected, "|done", 1);
            check(buf_str(&type), buf_str(&body), buf_str(&expected));
            buf_fini(&type);
            buf_fini(&body);
            buf_fini(&expected);
        }
}

static void test_what_announces_a_form(void **state)
{
#define SEVENTY "0123456789012345678901234567890123456789012345678901234567890123456789"
    static const struct {
        const char *type, *boundary; /* NULL: none */
    } cases[] = {
        {"multipart/form-data; boundary=x", "x"},
        {"MULTIPART/Form-Data;charset=utf-8;BOUNDARY=\"a b'()+_,-./:=?\"", "a b'()+_,-./:=?"},
        {" multipart/form-data ; boundary = x ; ", "x"},
        {"multipart/form-data; boundary=----=_Part/1:2?", "----=_Part/1:2?"},
        {"multipart/form-data; boundary=----WebKitFormBoundaryABCdef0123456789",
         "----WebKitFormBoundaryABCdef0123456789"},
        {"multipart/form-data; boundary=" SEVENTY, SEVENTY},
        {"multipart/form-data; boundary=" SEVENTY "x", NULL},
        {"multipart/form-data; boundary=", NULL},
        {"multipart/form-data; boundary=\"\"", NULL},
        {"multipart/form-data; boundary=\"x \"", NULL},
        {"multipart/form-data; boundary=\"x", NULL},
        {"multipart/form-data; boundary=\"x\\\"y\"", NULL},
        {"multipart/form-data; boundary=x\"y", NULL},
        {"multipart/form-data; boundary=x@y", NULL},
        {"multipart/form-data; boundary=\xc3\xa9", NULL},
        {"multipart/form-data; boundary=a; boundary=a", NULL},
        {"multipart/form-data; boundary", NULL},
        {"multipart/form-data; boundary=x; bad", NULL},
        {"multipart/form-data boundary=x", NULL},
        {"multipart/form-data", NULL},
        {"multipart/form-dataset; boundary=x", NULL},
        {"multipart/mixed; boundary=x", NULL},
        {"application/x-www-form-urlencoded", NULL},
        {"", NULL},
    };
    static struct multipart multipart;
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool good = multipart_init(&multipart, str_from(cases[i].type));
        assert_true(good == (cases[i].boundary != NULL));
        if (good)
            assert_true(
                str_eq((struct str){multipart.delimiter, multipart.delimiter_n - 0u},
                       (struct str){multipart.delimiter, 4 + strlen(cases[i].boundary)}) &&
                memcmp(multipart.delimiter + 4, cases[i].boundary, strlen(cases[i].boundary)) == 0);
    }
    assert_false(multipart_init(&multipart, (struct str){NULL, 0}));
    assert_false(multipart_init(&multipart, STR("multipart/form-data; boundary=a\0b")));
}

/* A field's name and a file's are there until the part has ended, whatever comes meanwhile. */
static void test_names_stay_while_data_comes(void **state)
{
    static struct multipart multipart;
    struct str bytes = STR(OPEN FILED "Content-Type: a/b\r\n\r\n");
    (void)state;
    assert_true(multipart_init(&multipart, STR(TYPE)));
    assert_int_equal(multipart_next(&multipart, &bytes), MULTIPART_PART);
    struct multipart_part part = multipart.part;
    for (int i = 0; i < 1000; i++) {
        bytes = STR("\r\n--AaB03\r\ndata\r\n");
        while (multipart_next(&multipart, &bytes) != MULTIPART_MORE)
            ;
    }
    bytes = STR(CLOSE);
    assert_int_equal(multipart_next(&multipart, &bytes), MULTIPART_DATA);
    assert_int_equal(multipart_next(&multipart, &bytes), MULTIPART_END);
    assert_true(str_eq(part.name, STR("a")) && str_eq(part.filename, STR("f")) &&
                str_eq(part.type, STR("a/b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_are_found),
        cmocka_unit_test(test_what_is_cut_short_is_never_whole),
        cmocka_unit_test(test_malformed_forms_are_refused),
        cmocka_unit_test(test_fields_of_a_head_in_every_shape),
        cmocka_unit_test(test_names_in_every_form_that_clients_send),
        cmocka_unit_test(test_names_and_heads_have_a_ceiling),
        cmocka_unit_test(test_thousands_of_parts),
        cmocka_unit_test(test_boundaries_of_every_length_in_data_made_of_them),
        cmocka_unit_test(test_what_announces_a_form),
        cmocka_unit_test(test_names_stay_while_data_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
