/* The register: what was issued for the same fields, or with the same Idempotency-Key, is found and
 * sent again; what is new is on the disk before it is sent, be it a certificate or a key that came
 * for one that was there.
 *
 * Drawing or signing for long is worth a look into the register first. What costs microseconds is
 * drawn at once: the database itself tells, as it adds the row, that there is one already. */
#include "certificates/issue_internal.h"

enum { ROUNDS_MAX = 3 }; /* between a row that is there and one that can't be found */

static void write_fields_code(const struct issue *issue, uint8_t code_r[32])
{
    const struct section *section = issue->section;
    registry_fields_code(section->all->registry, section->config->name, issue->values,
                         section->fields->count, code_r);
}

static void write_key_codes(const struct issue *issue, struct certificate_key *key_r)
{
    const struct key_sender sender = {issue->request->user, issue->request->client};
    registry_key_codes(issue->section->all->registry, issue->section->config->name, &sender,
                       issue->key, key_r);
}

/* -- finding ----------------------------------------------------------------------------------- */

static enum issue_next refuse_gone(struct issue *issue, const struct certificate_record *record)
{
    if (record->status == CERTIFICATE_REVOKED)
        return issue_refuse(issue, 410, "certificate-revoked", "This certificate was revoked",
                            STR("its verify page says when and why"));
    return issue_refuse(issue, 410, "certificate-superseded",
                        "This certificate was replaced by another one", record->superseded_by);
}

static enum issue_next refuse_result(struct issue *issue, enum register_result result)
{
    switch (result) {
    case REGISTER_KEY_REUSED:
        return issue_refuse(issue, 422, "idempotency-key-reused",
                            "This Idempotency-Key was used for other fields", STR(""));
    case REGISTER_FULL:
        return issue_refuse(issue, 507, "register-full", "There is no room for more certificates",
                            STR("nothing was issued"));
    case REGISTER_TOO_MANY:
        return issue_refuse_keys(issue);
    case REGISTER_BUSY:
        return issue_refuse_busy(issue);
    default:
        return issue_refuse_broken(issue);
    }
}

static enum issue_next refuse_prefetch(struct issue *issue)
{
    return issue_refuse(issue, 403, "prefetch-refused",
                        "A certificate is issued when somebody asks for it, not ahead of that",
                        STR(""));
}

/* Gives the step's outcome to whoever goes on. */
static void found(struct register_find *find)
{
    struct issue_work *work = CONTAINER_OF(find, struct issue_work, find);
    struct issue *issue = work->issue;
    work->found = find->result == REGISTER_OK;
    if (issue == NULL) {
        issue_work_end(work);
        return;
    }
    enum issue_next next = ISSUE_NEXT;
    if (work->found && find->record.status != CERTIFICATE_VALID) {
        next = refuse_gone(issue, &find->record);
    } else if (work->found) {
        char serial[SERIAL_ROOM] = "";
        gw_assert(find->record.serial.n < sizeof(serial));
        memcpy(serial, find->record.serial.p, find->record.serial.n);
        issue_make_fields(issue, serial, find->record.issued_ms);
        memcpy(issue->sha256, find->record.sha256, sizeof(issue->sha256));
        issue_go_to_keep(issue);
    } else if (find->result != REGISTER_ABSENT) {
        next = refuse_result(issue, find->result);
    } else if (issue->prefetch) {
        next = refuse_prefetch(issue);
    }
    if (next == ISSUE_NEXT)
        issue_work_end(work);
    else
        h2o_mem_release_shared(work);
}

enum issue_next issue_find(struct issue *issue)
{
    const struct section *section = issue->section;
    if (!section->config->registered)
        return issue->prefetch ? refuse_prefetch(issue) : ISSUE_NEXT;
    if (!section->heavy && !issue->must_find && !issue->prefetch)
        return ISSUE_NEXT;
    struct issue_work *work = issue_work(issue);
    work->find =
        (struct register_find){.with_pdf = true, .done = found, .loop = issue->request->loop};
    write_fields_code(issue, work->find.fields);
    if (issue->key.n != 0) {
        write_key_codes(issue, &work->key);
        memcpy(work->find.key, work->key.key, sizeof(work->find.key));
    }
    if (!register_find(section->all->registry, &work->find))
        return issue_refuse_busy(issue);
    issue_work_begin(work);
    return ISSUE_WAITS;
}

/* -- keeping ----------------------------------------------------------------------------------- */

/* A JSON object of what the verify page shows, in the work's pool. */
static struct str shown(const struct issue *issue, h2o_mem_pool_t *pool)
{
    const struct section *section = issue->section;
    size_t count = section->config->show.count;
    struct out out;
    out_init(&out, pool, 256);
    for (size_t i = 0; i < count; i++) {
        const struct field_value *value = &issue->values[section->shown[i]];
        out_str(&out, i == 0 ? STR("{\"") : STR(",\""));
        out_json_escaped(&out, value->name);
        out_str(&out, STR("\":\""));
        out_json_escaped(&out, value->value);
        out_str(&out, STR("\""));
    }
    out_str(&out, count == 0 ? STR("{}") : STR("}"));
    return out_joined(&out);
}

static void kept(struct register_add *add)
{
    struct issue_work *work = CONTAINER_OF(add, struct issue_work, add);
    struct issue *issue = work->issue;
    bool moved = add->result == REGISTER_EXISTS || add->result == REGISTER_ABSENT;
    if (issue == NULL || add->result == REGISTER_OK) {
        issue_work_end(work);
    } else if (moved && ++issue->rounds < ROUNDS_MAX) {
        issue->must_find = true;
        buf_clear(&work->pdf);
        if (work->found)
            register_release(&work->find);
        work->found = false;
        issue_go_to_find(issue);
        issue_work_end(work);
    } else {
        refuse_result(issue, moved ? REGISTER_BUSY : add->result);
        h2o_mem_release_shared(work);
    }
}

static void write_record(struct issue *issue, struct certificate_record *record)
{
    const struct section *section = issue->section;
    struct issue_work *work = issue->work;
    h2o_iovec_t serial = h2o_strdup(&work->pool, issue->serial, SIZE_MAX);
    *record = (struct certificate_record){.serial = {serial.base, serial.len},
                                          .route = section->config->name,
                                          .shown = shown(issue, &work->pool),
                                          .size = work->pdf.n,
                                          .issued_ms = issue->when_ms,
                                          .status = CERTIFICATE_VALID,
                                          .reason = STR(""),
                                          .superseded_by = STR("")};
    write_fields_code(issue, record->fields);
    memcpy(record->sha256, issue->sha256, sizeof(issue->sha256));
    memcpy(record->signed_sha256, work->signed_sha256, sizeof(work->signed_sha256));
}

enum issue_next issue_keep(struct issue *issue)
{
    const struct section *section = issue->section;
    struct issue_work *work = issue->work;
    if (!section->config->registered)
        return ISSUE_NEXT;
    bool ties = issue->key.n != 0 && !(work->found && work->find.by_key);
    if (work->found && !ties)
        return ISSUE_NEXT;
    work->add = (struct register_add){
        .quota = section->config->quota, .done = kept, .loop = issue->request->loop};
    if (!work->found) {
        write_record(issue, &work->record);
        work->add.record = &work->record;
        work->add.pdf = buf_str(&work->pdf);
    }
    if (ties) {
        write_key_codes(issue, &work->key);
        work->key.serial = work->found ? work->find.record.serial : work->record.serial;
        work->key.made_ms = clock_unix_ms();
        work->add.key = &work->key;
    }
    if (!register_add(section->all->registry, &work->add))
        return issue_refuse_busy(issue);
    issue_work_begin(work);
    return ISSUE_WAITS;
}
