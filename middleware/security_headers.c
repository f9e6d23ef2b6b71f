/* [security_headers.NAME]: what tells browsers to be careful with an answer. A page, a form or an
 * upstream that says so itself knows better, so nothing that is there already is changed.
 * X-Content-Type-Options needs no section: all answers of ours have it. */
#include "middleware/internal.h"

#include <stdlib.h>

enum { MOST = 5 };

struct security_headers {
    struct http_middleware middleware;
    struct {
        const char *name;
        struct str value;
    } headers[MOST];
    size_t count;
};

static void reply(struct http_middleware *middleware, struct http_request *request, int status)
{
    const struct security_headers *it =
        CONTAINER_OF(middleware, struct security_headers, middleware);
    if (status == 304)
        return; /* whoever kept the answer has them */
    for (size_t i = 0; i < it->count; i++)
        add_header_once(request, it->headers[i].name, it->headers[i].value);
}

static void destroy(struct http_middleware *middleware)
{
    free((char *)(uintptr_t)middleware->name);
    free(CONTAINER_OF(middleware, struct security_headers, middleware));
}

void security_headers_create(struct middleware *all, struct diag *diag)
{
    const struct config *config = all->needs.config;
    (void)diag;
    for (size_t i = 0; i < config->security_headers_count; i++) {
        const struct config_security_headers *from = &config->security_headers[i];
        const struct {
            const char *name;
            struct str value;
        } headers[MOST] = {
            {"content-security-policy", from->csp},
            {"x-frame-options", from->frame_options},
            {"referrer-policy", from->referrer_policy},
            {"permissions-policy", from->permissions_policy},
            {"cross-origin-opener-policy", from->opener_policy},
        };
        struct security_headers *it = calloc(1, sizeof(*it));
        gw_assert(it != NULL);
        it->middleware = (struct http_middleware){
            .name = middleware_name("security_headers", from->name),
            .reply = reply,
            .destroy = destroy,
        };
        for (size_t k = 0; k < COUNT(headers); k++)
            if (headers[k].value.n != 0) {
                it->headers[it->count].name = headers[k].name;
                it->headers[it->count++].value = headers[k].value;
            }
        http_middleware_add(all->needs.server, &it->middleware);
    }
}
