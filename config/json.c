/* A TOML value that becomes JSON, for data that stands in the configuration itself: tables, arrays
 * and scalars keep their order; dates and times become strings. ${NAME} is filled in inside
 * strings, as everywhere. */
#include "config/load_internal.h"

#include <math.h>

enum { MAX_JSON = 1 << 20 }; /* as the file itself */

struct writer {
    struct reader *r;
    const struct input *in;
    struct buf *to;
};

/* No text of the configuration has control characters. */
static void write_text(struct buf *to, struct str text)
{
    buf_append(to, "\"", 1);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"' || text.p[i] == '\\')
            buf_append(to, "\\", 1);
        buf_append(to, text.p + i, 1);
    }
    buf_append(to, "\"", 1);
}

static bool write_string(const struct writer *w, const struct toml_node *node)
{
    struct expansion x;
    if (!config_expand(w->r->pool, w->in->doc, node, w->in->instead, w->r->diag, &x))
        return false;
    write_text(w->to, x.text);
    return true;
}

/* As deep as TOML nests: toml_parse() bounds it. */
static bool write_value(const struct writer *w, const struct toml_node *node)
{
    bool sound = true;
    switch (node->type) {
    case TOML_STRING:
        return write_string(w, node);
    case TOML_BOOL:
        return buf_printf(w->to, "%s", node->boolean ? "true" : "false");
    case TOML_INTEGER:
        return buf_printf(w->to, "%" PRId64, node->integer);
    case TOML_FLOAT:
        if (isfinite(node->number))
            return buf_printf(w->to, "%.17g", node->number);
        diag_error(w->r->diag, node->at, "JSON has no number %.*s", (int)node->text.n,
                   node->text.p);
        return false;
    case TOML_TABLE:
    case TOML_ARRAY:
        buf_append(w->to, node->type == TOML_TABLE ? "{" : "[", 1);
        for (size_t i = 0; i < node->count; i++) {
            buf_append(w->to, ",", i != 0);
            if (node->type == TOML_TABLE) {
                write_text(w->to, node->items[i].key);
                buf_append(w->to, ":", 1);
            }
            sound &= write_value(w, &node->items[i]);
        }
        buf_append(w->to, node->type == TOML_TABLE ? "}" : "]", 1);
        return sound;
    default:
        write_text(w->to, node->text);
        return true;
    }
}

bool reader_json(struct reader *r, const struct input *in, struct str *to)
{
    struct buf text;
    buf_init(&text, MAX_JSON);
    bool sound = write_value(&(struct writer){r, in, &text}, in->node);
    if (sound) {
        *to = config_copy(r->pool, buf_str(&text));
        reader_record(r, (struct place){.field = to, .at = in->node->at});
    }
    buf_fini(&text);
    return sound;
}
