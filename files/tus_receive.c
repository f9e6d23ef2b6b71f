/* The bytes of a PATCH, or of a creation that brings some along.
 *
 *     receiving
 *         |  the body ends, the client leaves, a write fails, somebody waited for the lock
 *     the spool is flushed; a checkpoint under way comes back
 *         |
 *     settle() --+-- nothing counts beyond what was recorded: answer
 *                +-- bytes are missing: sync, record, answer
 *                +-- all are there: digest, type, whole file, answer
 *
 * While a long body comes, what is surely written is synced and recorded every few megabytes,
 * beside the stream, so that a crash costs little. A body with a checksum counts as a whole or not
 * at all, so it has none of these. A creation that fails leaves no upload: nobody knows its id. */
#include "files/tus.h"

enum {
    CHECKPOINT_BYTES = 16 * 1024 * 1024,
    CHECKPOINT_MS = 10 * 1000,               /* for slow clients */
    LET_GO_MS = 100,                         /* after it is wanted */
    IN_FLIGHT = SPOOL_BUFFERS * SPOOL_BUFFER /* pushed and maybe not written yet, at most */
};

/* -- what became of it -- */

static bool checksum_right(struct tus *tus)
{
    uint8_t value[DIGEST_MAX];
    return digest_finish(tus->digest, value) == tus->checksum.n &&
           bytes_equal(value, tus->checksum.value, tus->checksum.n);
}

static void on_removed(struct partial *partial)
{
    tus_end(CONTAINER_OF(partial, struct tus, partial));
}

/* It was refused, or there is nobody to refuse it to. */
static void give_up(struct tus *tus)
{
    if (tus->method == HTTP_POST || tus->partial.result == STORAGE_BAD_TYPE)
        partial_terminate(&tus->partial, on_removed);
    else
        tus_end(tus);
}

static void on_finished(struct partial *partial)
{
    struct tus *tus = CONTAINER_OF(partial, struct tus, partial);
    if (partial->result != STORAGE_OK) {
        tus_refuse_result(tus, partial->result);
        give_up(tus);
    } else {
        upload_count(tus->route, "finished");
        tus_answer(tus);
        tus_end(tus);
    }
}

void tus_finish(struct tus *tus)
{
    struct str fields =
        tus_metadata_fields(&tus->pool, tus->partial.record.metadata, &tus->route->config->fields);
    /* They count with the record; a whole upload isn't lost for want of room for them. */
    ticket_reserve(&tus->ticket, tus->ticket.bytes + fields.n);
    partial_finish(&tus->partial, tus->size, fields, &tus->ticket, on_finished);
}

static void refuse_body(struct tus *tus)
{
    if (tus->request != NULL) {
        http_body_refuse(tus->request, tus->how);
        upload_count_refusal(tus->route, tus->request);
    }
    tus->request = NULL;
}

static void on_saved(struct partial *partial)
{
    struct tus *tus = CONTAINER_OF(partial, struct tus, partial);
    if (partial->result != STORAGE_OK) {
        tus_refuse_result(tus, partial->result);
        give_up(tus);
        return;
    }
    tus_keep(tus);
    if (tus->how == BODY_WHOLE)
        tus_answer(tus);
    else
        refuse_body(tus);
    tus_end(tus);
}

/* All that was received is written, or can't be; no operation is under way. */
static void settle(struct tus *tus)
{
    static const struct http_problem mismatch = {
        .status = 460,
        .type = "checksum-mismatch",
        .title = "The bytes that came are not those that the checksum was made of",
        .json_only = true};
    uint64_t received = tus->partial.incoming.file.offset;
    bool whole = tus->ended && tus->how == BODY_WHOLE;
    bool useless = !whole && (tus->has_checksum || tus->method == HTTP_POST);
    if (tus->write_error != 0) {
        give_up(tus); /* it was refused then */
    } else if (tus->ended && tus->how == BODY_TOO_LARGE) {
        tus_refuse(tus, &tus_too_long);
        give_up(tus);
    } else if (useless) {
        refuse_body(tus);
        give_up(tus);
    } else if (tus->has_checksum && !checksum_right(tus)) {
        tus_refuse(tus, &mismatch);
        give_up(tus);
    } else if (received == tus->size) {
        tus_finish(tus);
    } else {
        partial_save(&tus->partial, received, tus->size, on_saved);
    }
}

/* -- checkpoints -- */

static void on_checkpoint(struct partial *partial)
{
    struct tus *tus = CONTAINER_OF(partial, struct tus, partial);
    tus->saving = false;
    if (partial->result == STORAGE_OK)
        tus_keep(tus);
    if (tus->written)
        settle(tus);
}

/* The spool writes in order and holds so many bytes at most: what was received before those is
 * written, unless a write has failed. */
static void maybe_checkpoint(struct tus *tus)
{
    uint64_t received = tus->partial.incoming.file.offset, now_ms = loop_now_ms(tus->loop);
    uint64_t recorded = tus->partial.record.offset;
    if (tus->saving || tus->has_checksum || tus->method == HTTP_POST ||
        received <= recorded + IN_FLIGHT)
        return;
    uint64_t written = received - IN_FLIGHT;
    if (written - recorded < CHECKPOINT_BYTES && now_ms - tus->saved_ms < CHECKPOINT_MS)
        return;
    if (spool_failed(&tus->spool)) /* idle() is about to tell */
        return;
    tus->saving = true;
    tus->saved_ms = now_ms;
    partial_save(&tus->partial, written, tus->size, on_checkpoint);
}

/* -- the stream -- */

static void stop(struct tus *tus)
{
    tus->receiving = false;
    spool_flush(&tus->spool);
}

static char *on_room(struct http_body_reader *reader, size_t *n_r)
{
    return spool_room(&CONTAINER_OF(reader, struct tus, reader)->spool, n_r);
}

static void on_got(struct http_body_reader *reader, size_t n)
{
    struct tus *tus = CONTAINER_OF(reader, struct tus, reader);
    struct spool_file *file = &tus->partial.incoming.file;
    http_serving(tus->request, STR(""));
    upload_count_bytes(tus->route, n);
    if (tus->size == UINT64_MAX) { /* else they are reserved already */
        uint64_t more = file->offset + n - tus->partial.record.offset;
        enum storage_result result = ticket_reserve(&tus->ticket, more);
        if (result != STORAGE_OK) {
            tus_refuse_result(tus, result);
            stop(tus);
            return;
        }
    }
    size_t room;
    spool_keep(&tus->spool, file, spool_room(&tus->spool, &room), n);
    spool_push(&tus->spool, n);
    maybe_checkpoint(tus);
}

static void on_body_end(struct http_body_reader *reader, enum http_body_end how)
{
    struct tus *tus = CONTAINER_OF(reader, struct tus, reader);
    tus->ended = true;
    tus->how = how;
    stop(tus);
}

void tus_receive_left(struct tus *tus)
{
    if (tus->receiving)
        stop(tus);
}

static void on_let_go(struct timer *timer)
{
    struct tus *tus = CONTAINER_OF(timer, struct tus, let_go);
    if (!tus->receiving)
        return;
    tus_refuse(tus, &tus_locked);
    stop(tus);
}

/* Not at once: of many who want it, each must get on with it when its turn comes, or nobody ever
 * does. */
void tus_receive_wanted(struct tus *tus)
{
    if (tus->receiving)
        timer_start(tus->loop, &tus->let_go, LET_GO_MS);
}

static void on_spool_room(struct spool *spool)
{
    struct tus *tus = CONTAINER_OF(spool, struct tus, spool);
    if (tus->receiving)
        http_body_resume(tus->request);
}

static void on_idle(struct spool *spool, int error)
{
    struct tus *tus = CONTAINER_OF(spool, struct tus, spool);
    if (error != 0 && tus->write_error == 0) {
        tus->write_error = error;
        tus_refuse_result(tus, storage_error(tus->route->storage, "write", error));
    }
    tus->receiving = false;
    tus->written = true;
    if (!tus->saving)
        settle(tus);
}

void tus_receive(struct tus *tus)
{
    struct spool_file *file = &tus->partial.incoming.file;
    if (file->offset == 0 && http_body_length(tus->request) == tus->size)
        partial_digest_now(&tus->partial);
    spool_init(&tus->spool, tus->loop, storage_disk(tus->route->storage));
    tus->spool.room = on_spool_room;
    tus->spool.idle = on_idle;
    if (tus->has_checksum)
        tus->spool.whole[0] = tus->digest = digest_create(tus->checksum.kind);
    tus->spooling = true;
    tus->receiving = true;
    timer_init(&tus->let_go, on_let_go);
    tus->saved_ms = loop_now_ms(tus->loop);
    tus->reader = (struct http_body_reader){.room = on_room, .got = on_got, .end = on_body_end};
    if (tus->wanted)
        tus_receive_wanted(tus);
    uint64_t end = tus->size != UINT64_MAX ? tus->size : tus->route->config->max_size;
    http_body_read(tus->request, &tus->reader, end - file->offset);
}
