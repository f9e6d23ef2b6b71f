/* print-config reads back the same, shows no secret; every key is documented. */
#include <unistd.h>
#include "tests/unit/config_unit.h"

static char *print(const struct config *config)
{
    char *text;
    size_t n;
    FILE *to = open_memstream(&text, &n);
    assert_non_null(to);
    config_print(config, to);
    assert_int_equal(fclose(to), 0);
    return text;
}

/* -- equality, field by field ------------------------------------------------------------------ */

static void same_str(struct str a, struct str b)
{
    assert_string_equal(a.p, b.p);
    assert_int_equal(a.n, b.n);
}

static void same_strings(struct config_strings a, struct config_strings b)
{
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++)
        same_str(a.items[i], b.items[i]);
}

static void same_server(const struct config_server *a, const struct config_server *b)
{
    same_strings(a->listen, b->listen);
    same_strings(a->listen_tls, b->listen_tls);
    assert_int_equal(a->workers, b->workers);
    assert_int_equal(a->max_connections, b->max_connections);
    assert_int_equal(a->max_streams, b->max_streams);
    assert_int_equal(a->head_timeout_ms, b->head_timeout_ms);
    assert_int_equal(a->idle_timeout_ms, b->idle_timeout_ms);
    assert_int_equal(a->body_idle_timeout_ms, b->body_idle_timeout_ms);
    assert_int_equal(a->body_min_rate, b->body_min_rate);
    assert_int_equal(a->drain_timeout_ms, b->drain_timeout_ms);
    assert_int_equal(a->max_body, b->max_body);
    assert_int_equal(a->server_timing, b->server_timing);
    same_str(a->error_template, b->error_template);
    same_strings(a->trusted_proxies, b->trusted_proxies);
}

static void same_tls(const struct config_server_tls *a, const struct config_server_tls *b)
{
    assert_int_equal(a->min_version, b->min_version);
    assert_int_equal(a->client_certificates, b->client_certificates);
    same_str(a->client_ca, b->client_ca);
    assert_int_equal(a->session_tickets, b->session_tickets);
    assert_int_equal(a->ticket_lifetime_ms, b->ticket_lifetime_ms);
    assert_int_equal(a->redirect, b->redirect);
    assert_int_equal(a->redirect_port, b->redirect_port);
    assert_int_equal(a->hsts_ms, b->hsts_ms);
    assert_int_equal(a->certificate_count, b->certificate_count);
    for (size_t i = 0; i < a->certificate_count; i++) {
        same_str(a->certificates[i].name, b->certificates[i].name);
        same_str(a->certificates[i].certificate, b->certificates[i].certificate);
        same_str(a->certificates[i].key, b->certificates[i].key);
    }
}

static void same_pairs(struct config_pairs a, struct config_pairs b)
{
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++) {
        same_str(a.items[i].name, b.items[i].name);
        same_str(a.items[i].value, b.items[i].value);
    }
}

static void same_upstream(const struct config_upstream *a, const struct config_upstream *b)
{
    same_str(a->name, b->name);
    same_str(a->url, b->url);
    assert_int_equal(a->connect_timeout_ms, b->connect_timeout_ms);
    assert_int_equal(a->timeout_ms, b->timeout_ms);
    assert_int_equal(a->max_idle, b->max_idle);
    assert_int_equal(a->connection_lifetime_ms, b->connection_lifetime_ms);
    assert_int_equal(a->max_inflight, b->max_inflight);
    assert_int_equal(a->max_queue, b->max_queue);
    assert_int_equal(a->queue_timeout_ms, b->queue_timeout_ms);
    assert_int_equal(a->max_body, b->max_body);
    assert_int_equal(a->resolve_every_ms, b->resolve_every_ms);
    same_strings(a->forward_headers, b->forward_headers);
    same_pairs(a->set_headers, b->set_headers);
    same_str(a->tls.ca_file, b->tls.ca_file);
    same_str(a->tls.cert_file, b->tls.cert_file);
    same_str(a->tls.key_file, b->tls.key_file);
    assert_int_equal(a->tls.min_version, b->tls.min_version);
    same_strings(a->addresses, b->addresses);
    assert_int_equal(a->balance, b->balance);
    same_str(a->deadline_header, b->deadline_header);
    assert_int_equal(a->retry.attempts, b->retry.attempts);
    same_strings(a->retry.on, b->retry.on);
    assert_int_equal(a->retry.backoff_ms, b->retry.backoff_ms);
    assert_int_equal(a->retry.max_backoff_ms, b->retry.max_backoff_ms);
    assert_int_equal(a->retry.budget, b->retry.budget);
    assert_int_equal(a->retry.budget_floor, b->retry.budget_floor);
    same_str(a->hedge.after, b->hedge.after);
    assert_int_equal(a->hedge.budget, b->hedge.budget);
    assert_int_equal(a->hedge.budget_floor, b->hedge.budget_floor);
    assert_memory_equal(&a->breaker, &b->breaker, sizeof(a->breaker));
    assert_int_equal(a->ejection.consecutive, b->ejection.consecutive);
    assert_int_equal(a->ejection.for_ms, b->ejection.for_ms);
    assert_int_equal(a->ejection.max_share, b->ejection.max_share);
    same_str(a->health.path, b->health.path);
    assert_int_equal(a->health.interval_ms, b->health.interval_ms);
    assert_int_equal(a->health.timeout_ms, b->health.timeout_ms);
    assert_int_equal(a->health.healthy, b->health.healthy);
    assert_int_equal(a->health.unhealthy, b->health.unhealthy);
}

static void same_page(const struct config_page *a, const struct config_page *b)
{
    same_str(a->name, b->name);
    same_str(a->path, b->path);
    same_str(a->template, b->template);
    assert_int_equal(a->deadline_ms, b->deadline_ms);
    assert_int_equal(a->part_count, b->part_count);
    for (size_t i = 0; i < a->part_count; i++) {
        const struct config_part *p = &a->parts[i], *q = &b->parts[i];
        same_str(p->name, q->name);
        same_str(p->upstream, q->upstream);
        same_str(p->path, q->path);
        assert_int_equal(p->need, q->need);
        assert_int_equal(p->timeout_ms, q->timeout_ms);
        same_str(p->select, q->select);
        same_strings(p->allow, q->allow);
        same_strings(p->deny, q->deny);
        same_str(p->into, q->into);
        assert_int_equal(p->method, q->method);
        same_str(p->body, q->body);
        assert_int_equal(p->idempotent, q->idempotent);
        same_str(p->when, q->when);
        same_str(p->each, q->each);
        same_str(p->as, q->as);
        assert_int_equal(p->concurrency, q->concurrency);
        assert_int_equal(p->max_items, q->max_items);
        assert_int_equal(p->batch, q->batch);
        same_str(p->by, q->by);
        same_pairs(p->headers, q->headers);
        same_str(p->fallback.upstream, q->fallback.upstream);
        same_str(p->fallback.path, q->fallback.path);
        assert_int_equal(p->fallback.timeout_ms, q->fallback.timeout_ms);
        same_str(p->fallback.value, q->fallback.value);
        same_str(p->fallback.static_file, q->fallback.static_file);
    }
}

static void same_upload(const struct config_upload *a, const struct config_upload *b)
{
    same_str(a->name, b->name);
    same_str(a->path, b->path);
    same_str(a->dir, b->dir);
    assert_int_equal(a->max_size, b->max_size);
    assert_int_equal(a->max_files, b->max_files);
    same_strings(a->allow_types, b->allow_types);
    same_strings(a->fields, b->fields);
    same_str(a->redirect, b->redirect);
    same_str(a->template, b->template);
    assert_int_equal(a->auth, b->auth);
    assert_int_equal(a->max_concurrent, b->max_concurrent);
    assert_int_equal(a->quota, b->quota);
    assert_int_equal(a->client_quota, b->client_quota);
    assert_int_equal(a->expire_after_ms, b->expire_after_ms);
    assert_int_equal(a->lock_timeout_ms, b->lock_timeout_ms);
}

static void same_download(const struct config_download *a, const struct config_download *b)
{
    same_str(a->name, b->name);
    same_str(a->path, b->path);
    same_str(a->from, b->from);
    same_str(a->dir, b->dir);
    assert_int_equal(a->auth, b->auth);
    assert_int_equal(a->disposition, b->disposition);
    assert_int_equal(a->listing, b->listing);
    assert_int_equal(a->page_size, b->page_size);
    assert_int_equal(a->max_age_ms, b->max_age_ms);
}

static void same_config(const struct config *a, const struct config *b)
{
    same_str(a->dir, b->dir);
    same_server(&a->server, &b->server);
    same_tls(&a->tls, &b->tls);
    same_str(a->admin.listen, b->admin.listen);
    same_str(a->admin.control, b->admin.control);
    assert_int_equal(a->log.level, b->log.level);
    assert_int_equal(a->log.format, b->log.format);
    same_str(a->log.access, b->log.access);
    assert_int_equal(a->log.access_format, b->log.access_format);
    assert_int_equal(a->log.slow_ms, b->log.slow_ms);
    assert_int_equal(a->upstream_count, b->upstream_count);
    for (size_t i = 0; i < a->upstream_count; i++)
        same_upstream(&a->upstreams[i], &b->upstreams[i]);
    assert_int_equal(a->page_count, b->page_count);
    for (size_t i = 0; i < a->page_count; i++)
        same_page(&a->pages[i], &b->pages[i]);
    assert_int_equal(a->static_count, b->static_count);
    for (size_t i = 0; i < a->static_count; i++) {
        same_str(a->statics[i].name, b->statics[i].name);
        same_str(a->statics[i].path, b->statics[i].path);
        same_str(a->statics[i].dir, b->statics[i].dir);
        assert_int_equal(a->statics[i].max_age_ms, b->statics[i].max_age_ms);
    }
    same_str(a->data.dir, b->data.dir);
    same_str(a->data.secret, b->data.secret);
    assert_int_equal(a->token_count, b->token_count);
    for (size_t i = 0; i < a->token_count; i++) {
        same_str(a->tokens[i].name, b->tokens[i].name);
        same_str(a->tokens[i].digest, b->tokens[i].digest);
    }
    assert_int_equal(a->upload_count, b->upload_count);
    for (size_t i = 0; i < a->upload_count; i++)
        same_upload(&a->uploads[i], &b->uploads[i]);
    assert_int_equal(a->download_count, b->download_count);
    for (size_t i = 0; i < a->download_count; i++)
        same_download(&a->downloads[i], &b->downloads[i]);
}

/* -- printing ---------------------------------------------------------------------------------- */

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char everything[] =
    "[server]\n"
    "listen_tls = ['*:443']\n"
    "listen = ['${GW_LISTEN:-[::1]:80}', 'unix:run/\\\"$${x}.sock', \"\xc3\xa9:1\"]\n"
    "workers = '${GW_WORKERS:-3}'\n"
    "max_connections = 77\n"
    "max_streams = 33\n"
    "head_timeout = '7s'\n"
    "idle_timeout = '90s'\n"
    "body_idle_timeout = '2m'\n"
    "body_min_rate = '3kB'\n"
    "drain_timeout = '${GW_DRAIN:-1.5}s'\n"
    "max_body = '10MB'\n"
    "server_timing = '${GW_TIMING:-true}'\n"
    "error_template = '$${x} $$${y} $z {}'\n"
    "trusted_proxies = ['10.0.0.0/8', 'fe80::/10']\n"
    "[tls]\nmin_version = '1.3'\nclient_certificates = 'optional'\nclient_ca = 'clients.pem'\n"
    "session_tickets = false\nticket_lifetime = '6h'\nredirect = true\nredirect_port = 8443\n"
    "hsts = '365d'\n"
    "[tls.certificates.z]\ncertificate = 'z.pem'\nkey = '${GW_KEYS:-keys}/z.key'\n"
    "[tls.certificates.a]\ncertificate = 'a.pem'\nkey = '/a.key'\n"
    "[admin]\nlisten = ''\ncontrol = 'unix:${GATEWAY_DATA:-data}/c.sock'\n"
    "[log]\nlevel = '${GW_LEVEL:-debug}'\nformat = 'json'\naccess = 'a$${b}.log'\n"
    "access_format = 'combined'\nslow = '3s'\n"
    "[upstreams.z]\nurl = 'http://u:${GW_PASSWORD}@z/'\ntimeout = '1001ms'\nmax_body = '1537'\n"
    "forward_headers = []\n"
    "[upstreams.z.set_headers]\nX-Two = '2'\nAuthorization = 'Bearer ${GW_TOKEN}'\n"
    "'x.y' = '\"\\'\n'#$' = '$${a}'\n"
    "[upstreams.z.tls]\nca_file = 'ca.pem'\ncert_file = '${GW_CERT:-c}.pem'\nkey_file = '/k.pem'\n"
    "min_version = '1.3'\n"
    "[upstreams.z.retry]\nattempts = 3\non = ['connect', '429']\nbackoff = '5ms'\n"
    "max_backoff = '1s'\nbudget = 7\nbudget_floor = 0\n"
    "[upstreams.z.hedge]\nafter = 'p95'\nbudget = 5\nbudget_floor = 2\n"
    "[upstreams.z.breaker]\nerror_share = 40\nmin_calls = 10\nconsecutive = 0\n"
    "open_for = '3s'\nprobes = 1\n"
    "[upstreams.z.ejection]\nconsecutive = 2\nfor = '4s'\nmax_share = 34\n"
    "[upstreams.z.health]\npath = '/up'\ninterval = '1s'\ntimeout = '100ms'\nhealthy = 1\n"
    "unhealthy = 9\n"
    "[upstreams.a]\nurl = 'unix:up.sock'\n"
    "[upstreams.many]\nurl = 'http://m'\naddresses = ['10.0.0.1:1 weight=3', '[::1]:2']\n"
    "balance = 'least_inflight'\ndeadline_header = 'X-Left'\n"
    "[pages.second.parts.zoo]\nupstream = 'z'\nneed = 'required'\ntimeout = '5ms'\n"
    "[pages.first]\npath = '/1'\n"
    "[pages.second]\npath = '/{id}'\ntemplate = 't.html'\ndeadline = '2m'\n"
    "[pages.second.parts.a]\nselect = 'data.items'\nallow = ['x', 'y.z']\ndeny = ['q']\n"
    "into = '.'\npath = '/{?query.a*}'\n"
    "[pages.second.parts.b]\nupstream = 'z'\nmethod = 'POST'\nidempotent = true\n"
    "body = '{\"a\": \"{item.id}\"}'\nwhen = 'query.x && !a.y'\neach = 'a.list'\nas = 'one'\n"
    "concurrency = 3\nmax_items = 50\nbatch = 20\nby = 'id'\n"
    "[pages.second.parts.b.headers]\nX-Id = '{path.id}'\nAuthorization = 'Bearer {cookie.t}'\n"
    "[pages.second.parts.b.fallback]\nupstream = 'a'\npath = '/else'\ntimeout = '2ms'\n"
    "[pages.second.parts.b.fallback.static]\nitems = [1, 0x10, 2.5, true, 'a\"\\', {}]\n"
    "when = 2026-11-22\ndeep = { list = [[]], '$${k}' = '$${v} ${GW_WORD:-w}' }\n"
    "[pages.second.parts.c]\nupstream = 'z'\n"
    "fallback = { static = '[1, null]', static_file = 'f.json' }\n"
    "[static.s]\npath = '/s'\ndir = 's'\nmax_age = '25h'\n"
    "[static.r]\npath = '/r'\ndir = '${GW_STATIC:-/srv}/r'\n"
    "[routes.a]\npath = '/a'\nto = '/$${x}'\nmethods = ['GET', 'PUT']\nidle_timeout = '23h'\n"
    "max_body = '3TiB'\npreserve_host = true\n"
    "[data]\ndir = '${GW_DATA:-d}/kept'\nsecret = '${GW_SECRET}'\n"
    "[tokens.ci]\ndigest = 'sha256:" DIGEST "'\n"
    "[uploads.u]\npath = '/u'\ndir = 'u'\nmax_size = '3TiB'\nmax_files = 4\n"
    "allow_types = ['image/*']\nfields = ['who', '$${why}']\nredirect = '/thanks'\n"
    "template = 'u.html'\nauth = 'signed'\nmax_concurrent = 5\nquota = '6GB'\n"
    "client_quota = '7MB'\nexpire_after = '8d'\nlock_timeout = '9s'\n"
    "[downloads.d]\npath = '/d'\nfrom = 'u'\nauth = 'token'\ndisposition = 'inline'\n"
    "listing = true\npage_size = 10\nmax_age = '11m'\n"
    "[downloads.e]\npath = '/e'\ndir = 'e'\n";

static void test_what_is_printed_reads_back_the_same(void **state)
{
    (void)state;
    setenv("GW_PASSWORD", "open sesame", 1);
    setenv("GW_TOKEN", "t0p-s3cret", 1);
    setenv("GW_SECRET", "a s3cret of more than thirty-two characters", 1);
    setenv("GW_WORKERS", "5", 1);
    const char *const texts[] = {"", everything};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct config *first = parse_well(texts[i]);
        char *printed = print(first);
        struct config *second = parse_well(printed);
        char *again = print(second);
        assert_string_equal(printed, again);
        same_config(first, second);
        config_destroy(&first);
        config_destroy(&second);
        free(printed);
        free(again);
    }
}

static void test_every_value_is_printed_and_no_secret(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "listen            = [\"${GW_LISTEN:-[::1]:80}\", \"unix:" DIR "/run/\\\\\\\"$${x}.sock\", "
        "\"\xc3\xa9:1\"]",
        "\nworkers           = \"${GW_WORKERS:-3}\" ",
        "\nmax_connections   = 77 ",
        "\nmax_streams       = 33 ",
        "\nhead_timeout      = \"7s\" ",
        "\nbody_idle_timeout = \"2m\" ",
        "\nbody_min_rate     = \"3kB\" ",
        "\nidle_timeout      = \"90s\" ",
        "\ndrain_timeout     = \"${GW_DRAIN:-1.5}s\" ",
        "\nmax_body          = \"10MB\" ",
        "\nserver_timing     = \"${GW_TIMING:-true}\" ",
        "\nerror_template    = \"$${x} $$${y} $z {}\" ",
        "\nlisten_tls        = [\"*:443\"] ",
        "\nclient_certificates = \"optional\" ",
        "\nclient_ca           = \"" DIR "/clients.pem\" ",
        "\nsession_tickets     = false ",
        "\nticket_lifetime     = \"6h\" ",
        "\nredirect_port       = 8443 ",
        "\nhsts                = \"365d\" ",
        "\n[tls.certificates.z]\ncertificate = \"" DIR "/z.pem\" ",
        "\nkey         = \"${GW_KEYS:-keys}/z.key\" ",
        "\n[tls.certificates.a]\ncertificate = \"" DIR "/a.pem\"\n",
        "\nlisten  = \"\" ",
        "\ncontrol = \"unix:${GATEWAY_DATA:-data}/c.sock\" ",
        "\naccess        = \"" DIR "/a$${b}.log\" ",
        "\naccess_format = \"combined\" ",
        "\nslow          = \"3s\" ",
        "\nurl                 = \"http://u:${GW_PASSWORD}@z/\" ",
        "\nmax_body            = \"1537B\" ",
        "\nforward_headers     = [] ",
        "\nAuthorization = \"Bearer ${GW_TOKEN}\"\n",
        "\n\"x.y\" = \"\\\"\\\\\"\n",
        "\n\"#$\" = \"$${a}\"\n",
        "\nca_file     = \"" DIR "/ca.pem\" ",
        "\ncert_file   = \"${GW_CERT:-c}.pem\" ",
        "\nmin_version = \"1.3\" ",
        "\nurl                 = \"unix:" DIR "/up.sock\"\n",
        "\n[pages.second.parts.a]\nupstream    = \"a\"\n",
        "\ntimeout     = \"0s\"\n",
        "\naddresses           = [\"10.0.0.1:1 weight=3\", \"[::1]:2\"]\n",
        "\non           = [\"connect\", \"429\"] ",
        "\nafter        = \"p95\" ",
        "\nbody        = \"{\\\"a\\\": \\\"{item.id}\\\"}\"\n",
        "\n[pages.second.parts.b.headers]\nX-Id = \"{path.id}\"\n"
        "Authorization = \"Bearer {cookie.t}\"\n",
        "\nstatic      = \"{\\\"items\\\":[1,16,2.5,true,\\\"a\\\\\\\"\\\\\\\\\\\",{}],"
        "\\\"when\\\":\\\"2026-11-22\\\",\\\"deep\\\":{\\\"list\\\":[[]],"
        "\\\"$$${k}\\\":\\\"$${v} w\\\"}}\"\n",
        "\nstatic      = \"[1, null]\"\nstatic_file = \"" DIR "/f.json\"\n",
        "\nmax_age    = \"25h\" ",
        "\ndir        = \"${GW_STATIC:-/srv}/r\"\n",
        "\n[data]\ndir    = \"${GW_DATA:-d}/kept\" ",
        "\nsecret = \"${GW_SECRET}\" ",
        "\ndigest = \"sha256:" DIGEST "\" ",
        "\n[uploads.u]\npath           = \"/u\" ",
        "\ndir            = \"" DIR "/u\" ",
        "\nmax_size       = \"3TiB\" ",
        "\nmax_files      = 4 ",
        "\nallow_types    = [\"image/*\"] ",
        "\nfields         = [\"who\", \"$${why}\"] ",
        "\nredirect       = \"/thanks\" ",
        "\ntemplate       = \"u.html\" ",
        "\nauth           = \"signed\" ",
        "\nmax_concurrent = 5 ",
        "\nquota          = \"6GB\" ",
        "\nclient_quota   = \"7MB\" ",
        "\nexpire_after   = \"8d\" ",
        "\nlock_timeout   = \"9s\" ",
        "\n[downloads.d]\npath        = \"/d\" ",
        "\nfrom        = \"u\" ",
        "\ndir         = \"\" ",
        "\nauth        = \"token\" ",
        "\ndisposition = \"inline\" ",
        "\nlisting     = true ",
        "\npage_size   = 10 ",
        "\nmax_age     = \"11m\" ",
        "\n[downloads.e]\npath        = \"/e\"\nfrom        = \"\"\n",
        "\ndir         = \"" DIR "/e\"\n",
    };
    setenv("GW_PASSWORD", "open sesame", 1);
    setenv("GW_TOKEN", "t0p-s3cret", 1);
    setenv("GW_SECRET", "a s3cret of more than thirty-two characters", 1);
    struct config *config = parse_well(everything);
    char *printed = print(config);
    for (size_t i = 0; i < COUNT(lines); i++)
        if (strstr(printed, lines[i]) == NULL)
            fail_msg("no %s in\n%s", lines[i], printed);
    assert_null(strstr(printed, "sesame"));
    assert_null(strstr(printed, "s3cret"));
    /* Order: sections as in the schema, names as in the file. */
    static const char *const order[] = {
        "[server]",
        "[admin]",
        "[log]",
        "[upstreams.z]",
        "[upstreams.z.set_headers]",
        "[upstreams.z.tls]",
        "[upstreams.z.retry]",
        "[upstreams.z.hedge]",
        "[upstreams.z.breaker]",
        "[upstreams.z.ejection]",
        "[upstreams.z.health]",
        "[upstreams.a]",
        "[upstreams.a.tls]",
        "[pages.second]",
        "[pages.second.parts.zoo]",
        "[pages.second.parts.a]",
        "[pages.second.parts.b]",
        "[pages.second.parts.b.headers]",
        "[pages.second.parts.b.fallback]",
        "[pages.first]",
        "[static.s]",
        "[static.r]",
        "[routes.a]",
        "[data]",
        "[tokens.ci]",
        "[uploads.u]",
        "[downloads.d]",
        "[downloads.e]",
    };
    const char *at = printed;
    for (size_t i = 0; i < COUNT(order); i++) {
        at = strstr(at, order[i]);
        if (at == NULL)
            fail_msg("%s is missing or late", order[i]);
    }
    config_destroy(&config);
    free(printed);
}

static void test_a_header_from_a_file_is_printed_as_the_file(void **state)
{
    (void)state;
    char dir[] = "/tmp/gateway-test-XXXXXX", path[64], text[300], line[200];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/${x}", dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("t0p-s3cret, t0p-s3cret, t0p-s3cret\n", file);
    fclose(file);
    setenv("GW_DIR", dir, 1);
    snprintf(text, sizeof(text),
             "[upstreams.a]\nurl = 'http://a'\n[upstreams.a.set_headers]\n"
             "A-Token = { file = '%s/$${x}' }\nB-Token = { file = '${GW_DIR}/$${x}' }\n"
             "[data]\nsecret = { file = '${GW_DIR}/$${x}' }\n",
             dir);
    struct config *first = parse_well(text);
    char *printed = print(first);
    snprintf(line, sizeof(line), "\nA-Token = { file = \"%s/$${x}\" }\n", dir);
    assert_non_null(strstr(printed, line));
    assert_non_null(strstr(printed, "\nB-Token = { file = \"${GW_DIR}/$${x}\" }\n"));
    assert_non_null(strstr(printed, "\nsecret = { file = \"${GW_DIR}/$${x}\" }"));
    assert_null(strstr(printed, "s3cret"));
    struct config *second = parse_well(printed);
    same_config(first, second);
    assert_string_equal(second->upstreams[0].set_headers.items[1].value.p,
                        "t0p-s3cret, t0p-s3cret, t0p-s3cret");
    same_str(second->data.secret, second->upstreams[0].set_headers.items[1].value);
    config_destroy(&first);
    config_destroy(&second);
    free(printed);
    unlink(path);
    rmdir(dir);
}

/* -- documents --------------------------------------------------------------------------------- */

static char *read_document(void)
{
    char *text = calloc(1, 1 << 20);
    FILE *file = fopen("docs/configuration.md", "r");
    assert_non_null(text);
    assert_non_null(file);
    assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    return text;
}

struct document {
    const char *text;
    unsigned keys, missing;
};

/* A key stands in its section's chapter (## [section]) as a row `| `key` | type | `default` |`. */
static void look_for_key(const char *key, const char *type, const char *default_text, void *arg)
{
    struct document *document = arg;
    char chapter[300], row[400], section[100];
    const char *name = strrchr(key, '.') + 1;
    /* a certificate's parts are those of a page */
    bool asked = strncmp(key, "certificates.*.parts", 20) == 0;
    if (strncmp(key, "routes.*.cache.", 15) == 0)
        return; /* as a part's */
    snprintf(section, sizeof(section), "%s%.*s", asked ? "pages" : "",
             (int)(name - 1 - key) - (asked ? 12 : 0), key + (asked ? 12 : 0));
    document->keys++;
    if (strcmp(name, "*") == 0)
        name = "NAME";
    snprintf(chapter, sizeof(chapter), "\n## `[%s]`\n", section);
    for (char *star; (star = strchr(chapter, '*')) != NULL;) {
        memmove(star + 4, star + 1, strlen(star));
        memcpy(star, "NAME", 4);
    }
    const char *begin = strstr(document->text, chapter);
    const char *end = begin != NULL ? strstr(begin + 2, "\n## ") : NULL;
    if (strcmp(default_text, "") == 0)
        snprintf(row, sizeof(row), "\n| `%s` | %s | ", name, type);
    else if (strncmp(default_text, "its ", 4) == 0)
        snprintf(row, sizeof(row), "\n| `%s` | %s | %s | ", name, type, default_text);
    else if (strlen(default_text) > 60)
        snprintf(row, sizeof(row), "\n| `%s` | %s | see below | ", name, type);
    else
        snprintf(row, sizeof(row), "\n| `%s` | %s | `%s` | ", name, type, default_text);
    const char *found = begin != NULL ? strstr(begin, row) : NULL;
    if (found == NULL || (end != NULL && found > end)) {
        document->missing++;
        print_error("docs/configuration.md: no row%s in %s", row, chapter);
    }
    if (strlen(default_text) > 60 && strstr(document->text, default_text) == NULL) {
        document->missing++;
        print_error("docs/configuration.md: no %s\n", default_text);
    }
}

static void test_the_document_names_every_key(void **state)
{
    (void)state;
    char *text = read_document();
    struct document document = {.text = text};
    config_each_key(look_for_key, &document);
    free(text);
    assert_true(document.keys > 200); /* it was not cut short */
    assert_int_equal(document.missing, 0);
}

/* Every ```toml block of the document is a configuration (or a piece of one) that works. */
static void test_the_document_s_examples_work(void **state)
{
    (void)state;
    char *text = read_document();
    unsigned examples = 0;
    setenv("PROMO_TOKEN", "x", 1);
    setenv("PROMO_PASSWORD", "x", 1);
    setenv("ADA_HASH", "x", 1);
    setenv("OTLP_TOKEN", "x", 1);
    for (char *at = text; (at = strstr(at, "```toml\n")) != NULL;) {
        at += strlen("```toml\n");
        char *end = strstr(at, "```");
        assert_non_null(end);
        struct diag *diag = diag_create();
        struct config *config =
            config_parse((struct str){at, (size_t)(end - at)}, "example", DIR, diag);
        if (diag_errors(diag) != 0) {
            diag_print(diag, stderr);
            fail_msg("%.*s", (int)(end - at), at);
        }
        diag_destroy(&diag);
        config_destroy(&config);
        examples++;
        at = end + 3;
    }
    free(text);
    assert_true(examples >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_printed_reads_back_the_same),
        cmocka_unit_test(test_every_value_is_printed_and_no_secret),
        cmocka_unit_test(test_a_header_from_a_file_is_printed_as_the_file),
        cmocka_unit_test(test_the_document_names_every_key),
        cmocka_unit_test(test_the_document_s_examples_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
