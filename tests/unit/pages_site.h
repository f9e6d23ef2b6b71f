/* A configuration from memory with everything that pages/ stands on, templates in a folder of the
 * test's own. For the tests of plans and of what a run becomes. */
#ifndef TESTS_PAGES_SITE_H
#define TESTS_PAGES_SITE_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "pages/pages_internal.h"

struct pages_site {
    char dir[64];
    struct diag *diag;
    struct config *config;
    struct offload *files;
    struct template_set *templates;
    struct upstreams *ups;
    struct http_server *server;
    struct pages *pages;
};

static const char site_head[] = "[server]\nlisten = [\"127.0.0.1:0\"]\n"
                                "[admin]\nlisten = \"\"\ncontrol = \"\"\n";

/* text: what follows [server] and [admin], from line 6 on. template_text: of index.html, NULL = no
 * such file. */
static inline void site_open(struct pages_site *site, const char *text, const char *template_text)
{
    char path[96], *whole;
    snprintf(site->dir, sizeof(site->dir), "/tmp/test_pages_XXXXXX");
    gw_assert(mkdtemp(site->dir) != NULL);
    if (template_text != NULL) {
        snprintf(path, sizeof(path), "%s/index.html", site->dir);
        FILE *file = fopen(path, "w");
        gw_assert(file != NULL && fputs(template_text, file) >= 0 && fclose(file) == 0);
    }
    gw_assert(asprintf(&whole, "%s%s", site_head, text) > 0);
    site->diag = diag_create();
    site->config = config_parse(str_from(whole), "gateway.toml", site->dir, site->diag);
    free(whole);
    site->files = offload_create("files", 1, 1);
    site->templates = template_set_create(site->dir);
    site->ups = upstreams_create(site->config, site->diag);
    site->server = http_server_create(site->config, NULL, site->files, NULL, NULL, site->diag);
    site->pages = pages_create(site->config, site->ups, site->templates, site->server, site->diag);
}

static inline void site_close(struct pages_site *site)
{
    char path[96];
    pages_destroy(&site->pages);
    http_server_destroy(&site->server);
    upstreams_destroy(&site->ups);
    template_set_destroy(&site->templates);
    offload_destroy(&site->files);
    config_destroy(&site->config);
    diag_destroy(&site->diag);
    snprintf(path, sizeof(path), "%s/index.html", site->dir);
    unlink(path);
    rmdir(site->dir);
}

/* A request for `target` as http/ would hand it over, without a connection. */
static inline struct page *site_request(struct pages_site *site, const char *target,
                                        h2o_mem_pool_t *pool, h2o_headers_t *headers,
                                        struct http_request *request_r)
{
    *request_r = (struct http_request){.pool = pool,
                                       .headers = headers,
                                       .method = STR("GET"),
                                       .scheme = STR("http"),
                                       .host = STR("shop.example"),
                                       .target = str_from(target),
                                       .id = STR("id-1"),
                                       .server = site->server};
    gw_assert(http_route_match(site->server, request_r) == 0);
    return pages_for_route(site->pages, request_r->route);
}

static inline struct str out_text(h2o_mem_pool_t *pool, struct out *out)
{
    h2o_iovec_t *vecs;
    size_t count = out_vecs(out, &vecs), n = 0;
    char *text = h2o_mem_alloc_pool(pool, out_size(out) + 1);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + n, vecs[i].base, vecs[i].len);
        n += vecs[i].len;
    }
    text[n] = '\0';
    return (struct str){text, n};
}

#endif
