/* Paths, there and back. A target goes up byte by byte as it came: what an escape means is the
 * upstream's to say. Only what can't stand in a request line is escaped, and the prefix is
 * exchanged where `to` says so. */
#include "base/text.h"
#include "routes/routes_internal.h"

#include <string.h>

static struct str joined(h2o_mem_pool_t *pool, struct str a, struct str b)
{
    char *p = h2o_mem_alloc_pool(pool, a.n + b.n + 1);
    memcpy(p, a.p, a.n);
    memcpy(p + a.n, b.p, b.n);
    return (struct str){p, a.n + b.n};
}

static struct str without_slash(struct str path)
{
    while (path.n != 0 && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

static bool begins_with(struct str text, struct str start)
{
    return text.n >= start.n && memcmp(text.p, start.p, start.n) == 0;
}

/* What follows text's first n bytes. */
static struct str after(struct str text, size_t n)
{
    return (struct str){text.p + n, text.n - n};
}

/* -- what the configuration says --------------------------------------------------------------- */

/* "host:80" is "host" where that is what the scheme means. */
static struct str without_default_port(struct str scheme, struct str authority)
{
    struct str port = str_caseeq(scheme, STR("https")) ? STR(":443") : STR(":80");
    if (authority.n > port.n && memcmp(authority.p + authority.n - port.n, port.p, port.n) == 0)
        authority.n -= port.n;
    return authority;
}

/* Takes "scheme://authority" or "//authority" off the front of *url. False: it has none. */
static bool take_origin(struct str *url, struct str *scheme_r, struct str *authority_r)
{
    size_t scheme = 0;
    while (scheme < url->n && (is_letter_or_digit(url->p[scheme]) || url->p[scheme] == '+'))
        scheme++;
    bool has_scheme = scheme != 0 && scheme < url->n && url->p[scheme] == ':';
    struct str rest = has_scheme ? after(*url, scheme + 1) : *url;
    if ((scheme != 0 && !has_scheme) || !begins_with(rest, STR("//")))
        return false;
    rest = after(rest, 2);
    size_t n = 0;
    while (n < rest.n && strchr("/?#", rest.p[n]) == NULL)
        n++;
    *scheme_r = (struct str){url->p, has_scheme ? scheme : 0};
    *authority_r = (struct str){rest.p, n};
    *url = after(rest, n);
    return true;
}

void target_prepare(struct proxy_route *route, h2o_mem_pool_t *pool)
{
    const struct config_route *config = route->config;
    struct str url = upstream_url(route->upstream);
    route->prefix = without_slash(config->path);
    route->depth = 0;
    for (size_t i = 0; i < route->prefix.n; i++)
        route->depth += route->prefix.p[i] == '/';
    route->to = (struct str){NULL, 0};
    if (config->to.n != 0)
        route->to = without_slash(config->to);
    route->scheme = STR("http");
    route->authority = STR("localhost"); /* of a unix socket */
    route->base = STR("");
    if (take_origin(&url, &route->scheme, &route->authority)) {
        route->authority = without_default_port(route->scheme, route->authority);
        route->base = joined(pool, without_slash(url), STR(""));
    }
}

/* -- there ------------------------------------------------------------------------------------- */

static bool is_dots(const char *p, size_t n)
{
    return (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.');
}

bool target_climbs(struct str path)
{
    char dots[3] = {0};
    size_t n = 0;
    bool parameter = false; /* ";x" behind a segment's name */
    for (const char *p = path.p, *end = p + path.n; p != end;) {
        int byte = percent_byte(p, end);
        p += byte < 0 ? 1 : 3;
        char c = byte < 0 ? p[-1] : (char)byte;
        if (c == '/' || c == '\\') {
            if (is_dots(dots, n))
                return true;
            n = 0;
            parameter = false;
        } else if (c == ';') {
            parameter = true;
        } else if (!parameter) {
            if (n < sizeof(dots))
                dots[n++] = c;
        }
    }
    return is_dots(dots, n);
}

static bool needs_escape(char c)
{
    return c <= ' ' || c > '~' || c == '#';
}

static size_t count_escapes(struct str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.n; i++)
        count += needs_escape(text.p[i]);
    return count;
}

static char *write_escaped(char *to, struct str text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (needs_escape(text.p[i])) {
            *to++ = '%';
            *to++ = digits[c >> 4];
            *to++ = digits[c & 15];
        } else {
            *to++ = (char)c;
        }
    }
    return to;
}

/* What stands behind the prefix: it was matched segment by segment, so that may be longer here than
 * in the configuration. */
static struct str behind_prefix(const struct proxy_route *route, struct str target)
{
    size_t at = 0;
    for (size_t segments = 0; at < target.n && target.p[at] != '?'; at++)
        if (target.p[at] == '/' && segments++ == route->depth)
            break;
    return after(target, at);
}

struct str target_up(const struct proxy_route *route, struct str target, h2o_mem_pool_t *pool)
{
    struct str start = STR("");
    if (route->to.p != NULL) {
        start = route->to;
        target = behind_prefix(route, target);
        if (start.n == 0 && (target.n == 0 || target.p[0] != '/'))
            start = STR("/");
    }
    size_t escapes = count_escapes(target);
    if (start.n == 0 && escapes == 0)
        return target;
    char *text = h2o_mem_alloc_pool(pool, start.n + target.n + 2 * escapes + 1);
    memcpy(text, start.p, start.n);
    char *end = write_escaped(text + start.n, target);
    return (struct str){text, (size_t)(end - text)};
}

/* -- and back ---------------------------------------------------------------------------------- */

/* The client's path for one of the upstream's; {NULL, 0}: there is none. */
static struct str public_path(const struct proxy_route *route, struct str path,
                              h2o_mem_pool_t *pool)
{
    struct str prefix = route->to.p != NULL ? route->prefix : STR("");
    struct str inner = route->to.p != NULL ? route->to : STR("");
    if (!begins_with(path, route->base) || !begins_with(after(path, route->base.n), inner))
        return (struct str){NULL, 0};
    struct str rest = after(path, route->base.n + inner.n);
    if (rest.n != 0 && strchr("/?#", rest.p[0]) == NULL)
        return (struct str){NULL, 0}; /* "/v20" isn't in "/v2" */
    if (prefix.n == 0 && (rest.n == 0 || rest.p[0] != '/'))
        prefix = STR("/");
    return joined(pool, prefix, rest);
}

struct str target_location(const struct proxy_route *route, struct str location, struct str host,
                           h2o_mem_pool_t *pool)
{
    struct str path = location, scheme, authority;
    if (take_origin(&path, &scheme, &authority)) {
        bool is_http =
            scheme.n == 0 || str_caseeq(scheme, STR("http")) || str_caseeq(scheme, STR("https"));
        struct str plain = without_default_port(scheme.n != 0 ? scheme : route->scheme, authority);
        bool is_own = (scheme.n == 0 || str_caseeq(scheme, route->scheme)) &&
                      str_caseeq(plain, route->authority);
        bool is_public = host.p != NULL && str_caseeq(scheme, route->scheme) &&
                         (str_caseeq(authority, host) || str_caseeq(plain, host));
        if (!is_http || (!is_own && !is_public))
            return location;
        if (path.n == 0 || path.p[0] != '/')
            path = joined(pool, STR("/"), path);
    } else if (location.n == 0 || location.p[0] != '/') {
        return location;
    }
    struct str mapped = public_path(route, path, pool);
    return mapped.p != NULL && !begins_with(mapped, STR("//")) ? mapped : location;
}
