/* What the files of files/ share. Nobody else includes it. */
#ifndef GW_FILES_INTERNAL_H
#define GW_FILES_INTERNAL_H

#include "files/digest_fields.h"
#include "files/files.h"
#include "files/storage.h"

struct upload_page;

/* One [uploads.NAME]: made when the configuration is read, read-only from then on. */
struct upload_route {
    const struct config_upload *config;
    struct storage *storage;
    struct upload_page *page;
    struct str path;     /* "/upload", without a slash at its end */
    struct str download; /* path of the first [downloads.NAME] that serves its files; "" = none */
};

/* The item's id or name in "PATH/{item}": request->params[0]. */
enum { ITEM_PARAM = 0 };

/* -- files.c: what is counted, on a loop ------------------------------------------------------ */

/* result: "created" or "terminated" (resumable ones), "finished", "refused" (4xx), "failed" (5xx),
 * "left". */
void upload_count(const struct upload_route *route, const char *result);
/* Refused or failed, by the status that it was answered with. */
void upload_count_refusal(const struct upload_route *route, const struct http_request *request);
void upload_count_bytes(const struct upload_route *route, size_t n);

/* -- upload.c: forms and raw bodies ----------------------------------------------------------- */

/* POST PATH: multipart/form-data, or anything else as one raw body. PUT PATH or PATH/{name}: raw.
 */
void upload_receive(struct http_request *request, struct upload_route *route);
/* DELETE PATH/{id} of a whole file. */
void upload_delete(struct http_request *request, struct upload_route *route, struct str id);
/* {"id","name","size","type","sha256","url"} of a whole file. */
void upload_print_file(struct out *out, const struct upload_route *route,
                       const struct incoming *file);
/* Answers what isn't STORAGE_OK, as a problem. */
void upload_refuse(struct http_request *request, enum storage_result result);
/* On a loop's thread, after its last turn, when the offloads and the store are stopped: frees what
 * their answers would have. */
void upload_loop_stop(const struct upload_route *route);
/* Content-Digest and Repr-Digest (RFC 9530), which are the same of a body without Content-Encoding.
 * False: malformed, or they contradict each other. */
bool upload_read_digests(const struct http_request *request, struct digest_fields *fields_r);
/* Whose upload it is: request->user, or "address:…". In the request's pool. */
struct str upload_owner(struct http_request *request);

/* -- tus.c: resumable uploads ----------------------------------------------------------------- */

/* Whether the request is one of tus 1.0: it has Tus-Resumable or X-HTTP-Method-Override, or
 * it is an OPTIONS or PATCH, or a GET or HEAD of PATH/{id}. */
bool tus_wants(const struct http_request *request);
void tus_handle(struct http_request *request, struct upload_route *route);
/* Removes partial uploads whose time is over, a batch of them; on an offload thread, every minute.
 * True: there may be more. */
bool tus_expire(struct upload_route *route);
/* As upload_loop_stop(). */
void tus_loop_stop(const struct upload_route *route);

#endif
