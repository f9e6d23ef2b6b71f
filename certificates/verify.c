/* Where verify pages are, and what the register says of a serial. Looking needs no permission:
 * whoever has a serial was given it, for nobody guesses one of 2^100. */
#include "certificates/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/text.h"
#include "certificates/control.h"
#include "certificates/register.h"
#include "certificates/verify_internal.h"

/* Of one client: digests and signatures of large files cost time. */
#define FILES_RATE STR("60/m")

/* -- a request that waits for a thread --------------------------------------------------------- */

static void release(struct verification *verification)
{
    if (verification->request != NULL || verification->working)
        return;
    atomic_fetch_sub(&verification->verify->memory, verification->memory);
    buf_fini(&verification->body);
    free(verification->form);
    free(verification->record.memory);
    free(verification);
}

/* The request's memory goes: it was answered, or the client has left. */
static void forget_request(void *tie)
{
    struct verification *verification = *(struct verification **)tie;
    verification->request = NULL;
    release(verification);
}

struct verification *verification_create(struct http_request *request, struct verify *verify)
{
    struct verification *verification = h2o_mem_alloc(sizeof(*verification));
    *verification = (struct verification){.verify = verify, .request = request};
    buf_init(&verification->body, 0);
    struct verification **tie =
        h2o_mem_alloc_shared(request->pool, sizeof(struct verification *), forget_request);
    *tie = verification;
    return verification;
}

static void refuse_busy(struct http_request *request)
{
    static const struct http_problem busy = {.status = 503,
                                             .type = "overloaded",
                                             .title = "Too much is being verified at the moment",
                                             .retry_after_s = 1};
    http_problem_reply(request, &busy);
}

static void refuse_broken(struct http_request *request)
{
    static const struct http_problem broken = {
        .status = 500, .type = "register-failed", .title = "The register can't be read"};
    http_problem_reply(request, &broken);
}

static void refuse_file(struct http_request *request, const struct verification *verification)
{
    if (verification->too_large)
        http_body_refuse(request, BODY_TOO_LARGE);
    else
        http_problem_reply(request, &(struct http_problem){
                                        .status = 400,
                                        .type = "malformed-form",
                                        .title = "There is no file to be verified in this request",
                                        .detail = str_from(verification->malformed)});
}

void verification_reply(struct verification *verification)
{
    struct http_request *request = verification->request;
    if (verification->too_large || verification->malformed != NULL) {
        refuse_file(request, verification);
        return;
    }
    if (verification->result != STORE_OK) {
        if (verification->result == STORE_BUSY)
            refuse_busy(request);
        else
            refuse_broken(request);
        return;
    }
    const struct verify_answer answer = {
        .serial = str_from(verification->serial),
        .record = verification->record.memory != NULL ? &verification->record : NULL,
        .file = verification->is_file ? file_state_of(&verification->findings) : FILE_NONE,
        .by_digest = verification->findings.whole_known || verification->findings.front_known,
        .by_signature = verification->by_signature};
    verify_page_reply(request, verification->verify->page, &answer);
}

static void done(struct offload_job *job)
{
    struct verification *verification = CONTAINER_OF(job, struct verification, job);
    verification->working = false;
    if (verification->request != NULL)
        verification->then(verification);
    else
        release(verification);
}

static void dropped(struct offload_job *job)
{
    struct verification *verification = CONTAINER_OF(job, struct verification, job);
    verification->working = false;
    if (verification->request != NULL)
        refuse_busy(verification->request);
    else
        release(verification);
}

bool verification_start(struct verification *verification, struct offload *offload,
                        void (*work)(struct offload_job *job),
                        void (*then)(struct verification *verification))
{
    verification->then = then;
    verification->job = (struct offload_job){
        .work = work, .done = done, .dropped = dropped, .loop = verification->request->loop};
    verification->working = offload_submit(offload, &verification->job);
    if (!verification->working)
        refuse_busy(verification->request);
    return verification->working;
}

bool verification_find(struct verification *verification, enum certificate_by by, struct str what)
{
    enum store_result result = store_find_certificate(verification->verify->needs.store, by, what,
                                                      &verification->record, NULL);
    if (result != STORE_OK) {
        if (result != STORE_ABSENT)
            verification->result = result;
        return false;
    }
    memcpy(verification->serial, verification->record.serial.p, verification->record.serial.n);
    verification->serial[verification->record.serial.n] = '\0';
    return true;
}

/* -- by serial --------------------------------------------------------------------------------- */

static void find_serial(struct offload_job *job)
{
    struct verification *verification = CONTAINER_OF(job, struct verification, job);
    verification_find(verification, BY_SERIAL, str_from(verification->serial));
}

static void show_serial(struct http_request *request, void *arg)
{
    struct verify *verify = arg;
    char serial[SERIAL_ROOM];
    if (!serial_read(request->params[verify->serial], serial)) {
        static const struct verify_answer unknown = {.file = FILE_NONE};
        verify_page_reply(request, verify->page, &unknown);
        return;
    }
    struct verification *verification = verification_create(request, verify);
    memcpy(verification->serial, serial, sizeof(serial));
    verification_start(verification, verify->needs.reads, find_serial, verification_reply);
}

/* The form; with ?serial=…, as the form sends it, the way to that serial's page. */
static void show_form(struct http_request *request, void *arg)
{
    struct verify *verify = arg;
    struct str wanted = http_query(request, STR("serial"));
    char serial[SERIAL_ROOM] = "unknown";
    if (trimmed(wanted).n == 0) {
        verify_page_form(request, verify->page);
        return;
    }
    serial_read(wanted, serial);
    struct out out;
    h2o_iovec_t location = h2o_concat(request->pool, h2o_iovec_init(verify->path.p, verify->path.n),
                                      h2o_iovec_init(H2O_STRLIT("/")),
                                      h2o_strdup(request->pool, serial, strlen(serial)));
    out_init(&out, request->pool, 1);
    http_add_header(request, "location", (struct str){location.base, location.len});
    http_add_header(request, "cache-control", STR("no-store"));
    http_reply(request, 303, "text/plain; charset=utf-8", &out);
}

/* -- routes ------------------------------------------------------------------------------------ */

static bool is_path_char(char c)
{
    return is_letter_or_digit(c) || (c != '\0' && strchr("-._~/!$&'()+,;=:@", c) != NULL);
}

/* url -> url and path. */
static bool read_url(struct verify *verify, struct str url, struct pos at, struct diag *diag)
{
    size_t scheme = url.n >= 8 && memcmp(url.p, "https://", 8) == 0  ? 8
                    : url.n >= 7 && memcmp(url.p, "http://", 7) == 0 ? 7
                                                                     : 0;
    size_t host = scheme, end = url.n;
    while (host < url.n && url.p[host] != '/' && url.p[host] > ' ' &&
           strchr("?#{}<>\"\\", url.p[host]) == NULL)
        host++;
    bool good = scheme != 0 && host > scheme && (host == url.n || url.p[host] == '/');
    for (size_t i = host; i < url.n && good; i++)
        good = is_path_char(url.p[i]) && (url.p[i] != '/' || i == host || url.p[i - 1] != '/');
    if (!good) {
        diag_error(diag, at,
                   "url: \"%s\" is not a URL without query, like "
                   "\"https://example.org/certificates\"",
                   url.p);
        return false;
    }
    while (end > host && url.p[end - 1] == '/')
        end--;
    verify->url = (struct str){url.p, end};
    verify->path = (struct str){url.p + host, end - host};
    return true;
}

static const struct http_route *add_route(struct verify *verify, size_t place, const char *ending,
                                          unsigned methods, http_handler_fn *handler,
                                          struct diag *diag)
{
    const struct config *config = verify->needs.config;
    const char *end = verify->path.n == 0 && ending[0] == '\0' ? "/" : ending;
    int n = asprintf(&verify->patterns[place], "%.*s%s", (int)verify->path.n, verify->path.p, end);
    gw_assert(n > 0);
    return http_route_add(verify->needs.server, "verify", methods,
                          (struct str){verify->patterns[place], (size_t)n}, handler, verify,
                          config_pos(config, &config->registry.url), diag);
}

/* One route for the two methods of PATH/verify. */
static void show_form_or_verify(struct http_request *request, void *arg)
{
    struct verify *verify = arg;
    if (!str_eq(request->method, STR("POST")))
        show_form(request, verify);
    else if (http_rate_allow(verify->rate, request))
        verify_file(request, verify);
}

static void add_routes(struct verify *verify, struct diag *diag)
{
    const struct config *config = verify->needs.config;
    add_route(verify, 0, "", HTTP_GET | HTTP_HEAD, show_form, diag);
    add_route(verify, 1, "/verify", HTTP_GET | HTTP_HEAD | HTTP_POST | HTTP_READS_BODY,
              show_form_or_verify, diag);
    const struct http_route *route =
        add_route(verify, 2, "/{serial}", HTTP_GET | HTTP_HEAD, show_serial, diag);
    if (route != NULL)
        verify->serial = http_route_param(route, STR("serial"));
    verify->page =
        verify_page_create(config, verify->url, verify->path, verify->needs.templates, diag);
    verify->rate = http_rate_create(FILES_RATE, config_pos(config, &config->registry), diag);
}

struct verify *verify_create(const struct verify_needs *needs, struct diag *diag)
{
    const struct config *config = needs->config;
    const struct config_register *from = &config->registry;
    struct verify *verify = h2o_mem_alloc(sizeof(*verify));
    bool wanted = false;
    memset(verify, 0, sizeof(*verify));
    verify->needs = *needs;
    for (size_t i = 0; i < config->certificate_count; i++)
        wanted |= config->certificates[i].registered;
    if (!wanted)
        return verify;
    if (from->url.n != 0 && /* else config/ has told it */
        read_url(verify, from->url, config_pos(config, &from->url), diag))
        add_routes(verify, diag);
    verify->control = control_create(needs->server, needs->store, needs->reads);
    return verify;
}

void verify_destroy(struct verify **verify_p)
{
    struct verify *verify = *verify_p;
    if (verify == NULL)
        return;
    verify_page_destroy(&verify->page);
    http_rate_destroy(&verify->rate);
    control_destroy(&verify->control);
    for (size_t i = 0; i < COUNT(verify->patterns); i++)
        free(verify->patterns[i]);
    free(verify);
    *verify_p = NULL;
}
