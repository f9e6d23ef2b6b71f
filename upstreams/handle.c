/* Easy handles: one keeps the options of its upstream from call to call, and gets what differs: the
 * request, the size of the buffer, where to connect. What makes a call something else
 * than a GET is set for that call and taken back after it. */
#include "upstreams/internal.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <h2o/memory.h>

/* As much as curl hands on at once: of more, it would copy the rest whenever a piece isn't taken.
 */
enum { STREAM_BUFFER = CURL_MAX_WRITE_SIZE };

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct handle *handle = arg;
    if (handle->attempt->step == ATTEMPT_GONE)
        return 0;
    return attempt_header(handle->attempt, line, size * count) ? size * count : 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct handle *handle = arg;
    if (handle->attempt->step == ATTEMPT_GONE)
        return 0;
    return attempt_body(handle->attempt, bytes, size * count);
}

static size_t on_read(char *to, size_t size, size_t count, void *arg)
{
    struct handle *handle = arg;
    if (handle->attempt->step == ATTEMPT_GONE)
        return CURL_READFUNC_ABORT;
    return stream_read(handle->attempt, to, size * count);
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    struct handle *handle = arg;
    if (handle->attempt->step == ATTEMPT_GONE || !attempt_connects(handle->attempt))
        return CURL_SOCKET_BAD;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd >= 0)
        sockets_opened(handle->attempt->lane, fd);
    return fd;
}

/* Of a kept-alive connection curl says nothing when the answer's first bytes are there before it
 * would wait for them, and the transfer is paused with them: its socket would look like that of a
 * connection that nobody uses. Changing what is paused makes it say which one it is. */
static void name_socket(CURL *easy)
{
    curl_easy_pause(easy, CURLPAUSE_RECV);
    curl_easy_pause(easy, CURLPAUSE_CONT);
}

/* curl has a connection for the request and is about to send it. */
static int on_send(void *arg, char *their_ip, char *our_ip, int their_port, int our_port)
{
    (void)their_ip, (void)our_ip, (void)their_port, (void)our_port;
    struct handle *handle = arg;
    if (handle->attempt->step == ATTEMPT_GONE || !attempt_sends(handle->attempt))
        return CURL_PREREQFUNC_ABORT;
    if (handle->streams)
        name_socket(handle->easy);
    return CURL_PREREQFUNC_OK;
}

static CURLcode use_trusted(CURL *easy, void *ssl_ctx, void *arg)
{
    (void)easy;
    struct upstream *up = arg;
    SSL_CTX_set1_cert_store(ssl_ctx, up->trusted);
    return CURLE_OK;
}

static void set_tls_options(CURL *easy, struct upstream *up)
{
    const struct config_tls *tls = &up->config->tls;
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, use_trusted);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, up);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(
        easy, CURLOPT_SSLVERSION,
        (long)(tls->min_version == TLS_1_3 ? CURL_SSLVERSION_TLSv1_3 : CURL_SSLVERSION_TLSv1_2));
    if (tls->cert_file.n != 0) {
        curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->cert_file.p);
        curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->key_file.p);
    }
}

/* Turns off the header lines that curl would write; see request.c. */
static struct curl_slist no_encoding = {(char[]){"Accept-Encoding:"}, NULL};
static struct curl_slist no_accept = {(char[]){"Accept:"}, &no_encoding};
static struct curl_slist no_host = {(char[]){"Host:"}, &no_accept};
static struct curl_slist no_type = {(char[]){"Content-Type:"}, &no_host};
static struct curl_slist no_expect = {(char[]){"Expect:"}, &no_type};

struct handle *handle_create(struct lane *lane)
{
    struct upstream *up = lane->upstream;
    struct handle *handle = h2o_mem_alloc(sizeof(*handle));
    *handle = (struct handle){.easy = curl_easy_init(), .is_get = true, .version = 1};
    CURL *easy = handle->easy;
    gw_assert(easy != NULL);
    curl_easy_setopt(easy, CURLOPT_CURLU, up->curl_url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, &no_host);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
    curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)up->config->max_body);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, up->config->max_idle == 0 ? 1L : 0L);
    uint64_t lifetime_s = (up->config->connection_lifetime_ms + 999) / 1000;
    curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, (long)lifetime_s);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)lifetime_s);
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, -1L);
    if (up->socket_path != NULL)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, up->socket_path);
    if (up->trusted != NULL) {
        set_tls_options(easy, up);
        curl_easy_setopt(easy, CURLOPT_SHARE, lane->sessions);
    }
    curl_easy_setopt(easy, CURLOPT_PRIVATE, handle);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, handle->error);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, handle);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, handle);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, handle);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, handle);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, handle);
    /* A connection outlives the handle that opened it, so closing one knows the client only. */
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, sockets_close_one);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, lane->client);
    return handle;
}

void handle_destroy(struct handle *handle)
{
    curl_easy_cleanup(handle->easy);
    free(handle);
}

/* Room for a whole answer of the usual size, so that it takes one recv(); curl has the memory only
 * while the transfer runs. */
static long buffer_size_for(uint32_t answer_size)
{
    enum { STEP = 1024, MOST = 64 * 1024 };
    uint32_t size = (answer_size + STEP - 1) / STEP * STEP;
    return size < STEP ? STEP : size > MOST ? MOST : (long)size;
}

/* Host, SNI and the certificate's name stay the URL's. A kept-alive connection is curl's choice
 * only when it was made to the same place (ConnectionExists() in its url.c), and so are TLS
 * sessions. */
void handle_direct(struct handle *handle, struct upstream *up, struct endpoint *endpoint)
{
    if (up->is_direct || handle->endpoint == endpoint->id)
        return;
    handle->endpoint = endpoint->id;
    curl_easy_setopt(handle->easy, CURLOPT_CONNECT_TO, &endpoint->connect_to);
}

/* curl remembers an address for each place that it ever connected to, and looks through all of them
 * at each transfer's end when they may grow old. So they may only where some have gone. */
static void forget_addresses(struct handle *handle, uint32_t version)
{
    bool forgets = handle->version != version;
    if (handle->forgets != forgets)
        curl_easy_setopt(handle->easy, CURLOPT_DNS_CACHE_TIMEOUT, forgets ? 0L : -1L);
    handle->forgets = forgets;
    handle->version = version;
}

/* curl copies nothing of the body, and sends what is up to 64 KB in one piece with the head. */
static void set_method(struct handle *handle, const struct up_call *call)
{
    static const char *const with_content[] = {"POST", "PUT", "PATCH"};
    CURL *easy = handle->easy;
    bool sends_length = call->upload.p != NULL;
    for (size_t i = 0; i < COUNT(with_content); i++)
        sends_length = sends_length || strcmp(call->method, with_content[i]) == 0;
    handle->is_get = false;
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_send);
    if (!sends_length)
        return;
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->upload.p != NULL ? call->upload.p : "");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->upload.n);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, &no_expect);
}

/* Whatever came is handed on as it is and however much it is. */
static void set_stream(struct handle *handle, const struct up_call *call)
{
    CURL *easy = handle->easy;
    uint64_t length = call->stream->length;
    handle->streams = true;
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_send);
    curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)0);
    if (is_head(call)) {
        handle->is_get = false;
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (call->stream->read == NULL) {
        if (call->method != NULL)
            set_method(handle, call);
    } else {
        handle->is_get = false;
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method != NULL ? call->method : "GET");
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
                         length == UINT64_MAX ? (curl_off_t)-1 : (curl_off_t)length);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, &no_expect);
    }
}

void handle_prepare(struct handle *handle, struct lane *lane, struct attempt *attempt)
{
    const struct up_call *call = attempt->call;
    handle->attempt = attempt;
    curl_easy_setopt(handle->easy, CURLOPT_REQUEST_TARGET, call->request.p);
    if (call->stream != NULL)
        set_stream(handle, call);
    else if (call->method != NULL)
        set_method(handle, call);
    long buffer_size =
        call->stream != NULL ? (long)STREAM_BUFFER : buffer_size_for(lane->answer_size);
    if (handle->buffer_size != buffer_size) {
        handle->buffer_size = buffer_size;
        curl_easy_setopt(handle->easy, CURLOPT_BUFFERSIZE, buffer_size);
    }
    handle_direct(handle, lane->upstream, attempt->endpoint);
    forget_addresses(handle, lane->endpoints->version);
}

void handle_reset(struct handle *handle, const struct upstream *up)
{
    CURL *easy = handle->easy;
    if (handle->streams) {
        curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, NULL);
        curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 1L);
        curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)up->config->max_body);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)-1);
        handle->streams = false;
    }
    if (handle->is_get)
        return;
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, NULL);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL); /* makes it a POST: before HTTPGET */
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)-1);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, &no_host);
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    handle->is_get = true;
}
