/* Links that let whoever has them pass, until a time that stands in them:
 *
 *     /files/42?size=big&expires=1763800000&sig=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk
 *
 * sig is base64url of HMAC-SHA-256 over the right ("read" or "write"), the path and the query as
 * they stand in the request's line, and the time, each with its length before it (mac_make()). Both
 * parameters stand at the query's end, each once, so there is one way to write a link and nothing
 * can be added to it. A link to write lets read too: who may fill in a form must see it first.
 *
 * Pure: no request, no clock. Any thread. */
#ifndef GW_HTTP_SIGNED_URL_H
#define GW_HTTP_SIGNED_URL_H

#include "crypto/crypto.h"
#include "http/http.h"

/* The key's purpose for secret_key(). */
#define SIGNED_URL_PURPOSE "signed-url"

/* What signing adds to a query at most: "&expires=", 20 digits, "&sig=", 43 characters. */
enum { SIGNED_URL_MORE = 9 + 20 + 5 + 43 };

/* Writes the signed query (its length is returned) into query.n + SIGNED_URL_MORE bytes; no NUL.
 * Parameters of an earlier signature are left out. expires_s: seconds since 1970. */
size_t signed_url_write(const struct key *key, enum http_right right, struct str path,
                        struct str query, uint64_t expires_s, char *query_r);

enum signed_url { SIGNED_URL_NONE, SIGNED_URL_GOOD, SIGNED_URL_WRONG, SIGNED_URL_EXPIRED };
/* NONE: no signature there. WRONG: not one of ours for this path, query and right. */
enum signed_url signed_url_check(const struct key *key, enum http_right right, struct str path,
                                 struct str query, uint64_t now_s);

#endif
