/* What the configuration says of each upstream, taken apart once: the URL as curl wants it and as
 * people read it, the header lines of every request, who may sign its certificate. Read-only
 * afterwards, but for the slots and the names, which guard themselves. */
#include "upstreams/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <h2o/memory.h>
#include <openssl/err.h>
#include "base/text.h"

enum { MAX_LINES = 64 * 1024 };

/* -- the URL -- */

static char *copy(const char *bytes, size_t n)
{
    char *text = strndup(bytes, n);
    gw_assert(text != NULL);
    return text;
}

/* NULL when the URL has none. */
static char *url_part(CURLU *url, CURLUPart part, unsigned flags)
{
    char *curl_text = NULL;
    curl_url_get(url, part, &curl_text, flags);
    if (curl_text == NULL)
        return NULL;
    char *text = copy(curl_text, SIZE_MAX);
    curl_free(curl_text);
    return text;
}

/* Of what every URL has, once curl has read it. */
static char *sure_part(CURLU *url, CURLUPart part, unsigned flags)
{
    char *text = url_part(url, part, flags);
    gw_assert(text != NULL);
    return text;
}

static void strip_slashes(char *text)
{
    for (size_t n = strlen(text); n > 0 && text[n - 1] == '/';)
        text[--n] = '\0';
}

static bool is_line_of(const struct buf *lines, struct str name)
{
    const char *at = lines->n != 0 ? lines->p : "", *end = at + lines->n;
    while ((at = memmem(at, (size_t)(end - at), "\r\n", 2)) != NULL) {
        at += 2;
        if ((size_t)(end - at) > name.n && at[name.n] == ':' &&
            str_caseeq((struct str){at, name.n}, name))
            return true;
    }
    return false;
}

/* Unless the configuration has set it. */
static void add_line(struct buf *lines, const char *name, const char *value)
{
    if (!is_line_of(lines, str_from(name)))
        buf_printf(lines, "\r\n%s: %s", name, value);
}

/* Credentials in a URL become an Authorization header, so that the URL can be shown. */
static void take_credentials(struct buf *lines, CURLU *url)
{
    char *user = url_part(url, CURLUPART_USER, CURLU_URLDECODE);
    char *password = url_part(url, CURLUPART_PASSWORD, CURLU_URLDECODE);
    if (user == NULL && password == NULL)
        return;
    struct buf plain, coded;
    buf_init(&plain, MAX_LINES);
    buf_init(&coded, MAX_LINES);
    if (buf_printf(&plain, "%s:%s", user ? user : "", password ? password : "") &&
        buf_append(&coded, "Basic ", 6) && buf_reserve(&coded, plain.n * 4 / 3 + 8)) {
        EVP_EncodeBlock((unsigned char *)coded.p + coded.n, (unsigned char *)plain.p, (int)plain.n);
        add_line(lines, "Authorization", coded.p);
    }
    buf_fini(&plain);
    buf_fini(&coded);
    free(user);
    free(password);
    curl_url_set(url, CURLUPART_USER, NULL, 0);
    curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
}

static const char *read_http_url(struct upstreams *ups, struct upstream *up, struct buf *lines)
{
    CURLU *url = up->curl_url;
    CURLUcode code = curl_url_set(url, CURLUPART_URL, up->config->url.p, CURLU_PATH_AS_IS);
    if (code != CURLUE_OK)
        return curl_url_strerror(code);
    char *scheme = sure_part(url, CURLUPART_SCHEME, 0);
    bool is_http = str_eq(str_from(scheme), STR("http"));
    bool is_https = str_eq(str_from(scheme), STR("https"));
    free(scheme);
    if (!is_http && !is_https)
        return "the scheme must be http, https or unix";
    char *query = url_part(url, CURLUPART_QUERY, 0);
    char *fragment = url_part(url, CURLUPART_FRAGMENT, 0);
    bool extra = query != NULL || fragment != NULL;
    free(query);
    free(fragment);
    if (extra)
        return "a query or fragment belongs into the part's path";
    up->is_tls = is_https;
    take_credentials(lines, url);

    char *host = url_part(url, CURLUPART_HOST, CURLU_PUNYCODE);
    if (host == NULL)
        return "the host name can't be written in ASCII";
    curl_url_set(url, CURLUPART_HOST, host, 0);
    char *port = sure_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    if (up->config->addresses.count == 0)
        address_of_url(ups, up, host, (uint16_t)strtoul(port, NULL, 10));
    snprintf(up->server_port, sizeof(up->server_port), "%s", port);
    up->server = host;
    free(port);

    up->prefix = sure_part(url, CURLUPART_PATH, 0);
    strip_slashes(up->prefix);
    up->prefix_length = strlen(up->prefix);
    up->url = sure_part(url, CURLUPART_URL, 0);
    strip_slashes(up->url);
    curl_url_set(url, CURLUPART_PATH, "/", 0);
    char *root = sure_part(url, CURLUPART_URL, CURLU_NO_DEFAULT_PORT);
    strip_slashes(root);
    add_line(lines, "Host", strstr(root, "://") + 3);
    free(root);
    return NULL;
}

static const char *read_unix_url(struct upstreams *ups, struct upstream *up, struct buf *lines)
{
    struct str text = up->config->url;
    struct sockaddr_un address;
    if (text.p[5] != '/')
        return "the path of a unix socket is absolute: unix:/path";
    if (text.n - 5 >= sizeof(address.sun_path))
        return "the path of a unix socket has at most 107 bytes";
    up->url = copy(text.p, text.n);
    up->socket_path = copy(text.p + 5, text.n - 5);
    up->server = copy(text.p + 5, text.n - 5);
    address_of_url(ups, up, text.p, 0);
    up->prefix = copy("", 0);
    curl_url_set(up->curl_url, CURLUPART_URL, "http://localhost/", 0);
    add_line(lines, "Host", "localhost");
    return NULL;
}

/* -- header lines -- */

static bool is_one_line(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' ? s.p[i] != '\t' : s.p[i] == 127)
            return false;
    return true;
}

static void find_host(struct upstream *up)
{
    const char *host = strcasestr(up->stream_lines, "\r\nHost:");
    if (host == NULL)
        return; /* the URL is no good */
    up->host_at = (size_t)(host - up->stream_lines);
    up->host_length = strcspn(host + 2, "\r") + 2;
}

/* Those that frame the message or speak of the connection are ours to send. */
static bool is_ours(struct str name)
{
    static const char *const names[] = {
        "Connection", "Content-Length",   "Transfer-Encoding", "TE",     "Trailer",
        "Upgrade",    "Proxy-Connection", "Keep-Alive",        "Expect",
    };
    for (size_t i = 0; i < COUNT(names); i++)
        if (str_caseeq(name, str_from(names[i])))
            return true;
    return false;
}

/* Those that the gateway writes itself unless they are set. */
static bool is_own(struct str name)
{
    return is_ours(name) || str_caseeq(name, STR("Host")) || str_caseeq(name, STR("Accept")) ||
           str_caseeq(name, STR("Accept-Encoding"));
}

#define NO_AGENT "Gateway-Protocol:"

/* The last line, behind which curl writes " HTTP/1.1": as the end of a User-Agent that names two
 * products (RFC 9110 section 10.1.5), unless somebody else's goes upstream. */
static void add_last_line(struct upstream *up, struct buf *lines)
{
    bool taken = is_line_of(lines, STR("User-Agent"));
    for (size_t i = 0; i < up->config->forward_headers.count; i++)
        taken = taken || str_caseeq(up->config->forward_headers.items[i], STR("User-Agent"));
    buf_printf(lines, "\r\n%s", taken ? NO_AGENT : "User-Agent: gateway");
}

static void read_headers(struct upstreams *ups, struct upstream *up, struct buf *lines,
                         struct diag *diag)
{
    const struct config_upstream *config = up->config;
    for (size_t i = 0; i < config->set_headers.count; i++) {
        const struct config_pair *pair = &config->set_headers.items[i];
        struct pos at = config_pos(ups->config, &pair->value);
        if (!is_token(pair->name) || !is_one_line(pair->value))
            diag_error(diag, at, "'%s' isn't a valid header", pair->name.p);
        else if (is_ours(pair->name))
            diag_error(diag, at, "header '%s' can't be set: it belongs to the connection",
                       pair->name.p);
        else if (!buf_printf(lines, "\r\n%s: %s", pair->name.p, pair->value.p))
            diag_error(diag, at, "header '%s' is too long", pair->name.p);
    }
    struct pos at = config_pos(ups->config, &config->forward_headers);
    for (size_t i = 0; i < config->forward_headers.count; i++) {
        struct str name = config->forward_headers.items[i];
        if (!is_token(name))
            diag_error(diag, at, "'%s' isn't a header's name", name.p);
        else if (is_own(name))
            diag_error(diag, at, "header '%s' can't be forwarded: it is the gateway's own", name.p);
        else if (is_line_of(lines, name))
            diag_error(diag, at, "header '%s' is both set and forwarded", name.p);
    }
}

const char *upstream_refuses_header(const struct upstream *up, struct str name)
{
    if (!is_token(name))
        return "isn't a header's name";
    if (is_ours(name))
        return "can't be set: it belongs to the connection";
    struct buf lines = {.p = up->lines, .n = up->lines_length};
    if (is_line_of(&lines, name) || str_caseeq(name, up->config->deadline_header))
        return "is sent by the upstream's own settings already";
    return NULL;
}

bool upstream_owns_header(const struct upstream *up, struct str name)
{
    struct buf lines = {.p = up->stream_lines, .n = up->stream_lines_length};
    return is_ours(name) || is_line_of(&lines, name) ||
           str_caseeq(name, up->config->deadline_header);
}

/* After read_headers(): `lines` are what is set. */
static void check_deadline_header(struct upstreams *ups, struct upstream *up,
                                  const struct buf *lines, struct diag *diag)
{
    struct str name = up->config->deadline_header;
    struct pos at = config_pos(ups->config, &up->config->deadline_header);
    const struct config_strings *forwarded = &up->config->forward_headers;
    if (name.n == 0)
        return;
    if (!is_token(name))
        diag_error(diag, at, "'%s' isn't a header's name", name.p);
    else if (is_own(name) || str_caseeq(name, STR("User-Agent")) ||
             str_caseeq(name, STR("Authorization")))
        diag_error(diag, at, "header '%s' can't tell the deadline: it has a meaning of its own",
                   name.p);
    else if (is_line_of(lines, name))
        diag_error(diag, at, "header '%s' is both set and the deadline's", name.p);
    for (size_t i = 0; i < forwarded->count; i++)
        if (str_caseeq(forwarded->items[i], name))
            diag_error(diag, at, "header '%s' is both forwarded and the deadline's", name.p);
}

/* -- TLS -- */

static const char *tls_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason != NULL ? reason : "not readable";
}

/* The store of trusted certificates is read once here: curl would read it anew, blocking, for each
 * multi. The client's certificate is tried out, so that a bad one is told at the start. */
static void read_tls(struct upstreams *ups, struct upstream *up, struct diag *diag)
{
    const struct config_tls *tls = &up->config->tls;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    gw_assert(ctx != NULL);
    ERR_clear_error();
    if (tls->ca_file.n == 0)
        SSL_CTX_set_default_verify_paths(ctx);
    else if (SSL_CTX_load_verify_file(ctx, tls->ca_file.p) != 1)
        diag_error(diag, config_pos(ups->config, &tls->ca_file), "%s: %s", tls->ca_file.p,
                   tls_reason());
    up->trusted = SSL_CTX_get_cert_store(ctx);
    X509_STORE_up_ref(up->trusted);

    bool has_cert = tls->cert_file.n != 0, has_key = tls->key_file.n != 0;
    if (has_cert != has_key)
        diag_error(diag, config_pos(ups->config, has_cert ? &tls->cert_file : &tls->key_file),
                   "a client certificate needs both cert_file and key_file");
    else if (has_cert && SSL_CTX_use_certificate_chain_file(ctx, tls->cert_file.p) != 1)
        diag_error(diag, config_pos(ups->config, &tls->cert_file), "%s: %s", tls->cert_file.p,
                   tls_reason());
    else if (has_key && SSL_CTX_use_PrivateKey_file(ctx, tls->key_file.p, SSL_FILETYPE_PEM) != 1)
        diag_error(diag, config_pos(ups->config, &tls->key_file), "%s: %s", tls->key_file.p,
                   tls_reason());
    ERR_clear_error();
    SSL_CTX_free(ctx);
}

/* -- health checks -- */

static void check_health(struct upstreams *ups, struct upstream *up, struct diag *diag)
{
    const struct config_health *health = &up->config->health;
    if (health->path.n == 0)
        return;
    if (health->path.p[0] != '/' || !is_target(health->path))
        diag_error(diag, config_pos(ups->config, &health->path),
                   "\"%s\" can't be asked for: a path begins with / and is percent-encoded",
                   health->path.p);
    if (health->timeout_ms > health->interval_ms)
        diag_error(diag, config_pos(ups->config, &health->timeout_ms),
                   "a check's timeout is at most the interval between two");
}

/* -- all of them -- */

struct upstreams *upstreams_create(const struct config *config, struct diag *diag)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, memory_setup);

    struct upstreams *ups = h2o_mem_alloc(sizeof(*ups));
    bool has_collector = config->traces.collector.url.n != 0;
    *ups = (struct upstreams){.config = config, .count = config->upstream_count + has_collector};
    ups->names = names_create();
    ups->all = h2o_mem_alloc((ups->count + 1) * sizeof(*ups->all));
    for (size_t i = 0; i < ups->count; i++) {
        const struct config_upstream *configured =
            i < config->upstream_count ? &config->upstreams[i] : &config->traces.collector;
        struct upstream *up = &ups->all[i];
        *up = (struct upstream){.config = configured, .index = (unsigned)i};
        up->slots.max_inflight = configured->max_inflight;
        up->slots.max_queue = configured->max_queue;
        room_init(&up->slots.room);
        rules_read(&up->rules, config, configured, diag);
        breaker_init(&up->breaker, &configured->breaker);
        pthread_mutex_init(&up->lanes_lock, NULL);
        h2o_linklist_init_anchor(&up->lanes);
        up->curl_url = curl_url();
        gw_assert(up->curl_url != NULL);

        struct buf lines;
        buf_init(&lines, MAX_LINES);
        read_headers(ups, up, &lines, diag);
        check_deadline_header(ups, up, &lines, diag);
        struct str url = configured->url;
        bool is_unix = url.n > 5 && memcmp(url.p, "unix:", 5) == 0;
        const char *error = url.n == 0 ? NULL /* config/ has told it */
                            : is_unix  ? read_unix_url(ups, up, &lines)
                                       : read_http_url(ups, up, &lines);
        if (error != NULL)
            diag_error(diag, config_pos(config, &configured->url), "the URL can't be used: %s",
                       error);
        if (configured->addresses.count != 0)
            addresses_read(ups, up, diag);
        directory_open(&up->directory);
        check_health(ups, up, diag);
        size_t shared = lines.n; /* with streamed calls, of which the rest is the client's */
        buf_printf(&lines, "\r\n%s", NO_AGENT);
        up->stream_lines = copy(lines.p, lines.n);
        up->stream_lines_length = lines.n;
        lines.n = shared;
        find_host(up);
        add_line(&lines, "Accept", "application/json");
        add_line(&lines, "Accept-Encoding", "gzip, deflate");
        add_last_line(up, &lines);
        up->lines = copy(lines.p, lines.n);
        up->lines_length = lines.n;
        buf_fini(&lines);
        if (up->is_tls)
            read_tls(ups, up, diag);
    }
    return ups;
}

void upstreams_destroy(struct upstreams **ups_p)
{
    struct upstreams *ups = *ups_p;
    *ups_p = NULL;
    if (ups == NULL)
        return;
    for (size_t i = 0; i < ups->count; i++) {
        struct upstream *up = &ups->all[i];
        gw_assert(atomic_load(&up->slots.inflight) == 0);
        room_fini(&up->slots.room);
        directory_close(&up->directory);
        pthread_mutex_destroy(&up->lanes_lock);
        curl_url_cleanup(up->curl_url);
        free(up->lines);
        free(up->stream_lines);
        X509_STORE_free(up->trusted);
        free(up->url);
        free(up->server);
        free(up->prefix);
        free(up->socket_path);
    }
    names_destroy(&ups->names);
    free(ups->all);
    free(ups);
}

struct upstream *upstream_find(struct upstreams *ups, struct str name)
{
    for (size_t i = 0; i < ups->count; i++)
        if (str_eq(ups->all[i].config->name, name))
            return &ups->all[i];
    return NULL;
}

struct upstream *upstream_collector(struct upstreams *ups)
{
    return ups->count > ups->config->upstream_count ? &ups->all[ups->config->upstream_count] : NULL;
}

struct upstream *upstream_named(struct upstreams *ups, const struct str *name, struct diag *diag)
{
    const struct config *config = ups->config;
    if (config_find_upstream(config, *name) != NULL)
        return upstream_find(ups, *name); /* why it wasn't prepared stands in the diag */
    const char **names = h2o_mem_alloc((config->upstream_count + 1) * sizeof(*names));
    for (size_t i = 0; i < config->upstream_count; i++)
        names[i] = config->upstreams[i].name.p;
    const char *near = diag_nearest(*name, names, config->upstream_count);
    struct pos at = config_pos(config, name);
    if (near != NULL)
        diag_error(diag, at, "unknown upstream \"%s\"; did you mean \"%s\"?", name->p, near);
    else
        diag_error(diag, at, "unknown upstream \"%s\"; add [upstreams.%s]", name->p, name->p);
    free(names);
    return NULL;
}

const struct config_upstream *upstream_config(const struct upstream *up)
{
    return up->config;
}

struct str upstream_url(const struct upstream *up)
{
    return str_from(up->url);
}

struct up_stats upstream_stats(const struct upstream *up)
{
    return (struct up_stats){.inflight = atomic_load(&up->slots.inflight),
                             .queued = atomic_load(&up->slots.queued)};
}
