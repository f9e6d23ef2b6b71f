/* Downloads of uploaded files, as a client sees them: a server of one loop in a thread, records in
 * a real database, files in a real directory. */
#include "test_stores.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include "base/text.h"
#include "files/download.h"
#include "http/http_internal.h"
#include "http/signed_url.h"

static const char CONFIG[] = "[server]\n"
                             "listen = [\"127.0.0.1:0\"]\n"
                             "[admin]\n"
                             "listen = \"\"\n"
                             "control = \"\"\n"
                             "[uploads.main]\n"
                             "path = \"/upload\"\n"
                             "dir = \"up\"\n"
                             "[uploads.other]\n"
                             "path = \"/other\"\n"
                             "dir = \"up\"\n"
                             "[downloads.files]\n"
                             "path = \"/files\"\n"
                             "from = \"main\"\n"
                             "listing = true\n"
                             "page_size = 3\n"
                             "max_age = \"1h\"\n"
                             "[downloads.shown]\n"
                             "path = \"/shown/\"\n"
                             "from = \"main\"\n"
                             "disposition = \"inline\"\n"
                             "[tokens.ci]\n"
                             /* of "token" */
                             "digest = \"sha256:3c469e9d6c5875d37a43f353d4f88e61"
                             "fcf812c66eee3457465a40b0da4153e0\"\n"
                             "[downloads.guarded]\n"
                             "path = \"/guarded\"\n"
                             "from = \"main\"\n"
                             "auth = \"token\"\n"
                             "listing = true\n"
                             "[downloads.signed]\n"
                             "path = \"/signed\"\n"
                             "dir = \"www\"\n"
                             "auth = \"signed\"\n"
                             "listing = true\n"
                             "page_size = 2\n";

static struct {
    struct diag *diag;
    struct config *config;
    struct store *store;
    struct template_set *templates;
    struct offload *reads;
    struct http_server *server;
    struct download *downloads[4];
    struct secret secret;
    struct loop *loop;
    struct http_loop *http;
    pthread_t thread;
    in_port_t port;
    char root[64];
    sem_t busy, go_on;
} it;

/* -- the server ------------------------------------------------------------------------------- */

static void *run(void *arg)
{
    (void)arg;
    loop_run(it.loop);
    return NULL;
}

/* content NULL: a folder. */
static void put_site_file(const char *name, const char *content)
{
    char whole[128];
    snprintf(whole, sizeof(whole), "%s/%s", it.root, name);
    if (content == NULL) {
        assert_int_equal(mkdir(whole, 0755), 0);
        return;
    }
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static int start(void **state)
{
    const char *error = NULL;
    char up[96];
    signal(SIGPIPE, SIG_IGN); /* as gateway.c does */
    if (make_directory(state) != 0)
        return -1;
    strcpy(it.root, "/tmp/test_download.XXXXXX");
    assert_non_null(mkdtemp(it.root));
    snprintf(up, sizeof(up), "%s/up", it.root);
    assert_int_equal(mkdir(up, 0755), 0);
    put_site_file("www", NULL);
    put_site_file("www/a b.txt", "first");
    put_site_file("www/c%41.txt", "second");
    put_site_file("www/sub", NULL);
    put_site_file("www/sub/deep.txt", "deep");
    random_bytes(&it.secret, sizeof(it.secret));
    sem_init(&it.busy, 0, 0);
    sem_init(&it.go_on, 0, 0);
    it.store = open_store();
    it.diag = diag_create();
    it.config = config_parse(str_from(CONFIG), "gateway.toml", it.root, it.diag);
    it.templates = template_set_create(NULL);
    it.reads = offload_create("reads", 1, 1);
    it.server = http_server_create(it.config, &it.secret, it.reads, NULL, NULL, it.diag);
    for (size_t i = 0; i < COUNT(it.downloads); i++)
        it.downloads[i] = download_mount(it.server, it.config, &it.config->downloads[i], it.store,
                                         it.templates, it.reads, it.diag);
    diag_print(it.diag, stderr);
    assert_int_equal(diag_errors(it.diag), 0);
    it.loop = loop_create(0);
    if (!http_server_listen(it.server, 1, NULL, &error))
        fail_msg("%s", error);
    it.http = http_loop_create(it.server, it.loop);
    it.port = it.server->listeners[0]->address.sa.v4.sin_port;
    return pthread_create(&it.thread, NULL, run, NULL);
}

static int stop(void **state)
{
    char command[128];
    loop_stop(it.loop);
    pthread_join(it.thread, NULL);
    offload_stop(it.reads);
    loop_turn(it.loop, 0);
    http_loop_destroy(&it.http);
    loop_destroy(&it.loop);
    for (size_t i = 0; i < COUNT(it.downloads); i++)
        download_unmount(&it.downloads[i]);
    http_server_destroy(&it.server);
    offload_destroy(&it.reads);
    template_set_destroy(&it.templates);
    config_destroy(&it.config);
    diag_destroy(&it.diag);
    store_close(&it.store);
    snprintf(command, sizeof(command), "rm -r %s", it.root);
    return system(command) != 0 ? -1 : remove_directory(state);
}

/* -- a client --------------------------------------------------------------------------------- */

static int ask(const char *method, const char *target, const char *fields)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = it.port};
    char request[1024];
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    int n = snprintf(request, sizeof(request),
                     "%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n", method, target,
                     fields);
    assert_int_equal(write(fd, request, (size_t)n), n);
    return fd;
}

static char answer[1 << 20];
static size_t answer_n;

static void receive(int fd)
{
    ssize_t n;
    answer_n = 0;
    while ((n = read(fd, answer + answer_n, sizeof(answer) - 1 - answer_n)) > 0)
        answer_n += (size_t)n;
    answer[answer_n] = '\0';
    close(fd);
}

static void get(const char *target, const char *fields)
{
    receive(ask("GET", target, fields));
}

static void check_status(int status)
{
    if (atoi(answer + 9) != status)
        fail_msg("not %d: %s", status, answer);
}

static struct str body(void)
{
    const char *end = memmem(answer, answer_n, "\r\n\r\n", 4);
    assert_non_null(end);
    return (struct str){end + 4, answer_n - (size_t)(end + 4 - answer)};
}

static void check_body(const char *text)
{
    assert_str(body(), str_from(text));
}

static void check_has(const char *text)
{
    if (memmem(answer, answer_n, text, strlen(text)) == NULL)
        fail_msg("no %s in: %s", text, answer);
}

static void check_has_not(const char *text)
{
    if (memmem(answer, answer_n, text, strlen(text)) != NULL)
        fail_msg("%s in: %s", text, answer);
}

/* -- uploads ---------------------------------------------------------------------------------- */

/* Ids of the same first digits share a set of what a loop remembers. */
static struct id new_id(void)
{
    static unsigned next;
    struct id id;
    snprintf(id.text, sizeof(id.text), "ab%030x", ++next);
    return id;
}

static const char *path_of(const struct id *id)
{
    static char text[128];
    snprintf(text, sizeof(text), "%s/up/%s", it.root, id->text);
    return text;
}

static const char *target_of(const struct id *id)
{
    static char text[64];
    snprintf(text, sizeof(text), "/files/%.*s", STORE_ID, id->text);
    return text;
}

static void put_bytes(const struct id *id, const char *content)
{
    FILE *file = fopen(path_of(id), "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static void put_record(const struct id *id, const char *content, struct file_record record)
{
    record.id = id_str(id);
    record.size = strlen(content);
    sha256(content, strlen(content), record.sha256);
    assert_int_equal(
        write_and_wait(it.store, (struct store_write){.add_files = &record, .add_file_count = 1}),
        STORE_OK);
}

static struct id put_file(const char *content, struct file_record record)
{
    struct id id = new_id();
    put_bytes(&id, content);
    put_record(&id, content, record);
    return id;
}

static void remove_record(const struct id *id)
{
    assert_int_equal(write_and_wait(it.store, (struct store_write){.remove_file = id_str(id)}),
                     STORE_OK);
}

static const struct file_record text_file = {
    .route = {"main", 4},
    .name = {"n\xc3\xb6tes.html", 11},
    .type = {"text/html", 9},
    .created_ms = 784111777123,
};

/* -- tests ------------------------------------------------------------------------------------ */

static void test_an_uploaded_file_comes_back_with_all_that_is_known(void **state)
{
    (void)state;
    struct id id = put_file("hello", text_file);
    for (int again = 0; again < 2; again++) { /* from the database, from memory */
        get(target_of(&id), "");
        check_status(200);
        check_body("hello");
        check_has("\r\netag: \"sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e\"\r\n");
        check_has("\r\nrepr-digest: sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:\r\n");
        check_has("\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        check_has("\r\ncontent-disposition: attachment; filename=\"n_tes.html\"; "
                  "filename*=UTF-8''n%C3%B6tes.html\r\n");
        check_has("\r\ncontent-type: text/html\r\n");
        check_has("\r\nx-content-type-options: nosniff\r\n");
        check_has("\r\ncontent-security-policy: sandbox; default-src 'none'\r\n");
        check_has("\r\ncache-control: public, max-age=3600\r\n");
        check_has("\r\naccept-ranges: bytes\r\n");
        check_has("Content-Length: 5\r\n");
        receive(ask("HEAD", target_of(&id), ""));
        check_status(200);
        check_body("");
        check_has("Content-Length: 5\r\n");
    }
    char shown[64];
    snprintf(shown, sizeof(shown), "/shown/%s", id.text);
    get(shown, "");
    check_status(200);
    check_has("\r\ncontent-disposition: inline; filename=\"n_tes.html\"");
    check_has("\r\ncontent-security-policy: sandbox; default-src 'none'\r\n");
    check_has("\r\ncache-control: public, no-cache\r\n");
}

static void test_conditions_and_ranges_go_by_the_digest(void **state)
{
    (void)state;
    struct id id = put_file("hello", text_file);
    static const struct {
        const char *fields;
        int status;
        const char *body; /* NULL: an error page */
    } cases[] = {
        {"If-None-Match: \"sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e\"\r\n", 304, ""},
        {"If-None-Match: \"sha256-2cf24dba5fb0a30e26e83b2ac5b9e29f\"\r\n", 200, "hello"},
        {"If-Match: \"other\"\r\n", 412, NULL},
        {"Range: bytes=1-3\r\n", 206, "ell"},
        {"Range: bytes=-2\r\nIf-Range: \"sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e\"\r\n", 206, "lo"},
        {"Range: bytes=-2\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 206, "lo"},
        {"Range: bytes=-2\r\nIf-Range: \"other\"\r\n", 200, "hello"},
        {"Range: bytes=5-\r\n", 416, NULL},
        {"Range: bytes=0-1\r\nRange: bytes=3-4\r\n", 200, "hello"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        get(target_of(&id), cases[i].fields);
        check_status(cases[i].status);
        if (cases[i].body != NULL)
            check_body(cases[i].body);
    }
    get(target_of(&id), "Range: bytes=1-3\r\n");
    check_has("\r\ncontent-range: bytes 1-3/5\r\n");
    check_has("\r\nrepr-digest: sha-256=:"); /* of the whole, RFC 9530 section 3.1 */
}

static void test_what_is_not_there(void **state)
{
    (void)state;
    struct id there = put_file("x", text_file), unknown = new_id(), elsewhere, bare = new_id();
    struct file_record other = text_file;
    other.route = STR("other");
    elsewhere = put_file("secret", other);
    put_bytes(&bare, "no record");
    get(target_of(&unknown), "");
    check_status(404);
    get(target_of(&elsewhere), ""); /* another section's, though its bytes lie beside */
    check_status(404);
    get(target_of(&bare), "");
    check_status(404);
    char target[96];
    static const char *const forms[] = {"/files/%.31s",     "/files/%sa",  "/files/%s/",
                                        "/files/./%s",      "/files/a/%s", "/files/%.30sAB",
                                        "/files/%.30s%%2f", "/files"};
    for (size_t i = 0; i < COUNT(forms); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(target, sizeof(target), forms[i], there.text);
#pragma GCC diagnostic pop
        get(target, "");
        if (atoi(answer + 9) != 404 && atoi(answer + 9) != 400)
            fail_msg("%s: %s", target, answer);
    }
    get("/shown/", ""); /* no listing */
    check_status(404);
}

static void test_a_file_that_was_deleted_is_gone_though_it_is_remembered(void **state)
{
    (void)state;
    struct id id = put_file("bytes", text_file);
    get(target_of(&id), "");
    check_status(200);
    remove_record(&id); /* first the record, then the bytes */
    assert_int_equal(unlink(path_of(&id)), 0);
    get(target_of(&id), "");
    check_status(404);
}

static void test_records_are_remembered_and_forgotten(void **state)
{
    (void)state;
    struct id ids[6];
    for (size_t i = 0; i < COUNT(ids); i++) {
        ids[i] = put_file("bytes", text_file);
        get(target_of(&ids[i]), "");
        check_status(200);
        remove_record(&ids[i]);
    }
    /* The last four of those that share a place are still known without the database. */
    for (size_t i = 0; i < COUNT(ids); i++) {
        get(target_of(&ids[i]), "");
        check_status(i < 2 ? 404 : 200);
    }
}

static void test_a_damaged_file_is_not_passed_off_as_whole(void **state)
{
    (void)state;
    struct id id = put_file("bytes", text_file);
    put_bytes(&id, "bytes and more");
    get(target_of(&id), "");
    check_status(500);
}

static void block(struct offload_job *job)
{
    (void)job;
    sem_post(&it.busy);
    while (sem_wait(&it.go_on) != 0)
        ;
}

static void say_done(struct offload_job *job)
{
    (void)job;
    sem_post(&it.busy);
}

/* Nothing waits for the disk any more: there is room in the queue, which holds one. */
static void settle(void)
{
    static struct offload_job job = {.work = say_done};
    while (!offload_submit(it.reads, &job))
        sched_yield();
    while (sem_wait(&it.busy) != 0)
        ;
}

/* A request whose client has left may reach the loop, and the queue, late. */
static void get_when_free(const char *target)
{
    for (int i = 0; i < 500; i++) {
        get(target, "");
        if (atoi(answer + 9) != 503)
            return;
        usleep(10 * 1000);
    }
}

static void test_a_full_queue_refuses_at_once(void **state)
{
    (void)state;
    static struct offload_job jobs[2] = {{.work = block}, {.work = block}};
    struct id known = put_file("bytes", text_file), unknown = put_file("bytes", text_file);
    get(target_of(&known), "");
    check_status(200);
    assert_true(offload_submit(it.reads, &jobs[0]));
    while (sem_wait(&it.busy) != 0)
        ;
    assert_true(offload_submit(it.reads, &jobs[1]));
    get(target_of(&unknown), "");
    check_status(503);
    check_has("\r\nretry-after: 1\r\n");
    get("/files/", "");
    check_status(503);
    get(target_of(&known), ""); /* the kernel has it in memory, nearly surely */
    assert_true(atoi(answer + 9) == 200 || atoi(answer + 9) == 503);
    sem_post(&it.go_on);
    sem_post(&it.go_on);
    while (sem_wait(&it.busy) != 0)
        ;
    get("/files/", "Accept: application/json\r\n");
    check_status(200);
}

static void test_who_leaves_while_the_disk_is_asked(void **state)
{
    (void)state;
    static struct offload_job job = {.work = block};
    struct id id = put_file("bytes", text_file);
    assert_true(offload_submit(it.reads, &job));
    while (sem_wait(&it.busy) != 0)
        ;
    close(ask("GET", target_of(&id), ""));
    get("/none", ""); /* by now the loop has seen both */
    sem_post(&it.go_on);
    settle();
    get_when_free(target_of(&id));
    check_status(200);
    settle();
    assert_true(offload_submit(it.reads, &job));
    while (sem_wait(&it.busy) != 0)
        ;
    close(ask("GET", "/files/", ""));
    get("/none", "");
    sem_post(&it.go_on);
    settle();
    get_when_free("/files/");
    check_status(200);
}

/* The value of "next" in the last answer; "" = null. */
static const char *next_page(void)
{
    static char url[256];
    url[0] = '\0';
    sscanf(answer + (strstr(answer, "\"next\":") - answer), "\"next\":\"%255[^\"]", url);
    return url;
}

static void test_a_listing_is_paged_from_the_newest(void **state)
{
    (void)state;
    struct id ids[7];
    run_sql(path, "DELETE FROM files");
    for (unsigned i = 0; i < COUNT(ids); i++) {
        struct file_record record = text_file;
        record.created_ms += i / 2; /* two each of the same millisecond */
        if (i % 2 != 0)
            record.fields = STR("{\"note\":\"\\\"hi\\\"\"}");
        ids[i] = put_file("hello", record);
    }
    static const unsigned pages[][3] = {{6, 5, 4}, {3, 2, 1}, {0, 9, 9}};
    get("/files/", "Accept: application/json\r\n");
    for (size_t p = 0; p < COUNT(pages); p++) {
        check_status(200);
        check_has("\r\ncontent-type: application/json\r\n");
        const char *from = body().p;
        for (size_t i = 0; i < 3 && pages[p][i] != 9; i++) {
            char entry[256];
            snprintf(entry, sizeof(entry),
                     "{\"name\":\"n\xc3\xb6tes.html\",\"size\":5,\"type\":\"text/html\","
                     "\"modified\":\"1994-11-06T08:49:37Z\",\"url\":\"/files/%s\"%s}",
                     ids[pages[p][i]].text,
                     pages[p][i] % 2 != 0 ? ",\"fields\":{\"note\":\"\\\"hi\\\"\"}" : "");
            const char *at = strstr(from, entry);
            if (at == NULL)
                fail_msg("page %zu: no %s in %s", p, entry, from);
            from = at + 1;
        }
        assert_null(strstr(from, "{\"name\""));
        if (p + 1 == COUNT(pages))
            assert_string_equal(next_page(), "");
        else
            get(next_page(), "Accept: application/json\r\n");
    }
}

static void test_a_listing_shows_names_as_text(void **state)
{
    (void)state;
    run_sql(path, "DELETE FROM files");
    struct file_record record = text_file;
    record.name = STR("<script>\"&'\xff\n");
    put_file("hello", record);
    record.name = STR("");
    struct id nameless = put_file("hello", record);
    get("/files/", "");
    check_status(200);
    check_has("\r\ncontent-type: text/html; charset=utf-8\r\n");
    check_has("\r\ncontent-security-policy: default-src 'none'; style-src 'unsafe-inline'");
    check_has("&lt;script&gt;&quot;&amp;&#39;\xef\xbf\xbd\n</a>");
    check_has_not("<script");
    check_has("<td class=\"size\">5 B</td>");
    char name[64];
    snprintf(name, sizeof(name), ">%s</a>", nameless.text);
    check_has(name);
    get("/files/", "Accept: application/json\r\n");
    check_has("\"name\":\"<script>\\\"&'\xef\xbf\xbd\\u000a\"");
}

static void test_a_cursor_that_is_none_of_ours(void **state)
{
    (void)state;
    static const char *const cursors[] = {"x",
                                          ".",
                                          "1.",
                                          "1.abc",
                                          ".00000000000000000000000000000000",
                                          "9999999999999999999.00000000000000000000000000000000",
                                          "-1.00000000000000000000000000000000",
                                          "1x.00000000000000000000000000000000"};
    for (size_t i = 0; i < COUNT(cursors); i++) {
        char target[128];
        snprintf(target, sizeof(target), "/files/?after=%s", cursors[i]);
        get(target, "");
        check_status(400);
    }
}

static void test_a_token_opens_files_and_listings(void **state)
{
    (void)state;
    struct id id = put_file("bytes", text_file);
    char target[64];
    snprintf(target, sizeof(target), "/guarded/%s", id.text);
    static const struct {
        const char *fields;
        int status;
    } cases[] = {{"", 401},
                 {"Authorization: Bearer guess\r\n", 401},
                 {"Authorization: Bearer token\r\n", 200}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        get(target, cases[i].fields);
        check_status(cases[i].status);
        if (cases[i].status == 200)
            check_has("\r\ncache-control: private, no-cache\r\n");
        get("/guarded/", cases[i].fields);
        check_status(cases[i].status);
        get("/guarded/none", cases[i].fields); /* who may not learns nothing */
        check_status(cases[i].status == 200 ? 404 : 401);
    }
}

static const char *sign(const char *path_signed, uint64_t expires_s)
{
    static char url[256];
    struct key key = secret_key(&it.secret, SIGNED_URL_PURPOSE);
    int at = snprintf(url, sizeof(url), "%s?", path_signed);
    size_t n =
        signed_url_write(&key, HTTP_MAY_READ, str_from(path_signed), STR(""), expires_s, url + at);
    url[(size_t)at + n] = '\0';
    return url;
}

/* The nth "url" of the last answer. */
static const char *listed_url(unsigned nth)
{
    static char url[256];
    const char *at = answer;
    do
        at = strstr(at, "\"url\":\"") + 7;
    while (nth-- != 0);
    assert_int_equal(sscanf(at, "%255[^\"]", url), 1);
    return url;
}

static void test_a_signed_link_opens_what_it_names(void **state)
{
    (void)state;
    uint64_t soon = (uint64_t)time(NULL) + 100;
    get("/signed/a%20b.txt", "");
    check_status(403);
    get(sign("/signed/a%20b.txt", soon), "");
    check_status(200);
    check_body("first");
    check_has("\r\ncache-control: private, no-cache\r\n");
    get(sign("/signed/a%20b.txt", 1000), "");
    check_status(403);
    get("/signed/", "");
    check_status(403);
}

/* A listing that a link opened leads on, as long as that link does. */
static void test_the_links_of_a_signed_listing_are_signed(void **state)
{
    (void)state;
    char expires[64], page[256];
    uint64_t soon = (uint64_t)time(NULL) + 100;
    snprintf(expires, sizeof(expires), "expires=%llu", (unsigned long long)soon);
    snprintf(page, sizeof(page), "%s", sign("/signed/", soon));
    static const char *const bodies[] = {"first", "second"};
    for (unsigned i = 0; i < COUNT(bodies); i++) {
        get(page, "Accept: application/json\r\n");
        check_status(200);
        assert_non_null(strstr(listed_url(i), expires));
        get(listed_url(i), "");
        check_status(200);
        check_body(bodies[i]);
    }
    get(page, "Accept: application/json\r\n");
    get(next_page(), "Accept: application/json\r\n");
    check_status(200);
    check_has("\"name\":\"sub/\"");
    get(listed_url(0), "Accept: application/json\r\n");
    check_status(200);
    get(listed_url(0), "");
    check_body("deep");
    /* Who comes with a token keeps coming with it: links without an end are not made. */
    get("/signed/", "Accept: application/json\r\nAuthorization: Bearer token\r\n");
    check_status(200);
    check_has("\"url\":\"/signed/a%20b.txt\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_uploaded_file_comes_back_with_all_that_is_known),
        cmocka_unit_test(test_conditions_and_ranges_go_by_the_digest),
        cmocka_unit_test(test_what_is_not_there),
        cmocka_unit_test(test_a_file_that_was_deleted_is_gone_though_it_is_remembered),
        cmocka_unit_test(test_records_are_remembered_and_forgotten),
        cmocka_unit_test(test_a_damaged_file_is_not_passed_off_as_whole),
        cmocka_unit_test(test_a_full_queue_refuses_at_once),
        cmocka_unit_test(test_who_leaves_while_the_disk_is_asked),
        cmocka_unit_test(test_a_listing_is_paged_from_the_newest),
        cmocka_unit_test(test_a_listing_shows_names_as_text),
        cmocka_unit_test(test_a_cursor_that_is_none_of_ours),
        cmocka_unit_test(test_a_token_opens_files_and_listings),
        cmocka_unit_test(test_a_signed_link_opens_what_it_names),
        cmocka_unit_test(test_the_links_of_a_signed_listing_are_signed),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
