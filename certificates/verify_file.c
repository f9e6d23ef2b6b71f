/* A PDF that somebody sent: is it ours, and as it was?
 *
 * Two things can tell. Its digest, when the register has it: then it is what was issued, to the
 * byte. And a signature of ours in it, which speaks for the bytes that it covers even when others
 * were added after them. The file is a stranger's: signatures are looked for in bounded work and
 * nothing of the PDF is rendered. It is kept nowhere.
 *
 * First all digests are made, among those that draw and sign; then the register is read, where
 * others read it. Threads of `compute` yield to all others: one that held a reader of the database
 * meanwhile would keep it from those who are in a hurry. */
#include <stdlib.h>
#include "base/text.h"
#include "certificates/verify_internal.h"
#include "http/multipart.h"

enum {
    FILES_MAX = 32,         /* whole ones of [register] max_file bytes in memory at once */
    FORM_MORE = 64 * 1024,  /* bytes of a form around its file */
    ROOM_FIRST = 16 * 1024, /* bytes; doubled as they come */
    KINDS = DIGEST_CRC32 + 1
};

/* -- the form ---------------------------------------------------------------------------------- */

/* Leaves the first file of the form at the front of the body: what comes out of a form is never
 * longer than what went in so far. */
static void unwrap(struct verification *verification, struct multipart *multipart)
{
    struct buf *body = &verification->body;
    struct str bytes = buf_str(body);
    enum multipart_event event;
    size_t n = 0;
    bool in_file = false, found = false;
    while ((event = multipart_next(multipart, &bytes)) != MULTIPART_MORE) {
        if (event == MULTIPART_ERROR) {
            verification->malformed = multipart->error;
            return;
        }
        if (event == MULTIPART_PART)
            in_file = !found && multipart->part.is_file;
        if (event == MULTIPART_DATA && in_file) {
            memmove(body->p + n, multipart->data.p, multipart->data.n);
            n += multipart->data.n;
        }
        found |= event == MULTIPART_END && in_file && n != 0;
        in_file = in_file && event != MULTIPART_END;
    }
    if (!multipart_finished(multipart))
        verification->malformed = "the form ends before its last boundary";
    else if (!found)
        verification->malformed = "the form has no file";
    body->n = n;
}

/* -- signatures -------------------------------------------------------------------------------- */

/* A signature's content, and its digests of each kind that was asked for: several of our keys may
 * ask for the same. */
struct content {
    struct str before, after; /* the hole */
    bool made[KINDS];
    uint8_t digests[KINDS][DIGEST_MAX];
};

static void content_digest(void *arg, enum digest_kind kind, uint8_t *digest_r)
{
    struct content *content = arg;
    if (!content->made[kind]) {
        struct digest *digest = digest_create(kind);
        digest_update(digest, content->before.p, content->before.n);
        digest_update(digest, content->after.p, content->after.n);
        digest_finish(digest, content->digests[kind]);
        digest_destroy(&digest);
        content->made[kind] = true;
    }
    memcpy(digest_r, content->digests[kind], digest_size(kind));
}

static enum signature_found weigh(enum cms_verdict verdict)
{
    switch (verdict) {
    case CMS_GOOD:
        return SIGNATURE_GOOD;
    case CMS_ALTERED:
        return SIGNATURE_ALTERED;
    case CMS_BROKEN:
        return SIGNATURE_BROKEN;
    case CMS_FOREIGN:
        break;
    }
    return SIGNATURE_NONE;
}

/* The best that any of our keys says of one signature; cms_r: what it says. */
static enum signature_found check_one(const struct verify *verify, struct str pdf,
                                      const struct pdf_found_signature *found,
                                      struct cms_found *cms_r)
{
    enum signature_found best = SIGNATURE_NONE;
    struct content content = {
        .before = {pdf.p, found->hole_from},
        .after = {pdf.p + found->hole_to, found->end - found->hole_to},
    };
    uint8_t *der = h2o_mem_alloc((found->hole_to - found->hole_from) / 2 + 1);
    size_t n = pdf_read_contents(pdf, found, der);
    for (size_t i = 0; n != 0 && i < verify->needs.signer_count; i++) {
        struct cms_found cms;
        if (!cms_check(verify->needs.signers[i], (struct str){(char *)der, n}, content_digest,
                       &content, &cms))
            break; /* no other key makes it one */
        enum signature_found is = weigh(cms.verdict);
        if (is > best) {
            best = is;
            *cms_r = cms;
        }
    }
    free(der);
    return best;
}

/* Later signatures speak for more: of equally good ones the last counts. */
static void check_signatures(struct verification *verification, struct str pdf)
{
    struct file_findings *findings = &verification->findings;
    struct pdf_found_signature found[PDF_MAX_SIGNATURES];
    struct cms_found cms = {0};
    size_t count = pdf_find_signatures(pdf, found);
    for (size_t i = 0; i < count; i++) {
        struct cms_found one;
        enum signature_found is = check_one(verification->verify, pdf, &found[i], &one);
        if (is == SIGNATURE_NONE || is < findings->signature)
            continue;
        findings->signature = is;
        findings->to_the_end = found[i].end == pdf.n;
        cms = one;
    }
    verification->by_signature =
        findings->signature == SIGNATURE_GOOD || findings->signature == SIGNATURE_ALTERED;
    if (verification->by_signature) {
        sha256(cms.message_digest, digest_size(cms.digest_kind), verification->signed_sha256);
        return;
    }
    /* What was signed by a key that we have no more is still in the register. */
    for (size_t i = count; i-- > 0;)
        if (found[i].end < pdf.n)
            sha256(pdf.p, found[i].end, verification->fronts_sha256[verification->front_count++]);
}

/* -- the work ---------------------------------------------------------------------------------- */

static void look_at_file(struct offload_job *job)
{
    struct verification *verification = CONTAINER_OF(job, struct verification, job);
    if (verification->form != NULL)
        unwrap(verification, verification->form);
    verification->too_large =
        verification->body.n > verification->verify->needs.config->registry.max_file;
    if (verification->malformed != NULL || verification->too_large)
        return;
    struct str pdf = buf_str(&verification->body);
    sha256(pdf.p, pdf.n, verification->whole_sha256);
    check_signatures(verification, pdf);
}

static bool find_digest(struct verification *verification, enum certificate_by by,
                        const uint8_t digest[32])
{
    return verification_find(verification, by, (struct str){(const char *)digest, 32});
}

static void find_file(struct offload_job *job)
{
    struct verification *verification = CONTAINER_OF(job, struct verification, job);
    struct file_findings *findings = &verification->findings;
    findings->whole_known = find_digest(verification, BY_SHA256, verification->whole_sha256);
    if (findings->whole_known)
        return;
    if (verification->by_signature)
        find_digest(verification, BY_SIGNED, verification->signed_sha256);
    for (size_t i = 0; i < verification->front_count && !findings->front_known; i++)
        findings->front_known =
            find_digest(verification, BY_SHA256, verification->fronts_sha256[i]);
}

static void looked_at(struct verification *verification)
{
    buf_fini(&verification->body);
    buf_init(&verification->body, 0);
    if (verification->malformed != NULL || verification->too_large)
        verification_reply(verification);
    else
        verification_start(verification, verification->verify->needs.reads, find_file,
                           verification_reply);
}

/* Memory is what is short, and who sends slowly has taken little of it: so bytes are counted as
 * they come, and a few clients that send nothing keep nobody else from verifying. */
static bool take_memory(struct verification *verification, size_t n)
{
    struct verify *verify = verification->verify;
    uint64_t max = FILES_MAX * (verify->needs.config->registry.max_file + FORM_MORE);
    verification->memory += n;
    return atomic_fetch_add(&verify->memory, n) + n <= max;
}

static size_t next_growth(const struct buf *body)
{
    size_t more = body->capacity < ROOM_FIRST ? ROOM_FIRST : body->capacity;
    return more < body->max - body->n ? more : body->max - body->n;
}

static void refuse_full(struct http_request *request)
{
    static const struct http_problem full = {.status = 503,
                                             .type = "overloaded",
                                             .title = "Too many files are being verified",
                                             .retry_after_s = 5};
    http_problem_reply(request, &full);
}

static char *body_room(struct http_body_reader *reader, size_t *n_r)
{
    struct verification *verification = CONTAINER_OF(reader, struct verification, reader);
    struct buf *body = &verification->body;
    if (body->n == body->capacity) {
        bool has_room = buf_reserve(body, next_growth(body));
        gw_assert(has_room);
    }
    *n_r = body->capacity - body->n;
    return body->p + body->n;
}

static void body_got(struct http_body_reader *reader, size_t n)
{
    struct verification *verification = CONTAINER_OF(reader, struct verification, reader);
    struct buf *body = &verification->body;
    body->n += n;
    if (body->n == body->capacity && body->n < body->max &&
        !take_memory(verification, next_growth(body)))
        refuse_full(verification->request);
}

static void body_end(struct http_body_reader *reader, enum http_body_end how)
{
    struct verification *verification = CONTAINER_OF(reader, struct verification, reader);
    struct http_request *request = verification->request;
    if (how != BODY_WHOLE) {
        http_body_refuse(request, how);
        return;
    }
    if (verification->body.n == 0)
        verification->malformed = "it has no body";
    verification_start(verification, verification->verify->needs.compute, look_at_file, looked_at);
}

/* False: it was refused. */
static bool read_type(struct http_request *request, struct verification *verification)
{
    static const struct http_problem unsupported = {
        .status = 415,
        .type = "unsupported-media-type",
        .title = "Only a PDF can be verified",
        .detail = {"send application/pdf, or a form with one file", 44}};
    struct str type = http_header(request, STR("content-type")), media = type;
    media = next_item(&media, ';');
    if (media.n == 0 || str_caseeq(media, STR("application/pdf")) ||
        str_caseeq(media, STR("application/octet-stream")))
        return true;
    if (str_caseeq(media, STR("multipart/form-data"))) {
        verification->form = h2o_mem_alloc(sizeof(*verification->form));
        if (multipart_init(verification->form, type))
            return true;
        verification->malformed = "the form has no boundary";
        http_problem_reply(request,
                           &(struct http_problem){.status = 400,
                                                  .type = "malformed-form",
                                                  .title = "This form is malformed",
                                                  .detail = str_from(verification->malformed)});
        return false;
    }
    http_problem_reply(request, &unsupported);
    return false;
}

void verify_file(struct http_request *request, void *arg)
{
    struct verify *verify = arg;
    struct verification *verification = verification_create(request, verify);
    uint64_t max = verify->needs.config->registry.max_file;
    verification->is_file = true;
    if (!read_type(request, verification))
        return;
    if (verification->form != NULL)
        max += FORM_MORE;
    if (!take_memory(verification, ROOM_FIRST)) {
        refuse_full(request);
        return;
    }
    buf_init(&verification->body, max + 1); /* room is asked for at the end, too */
    verification->reader = (struct http_body_reader){body_room, body_got, body_end};
    http_body_read(request, &verification->reader, max);
}
