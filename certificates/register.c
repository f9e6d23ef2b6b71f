/* What was issued: the codes by which it is found again, and the ways to the store. That two
 * requests for the same certificate never get two is the database's doing (its unique indexes), so
 * it holds for several processes too: who comes second is told REGISTER_EXISTS and takes what is
 * there. */
#include "certificates/register.h"

#include <semaphore.h>
#include <stdlib.h>
#include <h2o/memory.h>
#include "base/log.h"
#include "http/rate_limit.h"

struct registry {
    struct store *store;            /* borrowed */
    struct offload *reads;          /* borrowed */
    struct key fields, key, sender; /* of the codes */
};

struct registry *registry_create(struct store *store, struct offload *reads,
                                 const struct secret *secret)
{
    struct registry *registry = h2o_mem_alloc(sizeof(*registry));
    *registry = (struct registry){.store = store, .reads = reads};
    if (secret != NULL) {
        registry->fields = secret_key(secret, "certificate-fields");
        registry->key = secret_key(secret, "certificate-key");
        registry->sender = secret_key(secret, "certificate-key-sender");
    }
    return registry;
}

void registry_destroy(struct registry **registry)
{
    free(*registry);
    *registry = NULL;
}

/* -- codes -- */

enum { PARTS = 33 };

/* Many fields are taken in steps, each of which begins with the code of those before it. */
void registry_fields_code(const struct registry *registry, struct str route,
                          const struct field_value *fields, size_t count, uint8_t code_r[32])
{
    struct str parts[PARTS] = {route};
    size_t n = 1;
    uint8_t before[32];
    for (size_t i = 0; i < count; i++) {
        if (n == PARTS) {
            mac_make(&registry->fields, parts, n, before);
            parts[0] = (struct str){(const char *)before, sizeof(before)};
            n = 1;
        }
        parts[n++] = fields[i].name;
        parts[n++] = fields[i].value;
    }
    mac_make(&registry->fields, parts, n, code_r);
}

void registry_key_codes(const struct registry *registry, struct str route,
                        const struct key_sender *sender, struct str key,
                        struct certificate_key *key_r)
{
    bool has_user = sender->user.n != 0;
    uint64_t customer = has_user ? 0 : rate_client(sender->address);
    const struct str whole[] = {route, has_user ? sender->user : sender->address, key},
                     share[] = {has_user ? STR("token") : STR("address"),
                                has_user ? sender->user
                                         : (struct str){(const char *)&customer, sizeof(customer)}};
    mac_make(&registry->key, whole, COUNT(whole), key_r->key);
    mac_make(&registry->sender, share, COUNT(share), key_r->client);
}

/* -- finding -- */

static enum register_result result_of(enum store_result result)
{
    switch (result) {
    case STORE_OK:
        return REGISTER_OK;
    case STORE_ABSENT:
        return REGISTER_ABSENT;
    case STORE_EXISTS:
        return REGISTER_EXISTS;
    case STORE_QUOTA:
    case STORE_FULL:
        return REGISTER_FULL;
    case STORE_SHARE:
        return REGISTER_TOO_MANY;
    case STORE_BUSY:
        return REGISTER_BUSY;
    case STORE_FAILED:
        break;
    }
    return REGISTER_FAILED;
}

static enum store_result look(struct register_find *find, enum certificate_by by,
                              const uint8_t code[32])
{
    return store_find_certificate(find->registry->store, by, (struct str){(const char *)code, 32},
                                  &find->record, find->with_pdf ? &find->pdf : NULL);
}

static void find_on_disk(struct offload_job *job)
{
    static const uint8_t none[32];
    struct register_find *find = CONTAINER_OF(job, struct register_find, job);
    enum store_result result = STORE_ABSENT;
    if (memcmp(find->key, none, sizeof(none)) != 0)
        result = look(find, BY_KEY, find->key);
    find->by_key = result == STORE_OK;
    if (result == STORE_OK && memcmp(find->record.fields, find->fields, 32) != 0) {
        register_release(find);
        find->result = REGISTER_KEY_REUSED;
        return;
    }
    if (result == STORE_ABSENT)
        result = look(find, BY_FIELDS, find->fields);
    find->result = result_of(result);
}

static void found(struct offload_job *job)
{
    struct register_find *find = CONTAINER_OF(job, struct register_find, job);
    find->done(find);
}

bool register_find(struct registry *registry, struct register_find *find)
{
    find->registry = registry;
    find->record = (struct certificate_record){0};
    find->pdf = (struct str){NULL, 0};
    find->result = REGISTER_BUSY;
    find->by_key = false;
    find->job = (struct offload_job){
        .work = find_on_disk, .done = found, .dropped = found, .loop = find->loop};
    return offload_submit(registry->reads, &find->job);
}

void register_release(struct register_find *find)
{
    free(find->record.memory);
    free((char *)(uintptr_t)find->pdf.p);
    find->record = (struct certificate_record){0};
    find->pdf = (struct str){NULL, 0};
}

/* -- adding -- */

static void added(struct store_write *write)
{
    struct register_add *add = CONTAINER_OF(write, struct register_add, write);
    add->result = result_of(write->result);
    add->done(add);
}

bool register_add(struct registry *registry, struct register_add *add)
{
    add->result = REGISTER_BUSY;
    add->write = (struct store_write){.add_certificate = add->record,
                                      .certificate_pdf = add->pdf,
                                      .tie_key = add->key,
                                      .certificate_quota = add->quota,
                                      .done = added,
                                      .loop = add->loop};
    return store_submit(registry->store, &add->write);
}

/* -- changing -- */

struct waiting {
    struct store_write write;
    sem_t done;
};

static void changed(struct store_write *write)
{
    sem_post(&CONTAINER_OF(write, struct waiting, write)->done);
}

static enum store_result write_and_wait(struct store *store,
                                        const struct certificate_change *change)
{
    struct waiting waiting = {.write = {.change_certificate = change, .done = changed}};
    sem_init(&waiting.done, 0, 0);
    bool taken = store_submit(store, &waiting.write);
    while (taken && sem_wait(&waiting.done) != 0)
        ;
    sem_destroy(&waiting.done);
    return taken ? waiting.write.result : STORE_BUSY;
}

/* Why it didn't become so; NULL: it was so already. */
static const char *refusal(const struct certificate_change *change,
                           const struct certificate_record *record)
{
    if (record->status == CERTIFICATE_REVOKED)
        return change->status == CERTIFICATE_REVOKED ? NULL : "it is revoked, and stays so";
    if (record->status == CERTIFICATE_VALID || record->superseded_by.n == 0)
        return change->superseded_by.n == 0
                   ? NULL
                   : "what supersedes it must be another certificate that is valid";
    return change->superseded_by.n == 0 || str_eq(change->superseded_by, record->superseded_by)
               ? NULL
               : "another certificate supersedes it";
}

enum register_result register_change(struct store *store, const struct certificate_change *change,
                                     struct certificate_record *record_r, const char **why_r)
{
    *record_r = (struct certificate_record){0};
    *why_r = NULL;
    enum store_result written = write_and_wait(store, change), read;
    if (written != STORE_OK && written != STORE_EXISTS)
        return result_of(written);
    if ((read = store_find_certificate(store, BY_SERIAL, change->serial, record_r, NULL)) !=
        STORE_OK)
        return result_of(read);
    if (written == STORE_OK) {
        bool revoked = change->status == CERTIFICATE_REVOKED;
        log_event(LOG_INFO, revoked ? "certificate revoked" : "certificate superseded",
                  "serial=%.*s route=%s", (int)record_r->serial.n, record_r->serial.p,
                  log_quote(record_r->route));
        return REGISTER_OK;
    }
    *why_r = refusal(change, record_r);
    if (*why_r == NULL)
        return REGISTER_OK;
    free(record_r->memory);
    *record_r = (struct certificate_record){0};
    return REGISTER_CONFLICT;
}
