/* `gateway sign-url`: a link that opens what asks for auth = "signed", until a time. The
 * configuration is read for its secret; nothing has to run. */
#include <stdio.h>
#include <time.h>
#include "base/buf.h"
#include "base/text.h"
#include "commands/commands.h"
#include "commands/secret.h"
#include "commands/site.h"
#include "http/signed_url.h"

static const char usage[] =
    "Usage: gateway sign-url [-c FILE] [--write] [--expires TIME] PATH[?QUERY]\n"
    "\n"
    "Prints PATH with a signature, good for uploads and downloads with auth = \"signed\"\n"
    "and for certificates: whoever has the link is issued what its query says.\n"
    "Put the site's address before it and give it to whoever may use it. What a URL can't\n"
    "hold (blanks, letters beyond ASCII) is percent-encoded. Exits with 78 when the\n"
    "configuration has errors or its secret can't be read.\n"
    "\n"
    "  -c, --config FILE    the configuration (default: " DEFAULT_CONFIG_FILE ")\n"
    "      --write          lets upload and delete too, not only read; a certificate's always\n"
    "                       lets issue it\n"
    "      --expires TIME   how long it is good: \"90s\", \"1h\", \"7d\" (default: 1h)\n";

enum { MAX_TARGET = 8192 }; /* longer ones no server of ours takes */
#define EXPIRES_MAX_MS ((uint64_t)3650 * 86400 * 1000)

/* The words as they will stand in a request's line. NULL, or what is wrong. */
static const char *encode(const char *words, struct buf *to)
{
    const char *end = words + strlen(words);
    if (words[0] != '/')
        return "the path must begin with /";
    for (const char *p = words; p != end; p++) {
        unsigned char c = (unsigned char)*p;
        bool as_it_is = c > ' ' && c < 0x7f && strchr("\"#<>\\^`{|}", c) == NULL;
        if (c == '%' && percent_byte(p, end) < 0)
            return "a % must begin an escape like %20; write %25 for the sign itself";
        if (!(as_it_is ? buf_append(to, p, 1) : buf_printf(to, "%%%02X", c)))
            return "the path is too long";
    }
    return NULL;
}

/* Whether `path` is the section's own path or lies below it. */
static bool leads_to(struct str prefix, struct str path)
{
    while (prefix.n != 0 && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    return path.n >= prefix.n && memcmp(path.p, prefix.p, prefix.n) == 0 &&
           (path.n == prefix.n || path.p[prefix.n] == '/');
}

/* Whether `path` is one that the pattern "/courses/{course}/certificate" stands for. */
static bool matches(struct str pattern, struct str path)
{
    while (pattern.n != 0 && path.n != 0) {
        struct str wanted = next_item(&pattern, '/'), segment = next_item(&path, '/');
        if (wanted.n > 2 && wanted.p[0] == '{' && wanted.p[1] == '*')
            return true;
        if (wanted.n != 0 && wanted.p[0] == '{' ? segment.n == 0 : !str_eq(wanted, segment))
            return false;
    }
    return pattern.n == 0 && path.n == 0;
}

static bool is_certificate(const struct config *config, struct str path)
{
    for (size_t i = 0; i < config->certificate_count; i++)
        if (!config->certificates[i].open && matches(config->certificates[i].path, path))
            return true;
    return false;
}

static bool is_asked_for(const struct config *config, struct str path)
{
    for (size_t i = 0; i < config->upload_count; i++)
        if (config->uploads[i].auth == AUTH_SIGNED && leads_to(config->uploads[i].path, path))
            return true;
    for (size_t i = 0; i < config->download_count; i++)
        if (config->downloads[i].auth == AUTH_SIGNED && leads_to(config->downloads[i].path, path))
            return true;
    return false;
}

static void print_link(const struct secret *secret, enum http_right right, struct str target,
                       struct str path, uint64_t expires_ms)
{
    char query[MAX_TARGET + SIGNED_URL_MORE];
    struct str rest = {target.p + path.n, target.n - path.n};
    if (rest.n != 0) /* the ? */
        rest = (struct str){rest.p + 1, rest.n - 1};
    struct key key = secret_key(secret, SIGNED_URL_PURPOSE);
    uint64_t expires_s = (uint64_t)time(NULL) + (expires_ms + 999) / 1000;
    size_t n = signed_url_write(&key, right, path, rest, expires_s, query);
    printf("%.*s?%.*s\n", (int)path.n, path.p, (int)n, query);
}

static int sign(const char *file, enum http_right right, struct str target, uint64_t expires_ms)
{
    struct diag *diag = diag_create();
    struct config *config = config_load(file, diag);
    struct secret secret;
    bool good = diag_errors(diag) == 0 && site_secret(config, true, &secret, diag);
    diag_print(diag, stderr);
    if (good) {
        const char *mark = memchr(target.p, '?', target.n);
        struct str path = {target.p, mark != NULL ? (size_t)(mark - target.p) : target.n};
        if (is_certificate(config, path))
            right = HTTP_MAY_WRITE;
        else if (!is_asked_for(config, path))
            fprintf(stderr,
                    "gateway sign-url: warning: nothing of %s at %.*s asks for a signed link "
                    "(an upload or a download with auth = \"signed\", a certificate that isn't "
                    "open)\n",
                    file, (int)path.n, path.p);
        print_link(&secret, right, target, path, expires_ms);
    }
    config_destroy(&config);
    diag_destroy(&diag);
    return good ? COMMAND_DONE : COMMAND_BAD_CONFIG;
}

int command_sign_url(int argc, char **argv)
{
    const char *file = DEFAULT_CONFIG_FILE, *expires = "1h", *words;
    bool write = false;
    const struct command_option options[] = {
        {.name = "config", .letter = 'c', .value_r = &file},
        {.name = "write", .flag_r = &write},
        {.name = "expires", .value_r = &expires},
    };
    const struct command_line line = {.usage = usage,
                                      .options = options,
                                      .option_count = COUNT(options),
                                      .operands = &words,
                                      .operands_min = 1,
                                      .operands_max = 1};
    struct buf target;
    uint64_t expires_ms;
    int code;
    if (!command_arguments(argc, argv, &line, &code))
        return code;
    if (!config_duration(str_from(expires), &expires_ms) || expires_ms == 0 ||
        expires_ms > EXPIRES_MAX_MS) {
        fprintf(stderr,
                "gateway sign-url: --expires: expected a duration like \"1h\", at most 3650d, got "
                "\"%s\"\n",
                expires);
        return COMMAND_USAGE;
    }
    buf_init(&target, MAX_TARGET);
    const char *wrong = encode(words, &target);
    if (wrong != NULL)
        fprintf(stderr, "gateway sign-url: %s\n", wrong);
    code = wrong != NULL
               ? COMMAND_USAGE
               : sign(file, write ? HTTP_MAY_WRITE : HTTP_MAY_READ, buf_str(&target), expires_ms);
    buf_fini(&target);
    return code;
}
