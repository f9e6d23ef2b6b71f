/* One request's way to a certificate: the table of steps. Each step does its part and goes on, or
 * waits for what it started, or has replied. Steps that compute for long or wait for the disk, a
 * service or the time stamp authority are in files of their own. */
#include "certificates/issue.h"

#include <strings.h>
#include "base/text.h"
#include "certificates/issue_internal.h"
#include "observe/metrics.h"

/* -- who may ----------------------------------------------------------------------------------- */

/* Browsers and proxies ask ahead of people. */
static bool is_prefetch(const struct http_request *request)
{
    static const struct str names[] = {STR("sec-purpose"), STR("purpose"), STR("x-moz")};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct str value = http_header(request, names[i]);
        if (value.n >= 8 && strncasecmp(value.p, "prefetch", 8) == 0)
            return true;
    }
    return false;
}

static enum issue_next admit(struct issue *issue)
{
    static const struct http_problem head = {
        .status = 405,
        .type = "method-not-allowed",
        .title = "Asking for the head alone would issue a certificate",
        .allow = "GET, POST, OPTIONS"};
    struct http_request *request = issue->request;
    bool open = issue->section->config->open;
    http_add_header(request, "x-robots-tag", STR("noindex"));
    if (str_eq(request->method, STR("HEAD"))) {
        http_problem_reply(request, &head);
        return ISSUE_OVER;
    }
    if (!http_authorize(request, open ? AUTH_PUBLIC : AUTH_SIGNED, HTTP_MAY_WRITE))
        return ISSUE_OVER;
    if (open && !request->has_token && !http_rate_allow(issue->section->rate, request))
        return ISSUE_OVER;
    issue->by_link = !open && !request->has_token;
    issue->prefetch = is_prefetch(request);
    return ISSUE_NEXT;
}

/* RFC 8941 section 3.3.3, as draft-ietf-httpapi-idempotency-key-header wants it: a quoted string.
 */
static bool read_key(struct issue *issue)
{
    enum { KEY_MAX = 255 };
    const h2o_headers_t *headers = issue->request->headers;
    struct str text = {NULL, 0};
    for (size_t i = 0; i < headers->size; i++) {
        const h2o_header_t *header = &headers->entries[i];
        if (!str_caseeq((struct str){header->name->base, header->name->len},
                        STR("idempotency-key")))
            continue;
        if (text.p != NULL)
            return false;
        text = trimmed((struct str){header->value.base, header->value.len});
    }
    if (text.p == NULL)
        return true;
    if (text.n < 3 || text.p[0] != '"' || text.p[text.n - 1] != '"')
        return false;
    char *key = h2o_mem_alloc_pool(issue->request->pool, text.n), *to = key;
    const char *end = text.p + text.n - 1;
    for (const char *p = text.p + 1; p != end; p++) {
        bool escaped = *p == '\\';
        if (escaped && ++p == end)
            return false;
        bool special = *p == '"' || *p == '\\';
        if (special != escaped || *p < ' ' || *p > '~')
            return false;
        *to++ = *p;
    }
    issue->key = (struct str){key, (size_t)(to - key)};
    return issue->key.n <= KEY_MAX;
}

/* -- what is sent ------------------------------------------------------------------------------ */

static enum issue_next refuse_malformed(struct issue *issue, const char *detail)
{
    return issue_refuse(issue, 400, "malformed-request", "This request is malformed",
                        str_from(detail));
}

static void received(struct http_request *request, enum http_body_end how, struct str body,
                     void *arg)
{
    struct issue *issue = arg;
    const char *wrong = NULL;
    if (how != BODY_WHOLE) {
        http_body_refuse(request, how);
        return;
    }
    if (body.n != 0)
        wrong = input_read_body(&issue->input, http_header(request, STR("content-type")), body,
                                request->pool);
    if (wrong != NULL)
        refuse_malformed(issue, wrong);
    else
        issue_go_on(issue);
}

static enum issue_next receive(struct issue *issue)
{
    struct http_request *request = issue->request;
    struct str coding = http_header(request, STR("content-encoding"));
    uint64_t max = issue->section->all->needs.config->server.max_body;
    const char *wrong = input_read_query(&issue->input, request->query, request->pool);
    if (wrong != NULL)
        return refuse_malformed(issue, wrong);
    if (!read_key(issue))
        return refuse_malformed(issue,
                                "Idempotency-Key is one string in quotes, of 1 to 255 characters");
    if (!str_eq(request->method, STR("POST")) || http_body_length(request) == 0)
        return ISSUE_NEXT;
    if (input_body_of(http_header(request, STR("content-type"))) == INPUT_NO_BODY ||
        (coding.n != 0 && !str_caseeq(coding, STR("identity")))) {
        http_add_header(request, "accept-post",
                        STR("application/x-www-form-urlencoded, multipart/form-data, "
                            "application/json"));
        return issue_refuse(issue, 415, "unsupported-media-type",
                            "This kind of body is not taken here",
                            STR("send a form or JSON, in UTF-8"));
    }
    http_body_collect(request, max < INPUT_BODY_MAX ? (size_t)max : INPUT_BODY_MAX, received,
                      issue);
    return ISSUE_WAITS;
}

/* -- fields ------------------------------------------------------------------------------------ */

static bool take_disposition(struct issue *issue)
{
    struct str word = {NULL, 0};
    enum input_found found = input_pair(&issue->input.query, STR("disposition"), &word);
    if (found == INPUT_ABSENT)
        found = input_pair(&issue->input.form, STR("disposition"), &word);
    issue->disposition = (enum config_disposition)issue->section->config->disposition;
    if (found == INPUT_TEXT && str_eq(word, STR("inline")))
        issue->disposition = DISPOSITION_INLINE;
    else if (found == INPUT_TEXT && str_eq(word, STR("attachment")))
        issue->disposition = DISPOSITION_ATTACHMENT;
    else
        return found == INPUT_ABSENT;
    return true;
}

static struct field_faults no_faults(const struct issue *issue)
{
    size_t most = issue->section->fields->count + 1; /* and the disposition */
    struct field_faults faults = {.count = 0};
    faults.items = h2o_mem_alloc_pool(issue->request->pool, most * sizeof(*faults.items));
    return faults;
}

static enum issue_next take_fields(struct issue *issue)
{
    const struct section *section = issue->section;
    struct http_request *request = issue->request;
    const struct field_request from = {.input = &issue->input,
                                       .params = request->params,
                                       .signed_link = issue->by_link,
                                       .pool = request->pool};
    struct field_faults faults = no_faults(issue);
    issue->values =
        h2o_mem_alloc_pool(request->pool, section->value_count * sizeof(*issue->values));
    fields_from_request(section->fields, &from, issue->values, &faults);
    if (!take_disposition(issue))
        field_fault_add(&faults, STR("disposition"), STR("is neither inline nor attachment"));
    return faults.count != 0 ? issue_refuse_fields(issue, &faults) : ISSUE_NEXT;
}

static struct str value_for_parts(void *arg, struct str name)
{
    const struct issue *issue = arg;
    for (size_t i = 0; i < issue->section->fields->count; i++)
        if (str_eq(issue->values[i].name, name))
            return issue->values[i].value;
    return (struct str){NULL, 0};
}

static void gathered(struct http_request *request, struct json_value data, void *arg)
{
    struct issue *issue = arg;
    struct field_faults faults = no_faults(issue);
    fields_from_parts(issue->section->fields, data, request->pool, issue->values, &faults);
    if (faults.count == 0) {
        issue_go_on(issue);
        return;
    }
    const struct field_fault *first = &faults.items[0];
    h2o_iovec_t detail =
        h2o_concat(request->pool, h2o_iovec_init(H2O_STRLIT("the field ")),
                   h2o_iovec_init(first->field.p, first->field.n), h2o_iovec_init(H2O_STRLIT(" ")),
                   h2o_iovec_init(first->detail.p, first->detail.n));
    issue_refuse(issue, 502, "field-unusable", "A service gave no usable value for a field",
                 (struct str){detail.base, detail.len});
}

static enum issue_next ask_parts(struct issue *issue)
{
    if (issue->section->parts == NULL)
        return ISSUE_NEXT;
    page_gather(issue->section->parts, issue->request, value_for_parts, gathered, issue);
    return ISSUE_WAITS;
}

/* -- what is made ------------------------------------------------------------------------------ */

void issue_make_fields(struct issue *issue, const char *serial, int64_t when_ms)
{
    const struct section *section = issue->section;
    h2o_mem_pool_t *pool = issue->request->pool;
    struct field_value *made = issue->values + section->fields->count;
    memmove(issue->serial, serial, strlen(serial) + 1);
    issue->when_ms = when_ms;
    for (size_t i = 0; i < MADE_FIELDS; i++)
        made[i].name = made_field_names[i];
    made[MADE_SERIAL].value = str_from(issue->serial);
    made[MADE_TIMESTAMP].value = timestamp_text_print(section->timestamp, when_ms, pool);
    made[MADE_VERIFY_URL].value = section_verify_url(section, made[MADE_SERIAL].value, pool);
    made[MADE_SIGNER].value = section->signer != NULL ? signer_name(section->signer) : STR("");
    issue->drawing = (struct drawing){
        .fields = issue->values,
        .field_count = section->value_count,
        .title = words_print(&section->title, issue->values, section->value_count, pool),
        .verify_url = made[MADE_VERIFY_URL].value,
        .serial = made[MADE_SERIAL].value,
        .when_s = when_ms / 1000};
}

static enum issue_next make_fields(struct issue *issue)
{
    char serial[SERIAL_ROOM];
    serial_make(serial);
    issue_make_fields(issue, serial, clock_unix_ms());
    return ISSUE_NEXT;
}

/* -- the way ----------------------------------------------------------------------------------- */

enum step {
    STEP_ADMIT,
    STEP_RECEIVE,
    STEP_TAKE_FIELDS,
    STEP_ASK_PARTS,
    STEP_MAKE_FIELDS,
    STEP_FIND,
    STEP_DRAW,
    STEP_STAMP,
    STEP_SEAL,
    STEP_KEEP,
    STEP_REPLY
};
static enum issue_next (*const steps[])(struct issue *issue) = {
    [STEP_ADMIT] = admit,             /* a token, a signed link, or a rate */
    [STEP_RECEIVE] = receive,         /* query, form or JSON */
    [STEP_TAKE_FIELDS] = take_fields, /* all that is wrong with them is told at once */
    [STEP_ASK_PARTS] = ask_parts,     /* services, for fields that they know */
    [STEP_MAKE_FIELDS] = make_fields, /* serial, time, verify page */
    [STEP_FIND] = issue_find,         /* issued before? the same bytes: keep only the key */
    [STEP_DRAW] = issue_draw,         /* and sign */
    [STEP_STAMP] = issue_stamp,       /* the authority's time stamp of the signature */
    [STEP_SEAL] = issue_seal,         /* into the hole that the signature left */
    [STEP_KEEP] = issue_keep,         /* on the disk; somebody was faster: find */
    [STEP_REPLY] = issue_reply,
};

void issue_go_on(struct issue *issue)
{
    enum issue_next next;
    issue->resumed = true;
    if (issue->inside) /* what a step waited for came before it returned */
        return;
    issue->inside = true;
    http_serving(issue->request, STR(""));
    do {
        issue->resumed = false;
        next = steps[issue->step++](issue);
    } while (next == ISSUE_NEXT || (next == ISSUE_WAITS && issue->resumed));
    issue->inside = false;
}

void issue_go_to_find(struct issue *issue)
{
    issue->step = STEP_MAKE_FIELDS;
}

void issue_go_to_keep(struct issue *issue)
{
    issue->step = STEP_KEEP;
}

/* -- work that may outlive the request --------------------------------------------------------- */

static void work_dispose(void *p)
{
    struct issue_work *work = p;
    if (work->found)
        register_release(&work->find);
    buf_fini(&work->pdf);
    h2o_mem_clear_pool(&work->pool);
}

struct issue_work *issue_work(struct issue *issue)
{
    if (issue->work == NULL) {
        struct issue_work *work = h2o_mem_alloc_shared(NULL, sizeof(*work), work_dispose);
        memset(work, 0, sizeof(*work));
        work->issue = issue;
        work->section = issue->section;
        h2o_mem_init_pool(&work->pool);
        buf_init(&work->pdf, ISSUE_PDF_MAX);
        issue->work = work;
    }
    return issue->work;
}

void issue_work_begin(struct issue_work *work)
{
    h2o_mem_addref_shared(work);
}

void issue_work_end(struct issue_work *work)
{
    if (work->issue != NULL)
        issue_go_on(work->issue);
    h2o_mem_release_shared(work);
}

void issue_work_dropped(struct offload_job *job)
{
    struct issue_work *work = CONTAINER_OF(job, struct issue_work, job);
    if (work->issue != NULL)
        issue_refuse_busy(work->issue);
    h2o_mem_release_shared(work);
}

static void count_result(const struct issue *issue)
{
    bool failed =
        !issue->issued && issue->request->replied && issue->request->h2o->res.status >= 500;
    const struct str labels[] = {issue->section->config->name,
                                 issue->issued && issue->work != NULL && issue->work->found
                                     ? STR("found")
                                 : issue->issued            ? STR("issued")
                                 : !issue->request->replied ? STR("left")
                                 : failed                   ? STR("failed")
                                                            : STR("refused")};
    metric_add(METRIC_CERTIFICATES, 1, labels, COUNT(labels));
}

static void issue_dispose(void *p)
{
    struct issue *issue = p;
    count_result(issue);
    input_fini(&issue->input);
    if (issue->work == NULL)
        return;
    issue->work->issue = NULL;
    if (issue->work->call != NULL)
        up_call_cancel(&issue->work->call);
    h2o_mem_release_shared(issue->work);
}

void issue_certificate(struct http_request *request, void *arg)
{
    struct issue *issue = h2o_mem_alloc_shared(request->pool, sizeof(*issue), issue_dispose);
    memset(issue, 0, sizeof(*issue));
    issue->request = request;
    issue->section = arg;
    input_init(&issue->input);
    issue_go_on(issue);
}
