/* A list, which is walked once for each known name: both are short. */
#include "files/form_fields.h"

#include "base/text.h"
#include "files/upload_internal.h"

struct form_field {
    struct form_field *next;
    size_t which; /* of known */
    struct str value;
};

void form_fields_init(struct form_fields *fields, const struct config_strings *known,
                      h2o_mem_pool_t *pool)
{
    *fields = (struct form_fields){.known = known, .pool = pool, .end = &fields->first};
}

size_t form_fields_find(const struct form_fields *fields, struct str name)
{
    size_t which = 0;
    while (which < fields->known->count && !str_eq(fields->known->items[which], name))
        which++;
    return which;
}

void form_fields_add(struct form_fields *fields, size_t which, struct str value)
{
    struct form_field *field = h2o_mem_alloc_pool(fields->pool, sizeof(*field));
    *field =
        (struct form_field){.which = which, .value = upload_text(fields->pool, value, SIZE_MAX)};
    *fields->end = field;
    fields->end = &field->next;
}

/* One value is a string, several are an array of them. */
static void print_values(struct out *out, const struct form_fields *fields, size_t which,
                         size_t count)
{
    size_t at = 0;
    if (count > 1)
        out_str(out, STR("["));
    for (const struct form_field *field = fields->first; field != NULL; field = field->next) {
        if (field->which != which)
            continue;
        out_str(out, at++ == 0 ? STR("\"") : STR(",\""));
        out_json_escaped(out, field->value);
        out_str(out, STR("\""));
    }
    if (count > 1)
        out_str(out, STR("]"));
}

static size_t count_values(const struct form_fields *fields, size_t which)
{
    size_t count = 0;
    for (const struct form_field *field = fields->first; field != NULL; field = field->next)
        count += field->which == which;
    return count;
}

struct str form_fields_print(const struct form_fields *fields)
{
    struct out out;
    if (fields->first == NULL)
        return (struct str){NULL, 0};
    out_init(&out, fields->pool, 0);
    for (size_t i = 0; i < fields->known->count; i++) {
        size_t values = count_values(fields, i);
        if (values == 0)
            continue;
        out_str(&out, out_size(&out) == 0 ? STR("{\"") : STR(",\""));
        out_json_escaped(&out, fields->known->items[i]);
        out_str(&out, STR("\":"));
        print_values(&out, fields, i, values);
    }
    out_str(&out, STR("}"));

    h2o_iovec_t *vecs;
    size_t count = out_vecs(&out, &vecs), n = 0;
    char *text = h2o_mem_alloc_pool(fields->pool, out_size(&out));
    for (size_t i = 0; i < count; i++) {
        memcpy(text + n, vecs[i].base, vecs[i].len);
        n += vecs[i].len;
    }
    return (struct str){text, n};
}
