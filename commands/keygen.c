/* `gateway keygen`: a key and a self-signed certificate, for trying signatures out before one has a
 * certificate that readers trust.
 *
 * P-256 by default: it signs four times as fast as RSA-2048 and ten times as fast as RSA-3072, is
 * as strong as the latter, its signatures are short, and Acrobat, NSS (pdfsig, Okular, Evince) and
 * OpenSSL have checked it for a decade. RSA is for readers older than that. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "base/text.h"
#include "commands/commands.h"
#include "crypto/sign.h"

static const char usage[] =
    "Usage: gateway keygen [--type TYPE] [--name NAME] [--organization NAME] [--days N]\n"
    "                      [--out PREFIX]\n"
    "\n"
    "Makes a key and a self-signed certificate to sign PDFs with, and prints the lines that\n"
    "name them in the configuration. Writes PREFIX.key.pem and PREFIX.cert.pem (mode 0600) and\n"
    "never overwrites a file. PDF readers show such signatures as valid, but of a signer whom\n"
    "they don't know: for that, get a certificate from an authority that they trust.\n"
    "\n"
    "      --type TYPE          p256, p384, rsa-2048 or rsa-3072 (default: p256)\n"
    "      --name NAME          who signs, as readers show it (default: \"Certificate issuer\")\n"
    "      --organization NAME  whom they sign for (default: none)\n"
    "      --days N             how long the certificate is valid (default: 3650)\n"
    "      --out PREFIX         what the files' names begin with (default: signing)\n";

enum { DAYS_MAX = 36500 };

static const struct {
    const char *name;
    enum key_kind kind;
} types[] = {
    {"p256", KEY_P256},
    {"p384", KEY_P384},
    {"rsa-2048", KEY_RSA_2048},
    {"rsa-3072", KEY_RSA_3072},
};

/* One of the two files. Each is written whole under a name of its own and then link()ed, which
 * fails when there is one already. */
struct key_file {
    char *path, *draft;
    bool drafted, linked;
};

static struct key_file key_file(const char *prefix, const char *ending)
{
    struct key_file file = {0};
    gw_assert(asprintf(&file.path, "%s%s", prefix, ending) > 0);
    gw_assert(asprintf(&file.draft, "%s.XXXXXX", file.path) > 0);
    return file;
}

static bool draft(struct key_file *file, const char *text)
{
    size_t n = strlen(text);
    int fd = mkostemp(file->draft, O_CLOEXEC); /* mode 0600 */
    if (fd < 0)
        return false;
    file->drafted = true;
    ssize_t written = write(fd, text, n);
    if (written >= 0 && (size_t)written != n)
        errno = ENOSPC;
    bool done = written == (ssize_t)n && fsync(fd) == 0;
    int code = errno;
    close(fd);
    errno = code;
    return done;
}

static bool place(struct key_file *file)
{
    file->linked = link(file->draft, file->path) == 0;
    return file->linked;
}

static void tidy(struct key_file *file, bool keep)
{
    if (file->drafted)
        unlink(file->draft);
    if (file->linked && !keep)
        unlink(file->path);
    free(file->path);
    free(file->draft);
}

static bool refuse(const struct key_file *file)
{
    if (errno == EEXIST)
        fprintf(stderr,
                "gateway keygen: %s is there already: remove it first, or choose another "
                "--out\n",
                file->path);
    else
        fprintf(stderr, "gateway keygen: %s cannot be written: %s\n", file->path, strerror(errno));
    return false;
}

/* Told before a key is made: that takes a while. */
static bool is_free(const struct key_file *file)
{
    if (access(file->path, F_OK) != 0)
        return true;
    errno = EEXIST;
    return refuse(file);
}

static bool write_files(struct key_file *key, struct key_file *certificate, const char *key_pem,
                        const char *certificate_pem)
{
    if (!draft(key, key_pem))
        return refuse(key);
    if (!draft(certificate, certificate_pem))
        return refuse(certificate);
    if (!place(key))
        return refuse(key);
    return place(certificate) || refuse(certificate);
}

static void print_string(const char *key, const char *value)
{
    printf("%-11s = \"", key);
    for (; *value != '\0'; value++)
        printf(*value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
    printf("\"\n");
}

static bool make(const struct key_order *order, const char *prefix)
{
    char error[256], *key_pem = NULL, *certificate_pem = NULL;
    struct key_file key = key_file(prefix, ".key.pem");
    struct key_file certificate = key_file(prefix, ".cert.pem");
    bool done = is_free(&key) && is_free(&certificate);
    if (done && !key_make(order, &key_pem, &certificate_pem, error, sizeof(error))) {
        fprintf(stderr, "gateway keygen: %s\n", error);
        done = false;
    }
    done = done && write_files(&key, &certificate, key_pem, certificate_pem);
    if (done) {
        printf("[certificates.NAME.sign]\n");
        print_string("key", key.path);
        print_string("certificate", certificate.path);
    }
    if (key_pem != NULL)
        explicit_bzero(key_pem, strlen(key_pem));
    free(key_pem);
    free(certificate_pem);
    tidy(&key, done);
    tidy(&certificate, done);
    return done;
}

static bool read_days(const char *text, int *days_r)
{
    size_t n = strlen(text);
    *days_r = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_digit(text[i]) || n > 5)
            return false;
        *days_r = *days_r * 10 + (text[i] - '0');
    }
    return *days_r >= 1 && *days_r <= DAYS_MAX;
}

int command_keygen(int argc, char **argv)
{
    const char *type = "p256", *name = "Certificate issuer", *organization = NULL;
    const char *days_text = "3650", *prefix = "signing";
    const struct command_option options[] = {
        {.name = "type", .value_r = &type},
        {.name = "name", .value_r = &name},
        {.name = "organization", .value_r = &organization},
        {.name = "days", .value_r = &days_text},
        {.name = "out", .value_r = &prefix},
    };
    const struct command_line line = {
        .usage = usage, .options = options, .option_count = COUNT(options)};
    size_t i = 0;
    int days, code;
    if (!command_arguments(argc, argv, &line, &code))
        return code;
    while (i < COUNT(types) && strcmp(types[i].name, type) != 0)
        i++;
    if (i == COUNT(types)) {
        fprintf(stderr,
                "gateway keygen: --type: expected p256, p384, rsa-2048 or rsa-3072, got \"%s\"\n",
                type);
        return COMMAND_USAGE;
    }
    if (!read_days(days_text, &days)) {
        fprintf(stderr, "gateway keygen: --days: expected 1 to 36500, got \"%s\"\n", days_text);
        return COMMAND_USAGE;
    }
    int64_t now_s = time(NULL);
    const struct key_order order = {.kind = types[i].kind,
                                    .common_name = name,
                                    .organization = organization,
                                    .from_s = now_s,
                                    .until_s = now_s + (int64_t)days * 86400};
    return make(&order, prefix) ? COMMAND_DONE : COMMAND_FAILED;
}
