/* DELETE of a whole file: the record, then the bytes. */
#include <stdlib.h>
#include "files/upload_internal.h"

/* The store may have it longer than the request lives. */
struct deletion {
    struct storage_removal removal;
    struct waiting *waiting; /* NULL: nobody waits for an answer */
    h2o_linklist_t link;     /* among its loop's */
};

/* In the request's pool. */
struct waiting {
    struct http_request *request;
    struct deletion *deletion; /* NULL: answered */
};

static _Thread_local h2o_linklist_t deletions;

static void free_deletion(struct deletion *deletion)
{
    h2o_linklist_unlink(&deletion->link);
    free(deletion);
}

void upload_delete_loop_stop(const struct upload_route *route)
{
    h2o_linklist_t *next;
    for (h2o_linklist_t *link = deletions.next; link != NULL && link != &deletions; link = next) {
        struct deletion *deletion = H2O_STRUCT_FROM_MEMBER(struct deletion, link, link);
        next = link->next;
        if (deletion->removal.storage != route->storage)
            continue;
        free(deletion->removal.record.memory);
        free_deletion(deletion);
    }
}

static void client_left(void *p)
{
    struct waiting *waiting = p;
    if (waiting->deletion != NULL)
        waiting->deletion->waiting = NULL;
}

static void removed(struct storage_removal *removal)
{
    struct deletion *deletion = CONTAINER_OF(removal, struct deletion, removal);
    struct waiting *waiting = deletion->waiting;
    enum storage_result result = removal->result;
    free_deletion(deletion);
    if (waiting == NULL)
        return;
    waiting->deletion = NULL;
    if (result == STORAGE_OK)
        http_reply(waiting->request, 204, NULL, NULL);
    else
        upload_refuse(waiting->request, result);
}

void upload_delete(struct http_request *request, struct upload_route *route, struct str id)
{
    if (!http_authorize(request, (enum config_auth)route->config->auth, HTTP_MAY_WRITE))
        return;
    if (http_csrf_check(request, STR("")) != CSRF_FINE) {
        http_csrf_refuse(request);
        return;
    }
    if (!storage_id_valid(id)) {
        upload_refuse(request, STORAGE_ABSENT);
        return;
    }
    struct deletion *deletion = h2o_mem_alloc(sizeof(*deletion));
    struct waiting *waiting = h2o_mem_alloc_shared(request->pool, sizeof(*waiting), client_left);
    memset(deletion, 0, sizeof(*deletion));
    deletion->removal =
        (struct storage_removal){.storage = route->storage, .done = removed, .loop = request->loop};
    memcpy(deletion->removal.id, id.p, STORE_ID);
    deletion->waiting = waiting;
    *waiting = (struct waiting){request, deletion};
    if (deletions.next == NULL)
        h2o_linklist_init_anchor(&deletions);
    h2o_linklist_insert(&deletions, &deletion->link);
    if (storage_remove(&deletion->removal))
        return;
    waiting->deletion = NULL;
    free_deletion(deletion);
    upload_refuse(request, STORAGE_BUSY);
}
