/* The header fields of an answer, for who wants them: each line is copied when curl hands it on, as
 * name, NUL, value, NUL, and once the last one is in, an array points at them. What curl itself
 * keeps of them goes with the handle's next call. */
#include "base/text.h"
#include "upstreams/internal.h"

/* With its NUL. What is kept of a line is no longer than the line, and all of them are counted. */
static void append(struct buf *lines, struct str text)
{
    gw_assert(buf_append(lines, text.p, text.n) && buf_append(lines, "", 1));
}

/* A CR within a line would end it for others: RFC 9112 section 2.2 has it become a blank. */
static void append_value(struct attempt *attempt, struct str text)
{
    struct buf *lines = &attempt->lines;
    size_t begin = lines->n;
    append(lines, text);
    for (char *at = lines->p + begin; at != lines->p + begin + text.n; at++) {
        if (*at != '\r')
            continue;
        *at = ' ';
        attempt->malformed = true;
    }
}

/* A line that begins with a blank goes on with the one before it (RFC 9112 section 5.2). */
static void note_folded(struct attempt *attempt, struct str text)
{
    struct buf *lines = &attempt->lines;
    if (lines->n == 0)
        return;
    lines->p[lines->n - 1] = ' ';
    append_value(attempt, text);
}

void fields_note(struct attempt *attempt, const char *line, size_t n)
{
    struct buf *lines = &attempt->lines;
    struct str text = {line, n};
    while (text.n != 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
        text.n--;
    if (memchr(text.p, '\0', text.n) != NULL) {
        attempt->malformed = true;
        return;
    }
    if (line[0] == ' ' || line[0] == '\t') {
        note_folded(attempt, trimmed(text));
        return;
    }
    const char *colon = memchr(text.p, ':', text.n);
    size_t before = colon != NULL ? (size_t)(colon - text.p) : 0;
    struct str name = trimmed((struct str){text.p, before});
    if (!is_token(name)) {
        attempt->malformed = true;
        return;
    }
    append(lines, name);
    append_value(attempt, trimmed((struct str){colon + 1, text.n - before - 1}));
}

void fields_read(struct attempt *attempt)
{
    struct buf *fields = &attempt->fields;
    const char *at = attempt->lines.p, *end = at + attempt->lines.n;
    buf_clear(fields);
    while (at != end) {
        struct str name = str_from(at);
        struct str value = str_from(at + name.n + 1);
        gw_assert(buf_append(fields, &(struct up_header){name, value}, sizeof(struct up_header)));
        at = value.p + value.n + 1;
    }
    attempt->result.headers = (const struct up_header *)(const void *)fields->p;
    attempt->result.header_count = fields->n / sizeof(struct up_header);
}
