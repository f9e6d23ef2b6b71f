/* The page that a browser gets when fields are missing or can't be used: what is wrong with which,
 * and the form to fill in again. One constant page without scripts; nothing is fetched. */
#ifndef GW_CERTIFICATES_FORM_PAGE_H
#define GW_CERTIFICATES_FORM_PAGE_H

#include "certificates/fields.h"

struct form_page; /* immutable: any thread */

/* fields: the section's, as long-lived as the page. */
struct form_page *form_page_create(const struct fields *fields, struct diag *diag);
void form_page_destroy(struct form_page **page);
/* 400. What was sent stands in the form again, escaped. */
void form_page_reply(const struct form_page *page, struct http_request *request,
                     const struct input *input, const struct field_faults *faults);

#endif
