/* One value of the file: its type, its rules, its bounds. */
#include "config/load_internal.h"

#include <sys/un.h>

enum { SECRET_MIN = 32 };

static struct pos at_of(const struct input *in)
{
    return in->instead != NULL ? *in->instead : in->node->at;
}

const char *reader_describe(const struct toml_node *node, char text_r[CONFIG_GOT_TEXT])
{
    static const char *const names[] = {
        [TOML_TABLE] = "a table",      [TOML_ARRAY] = "an array",
        [TOML_STRING] = "string",      [TOML_INTEGER] = "integer",
        [TOML_FLOAT] = "float",        [TOML_BOOL] = "boolean",
        [TOML_DATETIME] = "date-time", [TOML_LOCAL_DATETIME] = "date-time",
        [TOML_LOCAL_DATE] = "date",    [TOML_LOCAL_TIME] = "time",
    };
    int shown = config_cut(node->text, 40);
    const char *more = node->text.n > 40 ? "…" : "";
    if (node->type == TOML_TABLE || node->type == TOML_ARRAY)
        return names[node->type];
    if (node->type == TOML_STRING)
        snprintf(text_r, CONFIG_GOT_TEXT, "\"%.*s%s\"", shown, node->text.p, more);
    else
        snprintf(text_r, CONFIG_GOT_TEXT, "%s %.*s%s", names[node->type], shown, node->text.p,
                 more);
    return text_r;
}

/* -- what is wrong ---------------------------------------------------------------------------- */

/* `"optional" or "required"` */
static void list_words(const char *const *words, struct buf *to)
{
    for (size_t i = 0; words[i] != NULL; i++)
        buf_printf(to, "%s\"%s\"", i == 0 ? "" : words[i + 1] != NULL ? ", " : " or ", words[i]);
}

static bool wrong_type(struct reader *r, const struct schema_key *key, const struct input *in)
{
    static const char *const expected[] = {
        [VALUE_BOOL] = "true or false",
        [VALUE_COUNT] = "an integer",
        [VALUE_DURATION] = "a duration like \"800ms\"",
        [VALUE_SIZE] = "a size like \"10MiB\"",
        [VALUE_STRING] = "a string",
        [VALUE_STRINGS] = "an array of strings like [\"…\", \"…\"]",
    };
    char got[CONFIG_GOT_TEXT];
    struct buf words;
    buf_init(&words, 512);
    if (key->type == VALUE_WORD)
        list_words(key->words, &words);
    buf_append(&words, "", 1);
    diag_error(r->diag, at_of(in), "%s: expected %s, got %s", key->name,
               key->type == VALUE_WORD ? words.p : expected[key->type],
               reader_describe(in->node, got));
    buf_fini(&words);
    return false;
}

static bool out_of_range(struct reader *r, const struct schema_key *key, const struct input *in)
{
    char min[CONFIG_NUMBER_TEXT], max[CONFIG_NUMBER_TEXT], got[CONFIG_GOT_TEXT];
    if (key->type == VALUE_DURATION) {
        config_duration_text(key->min, min);
        config_duration_text(key->max, max);
    } else if (key->type == VALUE_SIZE) {
        config_size_text(key->min, min);
        config_size_text(key->max, max);
    } else {
        snprintf(min, sizeof(min), "%" PRIu64, key->min);
        snprintf(max, sizeof(max), "%" PRIu64, key->max);
    }
    diag_error(r->diag, at_of(in), "%s: out of range: expected %s to %s, got %s", key->name, min,
               max, reader_describe(in->node, got));
    return false;
}

/* -- strings ---------------------------------------------------------------------------------- */

/* A password in scheme://user:password@host, or none. */
static struct str find_password(struct str url)
{
    const struct str none = {NULL, 0};
    const char *authority = memmem(url.p, url.n, "://", 3);
    if (authority == NULL)
        return none;
    authority += 3;
    size_t length = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', length);
    const char *colon = at != NULL ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
    return colon != NULL ? (struct str){colon + 1, (size_t)(at - colon - 1)} : none;
}

/* "unix:/path" made absolute. */
static bool unix_path(struct reader *r, const struct schema_key *key, const struct input *in,
                      struct str *text)
{
    const size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    struct str path = {text->p + 5, text->n - 5};
    if (path.n == 0) {
        diag_error(r->diag, at_of(in), "%s: \"unix:\" without a path", key->name);
        return false;
    }
    path = config_join(r->pool, r->config->dir, path);
    if (path.n > room) {
        diag_error(r->diag, at_of(in), "%s: a unix socket's path of %zu bytes; %zu are possible",
                   key->name, path.n, room);
        return false;
    }
    char *whole = h2o_mem_alloc_pool(r->pool, path.n + 6);
    memcpy(whole, "unix:", 5);
    memcpy(whole + 5, path.p, path.n + 1);
    *text = (struct str){whole, path.n + 5};
    return true;
}

static bool is_word(const char *const *words, struct str text, uint8_t *index_r)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++) {
        if (!str_eq(text, str_from(words[i])))
            continue;
        *index_r = (uint8_t)i;
        return true;
    }
    return false;
}

/* The messages never show the value. */
static bool long_enough(struct reader *r, const struct schema_key *key, const struct input *in,
                        struct str text)
{
    if (!(key->rules & RULE_LONG) || text.n == 0 || text.n >= SECRET_MIN)
        return true;
    diag_error(r->diag, at_of(in), "%s: %zu bytes; at least %d are needed", key->name, text.n,
               SECRET_MIN);
    return false;
}

static bool secret_text(struct reader *r, const struct schema_key *key, const struct input *in,
                        struct str text)
{
    if (config_expand_bare(r->pool, in->node->text).n != 0) {
        diag_error(r->diag, at_of(in),
                   "%s: a secret may not stand in the file; write \"${NAME}\" for it and set NAME "
                   "in the environment, put it in a file, { file = \"path\" }, or leave it out",
                   key->name);
        return false;
    }
    return long_enough(r, key, in, text);
}

static bool digest_text(struct reader *r, const struct schema_key *key, const struct input *in,
                        struct str text)
{
    const struct str prefix = STR("sha256:");
    bool sound = text.n == prefix.n + 64 && memcmp(text.p, prefix.p, prefix.n) == 0;
    for (size_t i = prefix.n; sound && i < text.n; i++)
        sound = hex_value(text.p[i]) >= 0;
    if (!sound)
        diag_error(r->diag, at_of(in),
                   "%s: expected \"sha256:\" and 64 hexadecimal digits (`gateway token` makes one)",
                   key->name);
    return sound;
}

/* RFC 9110 section 8.3.1, without parameters; the subtype may be a star. */
static bool media_type(struct reader *r, const struct schema_key *key, const struct input *in,
                       struct str text)
{
    const char *slash = memchr(text.p, '/', text.n);
    size_t n = slash != NULL ? (size_t)(slash - text.p) : 0;
    struct str type = {text.p, n}, subtype = {text.p + n + 1, text.n - n - 1};
    if (slash != NULL && is_token(type) && is_token(subtype) && memchr(type.p, '*', n) == NULL &&
        (memchr(subtype.p, '*', subtype.n) == NULL || subtype.n == 1))
        return true;
    char got[CONFIG_GOT_TEXT];
    diag_error(r->diag, at_of(in),
               "%s: expected a media type like \"image/png\" or \"image/*\", got %s", key->name,
               reader_describe(in->node, got));
    return false;
}

static bool follow_rules(struct reader *r, const struct schema_key *key, const struct input *in,
                         struct str *text)
{
    uint8_t index;
    if ((key->rules & RULE_NOT_EMPTY) && text->n == 0) {
        diag_error(r->diag, at_of(in), "%s: may not be empty", key->name);
        return false;
    }
    if ((key->rules & RULE_URL) &&
        find_password(config_expand_bare(r->pool, in->node->text)).n != 0) {
        diag_error(
            r->diag, at_of(in),
            "%s: a password may not stand in the file; write \"${NAME}\" for it and set NAME "
            "in the environment",
            key->name);
        return false;
    }
    if (key->rules & RULE_SECRET)
        return secret_text(r, key, in, *text);
    if (key->rules & RULE_DIGEST)
        return digest_text(r, key, in, *text);
    if (key->rules & RULE_MEDIA)
        return media_type(r, key, in, *text);
    if ((key->rules & RULE_UNIX_PATH) && text->n >= 5 && memcmp(text->p, "unix:", 5) == 0)
        return unix_path(r, key, in, text);
    if ((key->rules & RULE_PATH) && text->n != 0 && !is_word(key->words, *text, &index))
        *text = config_join(r->pool, r->config->dir, *text);
    return true;
}

void reader_note_source(struct reader *r, struct place *place, const struct toml_node *string,
                        bool referenced)
{
    place->referenced = referenced;
    if (referenced)
        place->source = config_copy(r->pool, string->text);
}

static bool read_secret_file(struct reader *r, const struct schema_key *key, const struct input *in,
                             struct str *to)
{
    size_t places = r->config->private->place_count;
    struct str before = *to;
    if (!reader_line_of_file(r, in->node, to))
        return false;
    if (long_enough(r, key, in, *to))
        return true;
    r->config->private->place_count = places; /* of the default, which takes its place */
    *to = before;
    return false;
}

/* The string that a field holds. */
static bool read_string(struct reader *r, const struct schema_key *key, const struct input *in,
                        struct str *to)
{
    struct expansion x;
    if (in->node->type == TOML_TABLE && (key->rules & RULE_SECRET))
        return read_secret_file(r, key, in, to);
    if (in->node->type != TOML_STRING)
        return wrong_type(r, key, in);
    if (!config_expand(r->pool, in->doc, in->node, in->instead, r->diag, &x) ||
        !follow_rules(r, key, in, &x.text))
        return false;
    *to = x.text;
    struct place place = {.field = to, .at = at_of(in)};
    reader_note_source(r, &place, in->node, x.referenced);
    reader_record(r, place);
    return true;
}

static bool read_strings(struct reader *r, const struct schema_key *key, const struct input *in,
                         struct config_strings *to)
{
    const struct toml_node *node = in->node;
    if (node->type != TOML_ARRAY)
        return wrong_type(r, key, in);
    struct str *items = h2o_mem_alloc_pool(r->pool, (node->count + 1) * sizeof(*items));
    bool sound = true;
    for (size_t i = 0; i < node->count; i++) {
        struct input item = {in->doc, &node->items[i], in->instead};
        struct schema_key one = *key;
        one.type = VALUE_STRING;
        sound &= read_string(r, &one, &item, &items[i]);
    }
    if (!sound)
        return false;
    *to = (struct config_strings){items, node->count};
    reader_record(r, (struct place){.field = to, .at = at_of(in)});
    return true;
}

/* -- numbers and words ------------------------------------------------------------------------ */

static bool read_digits(struct str text, uint64_t *value_r)
{
    /* A size without a unit is a plain number, so that reader does. */
    return text.n != 0 && text.p[text.n - 1] <= '9' && memchr(text.p, '.', text.n) == NULL &&
           config_size(text, value_r);
}

static bool read_number(struct reader *r, const struct schema_key *key, const struct input *in,
                        struct str text, uint64_t *value_r)
{
    const struct toml_node *node = in->node;
    bool sound;
    if (key->type == VALUE_COUNT && node->type == TOML_INTEGER) {
        if (node->integer < 0)
            return out_of_range(r, key, in);
        *value_r = (uint64_t)node->integer;
        sound = true;
    } else if (node->type != TOML_STRING) {
        sound = false;
    } else if (key->type == VALUE_COUNT) {
        sound = read_digits(text, value_r);
    } else if (key->type == VALUE_DURATION) {
        sound = config_duration(text, value_r);
    } else {
        sound = config_size(text, value_r);
    }
    if (!sound)
        return wrong_type(r, key, in);
    return *value_r >= key->min && *value_r <= key->max ? true : out_of_range(r, key, in);
}

static bool read_word(struct reader *r, const struct schema_key *key, const struct input *in,
                      struct str text, uint8_t *to)
{
    size_t count = 0;
    if (in->node->type != TOML_STRING)
        return wrong_type(r, key, in);
    if (is_word(key->words, text, to))
        return true;
    while (key->words[count] != NULL)
        count++;
    const char *nearest = diag_nearest(in->node->text, key->words, count);
    if (nearest == NULL)
        return wrong_type(r, key, in);
    diag_error(r->diag, at_of(in), "%s: unknown word \"%s\"; did you mean \"%s\"?", key->name,
               in->node->text.p, nearest);
    return false;
}

static bool read_bool(struct reader *r, const struct schema_key *key, const struct input *in,
                      struct str text, bool *to)
{
    if (in->node->type == TOML_BOOL)
        *to = in->node->boolean;
    else if (str_eq(text, STR("true")) || str_eq(text, STR("false")))
        *to = str_eq(text, STR("true"));
    else
        return wrong_type(r, key, in);
    return true;
}

bool reader_value(struct reader *r, const struct schema_key *key, const struct input *in,
                  const void *record, void *field)
{
    struct expansion x = {0};
    uint64_t number;

    if (key->type == VALUE_STRINGS)
        return read_strings(r, key, in, field);
    if (key->type == VALUE_JSON && in->node->type != TOML_STRING)
        return reader_json(r, in, field);
    if (key->type == VALUE_STRING || key->type == VALUE_JSON) {
        struct str *to = field;
        if (!read_string(r, key, in, to))
            return false;
        if ((key->rules & RULE_OWN_NAME) && to->n == 0)
            *to = *(const struct str *)record;
        return true;
    }
    if (in->node->type == TOML_STRING &&
        !config_expand(r->pool, in->doc, in->node, in->instead, r->diag, &x))
        return false;
    /* Numbers and booleans may come from the environment, and only then stand in a string. */
    bool bare = key->type == VALUE_COUNT || key->type == VALUE_BOOL;
    if (in->node->type == TOML_STRING && bare && !x.referenced)
        return wrong_type(r, key, in);

    switch (key->type) {
    case VALUE_BOOL:
        if (!read_bool(r, key, in, x.text, field))
            return false;
        break;
    case VALUE_WORD:
        if (!read_word(r, key, in, x.text, field))
            return false;
        break;
    default:
        if (!read_number(r, key, in, x.text, &number))
            return false;
        if (key->type == VALUE_COUNT)
            *(uint32_t *)field = (uint32_t)number;
        else
            *(uint64_t *)field = number;
    }
    struct place place = {.field = field, .at = at_of(in)};
    reader_note_source(r, &place, in->node, x.referenced);
    reader_record(r, place);
    return true;
}
