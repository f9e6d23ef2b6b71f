/* The life of one attempt. Each arrow is a function of this file; whatever it does, it ends once,
 * in finish() or in attempt_cancel().
 *
 *   attempt_start
 *      +--------> QUEUED --message--> ADMITTED --+
 *      |             | full, too long            |
 *      |             +--> shed                   |
 *      +-- got_slot <----------------------------+
 *             |
 *             +-- resolve <------------------------+
 *                   |                              |
 *                   +--> RESOLVING --message--> RESOLVED
 *                   |        | late, unknown
 *                   |        +--> dns_timeout, dns_error
 *                   v
 *                 READY --lane--> IN_FLIGHT --ended, on_timer--> IDLE
 *
 * An attempt waits in one list at a time, by its `waiting` link: the client's attempts to go on
 * with at the end of the turn, a room, the lane's ready ones. One timer serves every step. */
#include "upstreams/internal.h"

#include <errno.h>
#include <stdio.h>
#include <h2o/memory.h>

static void finish(struct attempt *attempt, enum up_end end, const char *error, const char *detail);

/* -- slot, name, curl -- */

static void give_slot_back(struct attempt *attempt)
{
    if (attempt->has_slot)
        slots_release(&attempt->lane->upstream->slots);
    attempt->has_slot = false;
}

static void resolve(struct attempt *attempt)
{
    struct lane *lane = attempt->lane;
    const char *error = NULL;
    switch (endpoints_get(lane->upstream, lane->client->names, clock_us(), &lane->endpoints,
                          attempt, &error)) {
    case ENDPOINTS_KNOWN:
        attempt->endpoint = endpoint_pick(lane, &attempt->call->tried);
        attempt->step = ATTEMPT_READY;
        h2o_linklist_insert(&lane->ready, &attempt->waiting);
        lane_defer(lane);
        break;
    case ENDPOINTS_AWAITED:
        attempt->step = ATTEMPT_RESOLVING;
        break;
    case ENDPOINTS_UNKNOWN:
        finish(attempt, UP_FAILED, "dns_error", error);
        break;
    }
}

static uint64_t left_before_deadline(const struct attempt *attempt)
{
    uint64_t deadline_ms = attempt->call->deadline_ms;
    uint64_t now_ms = loop_now_ms(attempt->lane->client->loop);
    return deadline_ms == 0 ? UINT64_MAX : deadline_ms > now_ms ? deadline_ms - now_ms : 0;
}

/* However far it came, a call that has no time left ends in one way. */
static void time_out(struct attempt *attempt, const char *error, const char *detail)
{
    attempt->cut = left_before_deadline(attempt) == 0;
    finish(attempt, UP_TIMEOUT, attempt->cut ? "http_response_timeout" : error, detail);
}

static void got_slot(struct attempt *attempt)
{
    struct loop *loop = attempt->lane->client->loop;
    uint64_t timeout_ms = attempt->call->timeout_ms;
    uint64_t left_ms = left_before_deadline(attempt);
    attempt->has_slot = true;
    if (left_ms == 0) {
        time_out(attempt, "http_response_timeout", "the deadline passed before a slot was free");
        return;
    }
    attempt->began_ms = loop_now_ms(loop);
    attempt->slot_us = attempt->call->trace.sampled ? clock_us() : 0;
    timeout_ms = left_ms < timeout_ms ? left_ms : timeout_ms;
    attempt->deadline_ms = attempt->began_ms + timeout_ms;
    timer_start(loop, &attempt->timer, timeout_ms);
    call_attempt_began(attempt);
    attempt->number = attempt->call->made;
    resolve(attempt);
}

static void wait_in_queue(struct attempt *attempt)
{
    uint64_t timeout_ms = attempt->lane->upstream->config->queue_timeout_ms;
    uint64_t left_ms = left_before_deadline(attempt);
    attempt->queued_us = clock_us();
    attempt->step = ATTEMPT_QUEUED;
    timer_start(attempt->lane->client->loop, &attempt->timer,
                left_ms < timeout_ms ? left_ms : timeout_ms);
}

void attempt_start(struct attempt *attempt)
{
    struct up_call *call = attempt->call;
    struct slots *slots = &call->lane->upstream->slots;
    attempt->lane = call->lane;
    attempt->began_ms = attempt->added_us = attempt->span = 0;
    attempt->posted = attempt->has_slot = attempt->cut = attempt->new_connection = false;
    attempt->head_complete = attempt->sent = false;
    attempt->flow = (struct flow){.told = false};
    attempt->refused = REFUSED_NOTHING;
    attempt->header_lines = attempt->header_bytes = 0;
    attempt->retry_after_us = 0;
    attempt->body.max = call->lane->upstream->config->max_body;
    buf_clear(&attempt->body);
    buf_clear(&attempt->lines);
    attempt->malformed = false;
    attempt->lines.max = MAX_HEADER_BYTES;
    attempt->fields.max = MAX_HEADER_LINES * sizeof(struct up_header);
    attempt->content_type[0] = '\0';
    attempt->result = (struct up_result){.body = {NULL, 0}};
    if (call->request.n == 0) {
        finish(attempt, UP_FAILED, "http_request_error", "malformed or too long request");
        return;
    }
    if (attempt->is_hedge) { /* not worth anybody's waiting */
        if (slots_take_free(slots))
            got_slot(attempt);
        else
            finish(attempt, UP_SHED, "connection_limit_reached", "no slot was free");
        return;
    }
    switch (slots_take(slots, attempt)) {
    case SLOT_TAKEN:
        got_slot(attempt);
        break;
    case SLOT_QUEUED:
        wait_in_queue(attempt);
        break;
    case SLOT_REFUSED:
        finish(attempt, UP_SHED, "connection_limit_reached", "the queue is full");
        break;
    }
}

void attempt_go(struct attempt *attempt)
{
    switch (attempt->step) {
    case ATTEMPT_ADMITTED:
        got_slot(attempt);
        break;
    case ATTEMPT_RESOLVED:
        resolve(attempt);
        break;
    default:
        gw_assert(!"an attempt that waits for something");
    }
}

static void be_gone(struct attempt *attempt)
{
    attempt->lane->client->gone--;
    give_slot_back(attempt);
    attempt->step = ATTEMPT_IDLE;
    call_attempt_gone(attempt);
}

void attempt_drop(struct attempt *attempt)
{
    lane_remove(attempt->lane, attempt, true);
    be_gone(attempt);
}

/* Messages come while the loop's clock still shows its last turn, so the attempt goes on at the end
 * of this one. */
void attempt_admitted(struct message *message)
{
    struct attempt *attempt = CONTAINER_OF(message, struct attempt, message);
    struct up_client *client = attempt->lane->client;
    bool was_queued = attempt->step == ATTEMPT_QUEUED;
    attempt->posted = false;
    if (attempt->step == ATTEMPT_GONE) {
        be_gone(attempt);
        return;
    }
    if (was_queued) {
        timer_stop(client->loop, &attempt->timer); /* queue_timeout */
        attempt->has_slot = true;
    }
    uint64_t at_us = clock_us();
    *(was_queued ? &attempt->result.times.queue : &attempt->result.times.dns) =
        since_start(attempt->call, at_us);
    if (was_queued)
        count_queued(attempt, at_us, NULL);
    attempt->step = was_queued ? ATTEMPT_ADMITTED : ATTEMPT_RESOLVED;
    h2o_linklist_insert(&client->going, &attempt->waiting);
    task_defer(client->loop, &client->task);
}

/* -- the answer -- */

static uint64_t info(struct attempt *attempt, CURLINFO what)
{
    curl_off_t value = 0;
    curl_easy_getinfo(attempt->handle->easy, what, &value);
    return value > 0 ? (uint64_t)value : 0;
}

static bool is_connecting(struct attempt *attempt)
{
    return attempt->new_connection && info(attempt, CURLINFO_PRETRANSFER_TIME_T) == 0;
}

static uint32_t phase_end(struct attempt *attempt, CURLINFO phase)
{
    uint64_t us = info(attempt, phase);
    return us ? since_start(attempt->call, attempt->added_us + us) : 0;
}

static void read_answer(struct attempt *attempt)
{
    CURL *easy = attempt->handle->easy;
    struct up_result *result = &attempt->result;
    long status = 0;
    const char *content_type = NULL;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    result->status = (int)status;
    result->reused = !attempt->new_connection;
    if (attempt->new_connection) {
        result->times.connect = phase_end(attempt, CURLINFO_CONNECT_TIME_T);
        result->times.tls = phase_end(attempt, CURLINFO_APPCONNECT_TIME_T);
    }
    if (status == 0)
        return;
    result->times.first_byte = phase_end(attempt, CURLINFO_STARTTRANSFER_TIME_T);
    result->wire_bytes = info(attempt, CURLINFO_SIZE_DOWNLOAD_T);
    curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &content_type);
    if (content_type != NULL) /* curl's own text goes with the handle's next call */
        snprintf(attempt->content_type, sizeof(attempt->content_type), "%s", content_type);
}

struct call_times attempt_times(struct attempt *attempt)
{
    struct call_times *times = &attempt->result.times;
    uint32_t now = since_start(attempt->call, clock_us());
    switch (attempt->step) {
    case ATTEMPT_QUEUED:
        times->queue = now;
        break;
    case ATTEMPT_RESOLVING:
        times->dns = now;
        break;
    case ATTEMPT_IN_FLIGHT:
        read_answer(attempt);
        if (is_connecting(attempt))
            *(times->connect == 0 ? &times->connect : &times->tls) = now;
        else if (times->first_byte == 0)
            times->first_byte = now;
        break;
    default: /* about to go on */
        break;
    }
    times->total = now;
    return *times;
}

/* Rises at once and falls slowly, so that one small answer among large ones changes little. */
static void note_size(struct lane *lane, const struct attempt *attempt)
{
    uint64_t size = attempt->header_bytes + attempt->result.wire_bytes;
    if (size >= lane->answer_size)
        lane->answer_size = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
    else
        lane->answer_size -= (lane->answer_size - (uint32_t)size) / 16;
}

/* Why a callback of ours stopped curl. */
static const struct {
    const char *error, *detail;
} refusals[] = {
    [REFUSED_BODY] = {"http_response_body_size", "larger than max_body"},
    [REFUSED_HEADERS] = {"http_response_header_section_size", "too many headers"},
    [REFUSED_TWICE] = {"connection_terminated",
                       "the connection ended before an answer, and what was sent isn't sent again"},
    [REFUSED_FIELDS] = {"http_protocol_error", "a header line that is none"},
    [REFUSED_CODING] = {"http_response_transfer_coding", "a transfer coding that nobody asked for"},
    [REFUSED_SWITCH] = {"http_protocol_error", "another protocol that nobody asked for"},
    [REFUSED_UPLOAD] = {"http_request_error", "the request's body broke off"},
};

void attempt_ended(struct attempt *attempt, CURLcode code)
{
    long os_errno = 0;
    char text[CURL_ERROR_SIZE] = "";
    if (attempt->step == ATTEMPT_GONE) {
        attempt_drop(attempt);
        return;
    }
    read_answer(attempt);
    if (code == CURLE_SEND_ERROR && stream_is_whole(attempt))
        code = CURLE_OK;
    if (code != CURLE_OK) {
        curl_easy_getinfo(attempt->handle->easy, CURLINFO_OS_ERRNO, &os_errno);
        const char *said =
            attempt->handle->error[0] ? attempt->handle->error : curl_easy_strerror(code);
        const char *system_said = strerrordesc_np((int)os_errno);
        bool is_system = code == CURLE_COULDNT_CONNECT && os_errno != 0 && system_said != NULL;
        snprintf(text, sizeof(text), "%s", is_system ? system_said : said);
    } else if (!attempt->head_complete) {
        code = CURLE_PARTIAL_FILE; /* curl takes what came of the head, or a 1xx, for all of it */
        snprintf(text, sizeof(text), "the connection was closed within the header section");
    }
    if (attempt->call->stream != NULL)
        sockets_adopt(attempt->lane, attempt);
    lane_remove(attempt->lane, attempt, code != CURLE_OK);
    if (attempt->refused != REFUSED_NOTHING) {
        finish(attempt, UP_FAILED, refusals[attempt->refused].error,
               refusals[attempt->refused].detail);
    } else {
        struct outcome outcome = outcome_of(code, os_errno, text);
        if (outcome.end == UP_ANSWERED && attempt->call->stream == NULL)
            note_size(attempt->lane, attempt);
        finish(attempt, outcome.end, outcome.error, text);
    }
}

/* -- the end -- */

/* On the loop's clock; UINT64_MAX = not before something else happens. */
static uint64_t end_ms(struct attempt *attempt)
{
    const struct up_call *call = attempt->call;
    uint64_t at_ms = call->stream != NULL ? stream_end_ms(attempt) : attempt->deadline_ms;
    if (call->deadline_ms != 0 && call->deadline_ms < at_ms)
        at_ms = call->deadline_ms;
    if (attempt->new_connection && attempt->connect_by_ms < at_ms && is_connecting(attempt))
        at_ms = attempt->connect_by_ms;
    return at_ms;
}

void attempt_set_timer(struct attempt *attempt)
{
    struct loop *loop = attempt->lane->client->loop;
    uint64_t now_ms = loop_now_ms(loop), at_ms = end_ms(attempt);
    if (at_ms == UINT64_MAX)
        timer_stop(loop, &attempt->timer);
    else
        timer_start(loop, &attempt->timer, at_ms > now_ms ? at_ms - now_ms : 0);
}

static enum unfinished unfinished(struct attempt *attempt)
{
    const struct up_call *call = attempt->call;
    uint64_t all = call->stream != NULL ? attempt->flow.read_bytes : call->upload.n;
    bool still_reads = attempt->flow.asked && !attempt->flow.all_read;
    if (is_connecting(attempt))
        return UNCONNECTED;
    if (attempt->flow.told)
        return UNANSWERED;
    return still_reads || info(attempt, CURLINFO_SIZE_UPLOAD_T) < all ? UNSENT : UNANSWERED;
}

/* False: there is time left, and the timer runs again where it matters. */
static bool is_over(struct attempt *attempt)
{
    if (attempt->call->stream != NULL)
        stream_note_sent(attempt, info(attempt, CURLINFO_SIZE_UPLOAD_T));
    if (end_ms(attempt) <= loop_now_ms(attempt->lane->client->loop))
        return true;
    attempt_set_timer(attempt);
    return false;
}

static void on_timer(struct timer *timer)
{
    struct attempt *attempt = CONTAINER_OF(timer, struct attempt, timer);
    struct loop *loop = attempt->lane->client->loop;
    struct upstream *up = attempt->lane->upstream;
    switch (attempt->step) {
    case ATTEMPT_QUEUED:
        if (!slots_leave(&up->slots, attempt))
            break; /* a slot comes in this very moment */
        count_queued(attempt, clock_us(), "connection_limit_reached");
        if (left_before_deadline(attempt) == 0)
            time_out(attempt, "http_response_timeout", "no slot was free in time");
        else
            finish(attempt, UP_SHED, "connection_limit_reached", "no slot was free in time");
        break;
    case ATTEMPT_RESOLVING:
        if (endpoints_leave(up, attempt))
            time_out(attempt, "dns_timeout", "the name was not looked up in time");
        else
            timer_start(loop, &attempt->timer, 1);
        break;
    case ATTEMPT_RESOLVED:
    case ATTEMPT_READY:
        h2o_linklist_unlink(&attempt->waiting);
        time_out(attempt, "dns_timeout", "the name was looked up too late");
        break;
    case ATTEMPT_IN_FLIGHT: {
        static const char *const details[] = {[UNCONNECTED] = "not connected in time",
                                              [UNSENT] = "the body wasn't taken in time",
                                              [UNANSWERED] = "no whole answer in time"};
        if (!is_over(attempt))
            break;
        enum unfinished what = unfinished(attempt);
        read_answer(attempt);
        lane_remove(attempt->lane, attempt, false);
        time_out(attempt, outcome_of_timeout(what).error, details[what]);
        break;
    }
    default:
        gw_assert(!"a timer of an attempt that waits for nothing");
    }
}

static void finish(struct attempt *attempt, enum up_end end, const char *error, const char *detail)
{
    struct up_result *result = &attempt->result;
    timer_stop(attempt->lane->client->loop, &attempt->timer);
    give_slot_back(attempt);
    attempt->step = ATTEMPT_IDLE;
    result->end = end;
    result->error = error;
    snprintf(result->detail, sizeof(result->detail), "%s", detail);
    result->body = buf_str(&attempt->body);
    if (attempt->lines.n != 0 && !attempt->flow.told)
        fields_read(attempt);
    result->content_type = str_from(attempt->content_type);
    result->times.total = since_start(attempt->call, clock_us());
    call_attempt_over(attempt); /* may free the attempt: nothing after this */
}

void attempt_cancel(struct attempt *attempt)
{
    struct upstream *up = attempt->lane->upstream;
    bool waits_for_message = false;
    timer_stop(attempt->lane->client->loop, &attempt->timer);
    switch (attempt->step) {
    case ATTEMPT_ADMITTED:
    case ATTEMPT_RESOLVED:
    case ATTEMPT_READY:
        h2o_linklist_unlink(&attempt->waiting);
        break;
    case ATTEMPT_QUEUED:
        waits_for_message = !slots_leave(&up->slots, attempt);
        attempt->has_slot = waits_for_message;
        count_queued(attempt, clock_us(), "cancelled");
        break;
    case ATTEMPT_RESOLVING:
        waits_for_message = !endpoints_leave(up, attempt);
        break;
    case ATTEMPT_IN_FLIGHT:
        if (attempt->lane->client->in_stream) {
            lane_drop_later(attempt);
            waits_for_message = true;
        } else {
            lane_remove(attempt->lane, attempt, false);
        }
        break;
    case ATTEMPT_IDLE:
    case ATTEMPT_GONE:
        return;
    }
    if (waits_for_message) {
        attempt->step = ATTEMPT_GONE;
        attempt->lane->client->gone++;
        return;
    }
    give_slot_back(attempt);
    attempt->step = ATTEMPT_IDLE;
}

void attempt_init(struct attempt *attempt, struct up_call *call)
{
    attempt->call = call;
    attempt->message.fn = attempt_admitted;
    timer_init(&attempt->timer, on_timer);
}

void attempt_fini(struct attempt *attempt)
{
    buf_fini(&attempt->body);
    buf_fini(&attempt->lines);
    buf_fini(&attempt->fields);
}
