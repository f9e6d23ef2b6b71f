/* The list of kinds, and what they share. */
#include "middleware/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static void (*const kinds[])(struct middleware *all, struct diag *diag) = {
    security_headers_create,
};

struct middleware *middleware_create(const struct middleware_needs *needs, struct diag *diag)
{
    struct middleware *all = calloc(1, sizeof(*all));
    gw_assert(all != NULL);
    all->needs = *needs;
    for (size_t i = 0; i < COUNT(kinds); i++)
        kinds[i](all, diag);
    return all;
}

void middleware_destroy(struct middleware **all_p)
{
    free(*all_p);
    *all_p = NULL;
}

void middleware_set_client(struct middleware *all, struct loop *loop, struct up_client *client)
{
    all->clients[loop_index(loop)] = client;
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
