/* A page that goes out as its parts come in.
 *
 *   nothing goes out ---- flush_after, or later: the required parts are in ----> begun
 *        |                                                                        |
 *        +-- all parts are in: an ordinary reply                    what can be rendered is sent,
 * each time a part has come
 *
 * The status is 200 from the first byte on, so what decides about it has to be known; and that a
 * part fails later is said in the page, not in the head. Rendering waits where it looks up a part
 * that is still under way. A deferred part isn't waited for: its place shows what stands in for it,
 * and what is to stand there goes out at the document's end, with a script that moves it. */
#include "pages/pages_internal.h"

#include "base/log.h"

/* Changed together: test_pages_stream.c computes the digest. */
const char stream_script[] =
    "<script>(function(){var s=document.currentScript,p=s.previousElementSibling,"
    "t=document.querySelectorAll('[data-gw-place=\"'+p.getAttribute(\"data-gw-part\")+'\"]');"
    "if(t.length){while(p.firstChild)t[0].parentNode.insertBefore(p.firstChild,t[0]);"
    "p.remove();t.forEach(function(e){e.remove()})}s.remove()})()</script>";
const char stream_script_source[] = "'sha256-VkpSEtHakgUt73bWf1xTVdFicqlfX89f5xL83MC6zL0='";

enum { MAX_TAIL = 256 };

struct stream {
    struct page_run *run;
    struct timer timer; /* flush_after */
    bool is_due, begun, sending, over;
    struct http_relay relay;
    struct rendering *rendering;
    enum rendering_state state;
    uint64_t placed, shown;            /* deferred parts that have a place, and that are in it */
    struct str tail;                   /* from </body> on, held back for deferred parts */
    struct json_value root;            /* once all parts have ended */
    struct json_value request, *parts; /* what was looked up of these; MISSING, NULL = nothing */
    size_t bytes;
};

static uint64_t bit(size_t i)
{
    return (uint64_t)1 << i;
}

static bool is_running(const struct page_run *run, size_t i)
{
    return run->parts[i].state == PART_RUNNING;
}

/* -- what the template looks up -----------------------------------------------------------------
 */

static size_t index_of(const struct page *page, struct str name)
{
    for (size_t i = 0; i < page->part_count; i++)
        if (str_eq(page->parts[i].config->name, name))
            return i;
    return SIZE_MAX;
}

static enum template_found found(struct json_value value, const struct str *path, unsigned from,
                                 unsigned count, struct json_value *value_r)
{
    for (unsigned i = from; i < count && json_type(value) != JSON_MISSING; i++)
        value = json_get(value, path[i]);
    *value_r = value;
    return FOUND_VALUE;
}

/* Parts that stand in each other's data have it all at once, or not yet. */
static enum template_found find_in_all(struct stream *stream, const struct str *path,
                                       unsigned count, struct json_value *value_r)
{
    struct page_run *run = stream->run;
    if (run->running != 0)
        return FOUND_LATER;
    if (json_type(stream->root) == JSON_MISSING)
        stream->root = view_root(run);
    return found(stream->root, path, 0, count, value_r);
}

/* Of a part's data, or of parts.NAME: what a deferred one has shows in its place alone. */
static enum template_found find_of_part(struct stream *stream, size_t i, struct json_value value,
                                        const struct str *path, unsigned from, unsigned count,
                                        struct json_value *value_r)
{
    const struct page *page = stream->run->page;
    if (!is_running(stream->run, i))
        return found(value, path, from, count, value_r);
    *value_r = JSON_NONE;
    return page->deferred & bit(i) ? FOUND_VALUE : FOUND_LATER;
}

/* What `parts.NAME` holds doesn't change any more. */
static struct json_value view_of_part(struct stream *stream, size_t i)
{
    struct page_run *run = stream->run;
    if (is_running(run, i))
        return JSON_NONE;
    if (stream->parts == NULL) {
        size_t size = run->page->part_count * sizeof(*stream->parts);
        stream->parts = h2o_mem_alloc_pool(run->request->pool, size);
        memset(stream->parts, 0, size);
    }
    if (json_type(stream->parts[i]) == JSON_MISSING)
        stream->parts[i] = view_part(run, i);
    return stream->parts[i];
}

static struct json_value view_of_request(struct stream *stream)
{
    if (json_type(stream->request) == JSON_MISSING)
        stream->request = view_request(stream->run);
    return stream->request;
}

static enum template_found find(void *arg, const struct str *path, unsigned count,
                                struct json_value *value_r)
{
    struct stream *stream = arg;
    struct page_run *run = stream->run;
    const struct page *page = run->page;
    if (count == 2 && str_eq(path[0], STR("defer"))) {
        size_t i = index_of(page, path[1]);
        bool is_later = i != SIZE_MAX && page->deferred & bit(i) && is_running(run, i);
        *value_r = json_from_bool(i != SIZE_MAX);
        return is_later ? FOUND_DEFERRED : FOUND_VALUE;
    }
    if (count == 0 || page->placed || page->scattered)
        return find_in_all(stream, path, count, value_r);
    if (str_eq(path[0], STR("request")))
        return found(view_of_request(stream), path, 1, count, value_r);
    bool is_state = count > 1 && str_eq(path[0], STR("parts"));
    size_t i = index_of(page, path[is_state]);
    if (i != SIZE_MAX)
        return find_of_part(stream, i, is_state ? view_of_part(stream, i) : run->parts[i].value,
                            path, is_state ? 2 : 1, count, value_r);
    if (!is_state && page_name_is_reserved(path[0]))
        return find_in_all(stream, path, count, value_r);
    *value_r = JSON_NONE; /* what an element of a list lacks is looked up here, too */
    return FOUND_VALUE;
}

/* -- places -------------------------------------------------------------------------------------
 */

static void place_begin(void *arg, struct str name, struct out *out)
{
    struct stream *stream = arg;
    size_t i = index_of(stream->run->page, name);
    if (i != SIZE_MAX)
        stream->placed |= bit(i);
    out_str(out, STR("<div data-gw-place=\""));
    out_str(out, name); /* a part's name needs no escaping */
    out_str(out, STR("\">"));
}

static void place_end(void *arg, struct str name, struct out *out)
{
    (void)arg, (void)name;
    out_str(out, STR("</div>"));
}

/* The section itself: the place of a part for which nothing stands in. */
static void place_empty(void *arg, struct str name, struct out *out)
{
    struct stream *stream = arg;
    size_t i = index_of(stream->run->page, name);
    if (i == SIZE_MAX || stream->placed & bit(i))
        return;
    place_begin(arg, name, out);
    place_end(arg, name, out);
}

static const struct template_places places = {place_begin, place_end, place_empty};

static bool show_deferred(struct stream *stream, size_t i, struct out *out)
{
    const struct part_plan *part = &stream->run->page->parts[i];
    struct out html;
    h2o_iovec_t *vecs;
    stream->shown |= bit(i);
    out_init(&html, stream->run->request->pool, 0);
    if (rendering_run_deferred(stream->rendering, part->config->name, &html) != RENDERING_DONE)
        return false;
    if (out_size(&html) == 0 && !(stream->placed & bit(i)))
        return true; /* it was there in time, or nobody shows it */
    out_str(out, STR("<div data-gw-part=\""));
    out_str(out, part->config->name);
    out_str(out, STR("\">"));
    for (size_t n = 0, count = out_vecs(&html, &vecs); n < count; n++)
        out_refer(out, vecs[n].base, vecs[n].len);
    out_str(out, STR("</div>"));
    out_str(out, str_from(stream_script));
    return true;
}

/* Those that are in, once all that isn't deferred is: a section may show other parts as well. */
static bool show_all_deferred(struct stream *stream, struct out *out)
{
    const struct page_run *run = stream->run;
    const struct page *page = run->page;
    for (size_t i = 0; i < page->part_count; i++)
        if (is_running(run, i) && !(page->deferred & bit(i)))
            return true;
    for (uint64_t left = page->deferred & ~stream->shown; left != 0; left &= left - 1) {
        size_t i = (size_t)__builtin_ctzll(left);
        if (!is_running(run, i) && !show_deferred(stream, i, out))
            return false;
    }
    return true;
}

/* -- sending ------------------------------------------------------------------------------------
 */

static struct str flatten(h2o_mem_pool_t *pool, struct out *out)
{
    h2o_iovec_t *vecs;
    size_t count = out_vecs(out, &vecs);
    if (count == 0)
        return (struct str){"", 0};
    if (count == 1)
        return (struct str){vecs[0].base, vecs[0].len};
    char *text = h2o_mem_alloc_pool(pool, out_size(out)), *at = text;
    for (size_t i = 0; i < count; i++)
        at = (char *)mempcpy(at, vecs[i].base, vecs[i].len);
    return (struct str){text, (size_t)(at - text)};
}

/* Takes the document's end off, so that what is deferred stands in front of it. */
static void hold_tail_back(struct stream *stream, struct str *bytes)
{
    static const char end[] = "</body";
    size_t from = bytes->n > MAX_TAIL ? bytes->n - MAX_TAIL : 0;
    for (size_t i = bytes->n; i-- > from;) {
        if (bytes->n - i < sizeof(end) - 1 || memcmp(bytes->p + i, end, sizeof(end) - 1) != 0)
            continue;
        stream->tail = (struct str){bytes->p + i, bytes->n - i};
        bytes->n = i;
        return;
    }
}

static void cut(struct stream *stream)
{
    log_event(LOG_ERROR, "a page broke off: template too deep or page too large", "page=%s",
              log_quote(stream->run->page->config->name));
    stream->over = true;
    http_relay_send(&stream->relay, "", 0, RELAY_CUT);
}

/* As far as it goes; what has come while bytes were on their way waits for them. */
static void pump(struct stream *stream)
{
    struct page_run *run = stream->run;
    h2o_mem_pool_t *pool = run->request->pool;
    bool was_whole = stream->state == RENDERING_DONE;
    struct out body, late;
    if (stream->sending || stream->over)
        return;
    uint64_t began_us = run->request->trace.sampled ? clock_us() : 0;
    out_init(&body, pool, 0);
    if (!was_whole)
        stream->state = rendering_run(stream->rendering, &body);
    struct str bytes = flatten(pool, &body);
    if (stream->state == RENDERING_DONE) {
        if (!was_whole && run->running != 0)
            hold_tail_back(stream, &bytes);
        out_init(&late, pool, 0);
        out_refer(&late, bytes.p, bytes.n);
        if (!show_all_deferred(stream, &late))
            stream->state = RENDERING_FAILED;
        if (run->running == 0)
            out_str(&late, stream->tail);
        bytes = flatten(pool, &late);
    }
    bool whole = stream->state == RENDERING_DONE && run->running == 0;
    if (bytes.n != 0 && began_us != 0)
        trace_write_inner(&run->request->trace, STR("render"), began_us, clock_us(), NULL, STR(""));
    if (stream->state == RENDERING_FAILED) {
        cut(stream);
    } else if (bytes.n != 0 || whole || stream->bytes == 0) {
        stream->sending = true;
        stream->over = whole;
        stream->bytes += bytes.n + 1;
        http_relay_send(&stream->relay, bytes.p, bytes.n, whole ? RELAY_END : RELAY_MORE);
    }
}

static void proceed(struct http_relay *relay)
{
    struct stream *stream = CONTAINER_OF(relay, struct stream, relay);
    stream->sending = false;
    pump(stream);
}

/* -- from begin to end --------------------------------------------------------------------------
 */

/* The status is 200, whatever comes. */
static bool is_decided(const struct page_run *run)
{
    for (size_t i = 0; i < run->page->part_count; i++)
        if (is_running(run, i) && run->page->parts[i].config->need == NEED_REQUIRED)
            return false;
    return !run->failed && run->refused == EXPAND_OK;
}

static void begin(struct stream *stream)
{
    struct page_run *run = stream->run;
    stream->begun = true;
    stream->rendering =
        rendering_create(run->page->template, run->request->pool, find, &places, stream);
    stream->state = RENDERING_WAITS;
    stream->relay.proceed = proceed;
    http_add_header(run->request, "cache-control", STR("no-store"));
    http_add_header(run->request, "vary", caching_vary(run->page, true));
    stream_add_headers(run->page, run->request);
    http_stream_begin(run->request, &stream->relay, 200, "text/html; charset=utf-8");
    pump(stream);
}

static void flush_passed(struct timer *timer)
{
    struct stream *stream = CONTAINER_OF(timer, struct stream, timer);
    stream->is_due = true;
    stream_advance(stream->run);
}

void stream_start(struct page_run *run)
{
    struct stream *stream = h2o_mem_alloc_pool(run->request->pool, sizeof(*stream));
    *stream = (struct stream){.run = run};
    timer_init(&stream->timer, flush_passed);
    timer_start(run->loop->loop, &stream->timer, run->page->config->flush_after_ms);
    run->stream = stream;
}

void stream_advance(struct page_run *run)
{
    struct stream *stream = run->stream;
    if (run->over && !stream->begun)
        return;
    if (stream->begun)
        pump(stream);
    else if (stream->is_due && run->running != 0 && is_decided(run))
        begin(stream);
}

bool stream_finish(struct page_run *run)
{
    struct stream *stream = run->stream;
    timer_stop(run->loop->loop, &stream->timer);
    if (stream->begun)
        pump(stream);
    return stream->begun;
}

void stream_stop(struct page_run *run)
{
    timer_stop(run->loop->loop, &run->stream->timer);
}

void stream_add_headers(const struct page *page, struct http_request *request)
{
    if (page->csp.n != 0)
        http_add_header(request, "content-security-policy", page->csp);
    if (page->link.n != 0)
        http_add_header(request, "link", page->link);
}
