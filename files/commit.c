/* A file on its way from "being received" to "whole".
 *
 * All that waits for the disk happens on an offload thread, in the order of storage.h; from there
 * the record goes straight to the store's thread, and what comes back to the loop is the end. The
 * descriptors stay open, and so locked, until then: a sweep can't take for an orphan what has no
 * record yet. */
#include "files/storage_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <h2o/memory.h>

/* -- receiving -- */

/* A sweep may find the file before it is locked; then it is gone once the lock is ours. */
static int open_new(struct spool_file *file)
{
    struct incoming *incoming = CONTAINER_OF(file, struct incoming, file);
    char path[STORAGE_PATH];
    struct stat info = {0};
    storage_path(path, STORAGE_TMP, incoming->id);
    do {
        int fd = openat(incoming->storage->dir, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
            return errno;
        if (flock(fd, LOCK_EX) != 0 || fstat(fd, &info) != 0) {
            int error = errno;
            unlinkat(incoming->storage->dir, path, 0);
            close(fd);
            return error;
        }
        if (info.st_nlink == 0)
            close(fd);
        else
            file->fd = fd;
    } while (info.st_nlink == 0);
    return 0;
}

void incoming_init(struct incoming *incoming, struct storage *storage)
{
    *incoming = (struct incoming){.storage = storage};
    incoming->file =
        (struct spool_file){.fd = -1, .open = open_new, .digests = {digest_create(DIGEST_SHA256)}};
    storage_new_id(incoming->id);
}

void incoming_fini(struct incoming *incoming)
{
    char path[STORAGE_PATH];
    digest_destroy(&incoming->file.digests[0]);
    if (incoming->file.fd < 0)
        return;
    if (incoming->whole != incoming->in_partial) /* it keeps the name that it has */
        close(incoming->file.fd);
    else
        storage_discard(
            incoming->storage,
            storage_path(path, incoming->in_partial ? STORAGE_PARTIAL : STORAGE_TMP, incoming->id),
            incoming->file.fd);
    incoming->file.fd = -1;
}

/* -- making whole -- */

static bool is_expected(struct str expected, const uint8_t *value)
{
    return expected.n == 0 || memcmp(expected.p, value, expected.n) == 0;
}

static enum storage_result examine(struct incoming *incoming)
{
    struct spool_file *file = &incoming->file;
    uint8_t sha512[DIGEST_MAX], value[DIGEST_MAX];
    char head[MEDIA_TYPE_HEAD];

    digest_finish(file->digests[0], value);
    memcpy(incoming->sha256, value, sizeof(incoming->sha256));
    if (incoming->expected_sha512.n != 0)
        digest_finish(file->digests[1], sha512);
    if (!is_expected(incoming->expected_sha256, incoming->sha256) ||
        !is_expected(incoming->expected_sha512, sha512))
        return STORAGE_BAD_DIGEST;

    int error = file->fd < 0 ? file->open(file) : 0; /* an empty file has met no job yet */
    if (error != 0)
        return storage_error(incoming->storage, "make a file", error);
    ssize_t n = pread(file->fd, head, sizeof(head), 0);
    if (n < 0)
        return storage_error(incoming->storage, "read a file", errno);
    media_type_detect(head, (size_t)n, incoming->type);
    incoming->size = file->offset;
    return media_type_allowed(&incoming->storage->config->allow_types, str_from(incoming->type))
               ? STORAGE_OK
               : STORAGE_BAD_TYPE;
}

static enum storage_result examine_all(struct storage_commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        enum storage_result result = examine(commit->files[i]);
        if (result == STORAGE_BAD_TYPE || result == STORAGE_BAD_DIGEST)
            commit->culprit = commit->files[i];
        if (result != STORAGE_OK)
            return result;
    }
    return STORAGE_OK;
}

/* A partial upload keeps its first name until its record says that it is whole: after a crash
 * before that, it is where that record has it. The name that it gets is what a crash may have left
 * of an earlier attempt. */
static int link_partial(int dir, const char *received, const char *whole)
{
    if (linkat(dir, received, dir, whole, 0) == 0)
        return 0;
    return errno == EEXIST && unlinkat(dir, whole, 0) == 0 &&
                   linkat(dir, received, dir, whole, 0) == 0
               ? 0
               : errno;
}

static int rename_one(const struct incoming *incoming, bool back)
{
    char received[STORAGE_PATH], whole[STORAGE_PATH];
    int dir = incoming->storage->dir;
    storage_path(received, incoming->in_partial ? STORAGE_PARTIAL : STORAGE_TMP, incoming->id);
    storage_path(whole, STORAGE_WHOLE, incoming->id);
    if (incoming->in_partial && !back)
        return link_partial(dir, received, whole);
    int failed = incoming->in_partial ? unlinkat(dir, whole, 0)
                 : back               ? renameat(dir, whole, dir, received)
                                      : renameat(dir, received, dir, whole);
    return failed != 0 ? errno : 0;
}

static void rename_back(struct storage_commit *commit)
{
    while (commit->renamed != 0) {
        int error = rename_one(commit->files[--commit->renamed], true);
        if (error != 0)
            storage_error(commit->storage, "rename a file back", error);
    }
}

static enum storage_result put_in_place(struct storage_commit *commit)
{
    for (size_t i = 0; i < commit->count; i++)
        if (fdatasync(commit->files[i]->file.fd) != 0)
            return storage_error(commit->storage, "sync a file", errno);
    for (size_t i = 0; i < commit->count; i++) {
        int error = rename_one(commit->files[i], false);
        if (error != 0)
            return storage_error(commit->storage, "rename a file", error);
        commit->renamed++;
    }
    if (fsync(commit->storage->dir) != 0)
        return storage_error(commit->storage, "sync the directory", errno);
    return STORAGE_OK;
}

static void finish(struct storage_commit *commit)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < commit->count && commit->result == STORAGE_OK; i++) {
        commit->files[i]->whole = true;
        bytes += commit->files[i]->size + commit->fields.n;
    }
    if (commit->ticket != NULL) /* what a partial upload's record counts is not the ticket's */
        ticket_keep(commit->ticket, bytes < commit->ticket->bytes ? bytes : commit->ticket->bytes);
    free(commit->records);
    commit->records = NULL;
    commit->done(commit);
}

static void undo(struct offload_job *job)
{
    rename_back(CONTAINER_OF(job, struct storage_commit, job));
}

static void undone(struct offload_job *job)
{
    finish(CONTAINER_OF(job, struct storage_commit, job));
}

static void recorded(struct store_write *write)
{
    struct storage_commit *commit = CONTAINER_OF(write, struct storage_commit, write);
    commit->result = storage_from_store(write->result);
    if (commit->result != STORAGE_OK) {
        commit->job = (struct offload_job){.work = undo, .done = undone, .loop = commit->loop};
        if (offload_submit(commit->storage->disk, &commit->job))
            return;
        rename_back(commit); /* neither store nor disk are up to it: better late than lost */
    }
    finish(commit);
}

static void told_of_failure(struct message *message)
{
    finish(CONTAINER_OF(message, struct storage_commit, failed));
}

static enum storage_result record(struct storage_commit *commit)
{
    commit->created_ms = clock_unix_ms();
    commit->records = h2o_mem_alloc(commit->count * sizeof(*commit->records));
    for (size_t i = 0; i < commit->count; i++) {
        const struct incoming *incoming = commit->files[i];
        commit->records[i] = (struct file_record){.id = {incoming->id, STORE_ID},
                                                  .route = commit->storage->config->name,
                                                  .name = incoming->name,
                                                  .type = str_from(incoming->type),
                                                  .owner = commit->owner,
                                                  .fields = commit->fields,
                                                  .size = incoming->size,
                                                  .created_ms = commit->created_ms};
        memcpy(commit->records[i].sha256, incoming->sha256, sizeof(incoming->sha256));
    }
    commit->write = (struct store_write){.add_files = commit->records,
                                         .add_file_count = commit->count,
                                         .remove_partial = commit->remove_partial,
                                         .done = recorded,
                                         .loop = commit->loop};
    return store_submit(commit->storage->store, &commit->write) ? STORAGE_OK : STORAGE_BUSY;
}

void storage_commit_here(struct storage_commit *commit)
{
    gw_assert(commit->count != 0);
    commit->culprit = NULL;
    commit->records = NULL;
    commit->renamed = 0;
    enum storage_result result = examine_all(commit);
    if (result == STORAGE_OK)
        result = put_in_place(commit);
    if (result == STORAGE_OK) {
        result = record(commit);
        if (result == STORAGE_OK)
            return; /* it is the store's now, and may be over already */
    }
    rename_back(commit);
    commit->result = result;
    commit->failed.fn = told_of_failure;
    loop_post(commit->loop, &commit->failed);
}

static void work(struct offload_job *job)
{
    storage_commit_here(CONTAINER_OF(job, struct storage_commit, job));
}

bool storage_commit(struct storage_commit *commit)
{
    /* No done(): the commit may be over, and gone, before work() has returned. */
    commit->job = (struct offload_job){.work = work};
    return offload_submit(commit->storage->disk, &commit->job);
}
