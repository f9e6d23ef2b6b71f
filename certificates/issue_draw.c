/* Drawing. A template that is filled in by copying costs microseconds and is drawn here, on the
 * loop, straight into the reply when nothing else needs the bytes. One that is rendered, a large
 * one that is kept, for its digest takes a while, and every signature go to a thread of `compute`,
 * whose queue is bounded: full means busy. */
#include <stdio.h>
#include "base/text.h"
#include "certificates/issue_internal.h"
#include "observe/metrics.h"

/* -- copies for a thread ----------------------------------------------------------------------- */

static struct str copied(h2o_mem_pool_t *pool, struct str text)
{
    if (text.n == 0)
        return STR("");
    h2o_iovec_t copy = h2o_strdup(pool, text.p, text.n);
    return (struct str){copy.base, copy.len};
}

static void copy_drawing(struct issue_work *work, const struct drawing *from)
{
    struct field_value *fields =
        h2o_mem_alloc_pool(&work->pool, from->field_count * sizeof(*fields));
    for (size_t i = 0; i < from->field_count; i++) /* names are the configuration's */
        fields[i] =
            (struct field_value){from->fields[i].name, copied(&work->pool, from->fields[i].value)};
    work->drawing = (struct drawing){.fields = fields,
                                     .field_count = from->field_count,
                                     .title = copied(&work->pool, from->title),
                                     .verify_url = copied(&work->pool, from->verify_url),
                                     .serial = copied(&work->pool, from->serial),
                                     .when_s = from->when_s};
}

/* -- what came of it --------------------------------------------------------------------------- */

/* The character as it stands in the value. */
static struct str character_of(const struct issue *issue, const struct draw_problem *problem)
{
    for (size_t i = 0; i < issue->section->value_count; i++) {
        struct str value = issue->values[i].value;
        if (!str_eq(issue->values[i].name, problem->field))
            continue;
        for (const char *p = value.p, *end = p + value.n; p != end; p += utf8_length(p, end))
            if (utf8_decode(p, utf8_length(p, end)) == problem->character)
                return (struct str){p, utf8_length(p, end)};
    }
    return STR("");
}

static bool is_of_request(const struct fields *fields, struct str name)
{
    for (size_t i = 0; i < fields->count; i++)
        if (str_eq(fields->items[i].config->name, name))
            return fields->items[i].from != FIELD_PART && fields->items[i].from != FIELD_CONSTANT;
    return false;
}

/* A value that the template can't show: the request's fault, unless a service gave it. */
static enum issue_next refuse_value(struct issue *issue, const struct draw_problem *problem)
{
    struct str character = character_of(issue, problem);
    struct out out;
    char code[24];
    int code_n = snprintf(code, sizeof(code), " (U+%04X)", (unsigned)problem->character);
    bool of_request = is_of_request(issue->section->fields, problem->field);
    out_init(&out, issue->request->pool, 256);
    if (!of_request) {
        out_str(&out, STR("the field "));
        out_str(&out, problem->field);
        out_str(&out, STR(" "));
    }
    out_str(&out, STR("has a character that this certificate can't show: "));
    out_str(&out, character);
    out_write(&out, code, (size_t)code_n);
    struct field_fault fault = {problem->field, out_joined(&out)};
    const struct field_faults faults = {&fault, 1};
    if (of_request)
        return issue_refuse_fields(issue, &faults);
    return issue_refuse(issue, 502, "field-unusable", "A field can't be shown on the certificate",
                        fault.detail);
}

static void count_drawing(const struct section *section, uint64_t us)
{
    const struct str labels[] = {section->config->name};
    metric_observe(METRIC_CERTIFICATE_DRAWING, us, labels, COUNT(labels));
}

static enum issue_next judge(struct issue *issue, enum draw_result drawn,
                             const struct draw_problem *problem)
{
    if (drawn == DRAW_CANT_SHOW)
        return refuse_value(issue, problem);
    return drawn == DRAW_OK ? ISSUE_NEXT : issue_refuse_broken(issue);
}

/* -- on a thread ------------------------------------------------------------------------------- */

static void draw_work(struct offload_job *job)
{
    struct issue_work *work = CONTAINER_OF(job, struct issue_work, job);
    const struct section *section = work->section;
    uint64_t began_us = clock_us();
    work->drawn = cert_template_draw(section->template, &work->drawing, &work->pdf, &work->problem);
    if (work->drawn == DRAW_OK && section->signer != NULL && !issue_sign_here(work))
        work->drawn = DRAW_FAILED;
    if (work->drawn == DRAW_OK && section->authority == NULL)
        sha256(work->pdf.p, work->pdf.n, work->sha256);
    work->drawing_us = clock_us() - began_us;
}

static void draw_done(struct offload_job *job)
{
    struct issue_work *work = CONTAINER_OF(job, struct issue_work, job);
    struct issue *issue = work->issue;
    count_drawing(work->section, work->drawing_us);
    if (issue != NULL) {
        enum issue_next next = judge(issue, work->drawn, &work->problem);
        if (next != ISSUE_NEXT) {
            h2o_mem_release_shared(work);
            return;
        }
        memcpy(issue->sha256, work->sha256, sizeof(issue->sha256));
    }
    issue_work_end(work);
}

static enum issue_next draw_on_thread(struct issue *issue)
{
    struct issue_work *work = issue_work(issue);
    copy_drawing(work, &issue->drawing);
    work->job = (struct offload_job){.work = draw_work,
                                     .done = draw_done,
                                     .dropped = issue_work_dropped,
                                     .loop = issue->request->loop};
    if (!offload_submit(issue->section->all->needs.compute, &work->job))
        return issue_refuse_busy(issue);
    issue_work_begin(work);
    return ISSUE_WAITS;
}

/* -- on the loop ------------------------------------------------------------------------------- */

static enum issue_next draw_into_reply(struct issue *issue)
{
    struct draw_problem problem;
    out_init(&issue->out, issue->request->pool, 0);
    enum draw_result drawn =
        cert_template_write(issue->section->template, &issue->drawing, &issue->out, &problem);
    return judge(issue, drawn, &problem);
}

static enum issue_next draw_here(struct issue *issue)
{
    struct issue_work *work = issue_work(issue);
    work->drawn =
        cert_template_draw(issue->section->template, &issue->drawing, &work->pdf, &work->problem);
    if (work->drawn == DRAW_OK) {
        sha256(work->pdf.p, work->pdf.n, issue->sha256);
        memcpy(work->sha256, issue->sha256, sizeof(work->sha256));
    }
    return judge(issue, work->drawn, &work->problem);
}

enum issue_next issue_draw(struct issue *issue)
{
    const struct section *section = issue->section;
    if (section->heavy)
        return draw_on_thread(issue);
    uint64_t began_us = clock_us();
    enum issue_next next = section->config->registered ? draw_here(issue) : draw_into_reply(issue);
    count_drawing(section, clock_us() - began_us);
    return next;
}
