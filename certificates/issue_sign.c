/* Signing, and the authority's time stamp between signing and writing the signature down. What
 * computes runs on a thread of `compute`; the authority is asked by the loop's own client.
 *
 * The document has a hole where the signature goes. Without an authority it is filled right after
 * drawing, by the same job. With one: draw and sign (a job), ask (the loop), check the answer and
 * fill the hole (another job). */
#include <stdio.h>
#include <stdlib.h>
#include "base/log.h"
#include "certificates/issue_internal.h"

enum { ANSWER_MAX = 64 * 1024, LOG_EVERY_MS = 60 * 1000 };

/* -- on a compute thread ----------------------------------------------------------------------- */

static void fill(struct issue_work *work, struct str token)
{
    uint8_t *der = h2o_mem_alloc(signer_size(work->section->signer) + TIMESTAMP_MAX);
    size_t n = cms_write(&work->cms, token, der);
    pdf_sign_fill(&work->pdf, work->hole, der, n);
    free(der);
}

bool issue_sign_here(struct issue_work *work)
{
    const struct section *section = work->section;
    struct pdf_signature signature = section->signature;
    uint8_t digest[DIGEST_MAX];
    const char *error;
    enum digest_kind kind = signer_digest(section->signer);
    signature.when_s = work->drawing.when_s;
    signature.serial = work->drawing.serial;
    if (!pdf_sign_prepare(&work->pdf, &signature, &work->hole, &error)) {
        log_event(LOG_ERROR, "a certificate can't be signed", "certificate=%s reason=%s",
                  log_quote(section->config->name), log_quote(str_from(error)));
        return false;
    }
    pdf_sign_digest(&work->pdf, work->hole, kind, digest);
    sha256(digest, digest_size(kind), work->signed_sha256);
    cms_sign(section->signer, digest, &work->cms);
    if (section->authority != NULL)
        timestamp_ask(&work->cms, &work->query);
    else
        fill(work, (struct str){NULL, 0});
    return true;
}

/* An authority that is away is away for every certificate: one line a minute. */
static void log_without(const struct section *section, const char *reason)
{
    struct section *own = (struct section *)(uintptr_t)section;
    uint64_t now_ms = clock_us() / 1000, last = atomic_load(&own->stamp_logged_ms);
    if (last != 0 && now_ms - last < LOG_EVERY_MS)
        return;
    if (!atomic_compare_exchange_strong(&own->stamp_logged_ms, &last, now_ms))
        return;
    bool goes_on = section->config->sign.without_timestamp == WITHOUT_TIMESTAMP_SIGN;
    log_event(LOG_WARN,
              goes_on ? "a certificate is signed without a time stamp"
                      : "a certificate was not issued for want of a time stamp",
              "certificate=%s authority=%s reason=%s", log_quote(section->config->name),
              log_quote(section->config->sign.timestamp), log_quote(str_from(reason)));
}

static void seal_work(struct offload_job *job)
{
    struct issue_work *work = CONTAINER_OF(job, struct issue_work, job);
    const struct config_sign *config = &work->section->config->sign;
    struct str token = {NULL, 0};
    const char *error = NULL;
    int64_t when_s;
    if (work->answer.p != NULL &&
        !timestamp_take(&work->query, work->answer, &token, &when_s, &error)) {
        token = (struct str){NULL, 0};
        log_without(work->section, error);
        work->stamp_refused = config->without_timestamp == WITHOUT_TIMESTAMP_FAIL;
    }
    if (work->stamp_refused)
        return;
    fill(work, token);
    sha256(work->pdf.p, work->pdf.n, work->sha256);
}

/* -- on the loop ------------------------------------------------------------------------------- */

static enum issue_next refuse_stamp(struct issue *issue, int status, const char *detail)
{
    return issue_refuse(issue, status, "no-timestamp",
                        "The time stamp authority gave no time stamp", str_from(detail));
}

/* Away, or its answer none. */
static void without_answer(struct issue *issue, int status, const char *reason)
{
    const struct section *section = issue->section;
    log_without(section, reason);
    if (section->config->sign.without_timestamp == WITHOUT_TIMESTAMP_FAIL)
        refuse_stamp(issue, status, "nothing was issued; try again later");
    else
        issue_go_on(issue);
}

static void answered(struct up_call *call, const struct up_result *result, void *arg)
{
    static const int statuses[] = {
        [UP_ANSWERED] = 502, [UP_TIMEOUT] = 504, [UP_FAILED] = 502, [UP_SHED] = 503};
    struct issue *issue = arg;
    struct issue_work *work = issue->work;
    char reason[160];
    enum up_end end = result->end;
    bool good = end == UP_ANSWERED && result->status == 200 && result->body.n != 0 &&
                result->body.n <= ANSWER_MAX;
    if (good) {
        h2o_iovec_t kept = h2o_strdup(&work->pool, result->body.p, result->body.n);
        work->answer = (struct str){kept.base, kept.len};
    } else if (end == UP_ANSWERED) {
        snprintf(reason, sizeof(reason), "it answered with status %d and %zu bytes", result->status,
                 result->body.n);
    } else {
        snprintf(reason, sizeof(reason), "%s %s",
                 end == UP_TIMEOUT ? "timeout"
                 : end == UP_SHED  ? "too many calls under way"
                                   : result->error,
                 result->detail);
    }
    work->call = NULL;
    up_call_release(&call);
    if (good)
        issue_go_on(issue);
    else
        without_answer(issue, statuses[end], reason);
}

enum issue_next issue_stamp(struct issue *issue)
{
    static const struct up_header headers[] = {
        {STR("content-type"), STR("application/timestamp-query")},
        {STR("accept"), STR("application/timestamp-reply")}};
    const struct section *section = issue->section;
    if (section->authority == NULL)
        return ISSUE_NEXT;
    struct issue_work *work = issue->work;
    struct up_client *client = section->all->clients[loop_index(issue->request->loop)];
    const struct up_request request = {.upstream = section->authority,
                                       .target = section->config->sign.timestamp_path,
                                       .headers = headers,
                                       .header_count = COUNT(headers),
                                       .method = "POST",
                                       .body = {(const char *)work->query.der, work->query.n},
                                       .trace = issue->request->trace};
    work->answer = (struct str){NULL, 0};
    work->call = up_call_start(client, &request, answered, issue);
    return ISSUE_WAITS;
}

static void seal_done(struct offload_job *job)
{
    struct issue_work *work = CONTAINER_OF(job, struct issue_work, job);
    struct issue *issue = work->issue;
    if (issue != NULL && work->stamp_refused) {
        refuse_stamp(issue, 502, "its answer is not one; nothing was issued");
        h2o_mem_release_shared(work);
        return;
    }
    if (issue != NULL)
        memcpy(issue->sha256, work->sha256, sizeof(issue->sha256));
    issue_work_end(work);
}

enum issue_next issue_seal(struct issue *issue)
{
    const struct section *section = issue->section;
    if (section->authority == NULL)
        return ISSUE_NEXT;
    struct issue_work *work = issue->work;
    work->job = (struct offload_job){.work = seal_work,
                                     .done = seal_done,
                                     .dropped = issue_work_dropped,
                                     .loop = issue->request->loop};
    if (!offload_submit(section->all->needs.compute, &work->job))
        return issue_refuse_busy(issue);
    issue_work_begin(work);
    return ISSUE_WAITS;
}
