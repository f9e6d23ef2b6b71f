/* h2o parses heads fast but takes what a gateway must not: bare line feeds, folded fields, two
 * lengths, no Host; and what it does refuse it answers below every handler, without a log line.
 *
 * So this looks at a head first. To cost next to nothing it does not parse: it walks from line feed
 * to line feed (memchr), looks at each line's first byte, and reads on only where that byte can
 * begin one of the three names that matter. Names and values are left to h2o's parser. */
#include "http/head.h"

#include <strings.h>
#include "base/text.h"

static enum head_verdict refuse(struct head_scan *scan, uint16_t status, const char *reason)
{
    scan->status = status;
    scan->reason = reason;
    return HEAD_REFUSED;
}

/* The value when the line is a field of that name (lower case, colon included). */
static bool field(const char *line, size_t n, struct str name, struct str *value_r)
{
    if (n < name.n || strncasecmp(line, name.p, name.n) != 0)
        return false;
    *value_r = trimmed((struct str){line + name.n, n - name.n});
    return true;
}

static enum head_verdict content_length(struct head_scan *scan, struct str value, uint64_t max_body)
{
    if (scan->length)
        return refuse(scan, 400, "more than one Content-Length");
    scan->length = true;
    uint64_t length = 0;
    if (value.n == 0 || value.n > 18)
        return refuse(scan, 400, "Content-Length is not a number");
    for (size_t i = 0; i < value.n; i++) {
        if (!is_digit(value.p[i]))
            return refuse(scan, 400, "Content-Length is not a number");
        length = length * 10 + (uint64_t)(value.p[i] - '0');
    }
    if (length > max_body)
        return refuse(scan, 413, "the body is larger than this server takes");
    return HEAD_MORE;
}

static enum head_verdict transfer_encoding(struct head_scan *scan, struct str value)
{
    if (scan->transfer_encoding)
        return refuse(scan, 400, "more than one Transfer-Encoding");
    scan->transfer_encoding = true;
    if (!scan->http11)
        return refuse(scan, 400, "Transfer-Encoding in HTTP/1.0");
    if (value.n != 7 || strncasecmp(value.p, "chunked", 7) != 0)
        return refuse(scan, 501, "this transfer coding is not supported");
    return HEAD_MORE;
}

static enum head_verdict field_line(struct head_scan *scan, const char *line, size_t n,
                                    uint64_t max_body)
{
    struct str value;
    if (++scan->fields > HTTP_MAX_FIELDS)
        return refuse(scan, 431, "more than 100 fields");
    switch (line[0]) {
    case ' ':
    case '\t':
        return refuse(scan, 400, "a field is folded over lines");
    case 'c':
    case 'C':
        if (field(line, n, STR("content-length:"), &value))
            return content_length(scan, value, max_body);
        break;
    case 't':
    case 'T':
        if (field(line, n, STR("transfer-encoding:"), &value))
            return transfer_encoding(scan, value);
        break;
    case 'h':
    case 'H':
        if (field(line, n, STR("host:"), &value)) {
            if (scan->host)
                return refuse(scan, 400, "more than one Host");
            scan->host = true;
        }
        break;
    }
    return HEAD_MORE;
}

static enum head_verdict request_line(struct head_scan *scan, const char *head, size_t n)
{
    const char *line = head + scan->line, *end = line + n;
    scan->has_request_line = true;
    scan->start = scan->line;
    if (n == 14 && memcmp(line, "PRI * HTTP/2.0", 14) == 0 && scan->line == 0)
        return HEAD_HTTP2;
    const char *method_end = memchr(line, ' ', n);
    if (method_end == NULL || method_end == line)
        return refuse(scan, 400, "the request line is malformed");
    scan->method_length = (uint32_t)(method_end - line);
    const char *target = method_end + 1;
    const char *target_end = memchr(target, ' ', (size_t)(end - target));
    if (target_end == NULL || target_end == target)
        return refuse(scan, 400, "the request line is malformed");
    scan->target = (uint32_t)(target - head);
    scan->target_length = (uint32_t)(target_end - target);
    size_t version = (size_t)(end - target_end);
    if (version != sizeof(" HTTP/1.1") - 1 || memcmp(target_end, " HTTP/", 6) != 0 ||
        !is_digit(target_end[6]) || target_end[7] != '.' || !is_digit(target_end[8]))
        return refuse(scan, 400, "the request line is malformed");
    if (target_end[6] != '1')
        return refuse(scan, 505, "this version of HTTP is not supported");
    scan->http11 = target_end[8] != '0';
    if (scan->target_length > HTTP_MAX_TARGET)
        return refuse(scan, 414, "the target is longer than 8 KiB");
    return HEAD_MORE;
}

static enum head_verdict finish(struct head_scan *scan)
{
    if (scan->length && scan->transfer_encoding)
        return refuse(scan, 400, "both Content-Length and Transfer-Encoding");
    if (scan->http11 && !scan->host)
        return refuse(scan, 400, "no Host");
    return HEAD_OK;
}

/* The head is not whole: may it still become one? */
static enum head_verdict unfinished(struct head_scan *scan, const char *head, size_t n)
{
    if (!scan->has_request_line && n - scan->line > HTTP_MAX_TARGET + 64) {
        /* Named after its longest part, and kept for the log as far as it is known. */
        const char *line = head + scan->line;
        const char *method_end = memchr(line, ' ', 64);
        if (method_end == NULL)
            return refuse(scan, 400, "the request line is malformed");
        scan->start = scan->line;
        scan->method_length = (uint32_t)(method_end - line);
        scan->target = (uint32_t)(method_end + 1 - head);
        scan->target_length = (uint32_t)(n - scan->target);
        return refuse(scan, 414, "the target is longer than 8 KiB");
    }
    if (n >= HTTP_MAX_HEAD)
        return refuse(scan, 431, "the head is larger than 32 KiB");
    return HEAD_MORE;
}

enum head_verdict head_scan(struct head_scan *scan, const char *head, size_t n, uint64_t max_body)
{
    size_t reach = n < HTTP_MAX_HEAD ? n : HTTP_MAX_HEAD;
    for (;;) {
        const char *feed =
            scan->seen < reach ? memchr(head + scan->seen, '\n', reach - scan->seen) : NULL;
        if (feed == NULL) {
            scan->seen = (uint32_t)reach;
            return unfinished(scan, head, reach);
        }
        const char *line = head + scan->line;
        if (feed == line || feed[-1] != '\r')
            return refuse(scan, 400, "a line ends without a carriage return");
        size_t length = (size_t)(feed - 1 - line);
        enum head_verdict verdict = HEAD_MORE;
        if (length == 0) {
            if (scan->has_request_line)
                return finish(scan);
            /* RFC 9112 section 2.2: one empty line before the request line is let pass. */
            if (scan->skipped_empty_line)
                return refuse(scan, 400, "the request line is missing");
            scan->skipped_empty_line = true;
        } else if (!scan->has_request_line) {
            verdict = request_line(scan, head, length);
        } else {
            verdict = field_line(scan, line, length, max_body);
        }
        if (verdict != HEAD_MORE)
            return verdict;
        scan->line = scan->seen = (uint32_t)(feed + 1 - head);
    }
}
