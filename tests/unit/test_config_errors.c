/* Every error of a configuration file, with its place, word for word. */
#include "tests/unit/config_unit.h"

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
         "t:2:1: error: unknown key \"min_version\" here; it belongs in [tls]\n"},
        {"[server]\nca_file = 'x'",
         "t:2:1: error: unknown key \"ca_file\" here; it belongs in [upstreams.*.tls]\n"},
        {"[tls]\ncertificate.a = {}",
         "t:2:1: error: unknown key \"certificate\"; did you mean \"certificates\"?\n"},
        {"[tls.certificates.a]\ncertificate = 'a.pem'",
         "t:1:1: error: missing key \"key\": PEM, without a passphrase\n"},
        {"[upstreams.a]\nurl = 'http://a'\ntsl = {}",
         "t:3:1: error: unknown key \"tsl\"; did you mean \"tls\"?\n"},
        {"[upstreams.a]\nurl = 'http://a'\ntls = { ca = 'x' }",
         "t:3:9: error: unknown key \"ca\"\n"},
        {"[pages.a]\npath = '/'\nparts.x = { paht = '/' }",
         "t:3:13: error: unknown key \"paht\"; did you mean \"path\"?\n"},
        {"[static.a]\npath = '/a'\ndir = 'a'\nmaxage = '1h'",
         "t:4:1: error: unknown key \"maxage\"; did you mean \"max_age\"?\n"},
        {"[upload.a]\n[donwloads.a]\n[token.a]\n[datum]",
         "t:1:2: error: unknown key \"upload\"; did you mean \"uploads\"?\n"
         "t:2:2: error: unknown key \"donwloads\"; did you mean \"downloads\"?\n"
         "t:3:2: error: unknown key \"token\"; did you mean \"tokens\"?\n"
         "t:4:2: error: unknown key \"datum\"\n"},
        {"[server]\nrequest_timeout = '1s'\nquota = '1'",
         "t:2:1: error: unknown key \"request_timeout\"\n"
         "t:3:1: error: unknown key \"quota\" here; it belongs in [uploads.*]\n"},
        {UPLOAD "max_file = 3\nallow_type = []",
         "t:4:1: error: unknown key \"max_file\"; did you mean \"max_files\"?\n"
         "t:5:1: error: unknown key \"allow_type\"; did you mean \"allow_types\"?\n"},
        {"\"\\n\\u0000x\" = 1", "t:1:1: error: unknown key \"?\"\n"},
    };
    assert_errors(rows, COUNT(rows));
}

static void test_data_in_the_file_must_be_json(void **state)
{
    (void)state;
#define FALLBACK \
    "[upstreams.a]\nurl = 'http://a'\n[pages.a]\npath = '/'\n[pages.a.parts.a.fallback]\n"
    static const struct error_row rows[] = {
        {FALLBACK "static = { n = [1, -inf] }", "t:6:20: error: JSON has no number -inf\n"},
        {FALLBACK "static = nan", "t:6:10: error: JSON has no number nan\n"},
        {FALLBACK "static = { a = '${GW_NO_SUCH}' }",
         "t:6:17: error: ${GW_NO_SUCH} is not set; set it, or give a default: "
         "${GW_NO_SUCH:-…}\n"},
    };
    unsetenv("GW_NO_SUCH");
    assert_errors(rows, COUNT(rows));
}

static void test_wrong_types_say_what_is_expected(void **state)
{
    (void)state;
    static const struct error_row rows[] = {
        {"[server]\nidle_timeout = 800",
         "t:2:16: error: idle_timeout: expected a duration like \"800ms\", got integer 800\n"},
        {"[server]\nidle_timeout = \"800\"",
         "t:2:16: error: idle_timeout: expected a duration like \"800ms\", got \"800\"\n"},
        {"[server]\nidle_timeout = 07:32:00",
         "t:2:16: error: idle_timeout: expected a duration like \"800ms\", got time 07:32:00\n"},
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
        {"[server]\nidle_timeout = '1h'", ""},
        {"[server]\nidle_timeout = '3600001ms'",
         "t:2:16: error: idle_timeout: out of range: expected 1ms to 1h, got \"3600001ms\"\n"},
        {"[server]\nidle_timeout = '0s'",
         "t:2:16: error: idle_timeout: out of range: expected 1ms to 1h, got \"0s\"\n"},
        {"[upstreams.a]\nurl = 'http://a'\nmax_body = '0'",
         "t:3:12: error: max_body: out of range: expected 1B to 1GiB, got \"0\"\n"},
        {"[server]\nhead_timeout = '0s'\nbody_idle_timeout = '61m'\nbody_min_rate = '2GiB'",
         "t:2:16: error: head_timeout: out of range: expected 1ms to 1h, got \"0s\"\n"
         "t:3:21: error: body_idle_timeout: out of range: expected 1ms to 1h, got \"61m\"\n"
         "t:4:17: error: body_min_rate: out of range: expected 0B to 1GiB, got \"2GiB\"\n"},
        {UPLOAD "max_size = '16TiB'\nmax_files = 1000\nmax_concurrent = 1\nquota = '1024TiB'", ""},
        {UPLOAD "max_size = '0'\nmax_files = 0\nmax_concurrent = 0\nquota = '1025TiB'\n"
                "client_quota = '1025TiB'\nexpire_after = '366d'\nlock_timeout = '2h'",
         "t:4:12: error: max_size: out of range: expected 1B to 16TiB, got \"0\"\n"
         "t:5:13: error: max_files: out of range: expected 1 to 1000, got integer 0\n"
         "t:6:18: error: max_concurrent: out of range: expected 1 to 100000, got integer 0\n"
         "t:7:9: error: quota: out of range: expected 0B to 1024TiB, got \"1025TiB\"\n"
         "t:8:16: error: client_quota: out of range: expected 0B to 1024TiB, got \"1025TiB\"\n"
         "t:9:16: error: expire_after: out of range: expected 1ms to 365d, got \"366d\"\n"
         "t:10:16: error: lock_timeout: out of range: expected 1ms to 1h, got \"2h\"\n"},
        {"[downloads.a]\npath = '/a'\ndir = 'a'\npage_size = 10001\nmax_age = '366d'",
         "t:4:13: error: page_size: out of range: expected 1 to 10000, got integer 10001\n"
         "t:5:11: error: max_age: out of range: expected 0s to 365d, got \"366d\"\n"},
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
        {"[uploads.a]\n[tokens.a]",
         "t:1:1: error: missing key \"path\": the form's address, \"/upload\"\n"
         "t:1:1: error: missing key \"dir\": where files are kept\n"
         "t:2:1: error: missing key \"digest\": of a bearer token: \"sha256:\" and 64 hexadecimal "
         "digits (gateway token)\n"},
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
        {UPLOAD "allow_types = ['']\nfields = ['']\nredirect = ''\n[data]\ndir = ''",
         "t:4:16: error: allow_types: may not be empty\n"
         "t:5:11: error: fields: may not be empty\n"
         "t:6:12: error: redirect: may not be empty\n"
         "t:8:7: error: dir: may not be empty\n"},
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
        {"[server]\nidle_timeout = '${GW_SET}'\nworkers = '${GW_SET}'",
         "t:2:16: error: idle_timeout: expected a duration like \"800ms\", got \"${GW_SET}\"\n"
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
        {"\n[admin]\n[data]\n[cache]",
         "t:2:1: error: the value of ${GATEWAY_DATA} holds a control character\n"
         "t:3:1: error: the value of ${GATEWAY_DATA} holds a control character\n"
         "t:4:1: error: the value of ${GATEWAY_DATA} holds a control character\n"},
        {"data.dir = 'd'\ncache.last_good = 'l'",
         "t: error: the value of ${GATEWAY_DATA} holds a control character\n"},
        {"admin.control = 3\ndata.dir = 'd'\ncache.last_good = 'l'",
         "t:1:17: error: control: expected a string, got integer 3\n"},
    };
    assert_errors(spoilt, COUNT(spoilt));
    unsetenv("GATEWAY_DATA");
}

static void test_set_headers_is_a_table_of_lines(void **state)
{
    (void)state;
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
        {"[upstreams.a]\nurl = 'http://u@x:p@a/'", "t:2:7: error: " NO_PASSWORD},
        {"[upstreams.a]\nurl = 'http://u:${GW_SECRET}@a/'", ""},
        {"[upstreams.a]\nurl = 'http://u@a/x:y@z?a:b@c'", ""},
        {"[upstreams.a]\nurl = 'http://a:80?x:y@z'", ""},
    };
    assert_errors(rows, COUNT(rows));
}

static void test_the_data_secret_comes_from_outside_and_is_long_enough(void **state)
{
    (void)state;
    setenv("GW_SHORT", "0123456789abcdef0123456789abcde", 1);
    setenv("GW_SECRET", "0123456789abcdef0123456789abcdef", 1);
    unsetenv("GW_NONE");
#define NO_DATA_SECRET                                                                    \
    ": a secret may not stand in the file; write \"${NAME}\" for it and set NAME in the " \
    "environment, put it in a file, { file = \"path\" }, or leave it out\n"
    static const struct error_row rows[] = {
        {"[data]\nsecret = '${GW_SECRET}'", ""},
        {"[data]\nsecret = '${GW_NONE:-}'", ""},
        {"[data]\nsecret = ''", ""},
        {"[data]\nsecret = '0123456789abcdef0123456789abcdef'",
         "t:2:10: error: secret" NO_DATA_SECRET},
        {"[data]\nsecret = '${GW_NONE:-0123456789abcdef0123456789abcdef}'",
         "t:2:10: error: secret" NO_DATA_SECRET},
        {"[data]\nsecret = '$${GW_SECRET}'", "t:2:10: error: secret" NO_DATA_SECRET},
        {"[data]\nsecret = '${GW_SECRET}x'", "t:2:10: error: secret" NO_DATA_SECRET},
        {"[data]\nsecret = { file = '/dev/null' }",
         "t:2:19: error: secret: /dev/null must hold one line of text\n"},
        {"[data]\nsecret = { file = '/proc/sys/kernel/ostype' }",
         "t:2:10: error: secret: 5 bytes; at least 32 are needed\n"},
        {"[data]\nsecret = { env = 'x' }",
         "t:2:10: error: secret: expected a string or { file = \"path\" }\n"},
        {"[data]\nsecret = '${GW_SHORT}'",
         "t:2:10: error: secret: 31 bytes; at least 32 are needed\n"},
        {"[certificates.a]\npath = '/a'\ntemplate = 'a.svg'\nregister = false\n"
         "sign = { key = 'k', certificate = 'c', password = '${GW_SHORT}' }",
         ""}, /* a key's: as long as it is */
    };
    assert_errors(rows, COUNT(rows));
}

static void test_a_token_is_told_by_its_digest(void **state)
{
    (void)state;
#define HEX_60 "0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdef"
#define BAD_DIGEST                                                                            \
    "t:2:10: error: digest: expected \"sha256:\" and 64 hexadecimal digits (`gateway token` " \
    "makes one)\n"
    setenv("GW_DIGEST", "sha256:" HEX_60 "0000", 1);
    static const struct error_row rows[] = {
        {"[tokens.a]\ndigest = 'sha256:" HEX_60 "0000'", ""},
        {"[tokens.a]\ndigest = '${GW_DIGEST}'", ""},
        {"[tokens.a]\ndigest = 'sha256:" HEX_60 "000'", BAD_DIGEST},
        {"[tokens.a]\ndigest = 'sha256:" HEX_60 "00000'", BAD_DIGEST},
        {"[tokens.a]\ndigest = 'sha256:" HEX_60 "000g'", BAD_DIGEST},
        {"[tokens.a]\ndigest = 'sha512:" HEX_60 "0000'", BAD_DIGEST},
        {"[tokens.a]\ndigest = '" HEX_60 "00000000000'", BAD_DIGEST},
        {"[tokens.a]\ndigest = 'my token'", BAD_DIGEST},
        {"[tokens.a]\ndigest = ''", "t:2:10: error: digest: may not be empty\n"},
    };
    assert_errors(rows, COUNT(rows));
}

static void test_allowed_types_are_media_types(void **state)
{
    (void)state;
#define BAD_TYPE(column, type)                                                         \
    "t:4:" column ": error: allow_types: expected a media type like \"image/png\" or " \
    "\"image/*\", got \"" type "\"\n"
    static const struct error_row rows[] = {
        {UPLOAD "allow_types = ['image/png', 'image/*', 'application/vnd.x+json']", ""},
        {UPLOAD "allow_types = ['image', 'png/', '/png', '*/*']",
         BAD_TYPE("16", "image") BAD_TYPE("25", "png/") BAD_TYPE("33", "/png")
             BAD_TYPE("41", "*/*")},
        {UPLOAD "allow_types = ['image/p*', 'a/b/c', 'a/b;q=1', 'text/ plain']",
         BAD_TYPE("16", "image/p*") BAD_TYPE("28", "a/b/c") BAD_TYPE("37", "a/b;q=1")
             BAD_TYPE("48", "text/ plain")},
    };
    assert_errors(rows, COUNT(rows));
}

static void test_downloads_come_from_an_upload_or_a_folder(void **state)
{
    (void)state;
    static const struct error_row rows[] = {
        {UPLOAD "[downloads.d]\npath = '/d'\nfrom = 'main'", ""},
        {"[downloads.d]\npath = '/d'\ndir = 'd'", ""},
        {"[downloads.d]\npath = '/d'\nfrom = ''\ndir = 'd'", ""},
        {"[downloads.d]\npath = '/d'",
         "t:1:1: error: a download needs \"from\" (an upload section) or \"dir\" (a plain "
         "folder)\n"},
        {"[downloads.d]\npath = '/d'\nfrom = ''",
         "t:3:8: error: a download needs \"from\" (an upload section) or \"dir\" (a plain "
         "folder)\n"},
        {UPLOAD "[downloads.d]\npath = '/d'\ndir = 'd'\nfrom = 'main'",
         "t:6:7: error: a download has either \"from\" or \"dir\", not both\n"},
        {UPLOAD "[downloads.d]\npath = '/d'\nfrom = 'mian'",
         "t:6:8: error: unknown upload \"mian\"; did you mean \"main\"?\n"},
        {"[downloads.d]\npath = '/d'\nfrom = 'pictures'",
         "t:3:8: error: unknown upload \"pictures\"; there is no [uploads.pictures]\n"},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_keys_come_with_a_guess),
        cmocka_unit_test(test_data_in_the_file_must_be_json),
        cmocka_unit_test(test_wrong_types_say_what_is_expected),
        cmocka_unit_test(test_numbers_have_bounds),
        cmocka_unit_test(test_required_keys_are_missed_at_their_table),
        cmocka_unit_test(test_some_strings_may_not_be_empty),
        cmocka_unit_test(test_names_are_plain_and_parts_avoid_reserved_ones),
        cmocka_unit_test(test_a_client_certificate_needs_its_key),
        cmocka_unit_test(test_environment_errors_stand_at_their_reference),
        cmocka_unit_test(test_set_headers_is_a_table_of_lines),
        cmocka_unit_test(test_secrets_do_not_stand_in_the_file),
        cmocka_unit_test(test_the_data_secret_comes_from_outside_and_is_long_enough),
        cmocka_unit_test(test_a_token_is_told_by_its_digest),
        cmocka_unit_test(test_allowed_types_are_media_types),
        cmocka_unit_test(test_downloads_come_from_an_upload_or_a_folder),
        cmocka_unit_test(test_all_errors_of_a_file_are_told_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
