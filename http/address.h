/* Addresses as users write them: what to listen on, which proxies to trust. No sockets in here. */
#ifndef GW_HTTP_ADDRESS_H
#define GW_HTTP_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "base/base.h"

enum { ADDRESS_TEXT_MAX = sizeof("unix:") + sizeof(((struct sockaddr_un *)0)->sun_path) };

/* One socket address. */
struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } sa;
    socklen_t length;
    bool tls;      /* it is spoken there; not the text's to say */
    bool optional; /* the second of a pair ("*", "localhost"): may be missing on this machine */
};

/* "127.0.0.1:80", "[::1]:80", "localhost:80" and "*:80" (both families), "unix:/path". Host names
 * are not resolved. Returns how many addresses it stands for (1 or 2), 0 with *error_r when it is
 * none. */
unsigned address_parse(struct str text, struct address address_r[2], const char **error_r);

bool address_equal(const struct address *a, const struct address *b);

/* "127.0.0.1:80", "[::1]:80", "unix:/path"; NUL-terminated. Returns its length. */
size_t address_print(const struct address *address, char text_r[ADDRESS_TEXT_MAX]);

/* An IP address without port: RFC 4291 section 2.5.5.2 mapped addresses count as IPv4. */
struct ip {
    uint8_t family; /* AF_INET, AF_INET6; AF_UNSPEC = none */
    uint8_t bytes[16];
};
/* "192.0.2.1", "2001:db8::1" and "[2001:db8::1]". */
bool ip_parse(struct str text, struct ip *ip_r);
struct ip ip_of(const struct sockaddr *sa);

/* A network, or the peers of unix sockets. */
struct network {
    struct ip ip;
    uint8_t bits;
    bool local; /* "unix" */
};
/* "10.0.0.0/8", "2001:db8::/32", a lone address, "unix". Bits set past the prefix are an error, as
 * they are most likely a slip. */
bool network_parse(struct str text, struct network *network_r, const char **error_r);
bool network_has(const struct network *network, const struct ip *ip);

#endif
