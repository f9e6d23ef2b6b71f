/* `gateway healthcheck [URL]`: is a gateway ready? For a container's HEALTHCHECK, where no curl is
 * installed: one GET within two seconds, the answer as exit code. Says nothing when all is well. */
#include "commands/commands.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_ADMIN "127.0.0.1:9090"

enum { TIMEOUT_MS = 2000, REASON_MAX = 160 };

static const char usage[] =
    "Usage: gateway healthcheck [URL]\n"
    "\n"
    "Asks a gateway whether it is ready: exits 0 when GET URL answers 200 within two\n"
    "seconds, else 1 with the reason on stderr.\n"
    "\n"
    "URL is http://…, https://…, or the address of an admin listener, \"host:port\" or\n"
    "\"unix:/path\", whose /readyz is asked. Default: ${GATEWAY_ADMIN:-" DEFAULT_ADMIN "}.\n";

/* What to ask: a URL and, for unix sockets, where to connect instead of its host. */
struct target {
    char url[1024];
    const char *socket; /* NULL = TCP */
};

static bool starts_with(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* An address to listen on, such as 0.0.0.0:9090, is not always one to connect to. */
static bool target_from(const char *where, struct target *target_r)
{
    const char *host = "", *rest = where;
    int n;

    target_r->socket = NULL;
    if (starts_with(where, "http://") || starts_with(where, "https://")) {
        n = snprintf(target_r->url, sizeof(target_r->url), "%s", where);
    } else if (starts_with(where, "unix:")) {
        target_r->socket = where + strlen("unix:");
        n = snprintf(target_r->url, sizeof(target_r->url), "http://localhost/readyz");
    } else {
        if (starts_with(where, "0.0.0.0:")) {
            host = "127.0.0.1";
            rest = where + strlen("0.0.0.0");
        } else if (starts_with(where, "[::]:")) {
            host = "[::1]";
            rest = where + strlen("[::]");
        }
        n = snprintf(target_r->url, sizeof(target_r->url), "http://%s%s/readyz", host, rest);
    }
    return n > 0 && (size_t)n < sizeof(target_r->url);
}

/* The first line of the answer's body, as far as it is plain text: /readyz says there why not. */
struct reason {
    char text[REASON_MAX + 1];
    size_t n;
    bool ended;
};

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct reason *reason = arg;

    for (size_t i = 0; i < size * count && !reason->ended; i++) {
        char c = bytes[i];

        if (c < ' ' || c > '~' || reason->n == REASON_MAX)
            reason->ended = true;
        else
            reason->text[reason->n++] = c;
    }
    reason->text[reason->n] = '\0';
    return size * count;
}

static int ask(CURL *easy, const struct target *target)
{
    const char *shown = target->socket != NULL ? target->socket : target->url;
    char error[CURL_ERROR_SIZE] = "";
    struct reason reason = {0};
    long status = 0;

    curl_easy_setopt(easy, CURLOPT_URL, target->url);
    if (target->socket != NULL)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, target->socket);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*"); /* http_proxy is not for one's own health */
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &reason);

    CURLcode result = curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (result != CURLE_OK) {
        fprintf(stderr, "gateway healthcheck: %s: %s\n", shown,
                error[0] != '\0' ? error : curl_easy_strerror(result));
        return COMMAND_FAILED;
    }
    if (status != 200) {
        fprintf(stderr, "gateway healthcheck: %s: answered %ld%s%s\n", shown, status,
                reason.n != 0 ? ": " : "", reason.text);
        return COMMAND_FAILED;
    }
    return COMMAND_DONE;
}

int command_healthcheck(int argc, char **argv)
{
    const char *where = getenv("GATEWAY_ADMIN");
    struct target target;
    int code = COMMAND_FAILED;

    if (where == NULL || where[0] == '\0')
        where = DEFAULT_ADMIN;
    if (!command_arguments(
            argc, argv,
            &(struct command_line){.usage = usage, .operands = &where, .operands_max = 1}, &code))
        return code;
    if (!target_from(where, &target)) {
        fprintf(stderr, "gateway healthcheck: the address is too long\n");
        return COMMAND_USAGE;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        fprintf(stderr, "gateway healthcheck: libcurl does not start\n");
        return COMMAND_FAILED;
    }
    CURL *easy = curl_easy_init();
    if (easy != NULL) {
        code = ask(easy, &target);
        curl_easy_cleanup(easy);
    } else {
        fprintf(stderr, "gateway healthcheck: out of memory\n");
        code = COMMAND_FAILED;
    }
    curl_global_cleanup();
    return code;
}
