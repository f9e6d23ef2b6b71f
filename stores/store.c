/* Opening and closing the file, and the readers: connections that are opened when they are first
 * needed, since most of the time nobody reads. */
#include "stores/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <h2o/memory.h>

/* SQLite would make the file readable by everybody; what it makes beside it gets the same mode.
 * Never opens a file that is there: closing it would drop the locks that this process may hold on
 * it by another store. */
static bool make_file(const char *path, const char **error_r)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return true;
    if (fd < 0) {
        *error_r = errno == ENOENT
                       ? store_error("%s can't be made: its directory does not exist", path)
                       : store_error("%s can't be made: %s", path, strerror(errno));
        return false;
    }
    close(fd);
    return true;
}

static void give_back(struct store *store, struct connection *reader)
{
    pthread_mutex_lock(&store->readers.lock);
    reader->next = store->readers.idle;
    store->readers.idle = reader;
    pthread_cond_signal(&store->readers.free);
    pthread_mutex_unlock(&store->readers.lock);
}
struct store *store_open(const char *path, const char **error_r)
{
    if (!make_file(path, error_r))
        return NULL;
    struct store *store = h2o_mem_alloc(sizeof(*store));
    memset(store, 0, sizeof(*store));
    /* Readers are opened later, wherever the process stands by then. */
    store->path = realpath(path, NULL);
    if (store->path == NULL) {
        *error_r = store_error("%s can't be opened: %s", path, strerror(errno));
        free(store);
        return NULL;
    }
    store->complaints.path = store->path;
    pthread_mutex_init(&store->complaints.lock, NULL);
    pthread_mutex_init(&store->readers.lock, NULL);
    pthread_cond_init(&store->readers.free, NULL);
    pthread_mutex_init(&store->writer.lock, NULL);
    pthread_cond_init(&store->writer.wanted, NULL);
    for (size_t i = 0; i < READERS_MAX; i++)
        give_back(store, &store->readers.all[i]);

    if (connection_open(&store->writer.connection, store->path, &store->complaints, error_r) &&
        schema_upgrade(&store->writer.connection, store->path, error_r)) {
        if (writer_start(store))
            return store;
        *error_r = store_error("%s: no thread to write with", path);
    }
    store_close(&store);
    return NULL;
}

int64_t store_made_ms(const struct store *store)
{
    struct statx info;
    if (statx(AT_FDCWD, store->path, 0, STATX_BTIME, &info) != 0 ||
        (info.stx_mask & STATX_BTIME) == 0)
        return INT64_MAX;
    return info.stx_btime.tv_sec * 1000 + info.stx_btime.tv_nsec / 1000000;
}

void store_stop(struct store *store)
{
    writer_stop(store);
}

void store_close(struct store **store_p)
{
    struct store *store = *store_p;
    if (store == NULL)
        return;
    writer_stop(store);
    /* The last connection that closes brings the WAL into the file. */
    for (size_t i = 0; i < READERS_MAX; i++)
        connection_close(&store->readers.all[i]);
    connection_close(&store->writer.connection);
    pthread_cond_destroy(&store->writer.wanted);
    pthread_mutex_destroy(&store->writer.lock);
    pthread_cond_destroy(&store->readers.free);
    pthread_mutex_destroy(&store->readers.lock);
    pthread_mutex_destroy(&store->complaints.lock);
    free(store->path);
    free(store);
    *store_p = NULL;
}

/* -- readers -- */

static struct connection *take_reader(struct store *store)
{
    pthread_mutex_lock(&store->readers.lock);
    while (store->readers.idle == NULL)
        pthread_cond_wait(&store->readers.free, &store->readers.lock);
    struct connection *reader = store->readers.idle;
    store->readers.idle = reader->next;
    pthread_mutex_unlock(&store->readers.lock);
    return reader;
}

enum store_result reading_begin(struct store *store, const struct query *query,
                                struct reading *reading_r)
{
    struct connection *reader = take_reader(store);
    enum store_result result = STORE_OK;
    const char *error;
    *reading_r = (struct reading){.store = store, .connection = reader};
    if (reader->db == NULL && !connection_open(reader, store->path, &store->complaints, &error))
        result = complain(&store->complaints, STORE_FAILED, "to open it for reading", error);
    if (result == STORE_OK)
        result = query_begin(reader, query, &reading_r->row);
    if (result != STORE_OK)
        give_back(store, reader);
    return result;
}

enum store_result reading_end(struct reading *reading, int code)
{
    enum store_result result = query_end(reading->connection, reading->row, code);
    give_back(reading->store, reading->connection);
    return result;
}
