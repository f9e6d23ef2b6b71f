/* The cache for the operator: numbers on the admin listener, purging on the control socket.
 *
 *     GET  /cache
 *     POST /cache/purge?tag=recco
 *     POST /cache/purge?upstream=shop&path=/recco?user=7     (percent-encoded, of course)
 *     POST /cache/purge?upstream=shop                        all that it answered */
#include "cache/internal.h"

#include "http/http.h"

static void reply_json(struct http_request *request, struct out *out)
{
    http_add_header(request, "cache-control", STR("no-store"));
    http_reply(request, 200, "application/json", out);
}

static void show(struct http_request *request, void *arg)
{
    struct out out;
    out_init(&out, request->pool, 0);
    cache_write_json(arg, &out);
    reply_json(request, &out);
}

static void refuse(struct http_request *request, struct str detail)
{
    http_problem_reply(request, &(struct http_problem){.status = 400,
                                                       .type = "bad-purge",
                                                       .title = "What is to be purged isn't clear",
                                                       .detail = detail});
}

static void purge(struct http_request *request, void *arg)
{
    struct cache *cache = arg;
    struct str tag = http_query(request, STR("tag"));
    struct str upstream = http_query(request, STR("upstream"));
    struct str path = http_query(request, STR("path"));
    if ((tag.n != 0) == (upstream.n != 0) || (tag.n != 0 && path.n != 0)) {
        refuse(request, STR("either ?tag=NAME, or ?upstream=NAME with or without &path=/…"));
        return;
    }
    if (path.n != 0 && path.p[0] != '/' && path.p[0] != '?') {
        refuse(request, STR("path is what the upstream is asked for, and begins with '/'"));
        return;
    }
    struct out out;
    out_init(&out, request->pool, 0);
    out_str(&out, STR("{\"purged\":"));
    out_number(&out, tag.n != 0 ? cache_purge_tag(cache, tag)
                                : cache_purge_upstream(cache, upstream, path));
    out_str(&out, STR("}\n"));
    reply_json(request, &out);
}

void cache_control_add(struct cache *cache, struct http_server *server)
{
    http_admin_add(server, "cache", STR("/cache"), show, cache);
    http_control_add(server, "cache-purge", HTTP_POST, STR("/cache/purge"), purge, cache);
}
