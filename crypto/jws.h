/* crypto/: signatures of JSON Web Signatures (RFC 7515, RFC 7518 section 3) that others made.
 *
 * A key knows the one algorithm that it is for, so no token can have an RSA key's public text taken
 * for a secret. Keys are immutable: any thread, several at once. */
#ifndef GW_CRYPTO_JWS_H
#define GW_CRYPTO_JWS_H

#include "crypto/crypto.h"

enum jws_algorithm { JWS_HS256, JWS_RS256, JWS_ES256 };
enum { JWS_ALGORITHMS = 3, JWS_SIGNATURE_MAX = 512 };
/* "HS256", "RS256", "ES256"; false: another, "none" among them. */
bool jws_algorithm_named(struct str name, enum jws_algorithm *algorithm_r);
const char *jws_algorithm_name(enum jws_algorithm algorithm);

struct jws_key;
/* For HS256. */
struct jws_key *jws_key_of_secret(struct str secret);
/* For RS256: modulus (2048 to 4096 bits) and exponent, big-endian. NULL: not such a key. */
struct jws_key *jws_key_of_rsa(struct str n, struct str e);
/* For ES256: a point of P-256, each coordinate 32 bytes. NULL: it isn't on the curve. */
struct jws_key *jws_key_of_p256(struct str x, struct str y);
/* RSA's or P-256's from a PEM file ("PUBLIC KEY"). NULL: `error` (error_size bytes) says why. */
struct jws_key *jws_key_load(const char *path, char *error, size_t error_size);
/* Counted: each holder gives up its own. */
struct jws_key *jws_key_ref(struct jws_key *key);
void jws_key_unref(struct jws_key **key);
enum jws_algorithm jws_key_algorithm(const struct jws_key *key);

/* Whether the key made the signature of these bytes. HS256 takes 1 us, RS256 40 to 120 us, ES256 a
 * millisecond. */
bool jws_verify(const struct jws_key *key, struct str bytes, struct str signature);

#endif
