/* The upload page: what GET of an upload route's path shows. Made once when the configuration is
 * read; rendering adds the visitor's token.
 *
 * What a template of the user's own is given (docs/configuration.md): title, action, redirect,
 * csrf_token (first in the form, as a hidden field of that name), fields (name, label), max_size
 * (bytes, text), max_files, multiple, accept (of the file field), types (in words), needs_token,
 * and style and script of the built-in page, to be put unescaped between <style> and </style>,
 * <script> and </script>: no other inline ones are allowed to run. */
#ifndef GW_FILES_PAGE_H
#define GW_FILES_PAGE_H

#include "config/config.h"
#include "http/http.h"
#include "render/render.h"

struct upload_page;

/* templates: where [uploads.NAME] template is found, as long-lived as the page. With errors in
 * diag, good for upload_page_destroy() only. */
struct upload_page *upload_page_create(const struct config *config,
                                       const struct config_upload *upload,
                                       struct template_set *templates, struct diag *diag);
void upload_page_destroy(struct upload_page **page);
/* Answers a GET or HEAD. Loop's thread. */
void upload_page_reply(struct http_request *request, const struct upload_page *page);

/* The page and its policy by themselves: for upload_page_reply() and tests. action: where the form
 * goes. All of it is pointed at by `out` until it was sent. False: a cap of template_render(). */
bool upload_page_render(const struct upload_page *page, struct str action, struct str csrf_token,
                        h2o_mem_pool_t *pool, struct out *out);
struct str upload_page_policy(const struct upload_page *page);

#endif
