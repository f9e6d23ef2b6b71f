/* Everything here works on literals: a name that resolves to something else tomorrow has no place
 * in what a server binds to or whom it believes. */
#include "http/address.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>

static bool port_parse(struct str text, uint16_t *port_r)
{
    unsigned port = 0;
    if (text.n == 0 || text.n > 5)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (!is_digit(text.p[i]))
            return false;
        port = port * 10 + (unsigned)(text.p[i] - '0');
    }
    if (port > UINT16_MAX)
        return false;
    *port_r = (uint16_t)port;
    return true;
}

static struct address v4(struct in_addr host, uint16_t port)
{
    struct address address = {.length = sizeof(address.sa.v4)};
    address.sa.v4 =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = host};
    return address;
}

static struct address v6(struct in6_addr host, uint16_t port)
{
    struct address address = {.length = sizeof(address.sa.v6)};
    address.sa.v6 =
        (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = host};
    return address;
}

static unsigned local_parse(struct str path, struct address *address_r, const char **error_r)
{
    struct address address = {.sa.local.sun_family = AF_UNIX};
    if (path.n == 0) {
        *error_r = "the path of the unix socket is missing";
        return 0;
    }
    if (path.n >= sizeof(address.sa.local.sun_path)) {
        *error_r = "the path of the unix socket is longer than 107 bytes";
        return 0;
    }
    memcpy(address.sa.local.sun_path, path.p, path.n);
    address.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
    *address_r = address;
    return 1;
}

unsigned address_parse(struct str text, struct address address_r[2], const char **error_r)
{
    struct ip ip;
    uint16_t port;
    if (text.n >= 5 && memcmp(text.p, "unix:", 5) == 0)
        return local_parse((struct str){text.p + 5, text.n - 5}, address_r, error_r);

    const char *colon = memrchr(text.p, ':', text.n);
    if (colon == NULL || memchr(text.p, ']', text.n) > (const void *)colon) {
        *error_r = "expected \"address:port\" or \"unix:/path\"";
        return 0;
    }
    struct str host = {text.p, (size_t)(colon - text.p)};
    if (!port_parse((struct str){colon + 1, text.n - host.n - 1}, &port)) {
        *error_r = "the port is not a number from 0 to 65535";
        return 0;
    }
    if (str_eq(host, STR("*")) || str_eq(host, STR("localhost"))) {
        bool all = host.p[0] == '*';
        address_r[0] = v4((struct in_addr){htonl(all ? INADDR_ANY : INADDR_LOOPBACK)}, port);
        address_r[1] = v6(all ? in6addr_any : in6addr_loopback, port);
        address_r[1].optional = true;
        return 2;
    }
    if (!ip_parse(host, &ip) || (ip.family == AF_INET6 && host.p[0] != '[')) {
        *error_r = host.n != 0 && memchr(host.p, ':', host.n) != NULL
                       ? "an IPv6 address stands in brackets: \"[::1]:8080\""
                       : "expected an IP address, \"localhost\" or \"*\" (names are not resolved)";
        return 0;
    }
    if (ip.family == AF_INET) {
        struct in_addr in;
        memcpy(&in, ip.bytes, sizeof(in));
        address_r[0] = v4(in, port);
    } else {
        struct in6_addr in6;
        memcpy(&in6, ip.bytes, sizeof(in6));
        address_r[0] = v6(in6, port);
    }
    return 1;
}

bool address_equal(const struct address *a, const struct address *b)
{
    return a->length == b->length && memcmp(&a->sa, &b->sa, a->length) == 0;
}

size_t address_print(const struct address *address, char text_r[ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "";
    int n;
    switch (address->sa.any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &address->sa.v4.sin_addr, host, sizeof(host));
        n = snprintf(text_r, ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(address->sa.v4.sin_port));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &address->sa.v6.sin6_addr, host, sizeof(host));
        n = snprintf(text_r, ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(address->sa.v6.sin6_port));
        break;
    default:
        n = snprintf(text_r, ADDRESS_TEXT_MAX, "unix:%s", address->sa.local.sun_path);
    }
    return (size_t)n;
}

static struct ip from_v6(const uint8_t bytes[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct ip ip = {.family = AF_INET6};
    if (memcmp(bytes, mapped, sizeof(mapped)) == 0) {
        ip.family = AF_INET;
        memcpy(ip.bytes, bytes + 12, 4);
    } else {
        memcpy(ip.bytes, bytes, 16);
    }
    return ip;
}

bool ip_parse(struct str text, struct ip *ip_r)
{
    char host[INET6_ADDRSTRLEN];
    uint8_t bytes[16];
    bool brackets = text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']';
    if (brackets)
        text = (struct str){text.p + 1, text.n - 2};
    if (text.n == 0 || text.n >= sizeof(host) || memchr(text.p, '\0', text.n) != NULL)
        return false;
    memcpy(host, text.p, text.n);
    host[text.n] = '\0';
    if (!brackets && inet_pton(AF_INET, host, bytes) == 1) {
        *ip_r = (struct ip){.family = AF_INET};
        memcpy(ip_r->bytes, bytes, 4);
        return true;
    }
    if (inet_pton(AF_INET6, host, bytes) != 1)
        return false;
    *ip_r = from_v6(bytes);
    return true;
}

struct ip ip_of(const struct sockaddr *sa)
{
    struct ip ip = {.family = AF_UNSPEC};
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof(in));
        ip.family = AF_INET;
        memcpy(ip.bytes, &in.sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof(in6));
        ip = from_v6(in6.sin6_addr.s6_addr);
    }
    return ip;
}

/* Whether the first `bits` bits are the same. */
static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) & (0xff00 >> rest & 0xff)) == 0;
}

bool network_parse(struct str text, struct network *network_r, const char **error_r)
{
    struct network network = {.local = str_eq(text, STR("unix"))};
    if (network.local) {
        *network_r = network;
        return true;
    }
    const char *slash = text.n == 0 ? NULL : memchr(text.p, '/', text.n);
    struct str host = {text.p, slash == NULL ? text.n : (size_t)(slash - text.p)};
    if (!ip_parse(host, &network.ip)) {
        *error_r = "expected an IP address, a network (\"10.0.0.0/8\") or \"unix\"";
        return false;
    }
    unsigned widest = network.ip.family == AF_INET ? 32 : 128;
    unsigned mapped = widest == 32 && memchr(host.p, ':', host.n) != NULL ? 96 : 0;
    uint16_t bits = (uint16_t)(widest + mapped);
    if (slash != NULL && (!port_parse((struct str){slash + 1, text.n - host.n - 1}, &bits) ||
                          bits > widest + mapped || bits < mapped)) {
        *error_r = "the length of the network's prefix is out of range";
        return false;
    }
    bits = (uint16_t)(bits - mapped);
    network.bits = (uint8_t)bits;
    struct ip zero = {.family = AF_UNSPEC};
    for (unsigned bit = bits; bit < widest; bit++)
        zero.bytes[bit / 8] = (uint8_t)(zero.bytes[bit / 8] | 0x80 >> bit % 8);
    for (unsigned i = 0; i < widest / 8; i++)
        if ((network.ip.bytes[i] & zero.bytes[i]) != 0) {
            *error_r = "the network has bits set past its prefix";
            return false;
        }
    *network_r = network;
    return true;
}

bool network_has(const struct network *network, const struct ip *ip)
{
    return !network->local && network->ip.family == ip->family &&
           same_prefix(network->ip.bytes, ip->bytes, network->bits);
}
