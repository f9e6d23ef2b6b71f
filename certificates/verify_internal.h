/* What verify.c and verify_file.c share: one request on its way through the offload. */
#ifndef GW_CERTIFICATES_VERIFY_INTERNAL_H
#define GW_CERTIFICATES_VERIFY_INTERNAL_H

#include <stdatomic.h>
#include "base/buf.h"
#include "certificates/pdf_read.h"
#include "certificates/verdict.h"
#include "certificates/verify.h"
#include "certificates/verify_page.h"

struct control;
struct multipart;

struct verify {
    struct verify_needs needs;
    struct str url, path; /* without a final '/'; path points into url */
    char *patterns[3];    /* owned */
    int serial;           /* place of the route's parameter */
    struct verify_page *page;
    struct http_rate *rate;
    struct control *control;
    _Atomic uint64_t memory; /* bytes of files that are being sent or looked at */
};

/* Of one request. Freed once neither the request nor a thread needs it: a client may leave while a
 * thread is at work. Everything but work() is on the request's loop. */
struct verification {
    struct verify *verify;
    struct http_request *request; /* NULL: the client has left */
    bool working;                 /* a thread has it */
    struct offload_job job;
    void (*then)(struct verification *verification); /* after the job */
    char serial[SERIAL_ROOM]; /* as asked for, or of the file's record; "" = none */

    struct certificate_record record; /* `memory` NULL: none */
    enum store_result result;         /* STORE_OK, also when there is no record */

    /* a file's */
    struct http_body_reader reader;
    bool is_file;
    struct multipart *form; /* NULL: the body is the file */
    const char *malformed;  /* what is wrong with the form; NULL = nothing */
    bool too_large;
    struct buf body;
    uint64_t memory; /* its part of verify->memory */
    struct file_findings findings;
    bool by_signature; /* the signature tells which certificate it is, or that it is ours */
    /* What the register is asked for: the digests of the whole file, of what our signature signed
     * when there is one, else of the file's fronts up to the ends of others. */
    uint8_t whole_sha256[32], signed_sha256[32], fronts_sha256[PDF_MAX_SIGNATURES][32];
    size_t front_count;
};

struct verification *verification_create(struct http_request *request, struct verify *verify);
/* Hands it to a thread; when that has done its work: then(), unless the client left meanwhile, on
 * the loop. False: 503 was replied. */
bool verification_start(struct verification *verification, struct offload *offload,
                        void (*work)(struct offload_job *job),
                        void (*then)(struct verification *verification));
/* Says what was found, or what is wrong with the file. */
void verification_reply(struct verification *verification);
/* Looks into the register; not on a loop. Whether a record was found; there is none yet. */
bool verification_find(struct verification *verification, enum certificate_by by, struct str what);

/* The handler of POST PATH/verify (verify_file.c); arg: the struct verify. */
void verify_file(struct http_request *request, void *arg);

#endif
