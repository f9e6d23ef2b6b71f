/* The one thread that writes. While it waits for the disk, writes gather; then it takes all of them
 * into one transaction, so that the busier the gateway is, the more of them share a sync. One that
 * fails takes nothing with it: what is more than one statement runs in a savepoint. */
#include "stores/store_internal.h"
#include "base/crash.h"

#include <signal.h>

enum { QUEUE_MAX = 8192 };

static const struct query begin = {QUERY_BEGIN, "BEGIN IMMEDIATE"};
static const struct query commit = {QUERY_COMMIT, "COMMIT"};
static const struct query rollback = {QUERY_ROLLBACK, "ROLLBACK"};
static const struct query savepoint = {QUERY_SAVEPOINT, "SAVEPOINT one"};
static const struct query release = {QUERY_RELEASE, "RELEASE one"};
static const struct query undo = {QUERY_UNDO, "ROLLBACK TO one"};

bool store_submit(struct store *store, struct store_write *write)
{
    pthread_mutex_lock(&store->writer.lock);
    bool taken = !store->writer.ending && store->writer.queued < QUEUE_MAX;
    if (taken) {
        write->next = NULL;
        *store->writer.last = write;
        store->writer.last = &write->next;
        if (store->writer.queued++ == 0)
            pthread_cond_signal(&store->writer.wanted);
    }
    pthread_mutex_unlock(&store->writer.lock);
    return taken;
}

/* Waits for writes and takes the first BATCH_MAX. NULL: it is over, and nothing is left. */
static struct store_write *take(struct store *store)
{
    pthread_mutex_lock(&store->writer.lock);
    while (store->writer.first == NULL && !store->writer.ending)
        pthread_cond_wait(&store->writer.wanted, &store->writer.lock);
    struct store_write *batch = store->writer.first, **end = &store->writer.first;
    for (unsigned i = 0; i < BATCH_MAX && *end != NULL; i++) {
        end = &(*end)->next;
        store->writer.queued--;
    }
    store->writer.first = *end;
    if (batch != NULL)
        *end = NULL;
    if (store->writer.first == NULL)
        store->writer.last = &store->writer.first;
    pthread_mutex_unlock(&store->writer.lock);
    return batch;
}

static enum store_result apply(struct connection *connection, struct store_write *write)
{
    enum store_result result = STORE_OK;
    write->partial_removed = false;
    write->existing_serial[0] = '\0';
    for (size_t i = 0; i < write->add_file_count && result == STORE_OK; i++)
        result = file_add(connection, &write->add_files[i]);
    if (write->remove_file.n != 0 && result == STORE_OK)
        result = file_remove(connection, write->remove_file);
    if (write->put_partial != NULL && result == STORE_OK)
        result = partial_put(connection, write->put_partial);
    if (write->remove_partial.n != 0 && result == STORE_OK)
        result = partial_remove(connection, write->remove_partial, &write->partial_removed);
    if (write->add_certificate != NULL && result == STORE_OK)
        result = certificate_add(connection, write);
    if (write->tie_key != NULL && result == STORE_OK)
        result = key_tie(connection, write);
    if (write->change_certificate != NULL && result == STORE_OK)
        result = certificate_change(connection, write->change_certificate);
    return result;
}

/* One statement is all or nothing by itself. */
static bool needs_savepoint(const struct store_write *write)
{
    size_t statements = write->add_file_count + (write->remove_file.n != 0) +
                        (write->put_partial != NULL) + (write->remove_partial.n != 0) +
                        (write->add_certificate != NULL) * 2u + (write->tie_key != NULL) +
                        (write->change_certificate != NULL);
    return statements > 1;
}

/* What becomes of the transaction; the write's own result may be another. */
static enum store_result run_one(struct connection *connection, struct store_write *write)
{
    bool guarded = needs_savepoint(write);
    enum store_result all = guarded ? query_run(connection, &savepoint) : STORE_OK;
    if (all != STORE_OK)
        return all;
    write->result = apply(connection, write);
    /* No other would find room; and some errors end the transaction, whatever a savepoint says. */
    if (write->result == STORE_FULL ||
        (write->result != STORE_OK && sqlite3_get_autocommit(connection->db)))
        return write->result;
    if (guarded && write->result != STORE_OK)
        all = query_run(connection, &undo);
    return guarded && all == STORE_OK ? query_run(connection, &release) : all;
}

static bool ties_keys(const struct store_write *batch)
{
    while (batch != NULL && batch->tie_key == NULL)
        batch = batch->next;
    return batch != NULL;
}

static enum store_result run(struct connection *connection, struct store_write *batch)
{
    enum store_result all = query_run(connection, &begin);
    if (all == STORE_OK && ties_keys(batch))
        all = keys_sweep(connection);
    for (struct store_write *write = batch; write != NULL && all == STORE_OK; write = write->next)
        all = run_one(connection, write);
    if (all == STORE_OK)
        all = query_run(connection, &commit);
    if (all != STORE_OK && !sqlite3_get_autocommit(connection->db))
        query_run(connection, &rollback);
    return all;
}

static void write_batch(struct connection *connection, struct store_write *batch)
{
    enum store_result all = run(connection, batch);
    /* What the WAL holds may still fit into the file; the next transaction begins the WAL anew. */
    if (all == STORE_FULL &&
        sqlite3_wal_checkpoint_v2(connection->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) ==
            SQLITE_OK)
        all = run(connection, batch);
    for (struct store_write *write = batch; write != NULL && all != STORE_OK; write = write->next)
        write->result = all;
}

static void deliver(struct message *message)
{
    struct store_write *write = CONTAINER_OF(message, struct store_write, message);
    write->done(write);
}

static void *work(void *arg)
{
    struct store *store = arg;
    struct store_write *batch, *next;
    pthread_setname_np(pthread_self(), "gw-store");
    while ((batch = take(store)) != NULL) {
        write_batch(&store->writer.connection, batch);
        for (struct store_write *write = batch; write != NULL; write = next) {
            next = write->next; /* done() may free it */
            write->message.fn = deliver;
            if (write->done != NULL && write->loop != NULL)
                loop_post(write->loop, &write->message);
            else if (write->done != NULL)
                write->done(write);
        }
    }
    return NULL;
}

/* Signals belong to the main thread. */
bool writer_start(struct store *store)
{
    sigset_t all, before;
    store->writer.last = &store->writer.first;
    crash_mask(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    store->writer.started = pthread_create(&store->writer.thread, NULL, work, store) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return store->writer.started;
}

void writer_stop(struct store *store)
{
    pthread_mutex_lock(&store->writer.lock);
    store->writer.ending = true;
    pthread_cond_signal(&store->writer.wanted);
    pthread_mutex_unlock(&store->writer.lock);
    if (store->writer.started)
        pthread_join(store->writer.thread, NULL);
    store->writer.started = false;
}
