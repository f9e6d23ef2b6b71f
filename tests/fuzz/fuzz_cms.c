/* Any bytes as a signature: nothing is read past their end, and none is good: the seeds are of
 * other keys, and the one that checks is made at the start. And any bytes over a good signature of
 * that key, at a place that they name: it may stay good (where nothing is signed), but is never one
 * of other content. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "crypto/sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct signer *signer;
static uint8_t *good;
static size_t good_n;

static void write_text(int fd, char *text)
{
    gw_assert(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    free(text);
}

static void digest_content(void *arg, enum digest_kind kind, uint8_t *digest_r)
{
    digest_of(kind, arg, 7, digest_r);
}

static void start(void)
{
    const struct key_order order = {KEY_P256, "Fuzz", NULL, 0, 4000000000};
    char key_path[] = "/tmp/fuzz-key-XXXXXX", certificate_path[] = "/tmp/fuzz-crt-XXXXXX";
    char *key, *certificate, error[512], warning[512];
    uint8_t digest[DIGEST_MAX];
    struct cms cms;
    gw_assert(key_make(&order, &key, &certificate, error, sizeof(error)));
    write_text(mkstemp(key_path), key);
    write_text(mkstemp(certificate_path), certificate);
    signer = signer_load(key_path, STR(""), certificate_path, 1, error, warning, sizeof(error));
    gw_assert(signer != NULL);
    unlink(key_path);
    unlink(certificate_path);
    digest_of(signer_digest(signer), "content", 7, digest);
    cms_sign(signer, digest, &cms);
    good = malloc(signer_size(signer));
    gw_assert(good != NULL);
    good_n = cms_write(&cms, (struct str){NULL, 0}, good);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cms_found found;
    char content[] = "content";
    if (signer == NULL)
        start();
    char *exact = malloc(size != 0 ? size : 1);
    gw_assert(exact != NULL);
    memcpy(exact, data, size);
    if (cms_check(signer, (struct str){exact, size}, digest_content, content, &found))
        gw_assert(found.verdict == CMS_FOREIGN || found.verdict == CMS_BROKEN);
    free(exact);

    /* Some of the bytes over a good one, at a place that they name. */
    if (size < 3)
        return 0;
    size_t at = ((size_t)data[0] << 8 | data[1]) % good_n;
    size_t n = size - 2 < good_n - at ? size - 2 : good_n - at;
    exact = malloc(good_n);
    gw_assert(exact != NULL);
    memcpy(exact, good, good_n);
    memcpy(exact + at, data + 2, n);
    if (cms_check(signer, (struct str){exact, good_n}, digest_content, content, &found))
        gw_assert(found.verdict != CMS_ALTERED);
    free(exact);
    return 0;
}
