/* What a configuration file comes to: values, defaults, order, places, ${NAME}, paths, and every
 * error with its place, word for word. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/log.h"
#include "config/config.h"

#define DIR "/etc/gateway"

/* The configuration of a text, and its errors as printed (to be freed). */
static struct config *parse_in(const char *dir, struct str text, char **errors_r)
{
    size_t n;
    struct diag *diag = diag_create();
    struct config *config = config_parse(text, "t", dir, diag);
    FILE *to = open_memstream(errors_r, &n);
    assert_non_null(to);
    diag_print(diag, to);
    assert_int_equal(fclose(to), 0);
    diag_destroy(&diag);
    return config;
}

static struct config *parse_well(const char *text)
{
    char *errors;
    struct config *config = parse_in(DIR, str_from(text), &errors);
    assert_string_equal(errors, "");
    free(errors);
    return config;
}

static void assert_str(struct str s, const char *wanted)
{
    assert_non_null(s.p);
    assert_int_equal(s.p[s.n], '\0');
    assert_int_equal(strlen(s.p), s.n);
    assert_string_equal(s.p, wanted);
}

/* -- errors ----------------------------------------------------------------------------------- */

struct error_row {
    const char *text, *errors;
};

static void assert_errors(const struct error_row *rows, size_t count)
{
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        char *errors;
        struct config *config = parse_in(DIR, str_from(rows[i].text), &errors);
        if (strcmp(errors, rows[i].errors) != 0) {
            wrong++;
            print_error("-- for\n%s\n-- wanted\n%s-- got\n%s\n", rows[i].text, rows[i].errors,
                        errors);
        }
        free(errors);
        config_destroy(&config);
    }
    assert_int_equal(wrong, 0);
}

static void test_unknown_keys_come_with_a_guess(void **state)
{
    (void)state;
    static const struct error_row rows[] = {
        {"top = 1", "t:1:1: error: unknown key \"top\"\n"},
        {"[severs]\nworkers = 1",
         "t:1:2: error: unknown key \"severs\"; did you mean \"server\"?\n"},
        {"[upstream.a]\nurl = 'x'",
         "t:1:2: error: unknown key \"upstream\"; did you mean \"upstreams\"?\n"},
        {"[server]\nworkes = 1\n[log]\nlvel = 'info'",
         "t:2:1: error: unknown key \"workes\"; did you mean \"workers\"?\n"
         "t:4:1: error: unknown key \"lvel\"; did you mean \"level\"?\n"},
        {"[server]\ndeadline = '1s'",
         "t:2:1: error: unknown key \"deadline\" here; it belongs in [pages.*]\n"},
        {"[server]\nmin_version = '1.3'",
         "t:2:1: error: unknown key \"min_version\" here; it belongs in [upstreams.*.tls]\n"},
        {"[upstreams.a]\nurl = 'http://a'\ntsl = {}",
         "t:3:1: error: unknown key \"tsl\"; did you mean \"tls\"?\n"},
        {"[upstreams.a]\nurl = 'http://a'\ntls = { ca = 'x' }",
         "t:3:9: error: unknown key \"ca\"\n"},
        {"[pages.a]\npath = '/'\nparts.x = { paht = '/' }",
         "t:3:13: error: unknown key \"paht\"; did you mean \"path\"?\n"},
        {"[static.a]\npath = '/a'\ndir = 'a'\nmaxage = '1h'",
         "t:4:1: error: unknown key \"maxage\"; did you mean \"max_age\"?\n"},
        {"\"\\n\\u0000x\" = 1", "t:1:1: error: unknown key \"?\"\n"},
    };
    assert_errors(rows, COUNT(rows));
}

static void test_wrong_types_say_what_is_expected(void **state)
{
    (void)state;
    static const struct error_row rows[] = {
        {"[server]\nrequest_timeout = 800",
         "t:2:19: error: request_timeout: expected a duration like \"800ms\", got integer 800\n"},
        {"[server]\nrequest_timeout = \"800\"",
         "t:2:19: error: request_timeout: expected a duration like \"800ms\", got \"800\"\n"},
        {"[server]\nrequest_timeout = 07:32:00",
         "t:2:19: error: request_timeout: expected a duration like \"800ms\", got time 07:32:00\n"},
        {"[server]\nmax_body = 1_000",
         "t:2:12: error: max_body: expected a size like \"10MiB\", got integer 1_000\n"},
        {"[server]\nmax_body = \"10 MB\"",
         "t:2:12: error: max_body: expected a size like \"10MiB\", got \"10 MB\"\n"},
        {"[server]\nworkers = \"2\"", "t:2:11: error: workers: expected an integer, got \"2\"\n"},
        {"[server]\nworkers = 2.0", "t:2:11: error: workers: expected an integer, got float 2.0\n"},
        {"[server]\nserver_timing = 1",
         "t:2:17: error: server_timing: expected true or false, got integer 1\n"},
        {"[server]\nserver_timing = \"true\"",
         "t:2:17: error: server_timing: expected true or false, got \"true\"\n"},
        {"[server]\nerror_template = true",
         "t:2:18: error: error_template: expected a string, got boolean true\n"},
        {"[server]\nerror_template = 1979-05-27",
         "t:2:18: error: error_template: expected a string, got date 1979-05-27\n"},
        {"[server]\nerror_template = 1979-05-27T07:32:00Z",
         "t:2:18: error: error_template: expected a string, got date-time 1979-05-27T07:32:00Z\n"},
        {"[server]\nlisten = \"127.0.0.1:80\"",
         "t:2:10: error: listen: expected an array of strings like [\"…\", \"…\"], got "
         "\"127.0.0.1:80\"\n"},
        {"[server]\nlisten = [\n 1,\n 'x',\n []]",
         "t:3:2: error: listen: expected a string, got integer 1\n"
         "t:5:2: error: listen: expected a string, got an array\n"},
        {"[log]\nlevel = 3", "t:2:9: error: level: expected \"debug\", \"info\", \"warn\" or "
                             "\"error\", got integer 3\n"},
        {"[log]\nlevel = 'inof'\nformat = 'xml'",
         "t:2:9: error: level: unknown word \"inof\"; did you mean \"info\"?\n"
         "t:3:10: error: format: expected \"logfmt\" or \"json\", got \"xml\"\n"},
        {"server = 1", "t:1:10: error: server: expected a table, [server], got integer 1\n"},
        {"[[server]]\nworkers = 1",
         "t:1:1: error: server: expected a table, [server], got an array\n"},
        {"[upstreams]\na = 'http://a'",
         "t:2:5: error: a: expected a table, [upstreams.*], got \"http://a\"\n"},
        {"[upstreams.a]\nurl = 'http://a'\ntls = true\nset_headers = 'x'",
         "t:3:7: error: tls: expected a table, [upstreams.*.tls], got boolean true\n"
         "t:4:15: error: set_headers: expected a table, [upstreams.*.set_headers], got \"x\"\n"},
        /* A long value is shown in part, no letter cut apart. */
        {"[server]\nmax_body = \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\xc3\xa9\"",
         "t:2:12: error: max_body: expected a size like \"10MiB\", got "
         "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\"\n"},
    };
    assert_errors(rows, COUNT(rows));
}

static void test_numbers_have_bounds(void **state)
{
    (void)state;
    static const struct error_row rows[] = {
        {"[server]\nworkers = 1024\nmax_connections = 1", ""},
        {"[server]\nworkers = 1025",
         "t:2:11: error: workers: out of range: expected 0 to 1024, got integer 1025\n"},
        {"[server]\nworkers = -1",
         "t:2:11: error: workers: out of range: expected 0 to 1024, got integer -1\n"},
        {"[server]\nmax_connections = 9223372036854775807",
         "t:2:19: error: max_connections: out of range: expected 1 to 1000000, got integer "
         "9223372036854775807\n"},
        {"[server]\nrequest_timeout = '1h'", ""},
        {"[server]\nrequest_timeout = '3600001ms'",
         "t:2:19: error: request_timeout: out of range: expected 1ms to 1h, got \"3600001ms\"\n"},
        {"[server]\nrequest_timeout = '0s'",
         "t:2:19: error: request_timeout: out of range: expected 1ms to 1h, got \"0s\"\n"},
        {"[upstreams.a]\nurl = 'http://a'\nmax_body = '0'",
         "t:3:12: error: max_body: out of range: expected 1B to 1GiB, got \"0\"\n"},
        {"[static.a]\npath = '/a'\ndir = 'a'\nmax_age = '366d'",
         "t:4:11: error: max_age: out of range: expected 0s to 365d, got \"366d\"\n"},
    };
    assert_errors(rows, COUNT(rows));
}

static void test_required_keys_are_missed_at_their_table(void **state)
{
    (void)state;
    static const struct error_row rows[] = {
        {"[upstreams.a]\ntimeout = '1s'\n[upstreams.b]",
         "t:1:1: error: missing key \"url\": http://, https:// or unix:/path; a path prefix may "
         "follow the host\n"
         "t:3:1: error: missing key \"url\": http://, https:// or unix:/path; a path prefix may "
         "follow the host\n"},
        {"upstreams = { a = {} }",
         "t:1:19: error: missing key \"url\": http://, https:// or unix:/path; a path prefix may "
         "follow the host\n"},
        {"[pages.home.parts.x]\n[pages.home]",
         "t:2:1: error: missing key \"path\": the page's address, \"/product/{id}\"\n"},
        {"[static.a]", "t:1:1: error: missing key \"path\": URL prefix, \"/assets\"\n"
                       "t:1:1: error: missing key \"dir\": the folder it shows\n"},
        {"[pages.home]\npath = '/'", ""},
    };
    assert_errors(rows, COUNT(rows));
}

static void test_some_strings_may_not_be_empty(void **state)
{
    (void)state;
    static const struct error_row rows[] = {
        {"[server]\nlisten = ['', 'a:1']\ntrusted_proxies = ['']",
         "t:2:11: error: listen: may not be empty\n"
         "t:3:20: error: trusted_proxies: may not be empty\n"},
        {"[log]\naccess = ''", "t:2:10: error: access: may not be empty\n"},
        {"[upstreams.a]\nurl = ''\nforward_headers = ['']",
         "t:2:7: error: url: may not be empty\n"
         "t:3:20: error: forward_headers: may not be empty\n"},
        {"[pages.a]\npath = ''\n[pages.a.parts.x]\nallow = ['']\ndeny = ['', 'a']",
         "t:2:8: error: path: may not be empty\n"
         "t:4:10: error: allow: may not be empty\n"
         "t:5:9: error: deny: may not be empty\n"},
        {"[admin]\nlisten = ''\ncontrol = ''\n[server]\nlisten = []\nerror_template = ''", ""},
        {"[admin]\ncontrol = 'unix:'", "t:2:11: error: control: \"unix:\" without a path\n"},
    };
    assert_errors(rows, COUNT(rows));
}

static void test_names_are_plain_and_parts_avoid_reserved_ones(void **state)
{
    (void)state;
#define BAD_NAME(name)                                                                             \
    "error: bad name \"" name "\": letters, digits, - and _, the first a letter or _, at most 64 " \
    "bytes\n"
#define NAME_64 "n23456789-123456789-123456789-123456789-123456789-123456789-1234"
    static const struct error_row rows[] = {
        {"[pages._]\npath = '/'\n[pages.A-z_9]\npath = '/2'", ""},
        {"[pages." NAME_64 "]\npath = '/'", ""},
        {"[pages." NAME_64 "5]\npath = '/'", "t:1:8: " BAD_NAME(NAME_64)},
        {"[pages.2x]\npath = '/'", "t:1:8: " BAD_NAME("2x")},
        {"[pages.-x]\npath = '/'", "t:1:8: " BAD_NAME("-x")},
        {"[static.'a b']\npath = '/'\ndir = 'x'", "t:1:9: " BAD_NAME("a b")},
        {"[upstreams.\"\"]\nurl = 'http://a'", "t:1:12: " BAD_NAME("")},
        {"[pages.a]\npath = '/'\n[pages.a.parts]\n\"\xc3\xa9\" = {}",
         "t:4:1: " BAD_NAME("\xc3\xa9")},
        {"[pages.request]\npath = '/'\nparts.request = {}\nparts.page = {}\nparts.parts = {}",
         "t:3:7: error: \"request\" is a reserved name: templates see the gateway's own data "
         "there\n"
         "t:4:7: error: \"page\" is a reserved name: templates see the gateway's own data there\n"
         "t:5:7: error: \"parts\" is a reserved name: templates see the gateway's own data "
         "there\n"},
    };
    assert_errors(rows, COUNT(rows));
}

static void test_a_client_certificate_needs_its_key(void **state)
{
    (void)state;
    static const struct error_row rows[] = {
        {"[upstreams.a]\nurl = 'https://a'\ntls.cert_file = 'c'",
         "t:3:17: error: cert_file needs key_file beside it\n"},
        {"[upstreams.a]\nurl = 'https://a'\n[upstreams.a.tls]\nkey_file = 'c'",
         "t:4:12: error: key_file needs cert_file beside it\n"},
        {"[upstreams.a]\nurl = 'https://a'\ntls = { key_file = 'c', cert_file = 'd' }", ""},
    };
    assert_errors(rows, COUNT(rows));
}

static void test_environment_errors_stand_at_their_reference(void **state)
{
    (void)state;
    setenv("GW_SET", "set", 1);
    setenv("GW_EMPTY", "", 1);
    setenv("GW_CONTROL", "a\nb", 1);
    unsetenv("GW_UNSET");
    static const struct error_row rows[] = {
        {"[server]\nerror_template = \"${GW_UNSET}\"",
         "t:2:19: error: ${GW_UNSET} is not set; set it, or give a default: ${GW_UNSET:-…}\n"},
        {"[server]\nerror_template = \"\xc3\xa9\\t${GW_UNSET:-}\\u00e9${GW_UNSET} ${GW_NONE}\"",
         "t:2:21: error: control character U+0009 in a string\n"
         "t:2:42: error: ${GW_UNSET} is not set; set it, or give a default: ${GW_UNSET:-…}\n"
         "t:2:54: error: ${GW_NONE} is not set; set it, or give a default: ${GW_NONE:-…}\n"},
        {"[server]\nlisten = ['a:1',\n 'b:${GW_UNSET}']",
         "t:3:5: error: ${GW_UNSET} is not set; set it, or give a default: ${GW_UNSET:-…}\n"},
        {"[server]\nerror_template = '${GW_CONTROL}'",
         "t:2:19: error: the value of ${GW_CONTROL} holds a control character\n"},
        {"[server]\nerror_template = '${}'",
         "t:2:19: error: expected ${NAME} or ${NAME:-default}, got ${}; write $${ for a literal "
         "${\n"},
        {"[server]\nerror_template = '${1A} ${A-b} ${GW_SET:=x}'",
         "t:2:19: error: expected ${NAME} or ${NAME:-default}, got ${1A}; write $${ for a literal "
         "${\n"
         "t:2:25: error: expected ${NAME} or ${NAME:-default}, got ${A-b}; write $${ for a "
         "literal ${\n"
         "t:2:32: error: expected ${NAME} or ${NAME:-default}, got ${GW_SET:=x}; write $${ for a "
         "literal ${\n"},
        {"[server]\nerror_template = 'a${GW_SET:-${GW_UNSET}}'",
         "t:2:20: error: the default of ${GW_SET} may not hold another ${\n"},
        {"[server]\nerror_template = 'a ${GW_SET'",
         "t:2:21: error: ${ without }; write $${ for a literal ${\n"},
        {"[server]\nerror_template = \"a\\u0000b\"",
         "t:2:20: error: control character U+0000 in a string\n"},
        {"[server]\nerror_template = \"\"\"a\nb\"\"\"",
         "t:2:22: error: control character U+000A in a string\n"},
        /* The words of a bad value from outside are not shown. */
        {"[server]\nrequest_timeout = '${GW_SET}'\nworkers = '${GW_SET}'",
         "t:2:19: error: request_timeout: expected a duration like \"800ms\", got \"${GW_SET}\"\n"
         "t:3:11: error: workers: expected an integer, got \"${GW_SET}\"\n"},
        {"[log]\nlevel = '${GW_SET}'\naccess = '${GW_EMPTY}'",
         "t:2:9: error: level: expected \"debug\", \"info\", \"warn\" or \"error\", got "
         "\"${GW_SET}\"\n"
         "t:3:10: error: access: may not be empty\n"},
        /* Keys are not filled in. */
        {"'${GW_SET}' = 1", "t:1:1: error: unknown key \"${GW_SET}\"\n"},
    };
    assert_errors(rows, COUNT(rows));

    /* A default that the environment spoils is an error at the table, or at the file. */
    setenv("GATEWAY_DATA", "a\tb", 1);
    static const struct error_row spoilt[] = {
        {"\n[admin]", "t:2:1: error: the value of ${GATEWAY_DATA} holds a control character\n"},
        {"", "t: error: the value of ${GATEWAY_DATA} holds a control character\n"},
        {"admin.control = 3", "t:1:17: error: control: expected a string, got integer 3\n"},
    };
    assert_errors(spoilt, COUNT(spoilt));
    unsetenv("GATEWAY_DATA");
}

static void test_set_headers_is_a_table_of_lines(void **state)
{
    (void)state;
#define UPSTREAM "[upstreams.a]\nurl = 'http://a'\n"
    static const struct error_row rows[] = {
        {UPSTREAM "set_headers = { Accept = 1, b = ['x'] }",
         "t:3:26: error: Accept: expected a string or { file = \"path\" }\n"
         "t:3:33: error: b: expected a string or { file = \"path\" }\n"},
        {UPSTREAM "set_headers = { Accept = 'a', ACCEPT = 'b' }",
         "t:3:31: error: ACCEPT stands here twice: headers' names know no case\n"},
        {UPSTREAM "set_headers = { Accept = \"a\\r\\nX: y\" }",
         "t:3:28: error: control character U+000D in a string\n"
         "t:3:30: error: control character U+000A in a string\n"},
        {UPSTREAM "set_headers = { A = {}, B = { file = 1 }, C = { file = 'x', y = 1 } }",
         "t:3:21: error: A: expected a string or { file = \"path\" }\n"
         "t:3:29: error: B: expected a string or { file = \"path\" }\n"
         "t:3:47: error: C: expected a string or { file = \"path\" }\n"},
    };
    assert_errors(rows, COUNT(rows));
}

static void test_secrets_do_not_stand_in_the_file(void **state)
{
    (void)state;
    setenv("GW_SECRET", "s3cret", 1);
#define NO_SECRET                                                                         \
    ": a secret may not stand in the file; write \"${NAME}\" for it and set NAME in the " \
    "environment, or put it in a file: { file = \"path\" }\n"
#define NO_PASSWORD                                                                            \
    "url: a password may not stand in the file; write \"${NAME}\" for it and set NAME in the " \
    "environment\n"
    static const struct error_row rows[] = {
        {UPSTREAM "[upstreams.a.set_headers]\nAuthorization = 'Bearer x'\ncookie = 'a=b'\n"
                  "proxy-authorization = 'x'\nX-API-KEY = 'x'\nX-Csrf-Token = 'x'\n"
                  "App-Key = 'x'\nClient-Secret = 'x'\nAccept = 'x'\nX-Keyed = 'y'",
         "t:4:17: error: Authorization" NO_SECRET "t:5:10: error: cookie" NO_SECRET
         "t:6:23: error: proxy-authorization" NO_SECRET "t:7:13: error: X-API-KEY" NO_SECRET
         "t:8:16: error: X-Csrf-Token" NO_SECRET "t:9:11: error: App-Key" NO_SECRET
         "t:10:17: error: Client-Secret" NO_SECRET},
        {UPSTREAM "set_headers.Authorization = 'Bearer ${GW_SECRET}'", ""},
        {UPSTREAM "set_headers.Authorization = 'Bearer ${GW_NONE:-}'", ""},
        {UPSTREAM "set_headers.Authorization = '${GW_SECRET:-x}'",
         "t:3:29: error: Authorization" NO_SECRET},
        {UPSTREAM "set_headers.Authorization = '$${GW_SECRET}'",
         "t:3:29: error: Authorization" NO_SECRET},
        {"[upstreams.a]\nurl = 'http://u:p@a/'", "t:2:7: error: " NO_PASSWORD},
        {"[upstreams.a]\nurl = '${GW_NONE:-http://u:p@a/}'", "t:2:7: error: " NO_PASSWORD},
        {"[upstreams.a]\nurl = 'http://u:${GW_SECRET:-p}@a/'", "t:2:7: error: " NO_PASSWORD},
        {"[upstreams.a]\nurl = 'http://u:${GW_SECRET}@a/'", ""},
        {"[upstreams.a]\nurl = 'http://u@a/x:y@z?a:b@c'", ""},
        {"[upstreams.a]\nurl = 'http://a:80?x:y@z'", ""},
    };
    assert_errors(rows, COUNT(rows));
}

static void test_all_errors_of_a_file_are_told_at_once(void **state)
{
    (void)state;
    static const struct error_row rows[] = {
        {"[upstreams.a]\ntimeout = 5\nurll = 'x'\n\n[pages.home.parts.page]\npath = '${GW_NONE}'\n"
         "need = 'must'\n[log]\nlevel = 'loud'",
         "t:1:1: error: missing key \"url\": http://, https:// or unix:/path; a path prefix may "
         "follow the host\n"
         "t:2:11: error: timeout: expected a duration like \"800ms\", got integer 5\n"
         "t:3:1: error: unknown key \"urll\"; did you mean \"url\"?\n"
         "t:5:1: error: missing key \"path\": the page's address, \"/product/{id}\"\n"
         "t:5:19: error: \"page\" is a reserved name: templates see the gateway's own data there\n"
         "t:6:9: error: ${GW_NONE} is not set; set it, or give a default: ${GW_NONE:-…}\n"
         "t:7:8: error: need: expected \"optional\" or \"required\", got \"must\"\n"
         "t:9:9: error: level: expected \"debug\", \"info\", \"warn\" or \"error\", got "
         "\"loud\"\n"},
        {"[log]\nlevel = 'loud'\nx = = 1",
         "t:3:5: error: not TOML: value: could not determine value type\n"},
    };
    assert_errors(rows, COUNT(rows));
}

/* -- values ----------------------------------------------------------------------------------- */

static void test_an_empty_file_is_all_defaults(void **state)
{
    (void)state;
    unsetenv("GATEWAY_DATA");
    struct config *c = parse_well("");
    assert_str(c->file, "t");
    assert_str(c->dir, DIR);
    assert_str(c->templates_dir, DIR "/templates");
    assert_int_equal(c->server.listen.count, 1);
    assert_str(c->server.listen.items[0], "127.0.0.1:8080");
    assert_int_equal(c->server.workers, 0);
    assert_int_equal(c->server.max_connections, 10000);
    assert_int_equal(c->server.request_timeout_ms, 10000);
    assert_int_equal(c->server.drain_timeout_ms, 10000);
    assert_int_equal(c->server.max_body, 1 << 20);
    assert_false(c->server.server_timing);
    assert_str(c->server.error_template, "");
    assert_int_equal(c->server.trusted_proxies.count, 0);
    assert_str(c->admin.listen, "127.0.0.1:9090");
    assert_str(c->admin.control, "unix:" DIR "/data/control.sock");
    assert_int_equal(c->log.level, LOG_INFO);
    assert_int_equal(c->log.format, LOG_LOGFMT);
    assert_str(c->log.access, "stdout");
    assert_int_equal(c->upstream_count, 0);
    assert_int_equal(c->page_count, 0);
    assert_int_equal(c->static_count, 0);
    config_destroy(&c);
    assert_null(c);

    c = parse_well("[upstreams.a]\nurl = 'http://a'\n[pages.p]\npath = '/'\n[pages.p.parts.x]\n"
                   "[static.s]\npath = '/s'\ndir = '/s'");
    const struct config_upstream *up = &c->upstreams[0];
    assert_int_equal(up->connect_timeout_ms, 500);
    assert_int_equal(up->timeout_ms, 1000);
    assert_int_equal(up->max_idle, 64);
    assert_int_equal(up->connection_lifetime_ms, 60000);
    assert_int_equal(up->max_inflight, 256);
    assert_int_equal(up->max_queue, 1024);
    assert_int_equal(up->queue_timeout_ms, 200);
    assert_int_equal(up->max_body, 8 << 20);
    assert_int_equal(up->resolve_every_ms, 30000);
    static const char *const headers[] = {
        "Accept-Language", "traceparent",       "X-Request-Id",     "Forwarded",
        "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
    };
    assert_int_equal(up->forward_headers.count, COUNT(headers));
    for (size_t i = 0; i < COUNT(headers); i++)
        assert_str(up->forward_headers.items[i], headers[i]);
    assert_int_equal(up->set_headers.count, 0);
    assert_str(up->tls.ca_file, "");
    assert_str(up->tls.cert_file, "");
    assert_str(up->tls.key_file, "");
    assert_int_equal(up->tls.min_version, TLS_1_2);
    const struct config_page *page = &c->pages[0];
    assert_str(page->template, "");
    assert_int_equal(page->deadline_ms, 2000);
    const struct config_part *part = &page->parts[0];
    assert_str(part->name, "x");
    assert_str(part->upstream, "x");
    assert_str(part->path, "/");
    assert_int_equal(part->need, NEED_OPTIONAL);
    assert_int_equal(part->timeout_ms, 0);
    assert_str(part->select, "");
    assert_int_equal(part->allow.count, 0);
    assert_int_equal(part->deny.count, 0);
    assert_str(part->into, "");
    assert_int_equal(c->statics[0].max_age_ms, 0);
    config_destroy(&c);
}

static void test_each_key_reaches_its_field(void **state)
{
    (void)state;
    struct config *c = parse_well(
        "[server]\nlisten = ['a:1', \"unix:run/g.sock\"]\nworkers = 3\nmax_connections = 0x10\n"
        "request_timeout = '1.5s'\ndrain_timeout = '0s'\nmax_body = '2kB'\nserver_timing = true\n"
        "error_template = 'e.html'\ntrusted_proxies = ['10.0.0.0/8']\n"
        "[admin]\nlisten = 'b:2'\ncontrol = ''\n"
        "[log]\nlevel = 'warn'\nformat = 'json'\naccess = 'logs/a.log'\n"
        "[upstreams.u]\nurl = 'https://u/v1'\nconnect_timeout = '1ms'\ntimeout = '2ms'\n"
        "max_idle = 3\nconnection_lifetime = '4ms'\nmax_inflight = 5\nmax_queue = 6\n"
        "queue_timeout = '7ms'\nmax_body = '8'\nresolve_every = '9ms'\nforward_headers = "
        "['Range']\n"
        "[upstreams.u.set_headers]\nHost = 'h'\nAccept = ''\n"
        "[upstreams.u.tls]\nca_file = 'ca'\ncert_file = '/c'\nkey_file = '../k'\n"
        "min_version = '1.3'\n"
        "[pages.p]\npath = '/{id}'\ntemplate = 't.html'\ndeadline = '1m'\n"
        "[pages.p.parts.x]\nupstream = 'u'\npath = '/x/{path.id}'\nneed = 'required'\n"
        "timeout = '10ms'\nselect = 's'\nallow = ['a', 'b']\ndeny = ['d']\ninto = '.'\n"
        "[static.s]\npath = '/s'\ndir = 'pub'\nmax_age = '7d'\n");
    assert_int_equal(c->server.listen.count, 2);
    assert_str(c->server.listen.items[0], "a:1");
    assert_str(c->server.listen.items[1], "unix:" DIR "/run/g.sock");
    assert_int_equal(c->server.workers, 3);
    assert_int_equal(c->server.max_connections, 16);
    assert_int_equal(c->server.request_timeout_ms, 1500);
    assert_int_equal(c->server.drain_timeout_ms, 0);
    assert_int_equal(c->server.max_body, 2000);
    assert_true(c->server.server_timing);
    assert_str(c->server.error_template, "e.html");
    assert_str(c->server.trusted_proxies.items[0], "10.0.0.0/8");
    assert_str(c->admin.listen, "b:2");
    assert_str(c->admin.control, "");
    assert_int_equal(c->log.level, LOG_WARN);
    assert_int_equal(c->log.format, LOG_JSON);
    assert_str(c->log.access, DIR "/logs/a.log");
    const struct config_upstream *up = config_find_upstream(c, STR("u"));
    assert_ptr_equal(up, c->upstreams);
    assert_null(config_find_upstream(c, STR("uu")));
    assert_str(up->url, "https://u/v1");
    assert_int_equal(up->connect_timeout_ms, 1);
    assert_int_equal(up->timeout_ms, 2);
    assert_int_equal(up->max_idle, 3);
    assert_int_equal(up->connection_lifetime_ms, 4);
    assert_int_equal(up->max_inflight, 5);
    assert_int_equal(up->max_queue, 6);
    assert_int_equal(up->queue_timeout_ms, 7);
    assert_int_equal(up->max_body, 8);
    assert_int_equal(up->resolve_every_ms, 9);
    assert_int_equal(up->forward_headers.count, 1);
    assert_str(up->forward_headers.items[0], "Range");
    assert_int_equal(up->set_headers.count, 2);
    assert_str(up->set_headers.items[0].name, "Host");
    assert_str(up->set_headers.items[0].value, "h");
    assert_str(up->set_headers.items[1].name, "Accept");
    assert_str(up->set_headers.items[1].value, "");
    assert_str(up->tls.ca_file, DIR "/ca");
    assert_str(up->tls.cert_file, "/c");
    assert_str(up->tls.key_file, DIR "/../k");
    assert_int_equal(up->tls.min_version, TLS_1_3);
    const struct config_page *page = &c->pages[0];
    assert_str(page->path, "/{id}");
    assert_str(page->template, "t.html");
    assert_int_equal(page->deadline_ms, 60000);
    const struct config_part *part = &page->parts[0];
    assert_str(part->upstream, "u");
    assert_str(part->path, "/x/{path.id}");
    assert_int_equal(part->need, NEED_REQUIRED);
    assert_int_equal(part->timeout_ms, 10);
    assert_str(part->select, "s");
    assert_int_equal(part->allow.count, 2);
    assert_str(part->allow.items[1], "b");
    assert_str(part->deny.items[0], "d");
    assert_str(part->into, ".");
    assert_str(c->statics[0].path, "/s");
    assert_str(c->statics[0].dir, DIR "/pub");
    assert_int_equal(c->statics[0].max_age_ms, 604800000);
    config_destroy(&c);
}

static void test_parts_keep_the_order_of_the_file(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[pages.p]\npath = '/'\n[pages.p.parts.zoo]\n[pages.p.parts.ape]\n[pages.p.parts.mid]",
        "[pages.p.parts.zoo]\n[pages.p.parts.ape]\n[pages.q]\npath = '/q'\n[pages.p.parts.mid]\n"
        "[pages.p]\npath = '/'",
        "[pages.p]\nparts.zoo.path = '/z'\nparts.ape = {}\npath = '/'\nparts.mid.path = '/m'",
        "[pages.p]\nparts = { zoo.path = '/', ape = {}, mid.need = 'required' }\npath = '/'",
        "pages.p.parts.zoo = {}\npages.p.path = '/'\npages.p.parts.ape = {}\n"
        "pages.p.parts.mid = {}",
        "pages = { p = { path = '/', parts = { zoo = {}, ape = {}, mid = {} } } }",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct config *c = parse_well(texts[i]);
        assert_str(c->pages[0].name, "p");
        assert_int_equal(c->pages[0].part_count, 3);
        assert_str(c->pages[0].parts[0].name, "zoo");
        assert_str(c->pages[0].parts[1].name, "ape");
        assert_str(c->pages[0].parts[2].name, "mid");
        config_destroy(&c);
    }
}

static void test_environment_fills_strings_and_nothing_more(void **state)
{
    (void)state;
    setenv("GW_SET", "set", 1);
    setenv("GW_EMPTY", "", 1);
    setenv("GW_NESTED", "${GW_SET}\"] = $${x}", 1);
    unsetenv("GW_UNSET");
    static const struct {
        const char *text, *value;
    } rows[] = {
        {"${GW_SET}", "set"},
        {"a${GW_SET}b${GW_SET}c", "asetbsetc"},
        {"${GW_SET:-x}", "set"},
        {"${GW_UNSET:-x}", "x"},
        {"${GW_EMPTY:-x}", "x"},
        {"${GW_EMPTY}", ""},
        {"${GW_UNSET:-}", ""},
        {"${GW_UNSET:-http://a:1/:-}", "http://a:1/:-"},
        {"$${GW_SET}", "${GW_SET}"},
        {"$$${GW_SET}", "$${GW_SET}"},
        {"$$ $x $ {GW_SET} }$", "$$ $x $ {GW_SET} }$"},
        {"${GW_NESTED}", "${GW_SET}\"] = $${x}"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[200];
        snprintf(text, sizeof(text), "[server]\nerror_template = '%s'", rows[i].text);
        struct config *c = parse_well(text);
        assert_str(c->server.error_template, rows[i].value);
        config_destroy(&c);
    }
    setenv("GW_WORKERS", "7", 1);
    setenv("GW_TRUE", "true", 1);
    setenv("GW_TIME", "3", 1);
    struct config *c =
        parse_well("[server]\nworkers = '${GW_WORKERS}'\nserver_timing = '${GW_TRUE}'\n"
                   "request_timeout = '${GW_TIME}s'\nmax_connections = '1${GW_WORKERS}'\n"
                   "[log]\nlevel = '${GW_LEVEL:-error}'");
    assert_int_equal(c->server.workers, 7);
    assert_true(c->server.server_timing);
    assert_int_equal(c->server.request_timeout_ms, 3000);
    assert_int_equal(c->server.max_connections, 17);
    assert_int_equal(c->log.level, LOG_ERROR);
    config_destroy(&c);

    setenv("GATEWAY_DATA", "/var/lib/gateway", 1);
    c = parse_well("");
    assert_str(c->admin.control, "unix:/var/lib/gateway/control.sock");
    config_destroy(&c);
    unsetenv("GATEWAY_DATA");
}

static void test_a_string_filled_in_has_a_ceiling(void **state)
{
    (void)state;
    char *big = malloc(70001);
    assert_non_null(big);
    memset(big, 'x', 70000);
    big[70000] = '\0';
    setenv("GW_BIG", big, 1);
    static const struct error_row rows[] = {
        {"[server]\nerror_template = '${GW_BIG}'", "t:2:19: error: a string of more than 64 KiB\n"},
        {UPSTREAM "set_headers.X = '${GW_BIG:-}'", "t:3:18: error: a string of more than 64 KiB\n"},
    };
    assert_errors(rows, COUNT(rows));
    big[9000] = '\0';
    setenv("GW_BIG", big, 1);
    static const struct error_row header[] = {
        {UPSTREAM "set_headers.X = '${GW_BIG}'", "t:3:17: error: X: longer than 8 KiB\n"},
    };
    assert_errors(header, COUNT(header));
    unsetenv("GW_BIG");
    free(big);
}

static void test_headers_are_read_from_files(void **state)
{
    (void)state;
    static const struct {
        struct str content;
        const char *value, *error; /* what follows the file's name */
    } rows[] = {
        {STR("Bearer abc\n"), "Bearer abc", NULL},
        {STR("Bearer abc"), "Bearer abc", NULL},
        {STR("Bearer abc\r\n"), "Bearer abc", NULL},
        {STR("${HOME}"), "${HOME}", NULL},
        {STR(""), NULL, " must hold one line of text\n"},
        {STR("\n"), NULL, " must hold one line of text\n"},
        {STR("a\nb\n"), NULL, " must hold one line of text\n"},
        {STR("a\0b"), NULL, " must hold one line of text\n"},
    };
    char dir[] = "/tmp/gateway-test-XXXXXX", path[64], wanted[200], *errors;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/token", dir);
    struct str text = STR(UPSTREAM "set_headers.Authorization = { file = 'token' }");
    for (size_t i = 0; i < COUNT(rows); i++) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fwrite(rows[i].content.p, 1, rows[i].content.n, file);
        fclose(file);
        struct config *c = parse_in(dir, text, &errors);
        wanted[0] = '\0';
        if (rows[i].error != NULL)
            snprintf(wanted, sizeof(wanted), "t:3:38: error: Authorization: %s%s", path,
                     rows[i].error);
        assert_string_equal(errors, wanted);
        if (rows[i].value != NULL)
            assert_str(c->upstreams[0].set_headers.items[0].value, rows[i].value);
        else
            assert_int_equal(c->upstreams[0].set_headers.count, 0);
        config_destroy(&c);
        free(errors);
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 8193; i++)
        fputc('x', file);
    fclose(file);
    struct config *c = parse_in(dir, text, &errors);
    snprintf(wanted, sizeof(wanted), "t:3:38: error: Authorization: %s is larger than 8 KiB\n",
             path);
    assert_string_equal(errors, wanted);
    config_destroy(&c);
    free(errors);
    unlink(path);
    c = parse_in(dir, text, &errors);
    snprintf(wanted, sizeof(wanted),
             "t:3:38: error: Authorization: %s cannot be read: No such file or directory\n", path);
    assert_string_equal(errors, wanted);
    config_destroy(&c);
    free(errors);
    rmdir(dir);
}

static void test_unix_sockets_fit_their_address(void **state)
{
    (void)state;
    /* DIR "/" and 94 bytes are 107, the longest that sun_path takes with its NUL. */
#define TEN   "0123456789"
#define FIFTY TEN TEN TEN TEN TEN
    struct config *c = parse_well("[admin]\ncontrol = 'unix:" FIFTY TEN TEN TEN TEN "1234'");
    assert_int_equal(c->admin.control.n, 5 + 107);
    config_destroy(&c);
    static const struct error_row rows[] = {
        {"[admin]\ncontrol = 'unix:" FIFTY TEN TEN TEN TEN "12345'",
         "t:2:11: error: control: a unix socket's path of 108 bytes; 107 are possible\n"},
        {"[upstreams.a]\nurl = 'unix:/" FIFTY FIFTY "1234567'",
         "t:2:7: error: url: a unix socket's path of 108 bytes; 107 are possible\n"},
    };
    assert_errors(rows, COUNT(rows));
}

/* -- places ----------------------------------------------------------------------------------- */

static void assert_pos(const struct config *config, const void *field, unsigned line,
                       unsigned column)
{
    struct pos at = config_pos(config, field);
    assert_string_equal(at.file, "t");
    assert_int_equal(at.line, line);
    assert_int_equal(at.column, column);
}

static void test_fields_know_where_they_stand(void **state)
{
    (void)state;
    struct config *c = parse_well("[server]\n"                       /* 1 */
                                  "listen = ['a:1',\n"               /* 2 */
                                  "  'b:2']\n"                       /* 3 */
                                  "[upstreams.u]\n"                  /* 4 */
                                  "url = 'http://u'\n"               /* 5 */
                                  "timeout  =  '1s'\n"               /* 6 */
                                  "set_headers = { Accept = 'x' }\n" /* 7 */
                                  "[pages.home.parts.promo]\n"       /* 8 */
                                  "upstream = 'u'\n"                 /* 9 */
                                  "[pages.home]\n"                   /* 10 */
                                  "path = '/'\n");                   /* 11 */
    assert_pos(c, &c->server.listen, 2, 10);
    assert_pos(c, &c->server.listen.items[0], 2, 11);
    assert_pos(c, &c->server.listen.items[1], 3, 3);
    assert_pos(c, &c->server.workers, 1, 1);
    assert_pos(c, &c->admin.listen, 0, 0);
    assert_pos(c, &c->log.level, 0, 0);
    assert_pos(c, &c->upstreams[0].name, 4, 12);
    assert_pos(c, &c->upstreams[0].url, 5, 7);
    assert_pos(c, &c->upstreams[0].timeout_ms, 6, 13);
    assert_pos(c, &c->upstreams[0].max_queue, 4, 1);
    assert_pos(c, &c->upstreams[0].tls.ca_file, 0, 0);
    assert_pos(c, &c->upstreams[0].set_headers.items[0].name, 7, 17);
    assert_pos(c, &c->upstreams[0].set_headers.items[0].value, 7, 26);
    assert_pos(c, &c->pages[0].name, 8, 8);
    assert_pos(c, &c->pages[0].path, 11, 8);
    assert_pos(c, &c->pages[0].deadline_ms, 10, 1);
    assert_pos(c, &c->pages[0].parts[0].name, 8, 19);
    assert_pos(c, &c->pages[0].parts[0].upstream, 9, 12);
    assert_pos(c, &c->pages[0].parts[0].path, 8, 1);
    int stranger;
    assert_pos(c, &stranger, 0, 0);
    config_destroy(&c);
}

static void test_what_is_wrong_is_replaced_by_something_sound(void **state)
{
    (void)state;
    char *errors;
    setenv("GATEWAY_DATA", "a\nb", 1);
    struct config *c = parse_in(DIR,
                                STR("[server]\nlisten = 3\nmax_body = 'x'\n"
                                    "[upstreams.a]\nurl = 5\nset_headers = { a = 5, d = 'e' }\n"
                                    "[pages]\nx = 3\n[pages.p]\n[pages.p.parts]\nq = 1\nr = {}"),
                                &errors);
    free(errors);
    assert_str(c->server.listen.items[0], "127.0.0.1:8080");
    assert_pos(c, &c->server.listen, 2, 10);
    assert_int_equal(c->server.max_body, 1 << 20);
    assert_str(c->admin.control, "");
    assert_str(c->upstreams[0].url, "");
    assert_pos(c, &c->upstreams[0].url, 5, 7);
    assert_int_equal(c->upstreams[0].set_headers.count, 1);
    assert_str(c->upstreams[0].set_headers.items[0].name, "d");
    assert_int_equal(c->page_count, 1);
    assert_str(c->pages[0].path, "");
    assert_int_equal(c->pages[0].part_count, 1);
    assert_str(c->pages[0].parts[0].name, "r");
    config_destroy(&c);
    unsetenv("GATEWAY_DATA");

    /* Not TOML: as if it were empty. */
    c = parse_in(DIR, STR("[upstreams.a]\nurl = 'x'\n = "), &errors);
    free(errors);
    assert_int_equal(c->upstream_count, 0);
    assert_str(c->log.access, "stdout");
    config_destroy(&c);
}

/* -- files ------------------------------------------------------------------------------------ */

static struct config *load(const char *file, char **errors_r)
{
    size_t n;
    struct diag *diag = diag_create();
    struct config *config = config_load(file, diag);
    FILE *to = open_memstream(errors_r, &n);
    assert_non_null(to);
    diag_print(diag, to);
    fclose(to);
    diag_destroy(&diag);
    return config;
}

static void test_paths_are_relative_to_the_file(void **state)
{
    (void)state;
    char *errors, *cwd = getcwd(NULL, 0), path[4200];
    assert_non_null(cwd);
    unsetenv("GATEWAY_DATA");
    struct config *c = load("config.toml", &errors);
    assert_string_equal(errors, "");
    assert_str(c->file, "config.toml");
    assert_str(c->dir, cwd);
    snprintf(path, sizeof(path), "%s/templates", cwd);
    assert_str(c->templates_dir, path);
    snprintf(path, sizeof(path), "%s/examples/assets", cwd);
    assert_str(c->statics[0].dir, path);
    config_destroy(&c);
    free(errors);

    snprintf(path, sizeof(path), "%s/config.toml", cwd);
    c = load("tests/../config.toml", &errors);
    assert_string_equal(errors, "");
    assert_str(c->dir, cwd);
    config_destroy(&c);
    free(errors);
    free(cwd);

    c = load("no/such.toml", &errors);
    assert_string_equal(errors, "no/such.toml: error: cannot be read: No such file or directory\n");
    assert_int_equal(c->upstream_count, 0);
    config_destroy(&c);
    free(errors);
    c = load("tests", &errors);
    assert_string_equal(errors, "tests: error: cannot be read: Is a directory\n");
    config_destroy(&c);
    free(errors);
    c = load("/dev/zero", &errors);
    assert_string_equal(errors, "/dev/zero:1:1: error: not TOML: larger than 1 MiB\n");
    config_destroy(&c);
    free(errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_keys_come_with_a_guess),
        cmocka_unit_test(test_wrong_types_say_what_is_expected),
        cmocka_unit_test(test_numbers_have_bounds),
        cmocka_unit_test(test_required_keys_are_missed_at_their_table),
        cmocka_unit_test(test_some_strings_may_not_be_empty),
        cmocka_unit_test(test_names_are_plain_and_parts_avoid_reserved_ones),
        cmocka_unit_test(test_a_client_certificate_needs_its_key),
        cmocka_unit_test(test_environment_errors_stand_at_their_reference),
        cmocka_unit_test(test_set_headers_is_a_table_of_lines),
        cmocka_unit_test(test_secrets_do_not_stand_in_the_file),
        cmocka_unit_test(test_all_errors_of_a_file_are_told_at_once),
        cmocka_unit_test(test_an_empty_file_is_all_defaults),
        cmocka_unit_test(test_each_key_reaches_its_field),
        cmocka_unit_test(test_parts_keep_the_order_of_the_file),
        cmocka_unit_test(test_environment_fills_strings_and_nothing_more),
        cmocka_unit_test(test_a_string_filled_in_has_a_ceiling),
        cmocka_unit_test(test_headers_are_read_from_files),
        cmocka_unit_test(test_unix_sockets_fit_their_address),
        cmocka_unit_test(test_fields_know_where_they_stand),
        cmocka_unit_test(test_what_is_wrong_is_replaced_by_something_sound),
        cmocka_unit_test(test_paths_are_relative_to_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
