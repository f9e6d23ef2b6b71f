/* What a token costs: reading it, checking its claims, verifying its signature, for each algorithm;
 * and what is left of that for a token whose signature was verified before.
 *
 *     build/tools/jwt_speed [SECONDS]     (0.5: for each figure) */
#include <stdio.h>
#include <stdlib.h>
#include "crypto/jws.h"
#include "middleware/jwt_token.h"

/* The examples of RFC 7515 appendix A, with claims of a usual size instead of theirs: so only
 * HS256's signature is good, and takes as long as a bad one. */
static const char claims[] =
    "{\"iss\":\"https://id.example.org/realms/"
    "shop\",\"sub\":\"6f1c9d52-7d35-4f0b-9f7e-1f7a3b0c2d11\","
    "\"aud\":[\"shop\",\"account\"],\"exp\":1700000600,\"iat\":1700000000,\"nbf\":1700000000,"
    "\"jti\":\"0b9d6f0e-6a55-4f6e-8f7e-1f7a3b0c2d11\",\"scope\":\"openid profile email\","
    "\"roles\":[\"reader\",\"buyer\"],\"email\":\"ada@example.org\"}";

static double seconds_each = 0.5;
static struct jwt jwt;
static h2o_mem_pool_t pool;
static struct str audience[] = {{"shop", 4}}, required[] = {{"exp", 3}};
static const struct jwt_rules rules = {.issuer = {"https://id.example.org/realms/shop", 34},
                                       .audience = {audience, 1},
                                       .required = {required, 1},
                                       .leeway_s = 30};

static struct str make_token(const char *algorithm, size_t signature_n)
{
    static char text[JWT_MAX], header[100];
    uint8_t signature[JWS_SIGNATURE_MAX];
    size_t header_n = (size_t)snprintf(
        header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":\"2026-11\"}", algorithm);
    memset(signature, 0x5a, sizeof(signature));
    size_t n = base64url_encode(header, header_n, text);
    text[n++] = '.';
    n += base64url_encode(claims, sizeof(claims) - 1, text + n);
    text[n++] = '.';
    n += base64url_encode(signature, signature_n, text + n);
    return (struct str){text, n};
}

static struct jws_key *make_key(enum jws_algorithm algorithm)
{
    static const uint8_t x[32] = {0x7f, 0xcd, 0xce, 0x27, 0x70, 0xf6, 0xc4, 0x5d, 0x41, 0x83, 0xcb,
                                  0xee, 0x6f, 0xdb, 0x4b, 0x7b, 0x58, 0x07, 0x33, 0x35, 0x7b, 0xe9,
                                  0xef, 0x13, 0xba, 0xcf, 0x6e, 0x3c, 0x7b, 0xd1, 0x54, 0x45};
    static const uint8_t y[32] = {0xc7, 0xf1, 0x44, 0xcd, 0x1b, 0xbd, 0x9b, 0x7e, 0x87, 0x2c, 0xdf,
                                  0xed, 0xb9, 0xee, 0xb9, 0xf4, 0xb3, 0x69, 0x5d, 0x6e, 0xa9, 0x0b,
                                  0x24, 0xad, 0x8a, 0x46, 0x23, 0x28, 0x85, 0x88, 0xe5, 0xad};
    char n[256];
    memset(n, 0xa5, sizeof(n));
    if (algorithm == JWS_HS256)
        return jws_key_of_secret(STR("correct horse battery staple, twice"));
    return algorithm == JWS_RS256 ? jws_key_of_rsa((struct str){n, 256}, STR("\x01\x00\x01"))
                                  : jws_key_of_p256((struct str){(const char *)x, 32},
                                                    (struct str){(const char *)y, 32});
}

static void read_and_check(struct str token)
{
    const char *wrong;
    gw_assert(jwt_read(&jwt, token, &pool, &wrong));
    gw_assert(jwt_check(&jwt, &rules, 1700000100, &pool, &wrong));
    jwt_user(&jwt, &pool);
}

/* Microseconds. key NULL: the signature is only looked up. */
static double measure(struct str token, const struct jws_key *key)
{
    uint8_t digest[32];
    uint64_t start = clock_us(), end = start + (uint64_t)(seconds_each * 1e6), now;
    size_t count = 0;
    do {
        for (int i = 0; i < 100; i++, count++) {
            h2o_mem_init_pool(&pool);
            read_and_check(token);
            if (key != NULL)
                jws_verify(key, jwt.signed_part, jwt.signature);
            else
                sha256(token.p, token.n, digest);
            h2o_mem_clear_pool(&pool);
        }
        now = clock_us();
    } while (now < end);
    return (double)(now - start) / (double)count;
}

int main(int argc, char **argv)
{
    static const size_t sizes[JWS_ALGORITHMS] = {
        [JWS_HS256] = 32, [JWS_RS256] = 256, [JWS_ES256] = 64};
    if (argc > 1)
        seconds_each = strtod(argv[1], NULL);
    jwt_init(&jwt);
    printf("%-10s%10s%14s%14s\n", "", "bytes", "verified, us", "known, us");
    for (unsigned i = 0; i < JWS_ALGORITHMS; i++) {
        const char *name = jws_algorithm_name((enum jws_algorithm)i);
        struct jws_key *key = make_key((enum jws_algorithm)i);
        struct str token = make_token(name, sizes[i]);
        gw_assert(key != NULL);
        printf("%-10s%10zu%14.2f%14.2f\n", name, token.n, measure(token, key),
               measure(token, NULL));
        jws_key_unref(&key);
    }
    jwt_fini(&jwt);
    return 0;
}
