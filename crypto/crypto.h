/* crypto/: digests, keys, and what is made of them: codes that only we can make and check. The only
 * folder that knows mbedtls, libcrypt and libcrypto's digests (mbedtls has no SHA instructions
 * here, so bulk digests are libcrypto's EVP).
 *
 * Everything here computes and nothing waits, but for random_bytes() in the first seconds of a
 * machine and secret_load(), which reads a file. Any thread; a digest is used by one at a time. */
#ifndef GW_CRYPTO_H
#define GW_CRYPTO_H

#include "base/base.h"

/* -- digests --------------------------------------------------------------------------------- */

enum digest_kind {
    DIGEST_SHA256,
    DIGEST_SHA384,
    DIGEST_SHA512,
    DIGEST_SHA1,
    DIGEST_MD5,
    DIGEST_CRC32
};
enum { DIGEST_MAX = 64 }; /* bytes of the longest */

struct digest;
struct digest *digest_create(enum digest_kind kind);
void digest_update(struct digest *digest, const void *bytes, size_t n);
/* Returns its length; the digest begins anew. CRC32 (ISO-HDLC, as zlib's) is big-endian. */
size_t digest_finish(struct digest *digest, uint8_t value_r[DIGEST_MAX]);
void digest_destroy(struct digest **digest);
size_t digest_size(enum digest_kind kind);

/* At once. */
size_t digest_of(enum digest_kind kind, const void *bytes, size_t n, uint8_t value_r[DIGEST_MAX]);
void sha256(const void *bytes, size_t n, uint8_t value_r[32]);

/* -- keys and codes -------------------------------------------------------------------------- */

/* What every key of a site is derived from. */
struct secret {
    uint8_t bytes[32];
};
/* From a text of at least 32 bytes that the user keeps, the same on every machine. False: it is
 * shorter. */
bool secret_from_text(struct str text, struct secret *secret_r);
/* From a file of ours: 64 hexadecimal digits, mode 0600 (one that others may use is refused).
 * `create`: makes it and its folder when missing, so that of several processes that start at once
 * all end up with the same. Returns NULL, or what is
 * wrong with it (in `error`, which holds error_size bytes). */
const char *secret_load(const char *path, bool create, struct secret *secret_r, char *error,
                        size_t error_size);

/* A key for one purpose ("signed-url"): HKDF-SHA-256, RFC 5869. */
struct key {
    uint8_t bytes[32];
};
struct key secret_key(const struct secret *secret, const char *purpose);

/* HMAC-SHA-256 (RFC 2104) over the parts, each preceded by its length, so that no two lists of
 * parts give the same input. */
void mac_make(const struct key *key, const struct str *parts, size_t count, uint8_t mac_r[32]);
/* Takes the same time whatever differs. */
bool bytes_equal(const void *a, const void *b, size_t n);

/* From the kernel's generator. */
void random_bytes(void *to, size_t n);

/* -- passwords -------------------------------------------------------------------------------- */

/* NULL, or what is wrong with a hash that should be one of crypt(3)'s with SHA-2 ("$5$", "$6$"), in
 * words that follow "the hash is". */
const char *password_hash_wrong(struct str hash);
/* Whether it is the password of a hash with which nothing is wrong. Both end with NUL. Takes a
 * millisecond (5,000 rounds) or far more: not on a loop. */
bool password_is(struct str hash, const char *password);

/* -- as text ---------------------------------------------------------------------------------- */

/* RFC 4648: section 4 with padding (base64), section 5 without (base64url). Encoders return the
 * length and end with NUL; room: BASE64_LENGTH(n) + 1. Decoders take exactly what an encoder makes
 * (padding bits zero), return false otherwise; *n_r bytes, at most text.n / 4 * 3 + 3. */
#define BASE64_LENGTH(n) (((size_t)(n) + 2) / 3 * 4)
size_t base64_encode(const void *bytes, size_t n, char *text_r);
bool base64_decode(struct str text, uint8_t *bytes_r, size_t *n_r);
size_t base64url_encode(const void *bytes, size_t n, char *text_r);
bool base64url_decode(struct str text, uint8_t *bytes_r, size_t *n_r);
/* Lower-case hexadecimal digits and NUL: 2 * n + 1 bytes. */
void hex_encode(const void *bytes, size_t n, char *text_r);
/* 2 * n digits of either case, exactly. */
bool hex_decode(struct str text, uint8_t *bytes_r, size_t n);

#endif
