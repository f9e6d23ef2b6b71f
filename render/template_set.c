/* The templates of a site: found under one folder, read and compiled once, kept together.
 *
 * Loading works off a list instead of recursing: compiling a template appends what it includes, so
 * partials that include themselves or each other need no care. Templates that turned out broken
 * stay in the set, marked, so that their errors are told once however many pages use them.
 *
 * Names come from template authors, and with dynamic names from data. The first are checked not to
 * leave the folder; the second never open a file: they are looked for among what is loaded. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/text.h"
#include "render/render_internal.h"

enum {
    MAX_NAME = 255,
    MAX_FOLDERS = 8, /* templates/a/b/… */
    MAX_FILES = 10000
};

struct template_set {
    h2o_mem_pool_t pool;
    const char *dir; /* NULL: nothing but what is compiled from memory */
    struct template *first, **end;
};

/* One template_load() or template_compile(). */
struct loading {
    struct template_set *set;
    struct diag *diag;
    template_lookup_fn *lookup; /* from memory; else from files */
    void *lookup_arg;
    bool from_files;
    const char **files; /* names in the folder, once somebody asked; owned */
    size_t file_count, file_capacity;
};

static char *join(struct template_set *set, struct str a, const char *between, struct str b)
{
    size_t n = strlen(between);
    char *joined = h2o_mem_alloc_pool(&set->pool, a.n + n + b.n + 1);
    if (a.n != 0)
        memcpy(joined, a.p, a.n);
    memcpy(joined + a.n, between, n);
    if (b.n != 0)
        memcpy(joined + a.n + n, b.p, b.n);
    joined[a.n + n + b.n] = '\0';
    return joined;
}

struct template_set *template_set_create(const char *dir)
{
    struct template_set *set = calloc(1, sizeof(*set));
    gw_assert(set != NULL);
    h2o_mem_init_pool(&set->pool);
    set->end = &set->first;
    if (dir != NULL)
        set->dir = join(set, str_from(dir), "", (struct str){NULL, 0});
    return set;
}

void template_set_destroy(struct template_set **set)
{
    if (*set == NULL)
        return;
    h2o_mem_clear_pool(&(*set)->pool);
    free(*set);
    *set = NULL;
}

static struct str ending_of(struct str name)
{
    for (size_t i = name.n; i > 0 && name.p[i - 1] != '/'; i--)
        if (name.p[i - 1] == '.')
            return (struct str){name.p + i - 1, name.n - i + 1};
    return (struct str){NULL, 0};
}

/* The template whose name is name + ending. */
static struct template *find(const struct template_set *set, struct str name, struct str ending)
{
    for (struct template *t = set->first; t != NULL; t = t->next) {
        if (strlen(t->name) == name.n + ending.n && memcmp(t->name, name.p, name.n) == 0 &&
            (ending.n == 0 || memcmp(t->name + name.n, ending.p, ending.n) == 0))
            return t;
    }
    return NULL;
}

/* Checks what any text must be. The template is added even if it is broken. */
static struct template *add(struct loading *l, const char *name, const char *file, struct str text,
                            struct str ending)
{
    struct template *t = h2o_mem_alloc_pool(&l->set->pool, sizeof(*t));
    struct str own_ending = ending_of(str_from(name));
    size_t bad = utf8_valid_length(text);

    *t = (struct template){.name = name,
                           .file = file,
                           .text = text,
                           .ending = own_ending.n != 0 ? own_ending : ending,
                           .set = l->set};
    *l->set->end = t;
    l->set->end = &t->next;
    if (text.n > MAX_TEMPLATE) {
        diag_error(l->diag, (struct pos){file, 0, 0}, "template is larger than 1 MiB");
        t->compiled = t->broken = true;
    } else if (bad != text.n) {
        struct pos at = {file, 1, (unsigned)bad + 1};
        for (size_t i = 0; i < bad; i++) {
            if (text.p[i] == '\n') {
                at.line++;
                at.column = (unsigned)(bad - i);
            }
        }
        diag_error(l->diag, at, "not UTF-8");
        t->compiled = t->broken = true;
    }
    return t;
}

/* -- files ----------------------------------------------------------------------------------- */

/* Relative, and no part of it empty or hidden; ".." is hidden too. */
static bool is_inside(struct str name)
{
    bool part_start = true;

    if (name.n == 0 || name.n > MAX_NAME)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (c == '\0' || (part_start && (c == '.' || c == '/')))
            return false;
        part_start = c == '/';
    }
    return !part_start;
}

/* Reads at most MAX_TEMPLATE + 1 bytes, one too many being enough to see that it is too large. */
static bool read_all(int fd, h2o_mem_pool_t *pool, size_t size, struct str *text_r)
{
    size_t room = (size > MAX_TEMPLATE ? MAX_TEMPLATE : size) + 1, n = 0;
    char *bytes = h2o_mem_alloc_pool(pool, room);
    while (n < room) {
        ssize_t got = read(fd, bytes + n, room - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *text_r = (struct str){bytes, n};
    return true;
}

/* The template of the file name + ending; NULL when there is no such file. */
static struct template *find_or_read(struct loading *l, struct str name, struct str ending)
{
    struct template_set *set = l->set;
    struct template *t = find(set, name, ending);
    struct stat status;
    struct str text = STR("");

    if (t != NULL || set->dir == NULL)
        return t;
    const char *full = join(set, name, "", ending);
    const char *file = join(set, str_from(set->dir), "/", str_from(full));
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG))
        return NULL;
    if (fd >= 0 && fstat(fd, &status) == 0 && !S_ISREG(status.st_mode)) {
        close(fd);
        return NULL;
    }
    bool good = fd >= 0 && read_all(fd, &set->pool, (size_t)status.st_size, &text);
    int error = errno;
    if (fd >= 0)
        close(fd);
    t = add(l, full, file, text, ending);
    if (!good) {
        diag_error(l->diag, (struct pos){file, 0, 0}, "can't read it: %s", strerror(error));
        t->compiled = t->broken = true;
    }
    return t;
}

static void list_folder(struct loading *l, struct str folder, unsigned depth)
{
    struct template_set *set = l->set;
    const char *path = join(set, str_from(set->dir), "/", folder);
    DIR *dir = depth < MAX_FOLDERS ? opendir(path) : NULL;
    struct dirent *entry;

    while (dir != NULL && l->file_count < MAX_FILES && (entry = readdir(dir)) != NULL) {
        struct stat status;
        if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &status, 0) != 0)
            continue;
        const char *name = join(set, folder, folder.n != 0 ? "/" : "", str_from(entry->d_name));
        if (S_ISDIR(status.st_mode))
            list_folder(l, str_from(name), depth + 1);
        if (!S_ISREG(status.st_mode))
            continue;
        if (l->file_count == l->file_capacity) {
            l->file_capacity = l->file_capacity ? l->file_capacity * 2 : 64;
            l->files = realloc(l->files, l->file_capacity * sizeof(*l->files));
            gw_assert(l->files != NULL);
        }
        l->files[l->file_count++] = name;
    }
    if (dir != NULL)
        closedir(dir);
}

static void list_files(struct loading *l)
{
    if (l->files == NULL)
        list_folder(l, STR(""), 0);
}

/* A file whose name, with its ending or without it where `name` has none, is nearly `name`. */
static const char *suggest(struct loading *l, struct str name, struct str ending)
{
    const char *near;
    list_files(l);
    near = diag_nearest(name, l->files, l->file_count);
    if (near == NULL && ending.n != 0 && ending_of(name).n == 0) {
        const char *full = join(l->set, name, "", ending);
        near = diag_nearest(str_from(full), l->files, l->file_count);
    }
    return near;
}

static struct template *find_file(struct loading *l, struct str name, struct str ending,
                                  struct pos at)
{
    struct template *t;
    int shown = (int)(name.n > MAX_NAME ? MAX_NAME : name.n);

    if (!is_inside(name)) {
        diag_error(l->diag, at, "\"%.*s\" can't be a template's name", shown, name.p);
        return NULL;
    }
    t = find_or_read(l, name, (struct str){NULL, 0});
    if (t == NULL && ending.n != 0)
        t = find_or_read(l, name, ending);
    if (t == NULL) {
        const char *near = suggest(l, name, ending);
        diag_error(l->diag, at, "no template \"%.*s\" in %s%s%s%s", shown, name.p, l->set->dir,
                   near != NULL ? ", did you mean \"" : "", near != NULL ? near : "",
                   near != NULL ? "\"?" : "");
    }
    return t;
}

/* What dynamic names may mean: every file of that ending. */
static void load_all(struct loading *l, struct str ending)
{
    list_files(l);
    for (size_t i = 0; i < l->file_count; i++) {
        struct str name = str_from(l->files[i]);
        if (is_inside(name) && str_eq(ending_of(name), ending))
            find_or_read(l, name, (struct str){NULL, 0});
    }
}

/* -- loading --------------------------------------------------------------------------------- */

static struct template *find_included(void *arg, struct template *from, struct str name,
                                      struct pos at)
{
    struct loading *l = arg;
    struct template *t;
    struct str text;

    if (l->from_files)
        return find_file(l, name, from->ending, at);
    t = find(l->set, name, (struct str){NULL, 0});
    if (t != NULL || l->lookup == NULL || !l->lookup(l->lookup_arg, name, &text))
        return t;
    const char *kept = join(l->set, name, "", (struct str){NULL, 0});
    text.p = join(l->set, text, "", (struct str){NULL, 0});
    return add(l, kept, kept, text, from->ending);
}

static void reach(struct template *root, struct template_set *set)
{
    uint32_t total = 0, n = 0;

    for (struct template *t = set->first; t != NULL; t = t->next)
        total++;
    root->reach = h2o_mem_alloc_pool(&set->pool, total * sizeof(struct template *));
    root->reach[n++] = root;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < root->reach[i]->include_count; k++) {
            struct template *t = root->reach[i]->includes[k];
            uint32_t known = 0;
            while (known < n && root->reach[known] != t)
                known++;
            if (known == n)
                root->reach[n++] = t;
        }
    }
    root->reach_count = n;
}

/* Compiles `root` and all that came with it. NULL when any of it is broken. */
static struct template *finish(struct loading *l, struct template *root)
{
    struct template_set *set = l->set;
    bool broken = false, dynamic = false;

    for (struct template *t = set->first; t != NULL; t = t->next) {
        if (t->compiled)
            continue;
        compile_template(t, &set->pool, l->diag, find_included, l);
        if (t->dynamic && l->from_files)
            load_all(l, t->ending);
    }
    if (root->reach == NULL)
        reach(root, set);
    for (uint32_t i = 0; i < root->reach_count; i++) {
        broken |= root->reach[i]->broken;
        dynamic |= root->reach[i]->dynamic;
    }
    for (struct template *t = set->first; t != NULL && dynamic; t = t->next)
        broken |= t->broken; /* a name may turn out to be any of them */
    free(l->files);
    return broken ? NULL : root;
}

struct template *template_load(struct template_set *set, const char *name, struct pos at,
                               struct diag *diag)
{
    struct loading l = {.set = set, .diag = diag, .from_files = true};
    struct template *t = find_file(&l, str_from(name), (struct str){NULL, 0}, at);
    if (t == NULL) {
        free(l.files);
        return NULL;
    }
    return finish(&l, t);
}

static struct template *compile_text(struct loading *l, const char *name, struct str text,
                                     bool plain)
{
    struct template *t = find(l->set, str_from(name), (struct str){NULL, 0});
    if (t == NULL) {
        const char *kept = join(l->set, str_from(name), "", (struct str){NULL, 0});
        text.p = join(l->set, text, "", (struct str){NULL, 0});
        t = add(l, kept, kept, text, (struct str){NULL, 0});
        t->plain = plain;
    }
    return finish(l, t);
}

struct template *template_compile(struct template_set *set, const char *name, struct str text,
                                  template_lookup_fn *lookup, void *arg, struct diag *diag)
{
    struct loading l = {.set = set, .diag = diag, .lookup = lookup, .lookup_arg = arg};
    return compile_text(&l, name, text, false);
}

struct template *template_compile_plain(struct template_set *set, const char *name, struct str text,
                                        struct diag *diag)
{
    struct loading l = {.set = set, .diag = diag};
    return compile_text(&l, name, text, true);
}

const struct template *template_by_name(const struct template *from, struct str name)
{
    const struct template *t = find(from->set, name, (struct str){NULL, 0});
    if (t == NULL && from->ending.n != 0)
        t = find(from->set, name, from->ending);
    return t != NULL && !t->broken ? t : NULL;
}

static bool has_name(const struct instruction *in)
{
    return (in->op == OP_VALUE || in->op == OP_RAW || in->op == OP_SECTION ||
            in->op == OP_INVERTED) &&
           in->count != 0;
}

static bool reads(const struct template *t, struct str name)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (has_name(&t->code[i]) && str_eq(t->code[i].path[0], name))
            return true;
    return false;
}

void template_each_name(const struct template *template, void (*fn)(void *arg, struct str name),
                        void *arg)
{
    for (uint32_t i = 0; i < template->count; i++)
        if (has_name(&template->code[i]))
            fn(arg, template->code[i].path[0]);
}

bool template_uses(const struct template *template, struct str name)
{
    for (uint32_t i = 0; i < template->reach_count; i++) {
        const struct template *t = template->reach[i];
        if (t->dynamic || t->takes_root || reads(t, name))
            return true;
    }
    return false;
}
