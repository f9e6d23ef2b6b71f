/* Each request becomes one job that may wait for the disk, then its reply: whoever administers the
 * register is one, so nothing here is made to be fast. */
#include "certificates/control.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/json.h"
#include "base/text.h"
#include "certificates/record_json.h"
#include "certificates/register.h"
#include "certificates/verdict.h"

enum { BODY_MAX = 8 * 1024, LIMIT_DEFAULT = 100, LIMIT_MAX = 1000, DEPTH_MAX = 4 };

struct control {
    struct store *store;
    struct offload *reads;
};

/* One request. Freed once neither the request nor a thread needs it. */
struct order {
    struct control *control;
    struct http_request *request; /* NULL: the client has left */
    bool working;
    struct offload_job job;
    char serial[SERIAL_ROOM], by[SERIAL_ROOM];
    char reason[REASON_MAX];
    struct certificate_change change;
    struct certificate_list list;
    char route[80], after[SERIAL_ROOM];
    enum register_result result;
    const char *why;
    struct certificate_record *records; /* `count`; of one certificate, it */
    struct certificate_record record;
    size_t count;
};

static void release(struct order *order)
{
    if (order->request != NULL || order->working)
        return;
    for (size_t i = 0; i < order->count; i++)
        free(order->records[i].memory);
    free(order->records);
    free(order->record.memory);
    free(order);
}

static void forget_request(void *tie)
{
    struct order *order = *(struct order **)tie;
    order->request = NULL;
    release(order);
}

static struct order *order_create(struct http_request *request, struct control *control)
{
    struct order *order = h2o_mem_alloc(sizeof(*order));
    memset(order, 0, sizeof(*order));
    order->control = control;
    order->request = request;
    struct order **tie =
        h2o_mem_alloc_shared(request->pool, sizeof(struct order *), forget_request);
    *tie = order;
    return order;
}

/* -- replies ----------------------------------------------------------------------------------- */

static void refuse(struct http_request *request, int status, const char *type, const char *title,
                   const char *detail)
{
    http_problem_reply(request, &(struct http_problem){.status = status,
                                                       .type = type,
                                                       .title = title,
                                                       .detail = str_from(detail),
                                                       .retry_after_s = status == 503 ? 1 : 0});
}

static void refuse_result(struct http_request *request, const struct order *order)
{
    switch (order->result) {
    case REGISTER_ABSENT:
        refuse(request, 404, "unknown-certificate", "There is no such certificate", NULL);
        break;
    case REGISTER_CONFLICT:
        refuse(request, 409, "certificate-conflict", "The certificate can't become that",
               order->why);
        break;
    case REGISTER_FULL:
        refuse(request, 507, "register-full", "The disk is full", NULL);
        break;
    case REGISTER_BUSY:
        refuse(request, 503, "overloaded", "The register is busy", NULL);
        break;
    default:
        refuse(request, 500, "register-failed", "The register fails; its log says why", NULL);
        break;
    }
}

static void reply_json(struct http_request *request, struct json_value value)
{
    struct out out;
    out_init(&out, request->pool, 4096);
    json_write(&out, value);
    out_str(&out, STR("\n"));
    http_add_header(request, "cache-control", STR("no-store"));
    http_reply(request, 200, "application/json", &out);
}

/* `next` is what to ask for as ?after=; null on the last page. */
static void reply_list(struct http_request *request, const struct order *order)
{
    h2o_mem_pool_t *pool = request->pool;
    struct json_object *root = json_object_create(pool, 2);
    struct json_array *list = json_array_create(pool, order->count);
    for (size_t i = 0; i < order->count; i++)
        json_array_add(
            pool, list,
            json_from_object(record_json(pool, order->records[i].serial, &order->records[i])));
    json_object_set(pool, root, STR("certificates"), json_from_array(list));
    bool more = order->count != 0 && order->count == order->list.limit;
    json_object_set(pool, root, STR("next"),
                    more ? record_json_text(pool, order->records[order->count - 1].serial)
                         : json_null());
    reply_json(request, json_from_object(root));
}

static void done(struct offload_job *job)
{
    struct order *order = CONTAINER_OF(job, struct order, job);
    struct http_request *request = order->request;
    order->working = false;
    if (request == NULL)
        release(order);
    else if (order->result != REGISTER_OK)
        refuse_result(request, order);
    else if (order->list.limit != 0)
        reply_list(request, order);
    else
        reply_json(request, json_from_object(
                                record_json(request->pool, order->record.serial, &order->record)));
}

static void dropped(struct offload_job *job)
{
    CONTAINER_OF(job, struct order, job)->result = REGISTER_BUSY;
    done(job);
}

static void start(struct order *order, void (*work)(struct offload_job *job))
{
    order->job = (struct offload_job){
        .work = work, .done = done, .dropped = dropped, .loop = order->request->loop};
    order->working = offload_submit(order->control->reads, &order->job);
    if (!order->working) {
        order->result = REGISTER_BUSY;
        refuse_result(order->request, order);
    }
}

/* -- on an offload thread ---------------------------------------------------------------------- */

static void find(struct order *order, const char *serial)
{
    enum store_result result = store_find_certificate(order->control->store, BY_SERIAL,
                                                      str_from(serial), &order->record, NULL);
    order->result = result == STORE_OK       ? REGISTER_OK
                    : result == STORE_ABSENT ? REGISTER_ABSENT
                                             : REGISTER_FAILED;
}

static void do_show(struct offload_job *job)
{
    struct order *order = CONTAINER_OF(job, struct order, job);
    find(order, order->serial);
}

static void do_list(struct offload_job *job)
{
    struct order *order = CONTAINER_OF(job, struct order, job);
    order->list.after_ms = INT64_MAX;
    if (order->after[0] != '\0') {
        find(order, order->after);
        if (order->result != REGISTER_OK)
            return;
        order->list.after_ms = order->record.issued_ms;
        order->list.after_serial = order->record.serial;
    }
    enum store_result result = store_list_certificates(order->control->store, &order->list,
                                                       &order->records, &order->count);
    order->result = result == STORE_OK ? REGISTER_OK : REGISTER_FAILED;
}

static void do_change(struct offload_job *job)
{
    struct order *order = CONTAINER_OF(job, struct order, job);
    order->result =
        register_change(order->control->store, &order->change, &order->record, &order->why);
}

/* -- requests ---------------------------------------------------------------------------------- */

/* The serial of the path. False: 404 was replied. */
static bool read_serial(struct http_request *request, char serial_r[SERIAL_ROOM])
{
    if (serial_read(request->params[0], serial_r))
        return true;
    refuse(request, 404, "unknown-certificate", "There is no such certificate", NULL);
    return false;
}

static void show(struct http_request *request, void *arg)
{
    char serial[SERIAL_ROOM];
    if (!read_serial(request, serial))
        return;
    struct order *order = order_create(request, arg);
    memcpy(order->serial, serial, sizeof(serial));
    start(order, do_show);
}

static bool read_limit(struct str text, size_t *limit_r)
{
    size_t limit = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (!is_digit(text.p[i]) || limit > LIMIT_MAX)
            return false;
        limit = limit * 10 + (size_t)(text.p[i] - '0');
    }
    *limit_r = limit;
    return limit != 0 && limit <= LIMIT_MAX;
}

static void list(struct http_request *request, void *arg)
{
    struct str route = http_query(request, STR("route")), limit = http_query(request, STR("limit")),
               after = http_query(request, STR("after")),
               status = http_query(request, STR("status"));
    struct order *order = order_create(request, arg);
    order->list = (struct certificate_list){.status = -1, .limit = LIMIT_DEFAULT};
    const char *wrong = NULL;
    enum certificate_status wanted;
    if (route.n >= sizeof(order->route))
        wrong = "route: there is no such section";
    else if (limit.p != NULL && !read_limit(limit, &order->list.limit))
        wrong = "limit: not a number from 1 to 1000";
    else if (after.p != NULL && !serial_read(after, order->after))
        wrong = "after: not a serial";
    else if (status.p != NULL && !status_named(status, &wanted))
        wrong = "status: not valid, revoked or superseded";
    if (wrong != NULL) {
        refuse(request, 400, "bad-query", "The query can't be used", wrong);
        return;
    }
    if (status.p != NULL)
        order->list.status = (int)wanted;
    if (route.n != 0)
        memcpy(order->route, route.p, route.n);
    order->list.route = (struct str){order->route, route.n};
    start(order, do_list);
}

/* What a change's body says under one name; "" when there is no body, or not that. False: it isn't
 * such a body, and *wrong_r says why. */
static bool read_member(struct http_request *request, struct str body, const char *name,
                        struct str *value_r, const char **wrong_r)
{
    struct json_doc doc;
    *value_r = STR("");
    if (trimmed(body).n == 0)
        return true;
    json_doc_init(&doc);
    bool parsed = json_parse(&doc, body.p, body.n, DEPTH_MAX, NULL) == JSON_OK;
    struct json_value root = json_root(&doc), member = json_get(root, str_from(name));
    *wrong_r = "the body is not a JSON object";
    bool good = parsed && json_type(root) == JSON_OBJECT;
    if (good && json_type(member) != JSON_MISSING && json_type(member) != JSON_NULL) {
        *wrong_r = "the member is not a string";
        good = json_type(member) == JSON_STRING;
        if (good)
            *value_r = json_string(member, request->pool);
    }
    if (good && json_count(root) > (json_type(member) != JSON_MISSING ? 1u : 0u)) {
        *wrong_r = "the body has a member that is not known here";
        good = false;
    }
    json_doc_fini(&doc);
    return good;
}

static void change(struct http_request *request, enum http_body_end how, struct str body,
                   struct control *control, enum certificate_status status)
{
    char serial[SERIAL_ROOM];
    const char *wrong = NULL;
    struct str value;
    bool revokes = status == CERTIFICATE_REVOKED;
    if (how != BODY_WHOLE) {
        http_body_refuse(request, how);
        return;
    }
    if (!read_serial(request, serial))
        return;
    if (!read_member(request, body, revokes ? "reason" : "by", &value, &wrong)) {
        refuse(request, 400, "bad-body", "The body can't be used", wrong);
        return;
    }
    struct order *order = order_create(request, control);
    memcpy(order->serial, serial, sizeof(serial));
    if (!revokes && value.n != 0 && !serial_read(value, order->by))
        wrong = "by: not a serial";
    else if (revokes && value.n > REASON_MAX)
        wrong = "reason: longer than 500 bytes";
    else
        wrong = NULL;
    if (wrong != NULL) {
        refuse(request, 400, "bad-body", "The body can't be used", wrong);
        return;
    }
    if (revokes && value.n != 0)
        memcpy(order->reason, value.p, value.n);
    order->change = (struct certificate_change){.serial = str_from(order->serial),
                                                .status = status,
                                                .reason = {order->reason, revokes ? value.n : 0},
                                                .superseded_by = str_from(order->by),
                                                .changed_ms = clock_unix_ms()};
    start(order, do_change);
}

static void revoke_with(struct http_request *request, enum http_body_end how, struct str body,
                        void *arg)
{
    change(request, how, body, arg, CERTIFICATE_REVOKED);
}

static void supersede_with(struct http_request *request, enum http_body_end how, struct str body,
                           void *arg)
{
    change(request, how, body, arg, CERTIFICATE_SUPERSEDED);
}

static void on_revoke(struct http_request *request, void *arg)
{
    http_body_collect(request, BODY_MAX, revoke_with, arg);
}

static void on_supersede(struct http_request *request, void *arg)
{
    http_body_collect(request, BODY_MAX, supersede_with, arg);
}

struct control *control_create(struct http_server *server, struct store *store,
                               struct offload *reads)
{
    struct control *control = h2o_mem_alloc(sizeof(*control));
    *control = (struct control){store, reads};
    http_control_add(server, "certificates", HTTP_GET | HTTP_HEAD, STR("/certificates"), list,
                     control);
    http_control_add(server, "certificate", HTTP_GET | HTTP_HEAD, STR("/certificates/{serial}"),
                     show, control);
    http_control_add(server, "revoke", HTTP_POST | HTTP_READS_BODY,
                     STR("/certificates/{serial}/revoke"), on_revoke, control);
    http_control_add(server, "supersede", HTTP_POST | HTTP_READS_BODY,
                     STR("/certificates/{serial}/supersede"), on_supersede, control);
    return control;
}

void control_destroy(struct control **control)
{
    free(*control);
    *control = NULL;
}
