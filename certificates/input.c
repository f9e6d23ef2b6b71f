/* Queries, forms (application/x-www-form-urlencoded, multipart/form-data) and JSON bodies. */
#include "certificates/input.h"

#include <stdio.h>
#include <h2o/string_.h>
#include "base/text.h"
#include "http/multipart.h"

void input_init(struct input *input)
{
    *input = (struct input){.body = INPUT_NO_BODY};
    json_doc_init(&input->json);
}

void input_fini(struct input *input)
{
    json_doc_fini(&input->json);
}

/* -- forms ------------------------------------------------------------------------------------- */

/* '+' is a blank. False: a % that begins no escape. */
static bool decode(struct str text, h2o_mem_pool_t *pool, struct str *decoded_r)
{
    size_t plain = 0;
    while (plain < text.n && text.p[plain] != '%' && text.p[plain] != '+')
        plain++;
    *decoded_r = text;
    if (plain == text.n)
        return true;
    char *start = h2o_mem_alloc_pool(pool, text.n), *to = mempcpy(start, text.p, plain);
    const char *end = text.p + text.n;
    for (const char *p = text.p + plain; p != end;) {
        int byte = *p == '+' ? ' ' : *p == '%' ? percent_byte(p, end) : (unsigned char)*p;
        if (byte < 0)
            return false;
        p += *p == '%' ? 3 : 1;
        *to++ = (char)byte;
    }
    *decoded_r = (struct str){start, (size_t)(to - start)};
    return true;
}

static const char *read_pairs(struct input_pairs *pairs, struct str text, h2o_mem_pool_t *pool,
                              const char *what)
{
    size_t most = 1;
    for (size_t i = 0; i < text.n; i++)
        most += text.p[i] == '&';
    if (most > INPUT_PAIRS_MAX)
        return "there are more than 1000 parameters";
    pairs->items = h2o_mem_alloc_pool(pool, most * sizeof(*pairs->items));
    for (struct str rest = text; rest.n != 0;) {
        const char *amp = memchr(rest.p, '&', rest.n);
        struct str pair = {rest.p, amp != NULL ? (size_t)(amp - rest.p) : rest.n};
        rest.p += pair.n + (amp != NULL), rest.n -= pair.n + (amp != NULL);
        const char *equals = pair.n != 0 ? memchr(pair.p, '=', pair.n) : NULL;
        struct str name = {pair.p, equals != NULL ? (size_t)(equals - pair.p) : pair.n};
        struct str value = equals != NULL ? (struct str){equals + 1, pair.n - name.n - 1} : STR("");
        struct input_pair *item = &pairs->items[pairs->count];
        if (name.n == 0)
            continue;
        if (!decode(name, pool, &item->name) || !decode(value, pool, &item->value))
            return what;
        pairs->count++;
    }
    return NULL;
}

const char *input_read_query(struct input *input, struct str query, h2o_mem_pool_t *pool)
{
    if (query.n == 0)
        return NULL;
    return read_pairs(&input->query, query, pool,
                      "the query has a % that begins no escape like %20");
}

enum input_found input_pair(const struct input_pairs *pairs, struct str name, struct str *text_r)
{
    enum input_found found = INPUT_ABSENT;
    for (size_t i = 0; i < pairs->count; i++) {
        if (!str_eq(pairs->items[i].name, name))
            continue;
        if (found != INPUT_ABSENT)
            return INPUT_TWICE;
        found = INPUT_TEXT;
        *text_r = pairs->items[i].value;
    }
    return found;
}

/* -- JSON -------------------------------------------------------------------------------------- */

static enum input_found member(struct json_value object, struct str name, h2o_mem_pool_t *pool,
                               struct json_value *value_r)
{
    enum input_found found = INPUT_ABSENT;
    for (struct json_iter it = json_iter(object); json_next(&it);) {
        if (json_type(it.key) != JSON_STRING || !str_eq(json_string(it.key, pool), name))
            continue;
        if (found != INPUT_ABSENT)
            return INPUT_TWICE;
        found = INPUT_TEXT;
        *value_r = it.value;
    }
    return found;
}

enum input_found input_json(struct json_value root, const struct str *path, size_t count,
                            h2o_mem_pool_t *pool, struct str *text_r)
{
    for (size_t i = 0; i < count; i++) {
        enum input_found found = member(root, path[i], pool, &root);
        if (found != INPUT_TEXT)
            return found;
    }
    switch (json_type(root)) {
    case JSON_MISSING:
    case JSON_NULL:
        return INPUT_ABSENT;
    case JSON_ARRAY:
    case JSON_OBJECT:
        return INPUT_NOT_TEXT;
    default:
        *text_r = json_string(root, pool);
        return INPUT_TEXT;
    }
}

static const char *read_json(struct input *input, struct str body, h2o_mem_pool_t *pool)
{
    enum { SAYS_MAX = 120 };
    size_t at = 0;
    enum json_error error = json_parse(&input->json, body.p, body.n, INPUT_JSON_DEPTH, &at);
    if (error != JSON_OK) {
        char *says = h2o_mem_alloc_pool(pool, SAYS_MAX);
        snprintf(says, SAYS_MAX, "the body is not JSON: %s at byte %zu", json_error_text(error),
                 at);
        return says;
    }
    return json_type(json_root(&input->json)) == JSON_OBJECT ? NULL
                                                             : "the body is not a JSON object";
}

/* -- forms in parts ---------------------------------------------------------------------------- */

/* The parts' data comes in pieces, which lie side by side in `values`, as large as the body. */
static const char *read_parts(struct input_pairs *pairs, struct multipart *form, struct str body,
                              h2o_mem_pool_t *pool)
{
    char *values = h2o_mem_alloc_pool(pool, body.n);
    struct input_pair *pair = NULL;
    pairs->items = h2o_mem_alloc_pool(pool, INPUT_PAIRS_MAX * sizeof(*pairs->items));
    for (;;) {
        switch (multipart_next(form, &body)) {
        case MULTIPART_PART:
            if (form->part.is_file)
                return "the form has a file, and no file is taken here";
            if (pairs->count == INPUT_PAIRS_MAX)
                return "there are more than 1000 parameters";
            h2o_iovec_t name = h2o_strdup(pool, form->part.name.p, form->part.name.n);
            pair = &pairs->items[pairs->count++];
            *pair = (struct input_pair){{name.base, name.len}, {values, 0}};
            break;
        case MULTIPART_DATA:
            values = mempcpy(values, form->data.p, form->data.n);
            pair->value.n += form->data.n;
            break;
        case MULTIPART_ERROR:
            return form->error;
        case MULTIPART_MORE:
            return multipart_finished(form) ? NULL : "the form ends before its last boundary";
        case MULTIPART_END:
        case MULTIPART_DONE:
            break;
        }
    }
}

/* -- bodies ------------------------------------------------------------------------------------ */

static bool is_multipart(struct str content_type)
{
    return str_caseeq(next_item(&content_type, ';'), STR("multipart/form-data"));
}

enum input_body input_body_of(struct str content_type)
{
    struct str type = next_item(&content_type, ';');
    while (content_type.n != 0) {
        struct str parameter = next_item(&content_type, ';');
        struct str name = next_item(&parameter, '=');
        if (parameter.n >= 2 && parameter.p[0] == '"' && parameter.p[parameter.n - 1] == '"')
            parameter = (struct str){parameter.p + 1, parameter.n - 2};
        if (str_caseeq(name, STR("charset")) && !str_caseeq(parameter, STR("utf-8")) &&
            !str_caseeq(parameter, STR("us-ascii")))
            return INPUT_NO_BODY;
    }
    return str_caseeq(type, STR("application/x-www-form-urlencoded")) || is_multipart(type)
               ? INPUT_FORM
           : str_caseeq(type, STR("application/json")) ? INPUT_JSON
                                                       : INPUT_NO_BODY;
}

const char *input_read_body(struct input *input, struct str content_type, struct str body,
                            h2o_mem_pool_t *pool)
{
    input->body = input_body_of(content_type);
    gw_assert(input->body != INPUT_NO_BODY);
    if (input->body == INPUT_JSON)
        return read_json(input, body, pool);
    if (!is_multipart(content_type))
        return read_pairs(&input->form, body, pool,
                          "the form has a % that begins no escape like %20");
    struct multipart *form = h2o_mem_alloc_pool(pool, sizeof(*form));
    memset(form, 0, sizeof(*form));
    if (!multipart_init(form, content_type))
        return "the form's Content-Type has no boundary";
    return read_parts(&input->form, form, body, pool);
}
