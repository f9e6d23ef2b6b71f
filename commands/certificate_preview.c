/* `gateway certificate preview`: what a template gives, without issuing anything. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "base/buf.h"
#include "certificates/register.h"
#include "commands/commands.h"
#include "commands/site.h"

static const char usage[] =
    "Usage: gateway certificate preview NAME [FIELD=VALUE ...] [-c FILE] [--out FILE]\n"
    "                                   [--serial SERIAL] [--time TIME]\n"
    "\n"
    "Draws a certificate as [certificates.NAME] would, unsigned and not in the register. Fields\n"
    "that aren't given have sample values. Exits with 78 when the configuration has errors.\n"
    "\n"
    "  -c, --config FILE  the configuration (default: " DEFAULT_CONFIG_FILE ")\n"
    "      --out FILE     where the PDF goes (default: preview.pdf); \"-\" = stdout\n"
    "      --serial SERIAL\n"
    "                     its number (default: 00000-00000-00000-00000)\n"
    "      --time TIME    when it is issued, 2026-11-23T09:30:00Z (default: now)\n"
    "\n"
    "The same fields, serial and time give the same bytes: those of the certificate that was\n"
    "issued so, unless that is signed.\n";

enum { OPERANDS_MAX = 65, PDF_MAX = 64 * 1024 * 1024 };

static int write_to(const char *path, struct str pdf)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdout : fopen(path, "wb");
    bool written = file != NULL && fwrite(pdf.p, 1, pdf.n, file) == pdf.n && fflush(file) == 0;
    if (file != NULL && !standard)
        written = fclose(file) == 0 && written;
    if (!written)
        fprintf(stderr, "gateway certificate preview: %s: %s\n", path, strerror(errno));
    return written ? COMMAND_DONE : COMMAND_FAILED;
}

/* Seconds since 1970 of a time like 2026-11-23T09:30:00Z. */
static bool read_time(const char *text, int64_t *when_s_r)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (end == NULL || *end != '\0')
        return false;
    *when_s_r = timegm(&tm);
    return true;
}

int command_certificate_preview(int argc, char **argv)
{
    static char own_name[] = "certificate preview"; /* for what is told of wrong usage */
    const char *file = DEFAULT_CONFIG_FILE, *out = "preview.pdf", *number = NULL, *when = NULL;
    const char *operands[OPERANDS_MAX] = {NULL};
    struct field_value given[OPERANDS_MAX];
    size_t count = 0;
    char serial[SERIAL_ROOM] = "";
    struct preview preview = {.given = given, .when_s = time(NULL)};
    const struct command_option options[] = {
        {.name = "config", .letter = 'c', .value_r = &file},
        {.name = "out", .value_r = &out},
        {.name = "serial", .value_r = &number},
        {.name = "time", .value_r = &when},
    };
    const struct command_line line = {.usage = usage,
                                      .options = options,
                                      .option_count = COUNT(options),
                                      .operands = operands,
                                      .operands_min = 1,
                                      .operands_max = OPERANDS_MAX};
    int code;
    argv[0] = own_name;
    if (!command_arguments(argc, argv, &line, &code))
        return code;
    for (; count + 1 < OPERANDS_MAX && operands[count + 1] != NULL; count++) {
        const char *text = operands[count + 1], *equals = strchr(text, '=');
        if (equals == NULL) {
            fprintf(stderr, "gateway certificate preview: \"%s\" is not FIELD=VALUE\n", text);
            return COMMAND_USAGE;
        }
        given[count] = (struct field_value){{text, (size_t)(equals - text)}, str_from(equals + 1)};
    }
    if (number != NULL && !serial_read(str_from(number), serial)) {
        fprintf(stderr, "gateway certificate preview: \"%s\" is not a serial\n", number);
        return COMMAND_USAGE;
    }
    if (when != NULL && !read_time(when, &preview.when_s)) {
        fprintf(stderr,
                "gateway certificate preview: \"%s\" is not a time like "
                "2026-11-23T09:30:00Z\n",
                when);
        return COMMAND_USAGE;
    }
    preview.section = str_from(operands[0]);
    preview.given_count = count;
    preview.serial = str_from(serial);
    struct site *site = site_open(file, false);
    if (site == NULL)
        return COMMAND_BAD_CONFIG;
    struct buf pdf;
    buf_init(&pdf, PDF_MAX);
    code = certificates_preview(site->certificates, &preview, &pdf, stderr)
               ? write_to(out, buf_str(&pdf))
               : COMMAND_FAILED;
    buf_fini(&pdf);
    site_destroy(&site);
    return code;
}
