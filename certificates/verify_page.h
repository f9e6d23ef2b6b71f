/* What the verify page says, as HTML (the built-in page or a template of the user's) and as JSON,
 * from one object: what a client may read, a template may show.
 *
 * The members of the JSON are documented in docs/certificates.md; a template has these besides:
 * headline, explanation, tone (with a flag for each: is.good, is.care, is.bad), rows (name, label,
 * value: the fields shown), issued_on, changed_on (dates as people write them), superseded_url,
 * canonical (URL of this page), verify_action (where the forms go), max_size, style; `asked` when
 * there is something to be told, else the page is the form alone; `is` also has a flag of the
 * status, and one of the file's state. */
#ifndef GW_CERTIFICATES_VERIFY_PAGE_H
#define GW_CERTIFICATES_VERIFY_PAGE_H

#include "base/diag.h"
#include "certificates/verdict.h"
#include "config/config.h"
#include "http/http.h"
#include "render/render.h"

struct verify_page; /* immutable: any thread */

/* url: of the verify pages, without a final '/'; path: its path. Both are borrowed. With errors in
 * diag, good for verify_page_destroy() only. */
struct verify_page *verify_page_create(const struct config *config, struct str url, struct str path,
                                       struct template_set *templates, struct diag *diag);
void verify_page_destroy(struct verify_page **page);

/* What there is to say. */
struct verify_answer {
    struct str serial;                       /* as asked for; "" = not one */
    const struct certificate_record *record; /* NULL = not in the register */
    enum file_state file;
    bool by_digest, by_signature; /* how a file was known */
};
/* The form alone. Loop's thread. */
void verify_page_form(struct http_request *request, const struct verify_page *page);
/* `answer` and what it points to stay until the response was sent. */
void verify_page_reply(struct http_request *request, const struct verify_page *page,
                       const struct verify_answer *answer);
#endif
