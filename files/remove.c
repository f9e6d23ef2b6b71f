/* Removing a whole file: its record first, as what has a record must be there. */
#include "files/storage_internal.h"

#include <stdlib.h>

static void end(struct storage_removal *removal, enum storage_result result)
{
    removal->result = result;
    free(removal->record.memory);
    removal->record.memory = NULL;
    removal->done(removal);
}

static void unrecorded(struct store_write *write)
{
    struct storage_removal *removal = CONTAINER_OF(write, struct storage_removal, write);
    char path[STORAGE_PATH];
    if (write->result == STORE_OK) {
        storage_uncount(removal->storage, removal->record.owner,
                        removal->record.size + removal->record.fields.n);
        storage_discard(removal->storage, storage_path(path, STORAGE_WHOLE, removal->id), -1);
    }
    end(removal, storage_from_store(write->result));
}

static void told_of_failure(struct message *message)
{
    struct storage_removal *removal = CONTAINER_OF(message, struct storage_removal, failed);
    end(removal, removal->result);
}

static void find(struct offload_job *job)
{
    struct storage_removal *removal = CONTAINER_OF(job, struct storage_removal, job);
    struct storage *storage = removal->storage;
    struct str id = {removal->id, STORE_ID};
    enum storage_result result =
        storage_from_store(store_find_file(storage->store, id, &removal->record));
    if (result == STORAGE_OK && !str_eq(removal->record.route, storage->config->name))
        result = STORAGE_ABSENT;
    if (result == STORAGE_OK) {
        removal->write =
            (struct store_write){.remove_file = id, .done = unrecorded, .loop = removal->loop};
        if (store_submit(storage->store, &removal->write))
            return;
        result = STORAGE_BUSY;
    }
    removal->result = result;
    removal->failed.fn = told_of_failure;
    loop_post(removal->loop, &removal->failed);
}

bool storage_remove(struct storage_removal *removal)
{
    removal->record = (struct file_record){.memory = NULL};
    removal->job = (struct offload_job){.work = find}; /* done() comes by the store or a message */
    return offload_submit(removal->storage->disk, &removal->job);
}
