/* The secret that a site's keys are derived from, and deriving them.
 *
 * Its file is made by whoever needs it first, and of several that start at once one wins: each
 * writes a whole file under a name of its own and link()s it to the common one, which fails for all
 * but the first. Then everybody reads what is there, so all have the same and none sees half of
 * it. */
#include "crypto/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <mbedtls/hkdf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/folders.h"

enum { SECRET_TEXT_MIN = 32, SECRET_DIGITS = 64 };

bool secret_from_text(struct str text, struct secret *secret_r)
{
    if (text.n < SECRET_TEXT_MIN)
        return false;
    sha256(text.p, text.n, secret_r->bytes);
    return true;
}

struct key secret_key(const struct secret *secret, const char *purpose)
{
    struct key key;
    int failed = mbedtls_hkdf(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), NULL, 0, secret->bytes,
                              sizeof(secret->bytes), (const unsigned char *)purpose,
                              strlen(purpose), key.bytes, sizeof(key.bytes));
    gw_assert(failed == 0);
    return key;
}

/* -- its file ---------------------------------------------------------------------------------- */

struct teller {
    char *text;
    size_t size;
};

static const char *tell(const struct teller *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static const char *tell(const struct teller *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, error->size, format, args);
    va_end(args);
    return error->text;
}

/* The digits, maybe with a line end, as editors leave one. */
static const char *parse(const char *path, struct str text, struct secret *secret_r,
                         const struct teller *error)
{
    if (text.n == SECRET_DIGITS + 1 && text.p[SECRET_DIGITS] == '\n')
        text.n--;
    if (!hex_decode(text, secret_r->bytes, sizeof(secret_r->bytes)))
        return tell(error,
                    "%s: not a secret: expected 64 hexadecimal digits; remove it "
                    "and a new one is made, which ends the links signed so far",
                    path);
    return NULL;
}

static const char *read_secret(const char *path, int fd, struct secret *secret_r,
                               const struct teller *error)
{
    char digits[SECRET_DIGITS + 2];
    struct stat about;
    if (fstat(fd, &about) != 0)
        return tell(error, "%s: %s", path, strerror(errno));
    if (!S_ISREG(about.st_mode))
        return tell(error, "%s: not a plain file", path);
    if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return tell(error, "%s: others than its owner may use it (mode %04o): chmod 600 it", path,
                    (unsigned)about.st_mode & 07777u);
    ssize_t n = pread(fd, digits, sizeof(digits), 0);
    if (n < 0)
        return tell(error, "%s: %s", path, strerror(errno));
    const char *wrong = parse(path, (struct str){digits, (size_t)n}, secret_r, error);
    explicit_bzero(digits, sizeof(digits));
    return wrong;
}

static bool write_secret(int fd)
{
    uint8_t bytes[SECRET_DIGITS / 2];
    char digits[SECRET_DIGITS + 1];
    random_bytes(bytes, sizeof(bytes));
    hex_encode(bytes, sizeof(bytes), digits);
    digits[SECRET_DIGITS] = '\n';
    ssize_t n = write(fd, digits, sizeof(digits));
    explicit_bzero(bytes, sizeof(bytes));
    explicit_bzero(digits, sizeof(digits));
    if (n >= 0 && (size_t)n != sizeof(digits))
        errno = ENOSPC;
    return n == sizeof(digits) && fsync(fd) == 0;
}

/* A file's name is safe on the disk once its folder is. */
static bool sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    gw_assert(folder != NULL);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    bool done = fd >= 0 && fsync(fd) == 0;
    int code = errno;
    if (fd >= 0)
        close(fd);
    errno = code;
    return done;
}

/* Makes it unless somebody else does first. False: see errno. */
static bool make_secret(const char *path)
{
    char *own = NULL;
    bool done = false;
    int code = folders_make_for(path, 0700);
    if (code != 0) {
        errno = code;
        return false;
    }
    gw_assert(asprintf(&own, "%s.XXXXXX", path) > 0);
    int fd = mkostemp(own, O_CLOEXEC); /* mode 0600 */
    if (fd >= 0) {
        done = write_secret(fd) && (link(own, path) == 0 || errno == EEXIST) && sync_folder(path);
        code = errno;
        close(fd);
        unlink(own);
        errno = code;
    }
    free(own);
    return done;
}

const char *secret_load(const char *path, bool create, struct secret *secret_r, char *error,
                        size_t error_size)
{
    const struct teller teller = {error, error_size};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe there mustn't hold us up */
    if (fd < 0 && errno == ENOENT && create) {
        if (!make_secret(path))
            return tell(&teller, "%s: cannot be made: %s", path, strerror(errno));
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    }
    if (fd < 0)
        return tell(&teller, "%s: cannot be read: %s", path, strerror(errno));
    const char *wrong = read_secret(path, fd, secret_r, &teller);
    close(fd);
    return wrong;
}
