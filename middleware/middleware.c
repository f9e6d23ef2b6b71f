/* The list of kinds, and what they share. */
#include "middleware/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* clang-format off */
static void (*const kinds[])(struct middleware *all, struct diag *diag) = {
    cors_create,
    headers_create,
    access_create,
    limits_create,
    rate_limits_create,
    shedding_create,
    basic_auth_create,
    forward_auth_create,
    jwt_create,
    security_headers_create,
};
/* clang-format on */

struct middleware *middleware_create(const struct middleware_needs *needs, struct diag *diag)
{
    struct middleware *all = calloc(1, sizeof(*all));
    gw_assert(all != NULL);
    all->needs = *needs;
    all->proofs = proofs_create(needs->compute);
    for (size_t i = 0; i < COUNT(kinds); i++)
        kinds[i](all, diag);
    return all;
}

void middleware_destroy(struct middleware **all_p)
{
    if (*all_p == NULL)
        return;
    proofs_destroy(&(*all_p)->proofs);
    free(*all_p);
    *all_p = NULL;
}

void middleware_set_client(struct middleware *all, struct loop *loop, struct up_client *client)
{
    all->clients[loop_index(loop)] = client;
}

void middleware_write_metrics(const struct middleware *all, struct out *out)
{
    shedding_write_metrics(all->shedding, out);
}

char *middleware_name(const char *kind, struct str name)
{
    char *text;
    int n = asprintf(&text, "%s.%.*s", kind, (int)name.n, name.p);
    gw_assert(n > 0);
    return text;
}

void add_header_once(struct http_request *request, const char *lower_case_name, struct str value)
{
    const h2o_headers_t *headers = &request->h2o->res.headers;
    size_t n = strlen(lower_case_name);
    for (size_t i = 0; i < headers->size; i++) {
        const h2o_iovec_t *name = headers->entries[i].name;
        if (name->len == n && strncasecmp(name->base, lower_case_name, n) == 0)
            return;
    }
    http_add_header(request, lower_case_name, value);
}

static bool reads_as(const h2o_iovec_t *name, const char *wanted, size_t n)
{
    if (name->len != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (name->base[i] != wanted[i] && (name->base[i] | 0x20) != wanted[i] &&
            (name->base[i] != '_' || wanted[i] != '-') &&
            (name->base[i] != '-' || wanted[i] != '_'))
            return false;
    return true;
}

void remove_header(h2o_headers_t *headers, const char *lower_case_name)
{
    size_t n = strlen(lower_case_name), kept = 0;
    for (size_t i = 0; i < headers->size; i++)
        if (!reads_as(headers->entries[i].name, lower_case_name, n))
            headers->entries[kept++] = headers->entries[i];
    headers->size = kept;
}

struct str join_list(h2o_mem_pool_t *pool, const struct config_strings *list)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < list->count; i++)
        n += list->items[i].n + 2;
    char *text = h2o_mem_alloc_pool(pool, n + 1);
    for (size_t i = 0; i < list->count; i++) {
        if (i != 0)
            at = (size_t)(stpcpy(text + at, ", ") - text);
        memcpy(text + at, list->items[i].p, list->items[i].n);
        at += list->items[i].n;
    }
    text[at] = '\0';
    return (struct str){text, at};
}

/* -- who may ----------------------------------------------------------------------------------- */

bool only_header(const struct http_request *request, struct str name, struct str *value_r)
{
    size_t count = 0;
    for (size_t i = 0; i < request->headers->size; i++) {
        const h2o_header_t *field = &request->headers->entries[i];
        if (!str_caseeq((struct str){field->name->base, field->name->len}, name))
            continue;
        *value_r = (struct str){field->value.base, field->value.len};
        count++;
    }
    return count == 1;
}

/* "public, max-age=60" becomes "private, max-age=60". */
static void make_private(h2o_mem_pool_t *pool, h2o_iovec_t *value)
{
    struct str list = {value->base, value->len};
    char *text = h2o_mem_alloc_pool(pool, list.n + 10), *at = text;
    at = (char *)mempcpy(at, "private", 7);
    while (list.n != 0) {
        struct str item = next_item(&list, ','), rest = item;
        struct str name = next_item(&rest, '=');
        if (str_caseeq(name, STR("no-store")) || str_caseeq(name, STR("private")))
            return;
        if (item.n == 0 || str_caseeq(name, STR("public")) || str_caseeq(name, STR("s-maxage")))
            continue;
        at = (char *)mempcpy(at, ", ", 2);
        at = (char *)mempcpy(at, item.p, item.n);
    }
    *value = h2o_iovec_init(text, (size_t)(at - text));
}

void keep_private(struct http_middleware *middleware, struct http_request *request, int status)
{
    h2o_headers_t *headers = &request->h2o->res.headers;
    bool found = false;
    (void)middleware, (void)status;
    for (size_t i = 0; i < headers->size; i++) {
        if (headers->entries[i].name != &H2O_TOKEN_CACHE_CONTROL->buf)
            continue;
        make_private(request->pool, &headers->entries[i].value);
        found = true;
    }
    if (!found)
        http_add_header(request, "cache-control", STR("private"));
}

struct str request_header_name(struct str name, struct pos at, struct diag *diag)
{
    char *lower = strndup(name.p, name.n);
    gw_assert(lower != NULL);
    h2o_strtolower(lower, name.n);
    if (name.n != 0 && !http_may_set_request_header(name))
        diag_error(diag, at, "%s: not the name of a header that may be set", name.p);
    return (struct str){lower, name.n};
}
