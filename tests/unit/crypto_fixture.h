/* A folder of keys and certificates that the openssl command makes and judges, for the tests of
 * crypto/sign.h: what we write, others must be able to read. */
#ifndef GW_TESTS_CRYPTO_FIXTURE_H
#define GW_TESTS_CRYPTO_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "crypto/sign.h"

static char folder[64];

static inline char *in_folder(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % COUNT(paths)];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static inline int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Runs a command in the folder, its words in `log`; gives the exit code. */
static inline int shell(const char *format, ...)
{
    char words[2048], whole[2304];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    snprintf(whole, sizeof(whole), "cd %s && ( %s ) >log 2>&1", folder, words);
    return WEXITSTATUS(system(whole));
}

#define assert_runs(...)                                  \
    do {                                                  \
        if (shell(__VA_ARGS__) != 0) {                    \
            int ignored_ = system(folder_log());          \
            (void)ignored_;                               \
            fail_msg("the command failed: " __VA_ARGS__); \
        }                                                 \
    } while (0)
#define assert_fails(...) assert_int_not_equal(shell(__VA_ARGS__), 0)

static inline const char *folder_log(void)
{
    static char words[128];
    snprintf(words, sizeof(words), "cat %s/log >&2", folder);
    return words;
}

static inline void write_file(const char *name, const void *bytes, size_t n)
{
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

/* At most `room` bytes. */
static inline size_t read_file(const char *name, void *bytes_r, size_t room)
{
    FILE *file = fopen(in_folder(name), "rb");
    assert_non_null(file);
    size_t n = fread(bytes_r, 1, room, file);
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    return n;
}

static inline const char *log_text(void)
{
    static char text[64 * 1024];
    text[read_file("log", text, sizeof(text) - 1)] = '\0';
    return text;
}

/* What a key's kind is called in the folder, and what makes it. */
static const struct {
    const char *name, *genpkey;
    enum digest_kind digest;
} kinds[] = {
    {"rsa2048", "RSA -pkeyopt rsa_keygen_bits:2048", DIGEST_SHA256},
    {"rsa3072", "RSA -pkeyopt rsa_keygen_bits:3072", DIGEST_SHA256},
    {"rsa4096", "RSA -pkeyopt rsa_keygen_bits:4096", DIGEST_SHA256},
    {"p256", "EC -pkeyopt ec_paramgen_curve:P-256", DIGEST_SHA256},
    {"p384", "EC -pkeyopt ec_paramgen_curve:P-384", DIGEST_SHA384},
};

static const char extensions[] = "[ca]\nbasicConstraints=critical,CA:true\n"
                                 "[leaf]\nbasicConstraints=CA:false\n"
                                 "keyUsage=critical,digitalSignature,nonRepudiation\n"
                                 "[agree]\nkeyUsage=critical,keyAgreement\n"
                                 "[tsa]\nextendedKeyUsage=critical,timeStamping\n"
                                 "[tsa_soft]\nextendedKeyUsage=timeStamping\n"
                                 "[tsa_more]\nextendedKeyUsage=critical,timeStamping,serverAuth\n";

static inline void make_key(const char *name, const char *genpkey)
{
    assert_runs("openssl genpkey -algorithm %s -out %s.key && chmod 600 %s.key", genpkey, name,
                name);
}

/* `name`.key and `name`.crt, issued by `issuer` for so many days. */
static inline void issue(const char *name, const char *issuer, const char *section, int days)
{
    assert_runs("openssl req -new -utf8 -key %s.key -subj '/O=Tests/CN=Zoë %s' -out req && "
                "openssl x509 -req -in req -CA %s.crt -CAkey %s.key -extfile ext -extensions %s "
                "-days %d -out %s.crt",
                name, name, issuer, issuer, section, days, name);
}

/* A root, an intermediate authority, and a key with certificate of each kind; NAME.chain is a
 * certificate with its chain. */
static inline int folder_make(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/gw-crypto-XXXXXX");
    assert_non_null(mkdtemp(folder));
    write_file("ext", extensions, sizeof(extensions) - 1);
    make_key("root", kinds[3].genpkey);
    assert_runs("openssl req -x509 -new -key root.key -subj /CN=Root -days 30 -out root.crt");
    make_key("middle", kinds[0].genpkey);
    issue("middle", "root", "ca", 30);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        make_key(kinds[i].name, kinds[i].genpkey);
        issue(kinds[i].name, "middle", "leaf", 30);
        assert_runs("cat %s.crt middle.crt root.crt >%s.chain", kinds[i].name, kinds[i].name);
    }
    return 0;
}

static inline int folder_remove(void **state)
{
    char words[128];
    (void)state;
    snprintf(words, sizeof(words), "rm -r %s", folder);
    return system(words);
}

static inline struct signer *load(const char *key, const char *certificate)
{
    char error[512] = "", warning[512];
    struct signer *signer = signer_load(in_folder(key), (struct str){"", 0}, in_folder(certificate),
                                        time(NULL), error, warning, sizeof(error));
    assert_string_equal(error, "");
    assert_non_null(signer);
    assert_string_equal(warning, "");
    return signer;
}

static inline struct signer *load_kind(size_t kind, const char *certificate_ending)
{
    char key[32], certificate[32];
    snprintf(key, sizeof(key), "%s.key", kinds[kind].name);
    snprintf(certificate, sizeof(certificate), "%s.%s", kinds[kind].name, certificate_ending);
    return load(key, certificate);
}

static inline void sign_text(const struct signer *signer, struct str text, struct cms *cms_r)
{
    uint8_t digest[DIGEST_MAX];
    digest_of(signer_digest(signer), text.p, text.n, digest);
    cms_sign(signer, digest, cms_r);
}

#endif
