/* Any bytes as a head, at once and in two pieces: the verdict is the same, offsets stay inside, and
 * no byte past the end is read. The first byte says where the pieces part.
 *
 * And against the parser that h2o reads heads with: what the guard passes, that parses to the same
 * end, with the same framing of the body; what it refuses, the guard never passes; and of what the
 * guard hid it sees nothing. */
#include <stdlib.h>
#include <strings.h>
#include "base/text.h"
#include "http/head.h"

/* picohttpparser's, exported by h2o without a header. */
struct phr_header {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};
int phr_parse_request(const char *buf, size_t len, const char **method, size_t *method_len,
                      const char **path, size_t *path_len, int *minor_version,
                      struct phr_header *headers, size_t *num_headers, size_t last_len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A head as h2o's parser sees it. */
struct parsed {
    int size; /* -1: refused, -2: not whole */
    struct str method, target;
    int minor;
    unsigned lengths, codings, hosts, upgrades;
    struct str length, coding;
};

static struct parsed parse(const char *head, size_t n)
{
    struct phr_header headers[HTTP_MAX_FIELDS];
    size_t count = HTTP_MAX_FIELDS;
    struct parsed parsed = {0};
    parsed.size = phr_parse_request(head, n, &parsed.method.p, &parsed.method.n, &parsed.target.p,
                                    &parsed.target.n, &parsed.minor, headers, &count, 0);
    for (size_t i = 0; parsed.size > 0 && i < count; i++) {
        struct str name = {headers[i].name, headers[i].name_len};
        struct str value = trimmed((struct str){headers[i].value, headers[i].value_len});
        gw_assert(name.p != NULL); /* else the line is folded */
        if (str_caseeq(name, STR("content-length"))) {
            parsed.lengths++;
            parsed.length = value;
        } else if (str_caseeq(name, STR("transfer-encoding"))) {
            parsed.codings++;
            parsed.coding = value;
        }
        parsed.hosts += str_caseeq(name, STR("host"));
        parsed.upgrades += str_caseeq(name, STR("upgrade"));
    }
    return parsed;
}

static void compare(const struct head_scan *scan, char *head, size_t n)
{
    struct parsed parsed = parse(head, n);
    gw_assert(parsed.size == (int)scan->size);
    gw_assert(parsed.method.p == head + scan->start && parsed.method.n == scan->method_length);
    gw_assert(parsed.target.p == head + scan->target && parsed.target.n == scan->target_length);
    gw_assert((parsed.minor != 0) == scan->http11);
    gw_assert(parsed.hosts <= 1 && (parsed.hosts == 1) == scan->host);
    gw_assert(parsed.lengths + parsed.codings <= 1);
    gw_assert((parsed.lengths == 1) == scan->length && (parsed.codings == 1) == scan->chunked);
    if (scan->length) {
        uint64_t length = 0;
        for (size_t i = 0; i < parsed.length.n; i++)
            length = length * 10 + (uint64_t)(parsed.length.p[i] - '0');
        gw_assert(parsed.length.n != 0 && length == scan->content_length);
    }
    if (scan->chunked)
        gw_assert(str_caseeq(parsed.coding, STR("chunked")));
    head_hide(scan, head);
    parsed = parse(head, n);
    gw_assert(parsed.size == (int)scan->size && parsed.lengths + parsed.codings == 0);
    gw_assert(parsed.upgrades == 0 || !(scan->length || scan->chunked));
}

/* What h2o's parser refuses already stays refused, whatever follows. */
static void finish(const char *head, size_t n)
{
    char *longer = malloc(n + 4);
    struct head_scan scan = {0};
    memcpy(longer, head, n);
    memcpy(longer + n, "\r\n\r\n", 4);
    gw_assert(head_scan(&scan, longer, n + 4) != HEAD_OK);
    free(longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t n = size - 1, part = data[0] <= n ? data[0] : n;
    char *whole = malloc(n != 0 ? n : 1), *first = malloc(part != 0 ? part : 1);
    memcpy(whole, data + 1, n);
    memcpy(first, data + 1, part);
    struct head_scan once = {0}, twice = {0};
    enum head_verdict verdict = head_scan(&once, whole, n);
    enum head_verdict early = head_scan(&twice, first, part);
    if (early == HEAD_MORE)
        early = head_scan(&twice, whole, n);
    gw_assert(early == verdict && once.status == twice.status);
    gw_assert((verdict == HEAD_REFUSED) == (once.status != 0) &&
              (once.status != 0) == (once.reason != NULL));
    gw_assert(once.start + once.method_length <= n);
    gw_assert(once.target + once.target_length <= n);
    if (verdict == HEAD_OK) {
        gw_assert(once.size <= n && once.target_length <= HTTP_MAX_TARGET);
        compare(&once, whole, n);
    } else if (verdict == HEAD_MORE && parse(whole, n).size == -1) {
        finish(whole, n);
    }
    free(whole);
    free(first);
    return 0;
}
