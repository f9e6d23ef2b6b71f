/* LD_PRELOAD: keys that don't work: while the first byte of the file IDLE_KEYS is "1", a
 * signature's value is as long as ever and none. What a signed certificate costs less meanwhile is
 * the key's own work, where it stands and in the same process.
 *
 *     gcc -shared -fPIC -o idle_keys.so idle_keys.c */
#include <dlfcn.h>
#include <fcntl.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/rsa.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef int random_fn(void *, unsigned char *, size_t);
typedef int rsa_fn(mbedtls_rsa_context *, random_fn *, void *, int, mbedtls_md_type_t, unsigned,
                   const unsigned char *, unsigned char *);
typedef int ecdsa_fn(mbedtls_ecdsa_context *, mbedtls_md_type_t, const unsigned char *, size_t,
                     unsigned char *, size_t *, random_fn *, void *);

static const volatile char *said = "0"; /* what the file holds now */
static rsa_fn *rsa_sign;
static ecdsa_fn *ecdsa_sign;

__attribute__((constructor)) static void prepare(void)
{
    const char *path = getenv("IDLE_KEYS");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    const char *map = fd >= 0 ? mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (map == MAP_FAILED) {
        fputs("idle_keys: IDLE_KEYS names no file that can be read\n", stderr);
        abort();
    }
    close(fd);
    said = map;
    rsa_sign = (rsa_fn *)dlsym(RTLD_NEXT, "mbedtls_rsa_pkcs1_sign");
    ecdsa_sign = (ecdsa_fn *)dlsym(RTLD_NEXT, "mbedtls_ecdsa_write_signature");
}

int mbedtls_rsa_pkcs1_sign(mbedtls_rsa_context *key, random_fn *random, void *arg, int mode,
                           mbedtls_md_type_t md, unsigned n, const unsigned char *digest,
                           unsigned char *value)
{
    if (*said != '1')
        return rsa_sign(key, random, arg, mode, md, n, digest, value);
    memset(value, 0xa5, mbedtls_rsa_get_len(key));
    return 0;
}

int mbedtls_ecdsa_write_signature(mbedtls_ecdsa_context *key, mbedtls_md_type_t md,
                                  const unsigned char *digest, size_t n, unsigned char *value,
                                  size_t *value_n, random_fn *random, void *arg)
{
    if (*said != '1')
        return ecdsa_sign(key, md, digest, n, value, value_n, random, arg);
    *value_n = 2 + 2 * (2 + key->grp.nbits / 8) + 1; /* one INTEGER of two begins with a zero */
    memset(value, 0xa5, *value_n);
    return 0;
}
