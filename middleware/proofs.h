/* What takes a thread about a millisecond and anybody can ask for: is this the password, is this
 * the signature. A loop hands it to the offload pool `compute`, which others use too, so it is
 * bounded twice: for the whole process, and for each client, so that a flood of wrong passwords
 * from one place is refused (503) while others get in. Requests of a loop that ask the same wait
 * for one answer: a page's first load asks once. */
#ifndef GW_MIDDLEWARE_PROOFS_H
#define GW_MIDDLEWARE_PROOFS_H

#include "base/offload.h"
#include "http/http.h"

enum {
    PROOFS_MAX = 64,     /* under way in the whole process */
    PROOFS_OF_CLIENT = 8 /* of these, different ones of one client */
};

struct proofs;
struct proofs *proofs_create(struct offload *compute);
/* No loop uses it any more, and the pool has stopped. */
void proofs_destroy(struct proofs **proofs);

/* What is asked, in memory of malloc() that proofs_ask() takes over, whatever comes of it. */
struct question {
    uint8_t code[32]; /* the same code = the same question; nobody else can make one */
    bool (*answer)(struct question *question);  /* on a thread */
    void (*dispose)(struct question *question); /* on the loop; NULL: there is nothing more to it */
    size_t size;                                /* of it all: wiped before it is freed */
};
/* On the request's loop, once, and not when the client has left by then. */
typedef void proof_done_fn(struct http_request *request, bool good, void *arg);

/* Asks. done() is called later, never from inside; `arg` lives as long as the request's pool. When
 * too much is asked, 503 is replied at once instead. */
void proofs_ask(struct proofs *proofs, struct http_request *request, struct question *question,
                proof_done_fn *done, void *arg);

#endif
