/* A form or a raw body on its way into an upload's directory: between upload.c, which knows its
 * life, upload_form.c, which knows what is in a form, and upload_reply.c, which tells the end. */
#ifndef GW_FILES_UPLOAD_INTERNAL_H
#define GW_FILES_UPLOAD_INTERNAL_H

#include "files/files_internal.h"
#include "http/multipart.h"

enum {
    UPLOAD_NAME_MAX = MULTIPART_NAME_MAX,
    UPLOAD_FORM_SLACK = 1024 * 1024 /* bytes of a form that aren't its files' */
};

struct upload_form;
struct upload_answer;

/* Jobs and the store may have it longer than the request lives, so it has memory of its own. It
 * goes once its spool is idle and no commit is under way. On its loop, but for what says otherwise.
 */
struct upload {
    struct upload_route *route;
    struct loop *loop;
    h2o_mem_pool_t pool;
    h2o_linklist_t link;          /* among its loop's, until it is freed */
    struct upload_answer *answer; /* NULL: nobody waits for one */
    struct upload_form *form;     /* NULL: a raw body */
    struct spool spool;
    struct ticket ticket;
    struct digest_fields expected; /* of the body */
    struct incoming **files;
    size_t count, capacity;
    uint64_t bytes; /* of all files */
    struct str owner, fields;
    struct storage_commit commit;
    enum storage_result result; /* why there was no commit */
    bool idle;                  /* the spool is, for good */
    bool committing;
};

/* -- upload.c */

/* The request that waits for an answer. */
struct http_request *upload_request(const struct upload *upload);
/* Adds a file; name: in the upload's pool. */
struct incoming *upload_add_file(struct upload *upload, struct str name);
/* The next bytes of it, which lie in the spool's room or came before. False: the upload is over,
 * and gone. */
bool upload_keep(struct upload *upload, struct incoming *file, struct str bytes);
/* The upload is over, and gone: who calls answers the request, if its client is still there. */
struct http_request *upload_end(struct upload *upload);
void upload_fail(struct upload *upload, enum storage_result result);

/* -- upload_form.c */

/* Whether the request is a form with files. */
bool form_is_sent(const struct http_request *request);
/* False: it is, but its boundary is missing or malformed. csrf_needed: its token must come before
 * its first file. */
bool form_init(struct upload *upload, bool csrf_needed);
void form_fini(struct upload *upload);
/* The next bytes of the body. False: the upload is over, and gone. */
bool form_take(struct upload *upload, struct str bytes);
/* The body is whole; sets upload->fields. False: likewise. */
bool form_finish(struct upload *upload);
/* What a client calls a raw body, by Content-Disposition: a copy in the pool, "" = nothing. */
struct str form_disposition_name(h2o_mem_pool_t *pool, struct str disposition);

/* -- upload_reply.c */

struct upload_problem {
    int status;
    const char *type, *title;
    unsigned retry_after_s;
};
/* detail: "" = none; in the request's pool. */
void upload_refuse_with(struct http_request *request, const struct upload_problem *problem,
                        struct str detail);
struct str upload_printf(h2o_mem_pool_t *pool, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* 413, with what a file may have. */
void upload_refuse_size(struct http_request *request, const struct config_upload *config);
/* A copy whose bytes are UTF-8: what isn't has become U+FFFD; at most `max` bytes, no character
 * cut. */
struct str upload_text(h2o_mem_pool_t *pool, struct str text, size_t max);
/* All files are whole: 201, or 303 to a browser. */
void upload_reply(struct http_request *request, const struct upload *upload);

/* -- upload_delete.c */

/* Part of upload_loop_stop(). */
void upload_delete_loop_stop(const struct upload_route *route);

#endif
