/* One value of the file: its type, its rules, its bounds. */
#include "config/load_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_HEADER_VALUE = 8 << 10 };

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
    int shown = node->text.n < 40 ? (int)node->text.n : 40;
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

struct str config_join(h2o_mem_pool_t *pool, struct str dir, struct str path)
{
    if (path.n != 0 && path.p[0] == '/')
        return config_copy(pool, path);
    bool slash = dir.n == 0 || dir.p[dir.n - 1] != '/';
    char *joined = h2o_mem_alloc_pool(pool, dir.n + slash + path.n + 1);
    size_t n = 0;
    if (dir.n != 0)
        memcpy(joined, dir.p, n = dir.n);
    if (slash)
        joined[n++] = '/';
    if (path.n != 0)
        memcpy(joined + n, path.p, path.n);
    n += path.n;
    joined[n] = '\0';
    return (struct str){joined, n};
}

bool config_read_file(const char *path, struct buf *to)
{
    bool done = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return false;
    while (!done) {
        size_t room = to->max - to->n < 16384 ? to->max - to->n : 16384;
        ssize_t n = -1;
        if (room == 0)
            break;
        if (!buf_reserve(to, room))
            errno = ENOMEM;
        else
            n = read(fd, to->p + to->n, room);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            goto out;
        to->n += (size_t)n;
        done = n == 0;
    }
    close(fd);
    return true;
out:;
    int error = errno;
    close(fd);
    errno = error;
    return false;
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

/* RFC 9110 section 5.6.2: token. */
static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] == 0x7f || strchr("\"(),/:;<=>?@[\\]{}", s.p[i]) != NULL)
            return false;
    return s.n != 0;
}

/* A header's name that may be sent to an upstream: those of one connection may not (RFC 9110
 * section 7.6.1), nor those that frame a message. */
static bool check_header(struct reader *r, struct pos at, struct str name)
{
    static const char *const own[] = {
        "Connection", "Content-Length", "Keep-Alive",        "Proxy-Connection",
        "TE",         "Trailer",        "Transfer-Encoding", "Upgrade",
    };
    if (!is_token(name)) {
        diag_error(r->diag, at, "\"%s\" is not a header's name", name.p);
        return false;
    }
    for (size_t i = 0; i < COUNT(own); i++) {
        if (!str_caseeq(name, str_from(own[i])))
            continue;
        diag_error(r->diag, at, "%s belongs to a connection and cannot be sent on", own[i]);
        return false;
    }
    return true;
}

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
    if ((key->rules & RULE_HEADER) && !check_header(r, at_of(in), *text))
        return false;
    if ((key->rules & RULE_UNIX_PATH) && text->n >= 5 && memcmp(text->p, "unix:", 5) == 0)
        return unix_path(r, key, in, text);
    if ((key->rules & RULE_PATH) && text->n != 0 && !is_word(key->words, *text, &index))
        *text = config_join(r->pool, r->config->dir, *text);
    return true;
}

/* Keeps how a value stood when the environment had a part in it. */
static void note_source(struct reader *r, struct place *place, const struct toml_node *string,
                        bool referenced)
{
    place->referenced = referenced;
    if (referenced)
        place->source = config_copy(r->pool, string->text);
}

/* The string that a field holds. */
static bool read_string(struct reader *r, const struct schema_key *key, const struct input *in,
                        struct str *to)
{
    struct expansion x;
    if (in->node->type != TOML_STRING)
        return wrong_type(r, key, in);
    if (!config_expand(r->pool, in->doc, in->node, in->instead, r->diag, &x) ||
        !follow_rules(r, key, in, &x.text))
        return false;
    *to = x.text;
    struct place place = {.field = to, .at = at_of(in)};
    note_source(r, &place, in->node, x.referenced);
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
    if (key->type == VALUE_STRING) {
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
    note_source(r, &place, in->node, x.referenced);
    reader_record(r, place);
    return true;
}

/* -- headers that are set --------------------------------------------------------------------- */

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

/* { file = "path" }: the file's first and only line. */
static bool read_header_file(struct reader *r, const struct toml_node *node, struct str *to)
{
    const struct toml_node *file = toml_get(node, STR("file"));
    struct schema_key key = {.name = "file", .type = VALUE_STRING};
    struct expansion x;
    struct buf text;
    bool sound = false;

    if (file == NULL || node->count != 1 || file->type != TOML_STRING) {
        diag_error(r->diag, node->at, "%s: expected a string or { file = \"path\" }", node->key.p);
        return false;
    }
    struct input in = {r->doc, file, NULL};
    key.rules = RULE_NOT_EMPTY | RULE_PATH;
    if (!config_expand(r->pool, r->doc, file, NULL, r->diag, &x) ||
        !follow_rules(r, &key, &in, &x.text))
        return false;
    buf_init(&text, MAX_HEADER_VALUE + 1);
    if (!config_read_file(x.text.p, &text)) {
        diag_error(r->diag, file->at, "%s: %s cannot be read: %s", node->key.p, x.text.p,
                   strerror(errno));
        goto out;
    }
    if (text.n > MAX_HEADER_VALUE) {
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
    note_source(r, &place, file, x.referenced);
    reader_record(r, place);
out:
    buf_fini(&text);
    return sound;
}

static bool read_header(struct reader *r, const struct toml_node *node, struct str *to)
{
    struct expansion x;
    if (node->type == TOML_TABLE)
        return read_header_file(r, node, to);
    if (node->type != TOML_STRING) {
        diag_error(r->diag, node->at, "%s: expected a string or { file = \"path\" }", node->key.p);
        return false;
    }
    if (!config_expand(r->pool, r->doc, node, NULL, r->diag, &x))
        return false;
    if (is_secret(node->key) && (!x.referenced || x.literal_default)) {
        diag_error(r->diag, node->at,
                   "%s: a secret may not stand in the file; write \"${NAME}\" for it and set NAME "
                   "in the environment, or put it in a file: { file = \"path\" }",
                   node->key.p);
        return false;
    }
    if (x.text.n > MAX_HEADER_VALUE) {
        diag_error(r->diag, node->at, "%s: longer than 8 KiB", node->key.p);
        return false;
    }
    *to = x.text;
    struct place place = {.field = to, .at = node->at};
    note_source(r, &place, node, x.referenced);
    reader_record(r, place);
    return true;
}

void reader_pairs(struct reader *r, const struct toml_node *table, struct config_pairs *to)
{
    *to = (struct config_pairs){0};
    if (table == NULL || table->count == 0)
        return;
    to->items = h2o_mem_alloc_pool(r->pool, table->count * sizeof(*to->items));
    for (size_t i = 0; i < table->count; i++) {
        const struct toml_node *node = &table->items[i];
        struct config_pair *pair = &to->items[to->count];
        size_t places = r->config->private->place_count;
        bool sound = check_header(r, node->key_at, node->key);
        for (size_t k = 0; k < to->count; k++) {
            if (!str_caseeq(to->items[k].name, node->key))
                continue;
            diag_error(r->diag, node->key_at, "%s stands here twice: headers' names know no case",
                       node->key.p);
            sound = false;
        }
        sound &= read_header(r, node, &pair->value);
        if (!sound) {
            r->config->private->place_count = places; /* the next pair takes this one's place */
            continue;
        }
        pair->name = config_copy(r->pool, node->key);
        reader_record(r, (struct place){.field = &pair->name, .at = node->key_at});
        to->count++;
    }
}
