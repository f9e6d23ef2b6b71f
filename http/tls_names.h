/* Which certificate answers for a name that a client asks for (SNI, RFC 6066 section 3): an exact
 * name first, then "*.example.org" for one label more (RFC 6125 section 6.4.3), of several the one
 * configured first. Read-only once sorted: any thread. */
#ifndef GW_HTTP_TLS_NAMES_H
#define GW_HTTP_TLS_NAMES_H

#include "base/base.h"

struct tls_name {
    char *text;         /* owned: lower case, NUL-terminated */
    size_t certificate; /* its place in the configuration */
};
struct tls_names {
    struct tls_name *items; /* owned */
    size_t count;
};

/* False: it is no name of a host, nor "*." and one. */
bool tls_names_add(struct tls_names *names, struct str name, size_t certificate);
/* Once all are there. */
void tls_names_sort(struct tls_names *names);
/* The certificate for what a client sent; -1 = none has that name. */
long tls_names_find(const struct tls_names *names, struct str asked);
void tls_names_fini(struct tls_names *names);

#endif
