/* What a configuration file comes to: values, defaults, order, ${NAME}, paths, places. */
#include "base/log.h"
#include "tests/unit/config_unit.h"

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
    assert_int_equal(c->server.head_timeout_ms, 10000);
    assert_int_equal(c->server.idle_timeout_ms, 10000);
    assert_int_equal(c->server.body_idle_timeout_ms, 30000);
    assert_int_equal(c->server.body_min_rate, 128);
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
    assert_str(c->data.dir, DIR "/data");
    assert_str(c->data.secret, "");
    assert_int_equal(c->token_count, 0);
    assert_int_equal(c->upload_count, 0);
    assert_int_equal(c->download_count, 0);
    config_destroy(&c);
    assert_null(c);

    c = parse_well("[upstreams.a]\nurl = 'http://a'\n[pages.p]\npath = '/'\n[pages.p.parts.x]\n"
                   "[static.s]\npath = '/s'\ndir = '/s'\n"
                   "[uploads.u]\npath = '/u'\ndir = '/u'\n"
                   "[downloads.d]\npath = '/d'\ndir = '/d'");
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
    const struct config_upload *upload = &c->uploads[0];
    assert_int_equal(upload->max_size, 1 << 30);
    assert_int_equal(upload->max_files, 16);
    assert_int_equal(upload->allow_types.count, 0);
    assert_int_equal(upload->fields.count, 0);
    assert_str(upload->redirect, "/");
    assert_str(upload->template, "");
    assert_int_equal(upload->auth, AUTH_TOKEN);
    assert_int_equal(upload->max_concurrent, 256);
    assert_int_equal(upload->quota, 0);
    assert_int_equal(upload->client_quota, 0);
    assert_int_equal(upload->expire_after_ms, 86400000);
    assert_int_equal(upload->lock_timeout_ms, 20000);
    const struct config_download *download = &c->downloads[0];
    assert_str(download->from, "");
    assert_int_equal(download->auth, AUTH_PUBLIC);
    assert_int_equal(download->disposition, DISPOSITION_ATTACHMENT);
    assert_false(download->listing);
    assert_int_equal(download->page_size, 100);
    assert_int_equal(download->max_age_ms, 0);
    config_destroy(&c);
}

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_each_key_reaches_its_field(void **state)
{
    (void)state;
    setenv("GW_SECRET", "correct horse battery staple, twice", 1);
    struct config *c = parse_well(
        "[server]\nlisten = ['a:1', \"unix:run/g.sock\"]\nworkers = 3\nmax_connections = 0x10\n"
        "head_timeout = '3s'\nidle_timeout = '1.5s'\nbody_idle_timeout = '4s'\n"
        "body_min_rate = '1KiB'\ndrain_timeout = '0s'\nmax_body = '2kB'\nserver_timing = true\n"
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
        "[static.s]\npath = '/s'\ndir = 'pub'\nmax_age = '7d'\n"
        "[data]\ndir = 'd'\nsecret = '${GW_SECRET}'\n"
        "[tokens.ci]\ndigest = 'sha256:" DIGEST "'\n"
        "[uploads.v]\npath = '/v'\ndir = 'v'\n"
        "[uploads.u]\npath = '/u'\ndir = '${GW_UPLOADS:-up}/u'\nmax_size = '5TiB'\n"
        "max_files = 2\nallow_types = ['image/png', 'text/*']\nfields = ['who', 'why']\n"
        "redirect = '/thanks'\ntemplate = 'u.html'\nauth = 'signed'\nmax_concurrent = 9\n"
        "quota = '10GiB'\nclient_quota = '11MB'\nexpire_after = '7d'\nlock_timeout = '12ms'\n"
        "[downloads.d]\npath = '/d'\nfrom = 'u'\nauth = 'token'\ndisposition = 'inline'\n"
        "listing = true\npage_size = 13\nmax_age = '14s'\n"
        "[downloads.e]\npath = '/e'\ndir = 'files'\n");
    assert_int_equal(c->server.listen.count, 2);
    assert_str(c->server.listen.items[0], "a:1");
    assert_str(c->server.listen.items[1], "unix:" DIR "/run/g.sock");
    assert_int_equal(c->server.workers, 3);
    assert_int_equal(c->server.max_connections, 16);
    assert_int_equal(c->server.head_timeout_ms, 3000);
    assert_int_equal(c->server.idle_timeout_ms, 1500);
    assert_int_equal(c->server.body_idle_timeout_ms, 4000);
    assert_int_equal(c->server.body_min_rate, 1024);
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
    assert_str(c->data.dir, DIR "/d");
    assert_str(c->data.secret, "correct horse battery staple, twice");
    assert_int_equal(c->token_count, 1);
    assert_str(c->tokens[0].name, "ci");
    assert_str(c->tokens[0].digest, "sha256:" DIGEST);
    assert_int_equal(c->upload_count, 2);
    const struct config_upload *upload = config_find_upload(c, STR("u"));
    assert_ptr_equal(upload, &c->uploads[1]);
    assert_null(config_find_upload(c, STR("uu")));
    assert_str(upload->path, "/u");
    assert_str(upload->dir, DIR "/up/u");
    assert_int_equal(upload->max_size, (uint64_t)5 << 40);
    assert_int_equal(upload->max_files, 2);
    assert_int_equal(upload->allow_types.count, 2);
    assert_str(upload->allow_types.items[0], "image/png");
    assert_str(upload->allow_types.items[1], "text/*");
    assert_int_equal(upload->fields.count, 2);
    assert_str(upload->fields.items[1], "why");
    assert_str(upload->redirect, "/thanks");
    assert_str(upload->template, "u.html");
    assert_int_equal(upload->auth, AUTH_SIGNED);
    assert_int_equal(upload->max_concurrent, 9);
    assert_int_equal(upload->quota, (uint64_t)10 << 30);
    assert_int_equal(upload->client_quota, 11000000);
    assert_int_equal(upload->expire_after_ms, 604800000);
    assert_int_equal(upload->lock_timeout_ms, 12);
    const struct config_download *download = &c->downloads[0];
    assert_str(download->name, "d");
    assert_str(download->path, "/d");
    assert_str(download->from, "u");
    assert_str(download->dir, "");
    assert_int_equal(download->auth, AUTH_TOKEN);
    assert_int_equal(download->disposition, DISPOSITION_INLINE);
    assert_true(download->listing);
    assert_int_equal(download->page_size, 13);
    assert_int_equal(download->max_age_ms, 14000);
    assert_str(c->downloads[1].from, "");
    assert_str(c->downloads[1].dir, DIR "/files");
    config_destroy(&c);
    unsetenv("GW_SECRET");
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
                   "idle_timeout = '${GW_TIME}s'\nmax_connections = '1${GW_WORKERS}'\n"
                   "[log]\nlevel = '${GW_LEVEL:-error}'");
    assert_int_equal(c->server.workers, 7);
    assert_true(c->server.server_timing);
    assert_int_equal(c->server.idle_timeout_ms, 3000);
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
    struct config *c =
        parse_in(DIR,
                 STR("[server]\nlisten = 3\nmax_body = 'x'\ntrusted_proxies = ['', 'a']\n"
                     "[upstreams.a]\nurl = 5\nset_headers = { a = 5, d = 'e', D = 'f', g = 'h' }\n"
                     "[pages]\nx = 3\n[pages.p]\n[pages.p.parts]\nq = 1\nr = {}\n"
                     "[data]\nsecret = 'short'\n[uploads.u]\nallow_types = ['x']\n"
                     "[downloads.d]\nfrom = 'v'\n[downloads.e]\nfrom = 'u'\ndir = 'e'\n"),
                 &errors);
    free(errors);
    assert_str(c->server.listen.items[0], "127.0.0.1:8080");
    assert_pos(c, &c->server.listen, 2, 10);
    assert_int_equal(c->server.max_body, 1 << 20);
    assert_int_equal(c->server.trusted_proxies.count, 0);
    assert_str(c->admin.control, "");
    assert_str(c->upstreams[0].url, "");
    assert_pos(c, &c->upstreams[0].url, 6, 7);
    assert_int_equal(c->upstreams[0].set_headers.count, 2);
    assert_str(c->upstreams[0].set_headers.items[0].name, "d");
    assert_str(c->upstreams[0].set_headers.items[1].name, "g");
    assert_pos(c, &c->upstreams[0].set_headers.items[1].value, 7, 46);
    assert_int_equal(c->page_count, 1);
    assert_str(c->pages[0].path, "");
    assert_int_equal(c->pages[0].part_count, 1);
    assert_str(c->pages[0].parts[0].name, "r");
    assert_str(c->data.dir, "");
    assert_str(c->data.secret, "");
    assert_str(c->uploads[0].path, "");
    assert_int_equal(c->uploads[0].allow_types.count, 0);
    assert_str(c->downloads[0].from, "");
    assert_str(c->downloads[0].dir, "");
    assert_str(c->downloads[1].from, "u");
    assert_str(c->downloads[1].dir, "");
    config_destroy(&c);
    unsetenv("GATEWAY_DATA");

    /* Not TOML: as if it were empty. */
    c = parse_in(DIR, STR("[upstreams.a]\nurl = 'x'\n = "), &errors);
    free(errors);
    assert_int_equal(c->upstream_count, 0);
    assert_str(c->log.access, "stdout");
    config_destroy(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_file_is_all_defaults),
        cmocka_unit_test(test_each_key_reaches_its_field),
        cmocka_unit_test(test_parts_keep_the_order_of_the_file),
        cmocka_unit_test(test_environment_fills_strings_and_nothing_more),
        cmocka_unit_test(test_a_string_filled_in_has_a_ceiling),
        cmocka_unit_test(test_unix_sockets_fit_their_address),
        cmocka_unit_test(test_fields_know_where_they_stand),
        cmocka_unit_test(test_what_is_wrong_is_replaced_by_something_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
