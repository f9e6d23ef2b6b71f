/* Passwords: crypt(3)'s hashes with SHA-256 ("$5$") and SHA-512 ("$6$"), libcrypt's. Slow by
 * design, so that who gets hold of a hash can't try many passwords. */
#include "crypto/crypto.h"

#include <crypt.h>
#include <stdlib.h>

enum { SALT_MAX = 16, SHA256_TEXT = 43, SHA512_TEXT = 86 };
enum { ROUNDS_MIN = 1000, ROUNDS_MAX = 1000 * 1000 };

static bool is_hash_char(char c)
{
    return (c >= '.' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Takes what stands before the next '$', of at most `max` characters of crypt(3)'s alphabet. */
static bool take_field(struct str *rest, size_t max)
{
    const char *end = rest->n != 0 ? memchr(rest->p, '$', rest->n) : NULL;
    size_t n = end != NULL ? (size_t)(end - rest->p) : SIZE_MAX;
    if (n > max)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!is_hash_char(rest->p[i]))
            return false;
    *rest = (struct str){end + 1, rest->n - n - 1};
    return true;
}

/* "rounds=N$", where it is there. */
static bool take_rounds(struct str *rest, unsigned long *rounds_r)
{
    const struct str start = STR("rounds=");
    if (rest->n < start.n || memcmp(rest->p, start.p, start.n) != 0)
        return true;
    size_t i = start.n;
    unsigned long rounds = 0;
    for (; i < rest->n && i < start.n + 9 && rest->p[i] >= '0' && rest->p[i] <= '9'; i++)
        rounds = rounds * 10 + (unsigned long)(rest->p[i] - '0');
    if (i == rest->n || rest->p[i] != '$' || i == start.n || rest->p[start.n] == '0')
        return false;
    *rounds_r = rounds;
    *rest = (struct str){rest->p + i + 1, rest->n - i - 1};
    return true;
}

const char *password_hash_wrong(struct str hash)
{
    unsigned long rounds = ROUNDS_MIN;
    if (hash.n < 3 || hash.p[0] != '$' || (hash.p[1] != '5' && hash.p[1] != '6') ||
        hash.p[2] != '$')
        return "not a SHA-2 hash of crypt(3), which begins with \"$6$\" or \"$5$\"; `openssl "
               "passwd "
               "-6` makes one";
    size_t length = hash.p[1] == '5' ? SHA256_TEXT : SHA512_TEXT;
    struct str rest = {hash.p + 3, hash.n - 3};
    if (!take_rounds(&rest, &rounds) || !take_field(&rest, SALT_MAX) || rest.n != length)
        return "cut short or malformed";
    for (size_t i = 0; i < rest.n; i++)
        if (!is_hash_char(rest.p[i]))
            return "cut short or malformed";
    if (rounds < ROUNDS_MIN || rounds > ROUNDS_MAX)
        return "of fewer than 1,000 or more than 1,000,000 rounds";
    return NULL;
}

bool password_is(struct str hash, const char *password)
{
    struct crypt_data *data = calloc(1, sizeof(*data)); /* 32 KiB */
    gw_assert(data != NULL);
    const char *made = crypt_r(password, hash.p, data);
    bool good = made != NULL && strlen(made) == hash.n && bytes_equal(made, hash.p, hash.n);
    explicit_bzero(data, sizeof(*data));
    free(data);
    return good;
}
