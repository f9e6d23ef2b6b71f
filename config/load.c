/* From the tree of a TOML file to the structs of config.h, by the table of schema.c.
 *
 * Every error is reported and reading goes on: a value that can't be used is replaced by its
 * default, a required one by "", so that whoever looks at the configuration for further errors
 * finds sound pointers. Defaults are TOML themselves and take the same way as what a user wrote. */
#include "config/load_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_FILE = 1 << 20, MAX_NAME = 64, COLLECTOR_ATTEMPTS = 3 };

struct str config_copy(h2o_mem_pool_t *pool, struct str s)
{
    char *copy = h2o_mem_alloc_pool(pool, s.n + 1);
    if (s.n != 0)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return (struct str){copy, s.n};
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

int config_cut(struct str text, size_t max)
{
    size_t n = text.n < max ? text.n : max;
    while (n != text.n && n != 0 && utf8_is_continuation(text.p[n]))
        n--;
    return (int)n;
}

/* -- places ----------------------------------------------------------------------------------- */

void reader_record(struct reader *r, struct place place)
{
    struct config_private *private = r->config->private;
    if (private->place_count == private->place_capacity) {
        private->place_capacity = private->place_capacity ? private->place_capacity * 2 : 256;
        private->places =
            realloc(private->places, private->place_capacity * sizeof(*private->places));
        gw_assert(private->places != NULL);
    }
    private->places[private->place_count++] = place;
}

static int by_field(const void *va, const void *vb)
{
    uintptr_t a = (uintptr_t)((const struct place *)va)->field;
    uintptr_t b = (uintptr_t)((const struct place *)vb)->field;
    return a < b ? -1 : a > b;
}

const struct place *config_place(const struct config *config, const void *field)
{
    struct place wanted = {.field = field};
    if (config->private->place_count == 0)
        return NULL;
    return bsearch(&wanted, config->private->places, config->private->place_count, sizeof(wanted),
                   by_field);
}

struct pos config_pos(const struct config *config, const void *field)
{
    const struct place *place = config_place(config, field);
    return place != NULL ? place->at : (struct pos){.file = config->file.p};
}

struct str config_shown(const struct config *config, const struct str *field)
{
    const struct place *place = config_place(config, field);
    if (place != NULL && place->is_file)
        return STR("{ file }");
    return place != NULL && place->referenced ? place->source : *field;
}

/* -- keys ------------------------------------------------------------------------------------- */

/* The section that has a key of this name, to help who wrote it into another one. */
static const struct schema_section *find_home(const struct schema_section *section, struct str name)
{
    for (size_t i = 0; i < section->key_count; i++)
        if (str_eq(name, str_from(section->keys[i].name)))
            return section;
    for (size_t i = 0; i < section->section_count; i++) {
        const struct schema_section *home = find_home(&section->sections[i], name);
        if (home != NULL)
            return home;
    }
    return NULL;
}

static void report_unknown(struct reader *r, const struct schema_section *section,
                           const struct toml_node *item)
{
    const char *names[64];
    size_t count = 0;
    gw_assert(section->key_count + section->section_count <= COUNT(names));
    for (size_t i = 0; i < section->key_count; i++)
        names[count++] = section->keys[i].name;
    for (size_t i = 0; i < section->section_count; i++)
        names[count++] = section->sections[i].name;

    const char *nearest = diag_nearest(item->key, names, count);
    const struct schema_section *home = find_home(&schema_root, item->key);
    if (nearest != NULL)
        diag_error(r->diag, item->key_at, "unknown key \"%s\"; did you mean \"%s\"?", item->key.p,
                   nearest);
    else if (home != NULL)
        diag_error(r->diag, item->key_at, "unknown key \"%s\" here; it belongs in [%s]",
                   item->key.p, home->path);
    else
        diag_error(r->diag, item->key_at, "unknown key \"%s\"", item->key.p);
}

static void report_unknowns(struct reader *r, const struct schema_section *section,
                            const struct toml_node *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct toml_node *item = &table->items[i];
        bool known = false;
        for (size_t k = 0; k < section->key_count && !known; k++)
            known = str_eq(item->key, str_from(section->keys[k].name));
        for (size_t k = 0; k < section->section_count && !known; k++)
            known = str_eq(item->key, str_from(section->sections[k].name));
        if (!known)
            report_unknown(r, section, item);
    }
}

/* The key's value as the file has it, else its default, else "". */
static void read_key(struct reader *r, const struct schema_section *section,
                     const struct schema_key *key, const struct toml_node *table, void *record)
{
    char *field = (char *)record + key->offset;
    const struct toml_node *node = table != NULL ? toml_get(table, str_from(key->name)) : NULL;
    struct pos at = table != NULL ? table->at : (struct pos){.file = r->config->file.p};
    if (node != NULL)
        at = node->at;

    if (key->type == VALUE_STRING || key->type == VALUE_JSON)
        *(struct str *)(void *)field = STR("");
    if (node != NULL && reader_value(r, key, &(struct input){r->doc, node, NULL}, record, field))
        return;
    if (key->fallback != NULL) {
        const struct toml_node *defaults = toml_get(r->defaults->root, str_from(section->path));
        const struct toml_node *fallback = toml_get(defaults, str_from(key->name));
        /* After an error in the user's own value, one in the default (its variable has a bad
         * value) would only confuse. */
        struct reader reader = *r;
        if (node != NULL)
            reader.diag = r->silent;
        if (reader_value(&reader, key, &(struct input){r->defaults, fallback, &at}, record, field))
            return;
    } else if (node == NULL) {
        diag_error(r->diag, at, "missing key \"%s\": %s", key->name, key->doc);
    }
    reader_record(r, (struct place){.field = field, .at = at});
}

/* -- sections --------------------------------------------------------------------------------- */

static bool is_table(struct reader *r, const struct schema_section *section,
                     const struct toml_node *node)
{
    if (node->type == TOML_TABLE)
        return true;
    char got[CONFIG_GOT_TEXT];
    diag_error(r->diag, node->at, "%s: expected a table, [%s], got %s", node->key.p, section->path,
               reader_describe(node, got));
    return false;
}

bool config_name(struct str text)
{
    bool sound = text.n != 0 && text.n <= MAX_NAME;
    for (size_t i = 0; i < text.n && sound; i++) {
        char c = text.p[i];
        sound = is_letter(c) || c == '_' || (i != 0 && (is_digit(c) || c == '-'));
    }
    return sound;
}

static void check_name(struct reader *r, const struct schema_section *section,
                       const struct toml_node *item)
{
    struct str name = item->key;
    if (!config_name(name))
        diag_error(r->diag, item->key_at,
                   "bad name \"%.*s\": letters, digits, - and _, the first a letter or _, at most "
                   "%d bytes",
                   config_cut(name, MAX_NAME), name.p, MAX_NAME);
    for (size_t i = 0; section->reserved != NULL && section->reserved[i] != NULL; i++)
        if (str_eq(name, str_from(section->reserved[i])))
            diag_error(r->diag, item->key_at,
                       "\"%s\" is a reserved name: templates see the gateway's own data there",
                       name.p);
}

static void read_section(struct reader *r, const struct schema_section *section,
                         const struct toml_node *table, void *record);

static void read_named(struct reader *r, const struct schema_section *section,
                       const struct toml_node *all, void *above)
{
    char *array = NULL;
    size_t count = 0;
    if (all != NULL && all->count != 0) {
        array = h2o_mem_alloc_pool(r->pool, all->count * section->size);
        memset(array, 0, all->count * section->size);
        for (size_t i = 0; i < all->count; i++) {
            const struct toml_node *item = &all->items[i];
            if (!is_table(r, section, item))
                continue;
            void *record = array + count++ * section->size;
            check_name(r, section, item);
            *(struct str *)record = config_copy(r->pool, item->key);
            reader_record(r, (struct place){.field = record, .at = item->key_at});
            read_section(r, section, item, record);
        }
    }
    memcpy((char *)above + section->offset, &array, sizeof(array));
    *(size_t *)(void *)((char *)above + section->count_offset) = count;
}

/* table: NULL when the file has none. */
static void read_section(struct reader *r, const struct schema_section *section,
                         const struct toml_node *table, void *record)
{
    if (table != NULL)
        report_unknowns(r, section, table);
    for (size_t i = 0; i < section->key_count; i++)
        read_key(r, section, &section->keys[i], table, record);
    for (size_t i = 0; i < section->section_count; i++) {
        const struct schema_section *below = &section->sections[i];
        const struct toml_node *node =
            table != NULL ? toml_get(table, str_from(below->name)) : NULL;
        if (node != NULL && !is_table(r, below, node))
            node = NULL;
        char *at = (char *)record + below->offset;
        if (below->shape == SECTION_NAMED)
            read_named(r, below, node, record);
        else if (below->shape == SECTION_PAIRS)
            reader_pairs(r, below, node, (struct config_pairs *)(void *)at);
        else
            read_section(r, below, node, at);
    }
}

/* -- the whole -------------------------------------------------------------------------------- */

static void write_defaults(const struct schema_section *section, struct buf *to)
{
    gw_assert(buf_printf(to, "[\"%s\"]\n", section->path));
    for (size_t i = 0; i < section->key_count; i++)
        if (section->keys[i].fallback != NULL)
            gw_assert(
                buf_printf(to, "%s = %s\n", section->keys[i].name, section->keys[i].fallback));
    for (size_t i = 0; i < section->section_count; i++)
        write_defaults(&section->sections[i], to);
}

static struct toml_doc *parse_defaults(void)
{
    struct buf text;
    buf_init(&text, MAX_FILE);
    write_defaults(&schema_root, &text);
    struct toml_doc *defaults = toml_parse(buf_str(&text), "defaults");
    gw_assert(defaults->root != NULL);
    buf_fini(&text);
    return defaults;
}

/* A configuration without anything read: its names, its pool. */
static struct config *create(const char *file, const char *dir)
{
    struct config *config = calloc(1, sizeof(*config));
    struct config_private *private = calloc(1, sizeof(*private));
    gw_assert(config != NULL && private != NULL);
    h2o_mem_init_pool(&private->pool);
    config->private = private;
    config->file = config_copy(&private->pool, str_from(file));
    config->dir = config_copy(&private->pool, str_from(dir));
    config->templates_dir = config_join(&private->pool, config->dir, STR("templates"));
    return config;
}

/* The collector is an upstream as any other, of which only the URL is said, elsewhere. */
static void read_collector(struct reader *r)
{
    struct config_traces *traces = &r->config->traces;
    struct config_upstream *collector = &traces->collector;
    const struct schema_section *section = schema_root.sections;
    if (traces->endpoint.n == 0)
        return;
    while (!str_eq(str_from(section->name), STR("upstreams")))
        section++;
    struct reader quiet = *r;
    quiet.diag = r->silent; /* the missing URL */
    read_section(&quiet, section, NULL, collector);
    collector->name = STR("traces.collector"); /* which no section can have */
    collector->url = traces->endpoint;
    collector->set_headers = traces->headers;
    collector->retry.attempts = COLLECTOR_ATTEMPTS;
    struct place *places = r->config->private->places;
    struct pos at = {0};
    for (size_t i = 0; i < r->config->private->place_count; i++) {
        if (places[i].field == &traces->endpoint)
            at = places[i].at;
        if (places[i].field == &collector->url)
            places[i].at = at; /* read after it */
    }
}

/* doc->root may be NULL: then everything is as if the file were empty. */
static void fill(struct config *config, const struct toml_doc *doc, struct diag *diag)
{
    struct toml_doc *defaults = parse_defaults();
    struct diag *silent = diag_create();
    struct reader r = {config, &config->private->pool, diag, silent, doc, defaults};
    read_section(&r, &schema_root, doc->root, config);
    read_collector(&r);
    qsort(config->private->places, config->private->place_count, sizeof(struct place), by_field);
    reader_check(&r);
    diag_destroy(&silent);
    toml_free(&defaults);
}

struct config *config_parse(struct str text, const char *name, const char *dir, struct diag *diag)
{
    struct config *config = create(name, dir);
    struct toml_doc *doc = toml_parse(text, config->file.p);
    if (doc->root == NULL)
        diag_error(diag, doc->error_at, "not TOML: %s", doc->error);
    fill(config, doc, diag);
    toml_free(&doc);
    return config;
}

/* The absolute folder of the file; where that can't be told, the working directory. */
static void folder_of(const char *file, char folder_r[PATH_MAX])
{
    const char *slash = strrchr(file, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(file, (size_t)(slash - file) + 1);
    gw_assert(folder != NULL);
    if (realpath(folder, folder_r) == NULL && getcwd(folder_r, PATH_MAX) == NULL)
        strcpy(folder_r, "/");
    free(folder);
}

struct config *config_load(const char *file, struct diag *diag)
{
    char folder[PATH_MAX];
    struct buf text;
    buf_init(&text, MAX_FILE + 1);
    folder_of(file, folder);
    int error = config_read_file(file, &text) ? 0 : errno;
    struct config *config = config_parse(buf_str(&text), file, folder, diag);
    if (error != 0)
        diag_error(diag, (struct pos){.file = config->file.p}, "cannot be read: %s",
                   strerror(error));
    buf_fini(&text);
    return config;
}

void config_destroy(struct config **config)
{
    if (*config == NULL)
        return;
    free((*config)->private->places);
    h2o_mem_clear_pool(&(*config)->private->pool);
    free((*config)->private);
    free(*config);
    *config = NULL;
}

const struct config_upstream *config_find_upstream(const struct config *config, struct str name)
{
    for (size_t i = 0; i < config->upstream_count; i++)
        if (str_eq(config->upstreams[i].name, name))
            return &config->upstreams[i];
    return NULL;
}

const struct config_upload *config_find_upload(const struct config *config, struct str name)
{
    for (size_t i = 0; i < config->upload_count; i++)
        if (str_eq(config->uploads[i].name, name))
            return &config->uploads[i];
    return NULL;
}
