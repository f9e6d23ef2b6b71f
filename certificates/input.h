/* What a request sends: its query and its body (a form or a JSON object), as values by name.
 *
 * Read strictly, for what stands on a certificate must be what was sent: an escape that isn't one,
 * or text that isn't JSON, refuses the request; a name that is there twice is found twice. Whether
 * a value is fit for a certificate is decided in fields.c. */
#ifndef GW_CERTIFICATES_INPUT_H
#define GW_CERTIFICATES_INPUT_H

#include "base/json.h"

enum {
    INPUT_BODY_MAX = 64 * 1024, /* bytes of a body that is taken */
    INPUT_PAIRS_MAX = 1000,     /* of a query or a form */
    INPUT_JSON_DEPTH = 16
};

struct input_pair {
    struct str name, value; /* decoded; any bytes */
};
struct input_pairs {
    struct input_pair *items;
    size_t count;
};
enum input_body { INPUT_NO_BODY, INPUT_FORM, INPUT_JSON };

/* Lives as long as the pool that it was read into; input_fini() gives the JSON's tape back. */
struct input {
    struct input_pairs query, form;
    enum input_body body;
    struct json_doc json;
};

void input_init(struct input *input);
void input_fini(struct input *input);

/* Which body a Content-Type announces: a form (of either encoding) or JSON, in UTF-8.
 * INPUT_NO_BODY: none that is taken (answer 415). */
enum input_body input_body_of(struct str content_type);
/* Both return NULL, or what is wrong (answer 400), in the pool or constant. Texts are borrowed. */
const char *input_read_query(struct input *input, struct str query, h2o_mem_pool_t *pool);
/* Of a Content-Type that is taken. */
const char *input_read_body(struct input *input, struct str content_type, struct str body,
                            h2o_mem_pool_t *pool);

enum input_found {
    INPUT_ABSENT,  /* or JSON's null */
    INPUT_TEXT,    /* a string, or a number, true, false as they are written */
    INPUT_TWICE,   /* more than one of that name */
    INPUT_NOT_TEXT /* a JSON object or array */
};
enum input_found input_pair(const struct input_pairs *pairs, struct str name, struct str *text_r);
/* What stands at path[0].path[1]… below `root`; strings are decoded into the pool. */
enum input_found input_json(struct json_value root, const struct str *path, size_t count,
                            h2o_mem_pool_t *pool, struct str *text_r);

#endif
