/* What the files of tus share: tus.c (who asks for what), tus_receive.c (bytes that come by PATCH,
 * or with the creation) and tus_reply.c (what is answered). Nobody else includes it. */
#ifndef GW_FILES_TUS_H
#define GW_FILES_TUS_H

#include "files/files_internal.h"
#include "files/lock.h"
#include "files/partial.h"
#include "files/tus_headers.h"

/* A request that works on an upload. What it began outlives it: the bytes of a client that has left
 * are still synced and recorded. So it is freed when both are over, its request's pool and its
 * work. Its loop's alone. */
struct tus {
    struct http_request *request; /* NULL: answered, or the client has left */
    struct upload_route *route;
    struct loop *loop;
    h2o_mem_pool_t pool; /* of what must outlive the request */
    unsigned refs;
    h2o_linklist_t link; /* among its loop's, until its work is over */
    unsigned method;     /* enum http_methods, after X-HTTP-Method-Override */
    struct lock *lock;
    bool waiting; /* for the lock */
    bool wanted;  /* somebody waits for the lock */
    struct partial partial;
    struct ticket ticket;
    uint64_t counted; /* bytes of the record, as the ticket knows of them */
    /* as announced */
    uint64_t size;   /* Upload-Length; UINT64_MAX = not known */
    uint64_t offset; /* Upload-Offset */
    bool has_checksum, has_body;
    struct tus_checksum checksum;
    /* tus_receive.c */
    struct spool spool;
    struct http_body_reader reader;
    struct digest *digest; /* of this request's bytes: owned; NULL without a checksum */
    bool spooling;         /* the spool is in use */
    bool receiving;        /* the body is being read */
    bool ended;            /* it ended as `how` says */
    bool saving;           /* a checkpoint is on its way */
    bool written;          /* all that was received is written, or can't be */
    enum http_body_end how;
    int write_error;
    uint64_t saved_ms;   /* when the last checkpoint began */
    struct timer let_go; /* runs once it is wanted */
};

/* -- tus.c -- */

/* The work is over: lets go of everything. */
void tus_end(struct tus *tus);
/* Tells the ticket what the record counts now. */
void tus_keep(struct tus *tus);

extern const struct http_problem tus_locked, tus_not_found, tus_too_large, tus_too_long;

/* -- tus_reply.c: each answers, if there still is somebody, and does nothing else -- */

extern const struct str tus_version;

/* 201 or 204: the offset is what partial says. */
void tus_answer(struct tus *tus);
void tus_answer_head(struct tus *tus);
void tus_answer_get(struct tus *tus);
void tus_answer_options(struct http_request *request, const struct upload_route *route);
void tus_refuse(struct tus *tus, const struct http_problem *problem);
void tus_refuse_result(struct tus *tus, enum storage_result result);
void tus_refuse_method(struct http_request *request, bool item);
/* Upload-Offset, for the answer that follows. */
void tus_add_offset(struct http_request *request, uint64_t offset);

/* -- tus_receive.c -- */

/* partial is open for writing, offset and lengths fit. Ends with tus_end(). */
void tus_receive(struct tus *tus);
/* The client has left. */
void tus_receive_left(struct tus *tus);
/* Somebody else wants to go on with it. */
void tus_receive_wanted(struct tus *tus);
/* partial is open for writing and has every byte. Ends with tus_end(). */
void tus_finish(struct tus *tus);

#endif
