/* Where an upstream's addresses come from, read from the configuration once: `addresses`
 * ("10.0.0.7:9101 weight=2", "[2001:db8::1]:9101", "spare.internal:9101"), or the URL's own host.
 */
#include "upstreams/internal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <h2o/memory.h>
#include "base/text.h"

enum { MAX_WEIGHT = 1000, MAX_HOST = 253 };

/* One in brackets is version 6. */
static bool is_ip(const char *host)
{
    struct in_addr v4;
    return host[0] == '[' || inet_pton(AF_INET, host, &v4) == 1;
}

/* curl answers these itself, RFC 6761 section 6.3: with both addresses, of which it takes the one
 * that somebody listens on. */
static bool is_localhost(const char *host)
{
    size_t n = strlen(host);
    return str_caseeq(str_from(host), STR("localhost")) ||
           (n > 10 && str_caseeq((struct str){host + n - 10, 10}, STR(".localhost")));
}

static void add_source(struct upstreams *ups, struct upstream *up, const char *host, uint16_t port,
                       uint32_t weight)
{
    struct directory *directory = &up->directory;
    struct source *source = &directory->sources[directory->source_count++];
    *source = (struct source){.host = strdup(host), .port = port, .weight = weight};
    gw_assert(source->host != NULL);
    if (port != 0 && !is_ip(host) && !is_localhost(host))
        source->name = names_add(ups->names, host, up);
}

static bool read_number(struct str text, uint32_t max, uint32_t *number_r)
{
    uint32_t number = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (!is_digit(text.p[i]))
            return false;
        number = number * 10 + (uint32_t)(text.p[i] - '0');
        if (number > max)
            return false;
    }
    *number_r = number;
    return text.n != 0;
}

/* A name as it stands in zone files, or an IPv4 address: what is all digits and dots must be one,
 * since getaddrinfo() would make an address of "10.1" too. */
static bool is_host(const char *host)
{
    bool is_number = true;
    for (const char *p = host; *p != '\0'; p++) {
        if (!is_letter_or_digit(*p) && *p != '-' && *p != '_' && (*p != '.' || p == host))
            return false;
        is_number = is_number && (is_digit(*p) || *p == '.');
    }
    return host[0] != '\0' && (!is_number || is_ip(host));
}

/* Canonical, so that two ways to write an address are one. */
static bool read_ip6(struct str text, char *host_r, size_t size)
{
    char raw[INET6_ADDRSTRLEN], canonical[INET6_ADDRSTRLEN];
    struct in6_addr v6;
    if (text.n < 2 || text.n - 2 >= sizeof(raw) || text.p[text.n - 1] != ']')
        return false;
    memcpy(raw, text.p + 1, text.n - 2);
    raw[text.n - 2] = '\0';
    if (inet_pton(AF_INET6, raw, &v6) != 1)
        return false;
    inet_ntop(AF_INET6, &v6, canonical, sizeof(canonical));
    snprintf(host_r, size, "[%s]", canonical);
    return true;
}

/* What is wrong with one of `addresses`; NULL when it was added. */
static const char *read_address(struct upstreams *ups, struct upstream *up, struct str rest)
{
    struct str address = next_item(&rest, ' '), option = trimmed(rest);
    uint32_t port, weight = 1;
    const char *colon = address.n != 0 ? memrchr(address.p, ':', address.n) : NULL;
    if (colon == NULL || address.p[address.n - 1] == ']')
        return "a port is missing: \"host:port\"";
    struct str port_text = {colon + 1, (size_t)(address.p + address.n - colon) - 1};
    if (!read_number(port_text, UINT16_MAX, &port) || port == 0)
        return "a port is a number from 1 to 65535";
    char host[MAX_HOST + 1];
    struct str host_text = {address.p, (size_t)(colon - address.p)};
    if (host_text.n > MAX_HOST)
        return "the host name is too long";
    if (host_text.n != 0 && host_text.p[0] == '[') {
        if (!read_ip6(host_text, host, sizeof(host)))
            return "what stands in brackets is not an IPv6 address";
    } else {
        for (size_t i = 0; i < host_text.n; i++)
            host[i] = (char)(is_letter(host_text.p[i]) ? host_text.p[i] | 0x20 : host_text.p[i]);
        host[host_text.n] = '\0';
        if (!is_host(host))
            return "the host is not a name or an address (an IPv6 address stands in brackets)";
    }
    if (option.n != 0) {
        if (option.n < 7 || memcmp(option.p, "weight=", 7) != 0)
            return "after the port only weight=N may stand";
        if (!read_number((struct str){option.p + 7, option.n - 7}, MAX_WEIGHT, &weight))
            return "a weight is a number from 0 to 1000";
    }
    for (size_t i = 0; i < up->directory.source_count; i++)
        if (up->directory.sources[i].port == port &&
            strcmp(up->directory.sources[i].host, host) == 0)
            return "it is listed twice";
    add_source(ups, up, host, (uint16_t)port, weight);
    return NULL;
}

void addresses_read(struct upstreams *ups, struct upstream *up, struct diag *diag)
{
    const struct config_strings *addresses = &up->config->addresses;
    if (up->socket_path != NULL) {
        diag_error(diag, config_pos(ups->config, addresses), "a unix socket has no addresses");
        return;
    }
    up->directory.sources = h2o_mem_alloc(addresses->count * sizeof(struct source));
    uint64_t weights = 0;
    size_t wrong = 0;
    for (size_t i = 0; i < addresses->count; i++) {
        struct pos at = config_pos(ups->config, &addresses->items[i]);
        const char *error = read_address(ups, up, addresses->items[i]);
        if (error != NULL)
            diag_error(diag, at, "\"%s\": %s", addresses->items[i].p, error);
        else
            weights += up->directory.sources[up->directory.source_count - 1].weight;
        wrong += error != NULL;
    }
    if (weights == 0 && wrong == 0)
        diag_error(diag, config_pos(ups->config, addresses),
                   "all weights are 0: no address would be used");
}

void address_of_url(struct upstreams *ups, struct upstream *up, const char *host, uint16_t port)
{
    up->directory.sources = h2o_mem_alloc(sizeof(struct source));
    add_source(ups, up, host, port, 1);
    up->is_direct = up->directory.sources[0].name == NULL;
}
