/* What the files of downloads share. */
#ifndef GW_FILES_DOWNLOAD_INTERNAL_H
#define GW_FILES_DOWNLOAD_INTERNAL_H

#include "files/download.h"

enum { MAX_LOOPS = 1024 }; /* the configuration's most workers */

struct record_cache;

struct download {
    const struct config_download *config;
    struct str path;                         /* "/files", without a slash at its end */
    struct http_dir *dir;                    /* owned; NULL: a configuration is only checked */
    struct store *store;                     /* borrowed; NULL without `from` */
    struct offload *reads;                   /* borrowed */
    struct template *page;                   /* of the listing; borrowed from its set */
    char *pattern;                           /* owned */
    int rest;                                /* place of the route's parameter */
    char cache_control[64];                  /* "" = none */
    struct record_cache *records[MAX_LOOPS]; /* owned; each made and used by its own loop only */
};

/* -- record.c: what is known about an uploaded file ------------------------------------------- */

/* A record made ready to be sent. Immutable. */
struct record {
    char id[STORE_ID];
    uint64_t size;
    time_t modified;
    const char *type;
    struct str etag, disposition, repr_digest;
    char text[]; /* private: what they point into */
};

/* error 0, or ENOENT, EBUSY, EIO. The record stays as long as the request. */
typedef void record_fn(struct http_request *request, int error, const struct record *record,
                       struct download *download);
/* Calls found() before it returns when the loop remembers the record, else later, unless the client
 * leaves first. id: valid. */
void record_find(struct http_request *request, struct download *download, struct str id,
                 record_fn *found);
void record_caches_destroy(struct download *download);

/* -- directory.c ------------------------------------------------------------------------------ */

/* Replies with what `path` is below the directory. */
void directory_serve(struct http_request *request, struct download *download, struct str path);

/* -- listing_read.c: what there is; on an offload thread -------------------------------------- */

struct listing_entry {
    struct str name;  /* UTF-8; a folder's ends in '/' */
    struct str link;  /* the last segment of its URL, percent-encoded, with such a slash */
    const char *type; /* media type; NULL for a folder */
    uint64_t size;
    int64_t modified;  /* seconds since 1970 */
    struct str fields; /* JSON object that came with an upload; "" = none */
};

enum { FOLDER_MAX = 100 * 1000 }; /* names of a folder that are looked at */

/* One page. Everything lives in the pool. */
struct listing {
    h2o_mem_pool_t *pool;
    struct listing_entry *entries;
    size_t count, room; /* room: the page's size */
    struct str next;    /* cursor of the next page, "" = this is the last one */
    bool truncated;     /* the folder has more than FOLDER_MAX names; those past it are left out */
};

/* Newest first. after: a cursor, "" = from the start. 0, or EINVAL (the cursor), EBUSY, EIO. */
int listing_read_records(struct listing *listing, const struct download *download,
                         struct str after);
/* By name; folders too, nothing hidden. path: "" or "a/b/". 0, or EINVAL, ENOENT, another errno. */
int listing_read_folder(struct listing *listing, const struct download *download, struct str path,
                        struct str after);

/* -- listing.c -------------------------------------------------------------------------------- */

/* The page of every listing. NULL: an error was added, which nobody should ever see. */
struct template *listing_compile(struct template_set *templates, struct diag *diag);
/* Replies with what there is: the records of `from`, or the folder `path` ("" or "a/b/"). */
void listing_serve(struct http_request *request, struct download *download, struct str path);

#endif
