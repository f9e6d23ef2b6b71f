/* The fields of a certificate: where each value comes from, and what it may be.
 *
 * Compiled once from [certificates.NAME.fields], immutable after. A value is UTF-8 without blanks
 * at its ends, of at most max_length characters, matching the pattern; it has no control characters
 * and none that turn the direction of the text around them: what is on the paper reads as what was
 * checked. All that is wrong with a request is told at once. */
#ifndef GW_CERTIFICATES_FIELDS_H
#define GW_CERTIFICATES_FIELDS_H

#include "base/diag.h"
#include "certificates/input.h"
#include "certificates/template.h"
#include "config/config.h"
#include "http/http.h"

enum field_from {
    FIELD_OWN_NAME, /* in the body, the query, the path */
    FIELD_QUERY,
    FIELD_PATH,
    FIELD_FORM,
    FIELD_JSON,
    FIELD_PART,
    FIELD_CONSTANT
};

struct field {
    const struct config_field *config;
    enum field_from from;
    const struct str *path; /* the name, or a.b.c; of a part: where its data is, then the rest */
    size_t path_count;
    int param;               /* index of the path's parameter, -1 = none */
    struct pattern *pattern; /* owned, NULL = any */
};
struct fields {
    struct field *items;
    size_t count;
    bool from_parts; /* of at least one */
    h2o_mem_pool_t pool;
};

/* route: the section's, NULL = has no parameters. Errors: unknown sources, bad patterns, reserved
 * names. Never NULL. */
struct fields *fields_create(const struct config *config,
                             const struct config_certificate *certificate,
                             const struct http_route *route, struct diag *diag);
void fields_destroy(struct fields **fields);

/* What is wrong, a line a field; capacity: one for each field. */
struct field_fault {
    struct str field, detail;
};
struct field_faults {
    struct field_fault *items;
    size_t count;
};
void field_fault_add(struct field_faults *faults, struct str field, struct str detail);

struct field_request {
    const struct input *input;
    const struct str *params; /* of the path, decoded */
    bool signed_link; /* what the link says goes before the body: its sender can't change it */
    h2o_mem_pool_t *pool;
};
/* values_r: fields->count of them. Those that come from parts get {NULL, 0}, all others their text,
 * "" when an optional one isn't there. */
void fields_from_request(const struct fields *fields, const struct field_request *request,
                         struct field_value *values_r, struct field_faults *faults);
/* Fills in what is left. data: as page_gather() gives it. Each fault names the part's path. */
void fields_from_parts(const struct fields *fields, struct json_value data, h2o_mem_pool_t *pool,
                       struct field_value *values, struct field_faults *faults);

#endif
