/* [access.NAME]: who may come at all, by address: the client's, for which trusted proxies are
 * believed. The smallest listed network that has the address decides, so that a list can make an
 * exception of another; an address that is in none may come unless there is a list of who may. */
#include "middleware/internal.h"

#include <stdlib.h>
#include "middleware/networks.h"

struct access {
    struct http_middleware middleware;
    struct network_rule *rules; /* owned */
    size_t rule_count;
    bool others; /* may those come that are in none? */
    bool locals; /* peers of unix sockets? */
};

static bool may_come(const struct access *it, struct str client)
{
    struct ip ip;
    if (str_eq(client, STR("unix")))
        return it->locals;
    const struct network_rule *rule =
        ip_parse(client, &ip) ? network_rules_find(it->rules, it->rule_count, &ip) : NULL;
    return rule != NULL ? rule->allows : it->others;
}

static bool arrive(struct http_middleware *middleware, struct http_request *request)
{
    static const struct http_problem refusal = {.status = 403,
                                                .type = "address-refused",
                                                .title = "Access from your address isn't allowed"};
    const struct access *it = CONTAINER_OF(middleware, struct access, middleware);
    if (may_come(it, request->client))
        return true;
    request->flags = "AD";
    http_problem_reply(request, &refusal);
    return false;
}

/* -- the section ------------------------------------------------------------------------------- */

static void add_networks(struct access *it, const struct config *config,
                         const struct config_strings *list, bool allows, struct diag *diag)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct str *text = &list->items[i];
        struct network network;
        const char *error;
        if (!network_parse(*text, &network, &error))
            diag_error(diag, config_pos(config, text), "%s: \"%s\": %s", allows ? "allow" : "deny",
                       text->p, error);
        else if (network.local)
            it->locals = allows; /* denied ones come last */
        else
            it->rules[it->rule_count++] = network_rule_of(&network, allows);
    }
}

static void destroy(struct http_middleware *middleware)
{
    struct access *it = CONTAINER_OF(middleware, struct access, middleware);
    free((char *)(uintptr_t)middleware->name);
    free(it->rules);
    free(it);
}

void access_create(struct middleware *all, struct diag *diag)
{
    const struct config *config = all->needs.config;
    for (size_t i = 0; i < config->access_count; i++) {
        const struct config_access *from = &config->access[i];
        struct access *it = calloc(1, sizeof(*it));
        gw_assert(it != NULL);
        it->middleware = (struct http_middleware){
            .name = middleware_name("access", from->name), .arrive = arrive, .destroy = destroy};
        it->rules = calloc(from->allow.count + from->deny.count + 1, sizeof(*it->rules));
        gw_assert(it->rules != NULL);
        it->others = it->locals = from->allow.count == 0;
        add_networks(it, config, &from->allow, true, diag);
        add_networks(it, config, &from->deny, false, diag);
        network_rules_sort(it->rules, it->rule_count);
        http_middleware_add(all->needs.server, &it->middleware);
    }
}
