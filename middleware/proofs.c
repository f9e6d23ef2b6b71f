/* A proof is a job and a list of requests that wait for it. It lives until its thread is done, the
 * requests as long as their clients stay: whoever goes first is taken out of the other's list. */
#include "middleware/proofs.h"

#include <pthread.h>
#include <stdlib.h>
#include "base/siphash.h"
#include "middleware/internal.h"

struct slot {
    bool taken;
    uint64_t client;  /* a digest of its address */
    uint8_t code[32]; /* the same question on another loop doesn't count against the client */
};

struct proofs {
    struct offload *compute; /* borrowed */
    pthread_mutex_t lock;
    struct slot slots[PROOFS_MAX];              /* under `lock` */
    h2o_linklist_t asked[MIDDLEWARE_MAX_LOOPS]; /* a loop's own: struct proof.link */
};

struct proof {
    struct offload_job job;
    struct proofs *proofs;
    struct slot *slot;
    struct question *question; /* owned */
    h2o_linklist_t link, waiters;
    bool good;
};

struct waiter {
    h2o_linklist_t link; /* unlinked = nothing is waited for any more */
    struct http_request *request;
    proof_done_fn *done;
    void *arg;
};

struct proofs *proofs_create(struct offload *compute)
{
    struct proofs *proofs = calloc(1, sizeof(*proofs));
    gw_assert(proofs != NULL);
    proofs->compute = compute;
    pthread_mutex_init(&proofs->lock, NULL);
    for (size_t i = 0; i < COUNT(proofs->asked); i++)
        h2o_linklist_init_anchor(&proofs->asked[i]);
    return proofs;
}

void proofs_destroy(struct proofs **proofs)
{
    if (*proofs == NULL)
        return;
    pthread_mutex_destroy(&(*proofs)->lock);
    free(*proofs);
    *proofs = NULL;
}

/* -- slots ------------------------------------------------------------------------------------- */

/* NULL: none for this client. The lock is held for a walk along 64 slots, before a millisecond's
 * work. */
static struct slot *take_slot(struct proofs *proofs, uint64_t client, const uint8_t code[32])
{
    struct slot *empty = NULL;
    unsigned others = 0;
    pthread_mutex_lock(&proofs->lock);
    for (size_t i = 0; i < PROOFS_MAX; i++) {
        struct slot *slot = &proofs->slots[i];
        if (!slot->taken)
            empty = slot;
        else
            others += slot->client == client && memcmp(slot->code, code, 32) != 0;
    }
    if (others >= PROOFS_OF_CLIENT)
        empty = NULL;
    if (empty != NULL) {
        *empty = (struct slot){.taken = true, .client = client};
        memcpy(empty->code, code, 32);
    }
    pthread_mutex_unlock(&proofs->lock);
    return empty;
}

static void give_slot(struct proofs *proofs, struct slot *slot)
{
    pthread_mutex_lock(&proofs->lock);
    slot->taken = false;
    pthread_mutex_unlock(&proofs->lock);
}

/* -- a proof ----------------------------------------------------------------------------------- */

static void wipe(struct question *question)
{
    if (question->dispose != NULL)
        question->dispose(question);
    explicit_bzero(question, question->size);
    free(question);
}

static void work(struct offload_job *job)
{
    struct proof *proof = CONTAINER_OF(job, struct proof, job);
    proof->good = proof->question->answer(proof->question);
}

/* Nobody finds it any more; who waits is the caller's to tell. */
static void end(struct proof *proof)
{
    h2o_linklist_unlink(&proof->link);
    give_slot(proof->proofs, proof->slot);
    wipe(proof->question);
}

static struct waiter *next_waiter(struct proof *proof)
{
    struct waiter *waiter = CONTAINER_OF(proof->waiters.next, struct waiter, link);
    h2o_linklist_unlink(&waiter->link);
    return waiter;
}

static void done(struct offload_job *job)
{
    struct proof *proof = CONTAINER_OF(job, struct proof, job);
    end(proof);
    while (!h2o_linklist_is_empty(&proof->waiters)) {
        struct waiter *waiter = next_waiter(proof);
        waiter->done(waiter->request, proof->good, waiter->arg);
    }
    free(proof);
}

static void dropped(struct offload_job *job)
{
    struct proof *proof = CONTAINER_OF(job, struct proof, job);
    end(proof);
    while (!h2o_linklist_is_empty(&proof->waiters))
        next_waiter(proof); /* their connections end now, too */
    free(proof);
}

static struct proof *find(h2o_linklist_t *asked, const uint8_t code[32])
{
    for (h2o_linklist_t *at = asked->next; at != asked; at = at->next) {
        struct proof *proof = CONTAINER_OF(at, struct proof, link);
        if (memcmp(proof->question->code, code, 32) == 0)
            return proof;
    }
    return NULL;
}

/* NULL: too many, or the pool is full. Takes the question over when it isn't. */
static struct proof *start(struct proofs *proofs, struct http_request *request,
                           struct question *question)
{
    struct slot *slot = take_slot(proofs, siphash(request->client), question->code);
    if (slot == NULL)
        return NULL;
    struct proof *proof = h2o_mem_alloc(sizeof(*proof));
    *proof = (struct proof){
        .job = {.work = work, .done = done, .dropped = dropped, .loop = request->loop},
        .proofs = proofs,
        .slot = slot,
        .question = question};
    h2o_linklist_init_anchor(&proof->waiters);
    if (!offload_submit(proofs->compute, &proof->job)) {
        give_slot(proofs, slot);
        free(proof);
        return NULL;
    }
    h2o_linklist_insert(&proofs->asked[loop_index(request->loop)], &proof->link);
    return proof;
}

static void leave(void *memory)
{
    struct waiter *waiter = memory;
    if (h2o_linklist_is_linked(&waiter->link))
        h2o_linklist_unlink(&waiter->link);
}

static void refuse(struct http_request *request)
{
    request->flags = "UO";
    http_problem_reply(request, &(struct http_problem){.status = 503,
                                                       .type = "overloaded",
                                                       .title = "Too many are asking to be let in",
                                                       .detail = STR("Try again in a moment."),
                                                       .retry_after_s = 1});
}

void proofs_ask(struct proofs *proofs, struct http_request *request, struct question *question,
                proof_done_fn *on_done, void *arg)
{
    struct proof *proof = find(&proofs->asked[loop_index(request->loop)], question->code);
    if (proof != NULL) {
        wipe(question);
    } else {
        proof = start(proofs, request, question);
        if (proof == NULL) {
            wipe(question);
            refuse(request);
            return;
        }
    }
    struct waiter *waiter = h2o_mem_alloc_shared(request->pool, sizeof(*waiter), leave);
    *waiter = (struct waiter){.request = request, .done = on_done, .arg = arg};
    h2o_linklist_insert(&proof->waiters, &waiter->link);
}
