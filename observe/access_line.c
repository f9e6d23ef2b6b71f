/* A request's record as one line, JSON or logfmt; of a slow one with what each part waited for.
 *
 * This runs once a request on the loop, so it is written by hand: the caller reserves the longest
 * line the record could become, and from there on bytes are stored without looking at what is
 * left. */
#include "observe/access_text.h"
#include "base/put.h"

/* Keys, punctuation and numbers of a line, and of one part; see the longest of them below. */
enum { LINE_FRAME_MAX = 400, PART_FRAME_MAX = 224 };
/* A slow one's part has so many more keys, which repeat its name in logfmt. */
enum { SLOW_KEYS_MAX = 2 + ACCESS_PHASES, SLOW_KEY_MAX = 36 };

#define PUT(at, literal) put_str((at), STR(literal))

/* As `gateway explain --run` heads its columns. */
static const char *const phase_names[ACCESS_PHASES] = {"queue", "dns",        "connect",
                                                       "tls",   "first_byte", "receive"};

uint32_t access_phases(const struct access_part *part, uint32_t lengths_r[ACCESS_PHASES])
{
    const struct call_times *times = &part->times;
    const uint32_t ends[ACCESS_PHASES] = {times->queue, times->dns,        times->connect,
                                          times->tls,   times->first_byte, times->total};
    uint32_t before = 0;
    memset(lengths_r, 0, ACCESS_PHASES * sizeof(*lengths_r));
    for (size_t i = 0; i < ACCESS_PHASES; i++) {
        if (ends[i] <= before)
            continue;
        lengths_r[i] = ends[i] - before;
        before = ends[i];
    }
    if (times->first_byte == 0) { /* no answer: all that is left was waiting for it */
        lengths_r[ACCESS_PHASES - 2] = lengths_r[ACCESS_PHASES - 1];
        lengths_r[ACCESS_PHASES - 1] = 0;
    }
    uint32_t whole = part->us > part->begin_us ? part->us - part->begin_us : 0;
    return times->total != 0 && whole > times->total ? whole - times->total : 0;
}

/* -- lines ----------------------------------------------------------------------------------- */

static size_t value_bound(struct str value)
{
    return ESCAPED_MAX * (value.n < ACCESS_VALUE_MAX ? value.n : ACCESS_VALUE_MAX);
}

size_t access_line_bound(enum access_format format, const struct access_record *r)
{
    bool slow = format == ACCESS_SLOW_LOGFMT || format == ACCESS_SLOW_JSON;
    size_t bound = LINE_FRAME_MAX + value_bound(r->id) + value_bound(r->client) +
                   value_bound(r->user) + value_bound(r->method) + value_bound(r->path) +
                   value_bound(r->host) + value_bound(r->protocol) + value_bound(r->route) +
                   value_bound(r->user_agent) + value_bound(str_from(r->flags)) +
                   value_bound(r->referer) + value_bound(r->trace);
    for (size_t i = 0; i < r->part_count; i++) {
        const struct access_part *part = &r->parts[i];
        /* logfmt repeats the name in each of a part's six keys: no more than escaping could add */
        bound += PART_FRAME_MAX + value_bound(part->name) + value_bound(str_from(part->state)) +
                 value_bound(str_from(part->error));
        if (slow)
            bound += SLOW_KEYS_MAX * (SLOW_KEY_MAX + value_bound(part->name));
    }
    return bound;
}

#define JSON_FIELD(at, key, value) json_field((at), STR(",\"" key "\":"), (value))

static char *json_field(char *at, struct str key, struct str value)
{
    if (value.n == 0)
        return at;
    at = put_str(at, key);
    return put_quoted(at, access_cut(value));
}

static char *json_phases(char *at, const struct access_part *part)
{
    uint32_t lengths[ACCESS_PHASES], earlier = access_phases(part, lengths);
    at = PUT(at, ",\"begin\":");
    at = put_ms(at, part->begin_us);
    if (earlier != 0) {
        at = PUT(at, ",\"earlier\":");
        at = put_ms(at, earlier);
    }
    for (size_t i = 0; i < ACCESS_PHASES; i++) {
        if (lengths[i] == 0)
            continue;
        at = PUT(at, ",\"");
        at = put_str(at, str_from(phase_names[i]));
        at = PUT(at, "\":");
        at = put_ms(at, lengths[i]);
    }
    return at;
}

static char *json_part(char *at, const struct access_part *part, bool slow)
{
    at = PUT(at, "{\"name\":");
    at = put_quoted(at, access_cut(part->name));
    at = JSON_FIELD(at, "state", str_from(part->state));
    if (part->status != 0) {
        at = PUT(at, ",\"status\":");
        at = put_number(at, (unsigned)part->status);
    }
    if (slow)
        at = json_phases(at, part);
    at = PUT(at, ",\"ms\":");
    at = put_ms(at, part->us);
    at = PUT(at, ",\"bytes\":");
    at = put_number(at, part->bytes);
    at = PUT(at, ",\"attempts\":");
    at = put_number(at, part->attempts);
    at = JSON_FIELD(at, "error", str_from(part->error));
    *at++ = '}';
    return at;
}

static char *json_line(char *at, struct str ts, const struct access_record *r, bool slow)
{
    at = PUT(at, "{\"ts\":\"");
    at = put_str(at, ts);
    *at++ = '"';
    if (slow)
        at = PUT(at, ",\"level\":\"warn\",\"msg\":\"slow request\"");
    at = JSON_FIELD(at, "id", r->id);
    at = JSON_FIELD(at, "trace_id", r->trace);
    at = JSON_FIELD(at, "client", r->client);
    at = JSON_FIELD(at, "user", r->user);
    at = JSON_FIELD(at, "method", r->method);
    at = JSON_FIELD(at, "path", r->path);
    at = JSON_FIELD(at, "host", r->host);
    at = JSON_FIELD(at, "protocol", r->protocol);
    at = JSON_FIELD(at, "route", r->route);
    at = PUT(at, ",\"status\":");
    at = put_number(at, (unsigned)r->status);
    at = PUT(at, ",\"bytes\":");
    at = put_number(at, r->bytes);
    at = PUT(at, ",\"ms\":");
    at = put_ms(at, r->us);
    if (slow && r->reply_us != 0) {
        at = PUT(at, ",\"reply_ms\":");
        at = put_ms(at, r->reply_us);
    }
    at = JSON_FIELD(at, "flags", str_from(r->flags));
    at = JSON_FIELD(at, "ua", r->user_agent);
    if (r->part_count != 0) {
        at = PUT(at, ",\"parts\":[");
        for (size_t i = 0; i < r->part_count; i++) {
            if (i != 0)
                *at++ = ',';
            at = json_part(at, &r->parts[i], slow);
        }
        *at++ = ']';
    }
    return PUT(at, "}\n");
}

#define LOGFMT_FIELD(at, key, value) logfmt_field((at), STR(" " key "="), (value))

static char *logfmt_field(char *at, struct str key, struct str value)
{
    if (value.n == 0)
        return at;
    at = put_str(at, key);
    return put_logfmt_value(at, access_cut(value));
}

/* " part.NAME" once, as a key: names are the configuration's and plain, but a key that isn't would
 * break the line. */
static char *logfmt_part_prefix(char *at, struct str name)
{
    at = PUT(at, " part.");
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        *at++ = is_plain((unsigned char)c) && c != ' ' && c != '=' ? c : '_';
    }
    return at;
}

#define AGAIN(at, key) PUT(put_str((at), prefix), key)

static char *logfmt_phases(char *at, struct str prefix, const struct access_part *part)
{
    uint32_t lengths[ACCESS_PHASES], earlier = access_phases(part, lengths);
    at = AGAIN(at, ".begin=");
    at = put_ms(at, part->begin_us);
    if (earlier != 0) {
        at = AGAIN(at, ".earlier=");
        at = put_ms(at, earlier);
    }
    for (size_t i = 0; i < ACCESS_PHASES; i++) {
        if (lengths[i] == 0)
            continue;
        at = AGAIN(at, ".");
        at = put_str(at, str_from(phase_names[i]));
        *at++ = '=';
        at = put_ms(at, lengths[i]);
    }
    return at;
}

static char *logfmt_part(char *at, const struct access_part *part, bool slow)
{
    char *start = at;
    at = logfmt_part_prefix(at, access_cut(part->name));
    struct str prefix = {start, (size_t)(at - start)};
    at = PUT(at, ".state=");
    at = put_logfmt_value(at, access_cut(str_from(part->state)));
    if (part->status != 0) {
        at = AGAIN(at, ".status=");
        at = put_number(at, (unsigned)part->status);
    }
    if (slow)
        at = logfmt_phases(at, prefix, part);
    at = AGAIN(at, ".ms=");
    at = put_ms(at, part->us);
    at = AGAIN(at, ".bytes=");
    at = put_number(at, part->bytes);
    at = AGAIN(at, ".attempts=");
    at = put_number(at, part->attempts);
    if (part->error) {
        at = AGAIN(at, ".error=");
        at = put_logfmt_value(at, access_cut(str_from(part->error)));
    }
    return at;
}

static char *logfmt_line(char *at, struct str ts, const struct access_record *r, bool slow)
{
    at = PUT(at, "ts=");
    at = put_str(at, ts);
    if (slow)
        at = PUT(at, " level=warn msg=\"slow request\"");
    at = LOGFMT_FIELD(at, "id", r->id);
    at = LOGFMT_FIELD(at, "trace_id", r->trace);
    at = LOGFMT_FIELD(at, "client", r->client);
    at = LOGFMT_FIELD(at, "user", r->user);
    at = LOGFMT_FIELD(at, "method", r->method);
    at = LOGFMT_FIELD(at, "path", r->path);
    at = LOGFMT_FIELD(at, "host", r->host);
    at = LOGFMT_FIELD(at, "protocol", r->protocol);
    at = LOGFMT_FIELD(at, "route", r->route);
    at = PUT(at, " status=");
    at = put_number(at, (unsigned)r->status);
    at = PUT(at, " bytes=");
    at = put_number(at, r->bytes);
    at = PUT(at, " ms=");
    at = put_ms(at, r->us);
    if (slow && r->reply_us != 0) {
        at = PUT(at, " reply_ms=");
        at = put_ms(at, r->reply_us);
    }
    at = LOGFMT_FIELD(at, "flags", str_from(r->flags));
    at = LOGFMT_FIELD(at, "ua", r->user_agent);
    for (size_t i = 0; i < r->part_count; i++)
        at = logfmt_part(at, &r->parts[i], slow);
    *at++ = '\n';
    return at;
}

char *access_line_write(char *at, enum access_format format, const struct access_stamp *stamp,
                        const struct access_record *record)
{
    struct str ts = {stamp->text, sizeof(stamp->text) - 1};
    switch (format) {
    case ACCESS_COMBINED:
        return access_combined_write(at, ts, record);
    case ACCESS_JSON:
    case ACCESS_SLOW_JSON:
        return json_line(at, ts, record, format == ACCESS_SLOW_JSON);
    default:
        return logfmt_line(at, ts, record, format == ACCESS_SLOW_LOGFMT);
    }
}
