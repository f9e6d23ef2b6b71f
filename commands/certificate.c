/* `gateway certificate`: the register from the command line. It opens the database of the
 * configuration itself, whether a gateway runs or not: several processes may have it open, and what
 * is changed here the running one's next answer says. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/text.h"
#include "certificates/control.h"
#include "certificates/record_json.h"
#include "certificates/register.h"
#include "certificates/verdict.h"
#include "commands/commands.h"
#include "commands/site.h"

static const char usage[] =
    "Usage: gateway certificate list [-c FILE] [--route NAME] [--status WORD] [--limit N] "
    "[--json]\n"
    "       gateway certificate show SERIAL [-c FILE] [--pdf FILE] [--json]\n"
    "       gateway certificate revoke SERIAL [-c FILE] [--reason TEXT] [--json]\n"
    "       gateway certificate supersede SERIAL [-c FILE] [--by SERIAL] [--json]\n"
    "       gateway certificate preview NAME [FIELD=VALUE ...] [-c FILE] [--out FILE]\n"
    "\n"
    "The register of the certificates that were issued, whether the gateway runs or not.\n"
    "\n"
    "  list               the newest first\n"
    "  show               one, with its fields that the verify page shows\n"
    "  revoke             it does not hold any more, for good; nobody gets it again\n"
    "  supersede          another one takes its place: the one that --by names, else the\n"
    "                     next that is issued for the same fields\n"
    "  preview            draws one of [certificates.NAME] without issuing it\n"
    "\n"
    "  -c, --config FILE  the configuration (default: config.toml)\n"
    "      --route NAME   only those of [certificates.NAME]\n"
    "      --status WORD  only those that are valid, revoked or superseded\n"
    "      --limit N      at most so many (default: 100)\n"
    "      --pdf FILE     also writes the PDF to FILE, which must not be there yet\n"
    "      --reason TEXT  why; the verify page shows it\n"
    "      --by SERIAL    the certificate that takes the place of this one\n"
    "      --json         a JSON object a line, for programs\n";

struct options {
    const char *config, *route, *status, *limit, *pdf, *reason, *by, *what, *serial;
    bool json;
};

static int fail(int code, const char *what, const char *why)
{
    fprintf(stderr, "gateway certificate: %s%s%s\n", what, why[0] != '\0' ? ": " : "", why);
    return code;
}

static int fail_store(enum store_result result)
{
    static const char *const texts[] = {[STORE_ABSENT] = "there is no such certificate",
                                        [STORE_FULL] = "the disk is full",
                                        [STORE_BUSY] = "another process does not let go of it"};
    const char *text = result < COUNT(texts) ? texts[result] : NULL;
    return fail(COMMAND_FAILED, text != NULL ? text : "the register fails", "");
}

/* -- printing ---------------------------------------------------------------------------------- */

/* What could move a terminal's cursor is left out. */
static void print_text(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] >= ' ' && text.p[i] != 0x7f)
            putchar(text.p[i]);
}

static void print_json(const struct certificate_record *record)
{
    h2o_mem_pool_t pool;
    struct out out;
    h2o_iovec_t *vecs;
    h2o_mem_init_pool(&pool);
    out_init(&out, &pool, 0);
    json_write(&out, json_from_object(record_json(&pool, record->serial, record)));
    size_t count = out_vecs(&out, &vecs);
    for (size_t i = 0; i < count; i++)
        fwrite(vecs[i].base, 1, vecs[i].len, stdout);
    putchar('\n');
    h2o_mem_clear_pool(&pool);
}

static void print_time(const char *label, int64_t ms)
{
    char text[32];
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    if (ms == 0 || gmtime_r(&s, &tm) == NULL)
        return;
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    printf("%s%s", label, text);
}

static void print_line(const struct certificate_record *record)
{
    printf("%-23.*s  %-10s  ", (int)record->serial.n, record->serial.p,
           standing_name(standing_of(record)));
    print_time("", record->issued_ms);
    printf("  %8llu  ", (unsigned long long)record->size);
    print_text(record->route);
    putchar('\n');
}

static void print_member(const char *label, struct str value)
{
    if (value.n == 0)
        return;
    printf("%-14s", label);
    print_text(value);
    putchar('\n');
}

static void print_fields(struct str shown)
{
    h2o_mem_pool_t pool;
    struct json_doc doc;
    h2o_mem_init_pool(&pool);
    json_doc_init(&doc);
    if (json_parse(&doc, shown.p, shown.n, 8, NULL) == JSON_OK)
        for (struct json_iter it = json_iter(json_root(&doc)); json_next(&it);) {
            struct str name = json_string(it.key, &pool);
            printf("%-13.*s ", (int)name.n, name.p);
            print_text(json_string(it.value, &pool));
            putchar('\n');
        }
    json_doc_fini(&doc);
    h2o_mem_clear_pool(&pool);
}

static void print_record(const struct certificate_record *record, bool json)
{
    char digest[65];
    if (json) {
        print_json(record);
        return;
    }
    hex_encode(record->sha256, sizeof(record->sha256), digest);
    print_member("serial", record->serial);
    print_member("status", str_from(standing_name(standing_of(record))));
    print_member("certificate", record->route);
    print_time("issued        ", record->issued_ms);
    putchar('\n');
    if (record->changed_ms != 0) {
        print_time("changed       ", record->changed_ms);
        putchar('\n');
    }
    print_member("reason", record->reason);
    print_member("superseded by", record->superseded_by);
    print_member("sha256", str_from(digest));
    printf("%-14s%llu bytes\n", "size", (unsigned long long)record->size);
    print_fields(record->shown);
}

/* -- what is done ------------------------------------------------------------------------------ */

static bool read_limit(const char *text, size_t *limit_r)
{
    size_t limit = 0;
    for (const char *p = text; *p != '\0'; p++) {
        if (!is_digit(*p) || limit > SIZE_MAX / 20)
            return false;
        limit = limit * 10 + (size_t)(*p - '0');
    }
    *limit_r = limit;
    return limit != 0;
}

/* A page at a time, so that a register of millions needs no memory for all of it. */
static int list(struct store *store, const struct options *options)
{
    enum { PAGE = 500 };
    struct certificate_list want = {
        .route = str_from(options->route), .status = -1, .after_ms = INT64_MAX};
    enum certificate_status status;
    size_t left;
    char after[SERIAL_ROOM] = "";
    if (!read_limit(options->limit, &left))
        return fail(COMMAND_USAGE, "--limit is not a number", options->limit);
    if (options->status != NULL) {
        if (!status_named(str_from(options->status), &status))
            return fail(COMMAND_USAGE, "--status is valid, revoked or superseded, not",
                        options->status);
        want.status = (int)status;
    }
    if (!options->json)
        puts("SERIAL                   STATUS      ISSUED (UTC)             BYTES  CERTIFICATE");
    size_t count;
    do {
        struct certificate_record *records;
        want.limit = left < PAGE ? left : PAGE;
        enum store_result result = store_list_certificates(store, &want, &records, &count);
        if (result != STORE_OK)
            return fail_store(result);
        for (size_t i = 0; i < count; i++) {
            if (options->json)
                print_json(&records[i]);
            else
                print_line(&records[i]);
            want.after_ms = records[i].issued_ms;
            snprintf(after, sizeof(after), "%.*s", (int)records[i].serial.n, records[i].serial.p);
            free(records[i].memory);
        }
        want.after_serial = str_from(after);
        free(records);
        left -= count;
    } while (left != 0 && count == want.limit);
    return COMMAND_DONE;
}

static int write_pdf(const char *path, struct str pdf)
{
    FILE *file = fopen(path, "wbx");
    bool written = file != NULL && fwrite(pdf.p, 1, pdf.n, file) == pdf.n;
    written = file != NULL && fclose(file) == 0 && written;
    return written ? COMMAND_DONE : fail(COMMAND_FAILED, path, strerror(errno));
}

static int show(struct store *store, const struct options *options)
{
    struct certificate_record record;
    struct str pdf;
    enum store_result result = store_find_certificate(store, BY_SERIAL, str_from(options->serial),
                                                      &record, options->pdf != NULL ? &pdf : NULL);
    int code = COMMAND_DONE;
    if (result != STORE_OK)
        return fail_store(result);
    print_record(&record, options->json);
    if (options->pdf != NULL) {
        code = write_pdf(options->pdf, pdf);
        free((char *)(uintptr_t)pdf.p);
    }
    free(record.memory);
    return code;
}

static int change(struct store *store, const struct options *options,
                  enum certificate_status status)
{
    struct certificate_record record;
    const char *why;
    const struct certificate_change one = {.serial = str_from(options->serial),
                                           .status = status,
                                           .reason = str_from(options->reason),
                                           .superseded_by = str_from(options->by),
                                           .changed_ms = clock_unix_ms()};
    switch (register_change(store, &one, &record, &why)) {
    case REGISTER_OK:
        print_record(&record, options->json);
        free(record.memory);
        return COMMAND_DONE;
    case REGISTER_ABSENT:
        return fail_store(STORE_ABSENT);
    case REGISTER_CONFLICT:
        return fail(COMMAND_FAILED, options->serial, why);
    case REGISTER_FULL:
        return fail_store(STORE_FULL);
    case REGISTER_BUSY:
        return fail_store(STORE_BUSY);
    default:
        return fail_store(STORE_FAILED);
    }
}

static int run(struct store *store, const struct options *options)
{
    if (strcmp(options->what, "list") == 0)
        return list(store, options);
    if (strcmp(options->what, "show") == 0)
        return show(store, options);
    return change(store, options,
                  strcmp(options->what, "revoke") == 0 ? CERTIFICATE_REVOKED
                                                       : CERTIFICATE_SUPERSEDED);
}

/* -- arguments --------------------------------------------------------------------------------- */

/* Which options are for which of them. Returns what is wrong, or NULL. */
static const char *check(const struct options *options)
{
    bool lists = strcmp(options->what, "list") == 0, shows = strcmp(options->what, "show") == 0,
         revokes = strcmp(options->what, "revoke") == 0,
         supersedes = strcmp(options->what, "supersede") == 0;
    if (!lists && !shows && !revokes && !supersedes)
        return "it is list, show, revoke or supersede";
    if (lists != (options->serial == NULL))
        return lists ? "list takes no serial" : "which one? Its serial is missing";
    if (!lists && (options->route != NULL || options->status != NULL || options->limit != NULL))
        return "--route, --status and --limit are for list";
    if (!shows && options->pdf != NULL)
        return "--pdf is for show";
    if (!revokes && options->reason != NULL)
        return "--reason is for revoke";
    if (!supersedes && options->by != NULL)
        return "--by is for supersede";
    if (options->reason != NULL &&
        (strlen(options->reason) > REASON_MAX || !utf8_valid(str_from(options->reason))))
        return "the reason is longer than 500 bytes, or not UTF-8";
    return NULL;
}

/* Only the folder of the data is of interest, so a configuration with a broken template serves,
 * too. NULL: *exit_r. */
static struct store *open_store(const char *config_file, int *exit_r)
{
    struct diag *diag = diag_create();
    struct config *config = config_load(config_file, diag);
    struct store *store = NULL;
    char *path = NULL;
    const char *error;
    *exit_r = COMMAND_BAD_CONFIG;
    diag_print(diag, stderr);
    if (diag_errors(diag) == 0) {
        *exit_r = COMMAND_FAILED;
        gw_assert(asprintf(&path, "%s/gateway.db", config->data.dir.p) > 0);
        if (access(path, F_OK) != 0)
            fail(COMMAND_FAILED, path, strerror(errno));
        else if ((store = store_open(path, &error)) == NULL)
            fail(COMMAND_FAILED, error, "");
    }
    free(path);
    config_destroy(&config);
    diag_destroy(&diag);
    return store;
}

int command_certificate(int argc, char **argv)
{
    struct options options = {.config = DEFAULT_CONFIG_FILE};
    const char *operands[2] = {NULL, NULL}, *wrong;
    char serial[SERIAL_ROOM], by[SERIAL_ROOM];
    const struct command_option known[] = {
        {.name = "config", .letter = 'c', .value_r = &options.config},
        {.name = "route", .value_r = &options.route},
        {.name = "status", .value_r = &options.status},
        {.name = "limit", .value_r = &options.limit},
        {.name = "pdf", .value_r = &options.pdf},
        {.name = "reason", .value_r = &options.reason},
        {.name = "by", .value_r = &options.by},
        {.name = "json", .flag_r = &options.json},
    };
    int code;
    if (argc > 1 && strcmp(argv[1], "preview") == 0)
        return command_certificate_preview(argc - 1, argv + 1);
    if (!command_arguments(argc, argv,
                           &(struct command_line){.usage = usage,
                                                  .options = known,
                                                  .option_count = COUNT(known),
                                                  .operands = operands,
                                                  .operands_min = 1,
                                                  .operands_max = 2},
                           &code))
        return code;
    options.what = operands[0];
    options.serial = operands[1];
    if ((wrong = check(&options)) != NULL)
        return fail(COMMAND_USAGE, wrong, "");
    if ((options.serial != NULL && !serial_read(str_from(options.serial), serial)) ||
        (options.by != NULL && !serial_read(str_from(options.by), by)))
        return fail(COMMAND_USAGE, "a serial is twenty letters and digits, by fives", "");
    options.serial = options.serial != NULL ? serial : NULL;
    options.by = options.by != NULL ? by : NULL;
    options.limit = options.limit != NULL ? options.limit : "100";
    struct store *store = open_store(options.config, &code);
    if (store == NULL)
        return code;
    code = run(store, &options);
    store_close(&store);
    return fflush(stdout) == 0 ? code : COMMAND_FAILED;
}
