/* h2o parses heads fast but takes what a gateway must not: bare line feeds, folded fields, two
 * lengths, no Host; and what it does refuse it answers below every handler, without a log line.
 *
 * So this looks at a head first, and passes nothing that h2o's parser would refuse. One walk over
 * the bytes, sixteen at a time, finds control characters: each must be the carriage return of a
 * line end (or a tab). A line's name is checked byte by byte; its value is looked at only for the
 * few names that matter, told by their length first. What the fields say is left to h2o's parser.
 */
#include "http/head.h"

#include <strings.h>
#include "base/text.h"

/* RFC 9110 section 5.6.2, as a table: names are most of what is read byte by byte. */
static const bool TOKEN[256] = {
    ['!'] = true,         ['#' ... '\''] = true, ['*'] = true,         ['+'] = true,
    ['-'] = true,         ['.'] = true,          ['0' ... '9'] = true, ['A' ... 'Z'] = true,
    ['^' ... '`'] = true, ['a' ... 'z'] = true,  ['|'] = true,         ['~'] = true,
};

/* Of the token that line begins with: at most the line, whose carriage return is none. */
static size_t token_length(const char *line)
{
    size_t length = 0;
    while (TOKEN[(unsigned char)line[length]])
        length++;
    return length;
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

typedef uint8_t bytes16 __attribute__((vector_size(16)));

/* Place in memory of the first byte of eight that isn't 0. */
static size_t first_byte(uint64_t eight)
{
    return (size_t)(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_ctzll(eight)
                                                              : __builtin_clzll(eight)) /
           8;
}

/* The first control character but the tab in head[at, end); end when there is none. */
static size_t find_control(const char *head, size_t at, size_t end)
{
    while (end - at >= sizeof(bytes16)) {
        bytes16 bytes;
        uint64_t half[2];
        memcpy(&bytes, head + at, sizeof(bytes));
        bytes16 found = (bytes16)(bytes < 0x20) | (bytes16)(bytes == 0x7f);
        memcpy(half, &found, sizeof(half));
        if ((half[0] | half[1]) == 0) {
            at += sizeof(bytes);
            continue;
        }
        at += half[0] != 0 ? first_byte(half[0]) : 8 + first_byte(half[1]);
        if (head[at] != '\t')
            return at;
        at++;
    }
    while (at < end && !is_control(head[at]))
        at++;
    return at;
}

static enum head_verdict refuse(struct head_scan *scan, uint16_t status, const char *reason)
{
    scan->status = status;
    scan->reason = reason;
    return HEAD_REFUSED;
}

static enum head_verdict content_length(struct head_scan *scan, struct head_name name,
                                        struct str value)
{
    if (scan->length)
        return refuse(scan, 400, "more than one Content-Length");
    if (value.n == 0 || value.n > 18)
        return refuse(scan, 400, "Content-Length is not a number");
    for (size_t i = 0; i < value.n; i++) {
        if (!is_digit(value.p[i]))
            return refuse(scan, 400, "Content-Length is not a number");
        scan->content_length = scan->content_length * 10 + (uint64_t)(value.p[i] - '0');
    }
    scan->length = true;
    scan->framing = name;
    return HEAD_MORE;
}

static enum head_verdict transfer_encoding(struct head_scan *scan, struct head_name name,
                                           struct str value)
{
    if (scan->chunked)
        return refuse(scan, 400, "more than one Transfer-Encoding");
    if (!scan->http11)
        return refuse(scan, 400, "Transfer-Encoding in HTTP/1.0");
    if (!str_caseeq(value, STR("chunked")))
        return refuse(scan, 400, "this transfer coding is not supported");
    scan->chunked = true;
    scan->framing = name;
    return HEAD_MORE;
}

static enum head_verdict expect(struct head_scan *scan, struct str value)
{
    if (!scan->http11)
        return HEAD_MORE; /* to be ignored, RFC 9110 section 10.1.1 */
    if (scan->expectations++ != 0 || !str_caseeq(value, STR("100-continue")))
        return refuse(scan, 417, "nothing but 100-continue can be expected");
    return HEAD_MORE;
}

static enum head_verdict field_line(struct head_scan *scan, const char *line, size_t n)
{
    size_t length = token_length(line);
    if (++scan->fields > HTTP_MAX_FIELDS)
        return refuse(scan, 431, "more than 100 fields");
    if (line[0] == ' ' || line[0] == '\t')
        return refuse(scan, 400, "a field is folded over lines");
    if (length == 0 || length == n || line[length] != ':')
        return refuse(scan, 400, "a field's name is malformed");
    struct head_name name = {scan->line, (uint32_t)length};
    struct str value = {line + length + 1, n - length - 1};
    switch (length) {
    case 4:
        if (strncasecmp(line, "host", length) == 0) {
            if (scan->host)
                return refuse(scan, 400, "more than one Host");
            scan->host = true;
        }
        break;
    case 6:
        if (strncasecmp(line, "expect", length) == 0)
            return expect(scan, trimmed(value));
        break;
    case 7:
        if (strncasecmp(line, "upgrade", length) == 0) {
            scan->upgrade = name;
            scan->upgrades++; /* 100 fields at most */
        }
        break;
    case 14:
        if (strncasecmp(line, "content-length", length) == 0)
            return content_length(scan, name, trimmed(value));
        break;
    case 17:
        if (strncasecmp(line, "transfer-encoding", length) == 0)
            return transfer_encoding(scan, name, trimmed(value));
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
    const char *method_end = line + token_length(line);
    if (method_end == line || method_end == end || *method_end != ' ')
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
        !is_digit(target_end[6]) || target_end[7] != '.' || !is_digit(target_end[8]) ||
        memchr(target, '\t', scan->target_length) != NULL)
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
    if (scan->length && scan->chunked)
        return refuse(scan, 400, "both Content-Length and Transfer-Encoding");
    if (scan->http11 && !scan->host)
        return refuse(scan, 400, "no Host");
    if (scan->framing.at != 0 && scan->upgrades > 1)
        return refuse(scan, 400, "more than one Upgrade");
    bool body = scan->chunked || scan->content_length != 0;
    scan->expects = scan->expectations != 0 && body;
    scan->size = scan->line + 2;
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

enum head_verdict head_scan(struct head_scan *scan, const char *head, size_t n)
{
    size_t reach = n < HTTP_MAX_HEAD ? n : HTTP_MAX_HEAD;
    for (;;) {
        size_t at = find_control(head, scan->seen, reach);
        scan->seen = (uint32_t)at;
        if (at + 1 >= reach && (at == reach || head[at] == '\r'))
            return unfinished(scan, head, reach);
        if (head[at] == '\n')
            return refuse(scan, 400, "a line ends without a carriage return");
        if (head[at] != '\r' || head[at + 1] != '\n')
            return refuse(scan, 400, "a control character in the head");
        const char *line = head + scan->line;
        size_t length = at - scan->line;
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
            verdict = field_line(scan, line, length);
        }
        if (verdict != HEAD_MORE)
            return verdict;
        scan->line = scan->seen = (uint32_t)(at + 2);
    }
}

void head_hide(const struct head_scan *scan, char *head)
{
    if (scan->framing.at == 0)
        return;
    memset(head + scan->framing.at, '-', scan->framing.n);
    memset(head + scan->upgrade.at, '-', scan->upgrade.n);
}
