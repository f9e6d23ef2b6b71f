/* Tables whose keys are the user's, [upstreams.NAME.set_headers] and its like, and where secrets
 * may come from. Which headers may be sent at all is for others to say.
 *
 * A header that by custom holds a secret must take it from the environment or from a file, so that
 * the configuration can be shown, committed and printed. */
#include "config/load_internal.h"

#include <errno.h>

enum { MAX_VALUE = 8 << 10 };

/* Names whose values are secrets by custom. */
static bool is_secret(struct str name)
{
    static const char *const whole[] = {"Authorization", "Proxy-Authorization", "Cookie",
                                        "X-Api-Key"};
    static const char *const endings[] = {"-token", "-key", "-secret"};
    for (size_t i = 0; i < COUNT(whole); i++)
        if (str_caseeq(name, str_from(whole[i])))
            return true;
    for (size_t i = 0; i < COUNT(endings); i++) {
        struct str ending = str_from(endings[i]);
        if (name.n > ending.n &&
            str_caseeq((struct str){name.p + name.n - ending.n, ending.n}, ending))
            return true;
    }
    return false;
}

bool reader_line_of_file(struct reader *r, const struct toml_node *node, struct str *to)
{
    const struct toml_node *file = toml_get(node, STR("file"));
    struct expansion x;
    struct buf text;
    bool sound = false;

    if (file == NULL || node->count != 1 || file->type != TOML_STRING) {
        diag_error(r->diag, node->at, "%s: expected a string or { file = \"path\" }", node->key.p);
        return false;
    }
    if (!config_expand(r->pool, r->doc, file, NULL, r->diag, &x))
        return false;
    x.text = config_join(r->pool, r->config->dir, x.text);
    buf_init(&text, MAX_VALUE + 1);
    if (!config_read_file(x.text.p, &text)) {
        diag_error(r->diag, file->at, "%s: %s cannot be read: %s", node->key.p, x.text.p,
                   strerror(errno));
        goto out;
    }
    if (text.n > MAX_VALUE) {
        diag_error(r->diag, file->at, "%s: %s is larger than 8 KiB", node->key.p, x.text.p);
        goto out;
    }
    while (text.n != 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
        text.n--;
    sound = text.n != 0;
    for (size_t i = 0; i < text.n; i++)
        sound &= (unsigned char)text.p[i] >= ' ' && text.p[i] != 0x7f;
    if (!sound) {
        diag_error(r->diag, file->at, "%s: %s must hold one line of text", node->key.p, x.text.p);
        goto out;
    }
    *to = config_copy(r->pool, buf_str(&text));
    struct place place = {.field = to, .at = node->at, .source = x.text, .is_file = true};
    reader_note_source(r, &place, file, x.referenced);
    reader_record(r, place);
out:
    buf_fini(&text);
    return sound;
}

static bool read_pair(struct reader *r, const struct schema_section *section,
                      const struct toml_node *node, struct str *to)
{
    struct expansion x;
    if (node->type == TOML_TABLE)
        return reader_line_of_file(r, node, to);
    if (node->type != TOML_STRING) {
        diag_error(r->diag, node->at, "%s: expected a string or { file = \"path\" }", node->key.p);
        return false;
    }
    if (!config_expand(r->pool, r->doc, node, NULL, r->diag, &x))
        return false;
    bool varies = section->expanded && memchr(x.text.p, '{', x.text.n) != NULL;
    bool secret =
        section->pairs == PAIRS_SECRETS ||
        (section->pairs == PAIRS_HEADERS && is_secret(node->key) && node->text.n != 0 && !varies);
    if (secret && (!x.referenced || x.literal_default)) {
        diag_error(r->diag, node->at,
                   "%s: a secret may not stand in the file; write \"${NAME}\" for it and set NAME "
                   "in the environment, or put it in a file: { file = \"path\" }",
                   node->key.p);
        return false;
    }
    if (x.text.n > MAX_VALUE) {
        diag_error(r->diag, node->at, "%s: longer than 8 KiB", node->key.p);
        return false;
    }
    *to = x.text;
    struct place place = {.field = to, .at = node->at};
    reader_note_source(r, &place, node, x.referenced);
    reader_record(r, place);
    return true;
}

void reader_pairs(struct reader *r, const struct schema_section *section,
                  const struct toml_node *table, struct config_pairs *to)
{
    *to = (struct config_pairs){0};
    if (table == NULL || table->count == 0)
        return;
    to->items = h2o_mem_alloc_pool(r->pool, table->count * sizeof(*to->items));
    for (size_t i = 0; i < table->count; i++) {
        const struct toml_node *node = &table->items[i];
        struct config_pair *pair = &to->items[to->count];
        size_t places = r->config->private->place_count;
        bool sound = true;
        for (size_t k = 0; k < i; k++) {
            if (section->pairs != PAIRS_HEADERS || !str_caseeq(table->items[k].key, node->key))
                continue;
            diag_error(r->diag, node->key_at, "%s stands here twice: headers' names know no case",
                       node->key.p);
            sound = false;
        }
        sound &= read_pair(r, section, node, &pair->value);
        if (!sound) {
            r->config->private->place_count = places; /* the next pair takes this one's place */
            continue;
        }
        pair->name = config_copy(r->pool, node->key);
        reader_record(r, (struct place){.field = &pair->name, .at = node->key_at});
        to->count++;
    }
}
