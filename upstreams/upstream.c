/* What the configuration says of each upstream, taken apart once: the URL as curl wants it and as
 * people read it, the header lines of every request, who may sign its certificate. Read-only
 * afterwards, but for the slots and the names, which guard themselves. */
#include "upstreams/internal.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/un.h>
#include <h2o/memory.h>
#include <openssl/err.h>

static void prepare_curl(void)
{
    gw_assert(curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK);
}

/* -- the URL -- */

static struct pos where(const struct upstreams *ups, const void *field)
{
    return config_pos(ups->config, field);
}

static char *copy(const char *bytes, size_t n)
{
    return h2o_strdup(NULL, bytes, n).base;
}

static char *url_part(CURLU *url, CURLUPart part, unsigned flags)
{
    char *curl_text = NULL;
    if (curl_url_get(url, part, &curl_text, flags) != CURLUE_OK)
        return NULL;
    char *text = copy(curl_text, SIZE_MAX);
    curl_free(curl_text);
    return text;
}

static bool is_address(const char *host)
{
    struct in_addr v4;
    return host[0] == '[' || inet_pton(AF_INET, host, &v4) == 1;
}

/* curl answers these itself, RFC 6761 section 6.3. */
static bool is_localhost(const char *host)
{
    size_t n = strlen(host);
    return str_caseeq(str_from(host), STR("localhost")) ||
           (n > 10 && str_caseeq((struct str){host + n - 10, 10}, STR(".localhost")));
}

/* Names in a URL become an Authorization header, so that the URL can be shown. */
static void take_credentials(struct upstream *up, CURLU *url)
{
    char *user = url_part(url, CURLUPART_USER, CURLU_URLDECODE);
    char *password = url_part(url, CURLUPART_PASSWORD, CURLU_URLDECODE);
    if (user != NULL || password != NULL) {
        struct buf plain, line;
        buf_init(&plain, 64 * 1024);
        buf_init(&line, 128 * 1024);
        buf_printf(&plain, "%s:%s", user ? user : "", password ? password : "");
        buf_printf(&line, "Authorization: Basic ");
        if (buf_reserve(&line, plain.n * 4 / 3 + 8))
            EVP_EncodeBlock((unsigned char *)line.p + line.n, (unsigned char *)plain.p,
                            (int)plain.n);
        up->headers = curl_slist_append(up->headers, line.p);
        buf_fini(&plain);
        buf_fini(&line);
    }
    free(user);
    free(password);
    curl_url_set(url, CURLUPART_USER, NULL, 0);
    curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
}

static const char *read_http_url(struct upstreams *ups, struct upstream *up, CURLU *url)
{
    CURLUcode code = curl_url_set(url, CURLUPART_URL, up->config->url.p, CURLU_PATH_AS_IS);
    if (code != CURLUE_OK)
        return curl_url_strerror(code);
    char *scheme = url_part(url, CURLUPART_SCHEME, 0);
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
    take_credentials(up, url);

    char *host = url_part(url, CURLUPART_HOST, CURLU_PUNYCODE);
    if (host == NULL)
        return "the host name can't be written in ASCII";
    curl_url_set(url, CURLUPART_HOST, host, 0);
    if (!is_address(host) && !is_localhost(host)) {
        char *port = url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
        struct buf resolve;
        buf_init(&resolve, 1024);
        if (buf_printf(&resolve, "%s:%s:", host, port)) {
            up->resolve = copy(resolve.p, resolve.n);
            up->name = names_add(ups->names, host, up->config->resolve_every_ms);
        }
        buf_fini(&resolve);
        free(port);
        if (up->name == NULL) {
            free(host);
            return "the host name is too long";
        }
    }
    free(host);

    up->url = url_part(url, CURLUPART_URL, 0);
    up->prefix = url_part(url, CURLUPART_PATH, 0);
    for (size_t n = strlen(up->url); n > 0 && up->url[n - 1] == '/';)
        up->url[--n] = '\0';
    up->prefix_length = strlen(up->prefix);
    while (up->prefix_length > 0 && up->prefix[up->prefix_length - 1] == '/')
        up->prefix[--up->prefix_length] = '\0';
    curl_url_set(url, CURLUPART_PATH, "/", 0);
    up->curl_url = url_part(url, CURLUPART_URL, 0);
    return NULL;
}

static const char *read_url(struct upstreams *ups, struct upstream *up)
{
    struct str text = up->config->url;
    struct sockaddr_un address;
    if (text.n > 5 && memcmp(text.p, "unix:", 5) == 0) {
        if (text.p[5] != '/')
            return "the path of a unix socket is absolute: unix:/path";
        if (text.n - 5 >= sizeof(address.sun_path))
            return "the path of a unix socket has at most 107 bytes";
        up->url = copy(text.p, text.n);
        up->socket_path = copy(text.p + 5, text.n - 5);
        up->curl_url = copy("http://localhost/", SIZE_MAX);
        up->prefix = copy("", 0);
        return NULL;
    }
    CURLU *url = curl_url();
    gw_assert(url != NULL);
    const char *error = read_http_url(ups, up, url);
    curl_url_cleanup(url);
    return error;
}

/* -- header lines -- */

/* RFC 9110 section 5.6.2. */
static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (memchr("!#$%&'*+-.^_`|~", s.p[i], 15) == NULL &&
            !((s.p[i] | 32) >= 'a' && (s.p[i] | 32) <= 'z') && !(s.p[i] >= '0' && s.p[i] <= '9'))
            return false;
    return s.n != 0;
}

static bool is_one_line(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' ? s.p[i] != '\t' : s.p[i] == 127)
            return false;
    return true;
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

static bool has_header(const struct upstream *up, struct str name)
{
    for (const struct curl_slist *line = up->headers; line != NULL; line = line->next)
        if (strlen(line->data) > name.n && line->data[name.n] == ':' &&
            str_caseeq((struct str){line->data, name.n}, name))
            return true;
    return false;
}

static void read_headers(struct upstreams *ups, struct upstream *up, struct diag *diag)
{
    const struct config_upstream *config = up->config;
    for (size_t i = 0; i < config->set_headers.count; i++) {
        const struct config_pair *pair = &config->set_headers.items[i];
        if (!is_token(pair->name) || !is_one_line(pair->value)) {
            diag_error(diag, where(ups, pair), "'%s' isn't a valid header", pair->name.p);
        } else if (is_ours(pair->name)) {
            diag_error(diag, where(ups, pair),
                       "header '%s' can't be set: it belongs to the "
                       "connection",
                       pair->name.p);
        } else {
            struct buf line;
            buf_init(&line, 64 * 1024);
            /* "Name;" is how curl is told to send a header without a value. */
            bool fits = pair->value.n != 0
                            ? buf_printf(&line, "%s: %s", pair->name.p, pair->value.p)
                            : buf_printf(&line, "%s;", pair->name.p);
            if (fits)
                up->headers = curl_slist_append(up->headers, line.p);
            else
                diag_error(diag, where(ups, pair), "header '%s' is too long", pair->name.p);
            buf_fini(&line);
        }
    }
    for (size_t i = 0; i < config->forward_headers.count; i++) {
        const struct str *name = &config->forward_headers.items[i];
        if (!is_token(*name))
            diag_error(diag, where(ups, &config->forward_headers), "'%s' isn't a header's name",
                       name->p);
        else if (is_ours(*name) || str_caseeq(*name, STR("Host")) ||
                 str_caseeq(*name, STR("Accept-Encoding")))
            diag_error(diag, where(ups, &config->forward_headers),
                       "header '%s' can't be forwarded: it belongs to the connection", name->p);
    }
    /* Given as lines, curl has nothing to make of them at each request. */
    if (!has_header(up, STR("Accept")))
        up->headers = curl_slist_append(up->headers, "Accept: application/json");
    if (!has_header(up, STR("Accept-Encoding")))
        up->headers = curl_slist_append(up->headers, "Accept-Encoding: gzip, deflate");
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
        diag_error(diag, where(ups, &tls->ca_file), "%s: %s", tls->ca_file.p, tls_reason());
    up->trusted = SSL_CTX_get_cert_store(ctx);
    X509_STORE_up_ref(up->trusted);

    bool has_cert = tls->cert_file.n != 0, has_key = tls->key_file.n != 0;
    if (has_cert != has_key)
        diag_error(diag, where(ups, has_cert ? &tls->cert_file : &tls->key_file),
                   "a client certificate needs both cert_file and key_file");
    else if (has_cert && SSL_CTX_use_certificate_chain_file(ctx, tls->cert_file.p) != 1)
        diag_error(diag, where(ups, &tls->cert_file), "%s: %s", tls->cert_file.p, tls_reason());
    else if (has_key && SSL_CTX_use_PrivateKey_file(ctx, tls->key_file.p, SSL_FILETYPE_PEM) != 1)
        diag_error(diag, where(ups, &tls->key_file), "%s: %s", tls->key_file.p, tls_reason());
    ERR_clear_error();
    SSL_CTX_free(ctx);
}

/* -- all of them -- */

struct upstreams *upstreams_create(const struct config *config, unsigned workers, struct diag *diag)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_curl);
    (void)workers;

    struct upstreams *ups = h2o_mem_alloc(sizeof(*ups));
    *ups = (struct upstreams){.config = config, .count = config->upstream_count};
    ups->names = names_create();
    ups->all = h2o_mem_alloc((ups->count + 1) * sizeof(*ups->all));
    for (size_t i = 0; i < ups->count; i++) {
        const struct config_upstream *configured = &config->upstreams[i];
        struct upstream *up = &ups->all[i];
        *up = (struct upstream){.config = configured, .index = (unsigned)i};
        up->slots.max_inflight = configured->max_inflight;
        up->slots.max_queue = configured->max_queue;
        room_init(&up->slots.room);
        const char *error = read_url(ups, up);
        if (error != NULL)
            diag_error(diag, where(ups, &configured->url), "'%s' can't be used: %s",
                       up->url ? up->url : configured->name.p, error);
        read_headers(ups, up, diag);
        if (up->curl_url != NULL && strncmp(up->curl_url, "https:", 6) == 0)
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
        curl_slist_free_all(up->headers);
        X509_STORE_free(up->trusted);
        free(up->url);
        free(up->curl_url);
        free(up->prefix);
        free(up->resolve);
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
