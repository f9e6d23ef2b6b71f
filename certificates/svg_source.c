/* A template's source: its file and the partials and parents that it includes, read before they
 * are compiled because gw:fit has to be rewritten in all of them, and the names in their tags,
 * checked here since only here it is known which fields there are.
 *
 * The reader of tags is small because render/ is strict: what it doesn't understand, compiling
 * refuses a moment later, with its place. */
#include "certificates/svg_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/text.h"

#define SHOWN(name) (int)((name).n > 60 ? 60 : (name).n), (name).p

/* -- reading tags ------------------------------------------------------------------------------ */

void svg_reader_init(struct svg_reader *reader, const char *file, struct str text)
{
    *reader = (struct svg_reader){.file = file,
                                  .at = text.p,
                                  .end = text.p + text.n,
                                  .line_at = text.p,
                                  .line = 1,
                                  .open = STR("{{"),
                                  .close = STR("}}")};
}

struct pos svg_pos(const struct svg_reader *reader)
{
    return (struct pos){reader->file, reader->line, (unsigned)(reader->at - reader->line_at) + 1};
}

void svg_advance(struct svg_reader *reader, const char *to)
{
    const char *newline;
    while ((newline = memchr(reader->at, '\n', (size_t)(to - reader->at))) != NULL) {
        reader->line++;
        reader->at = reader->line_at = newline + 1;
    }
    reader->at = to;
}

static const char *find(const char *from, const char *end, struct str what)
{
    return memmem(from, (size_t)(end - from), what.p, what.n);
}

void svg_skip_past(struct svg_reader *reader, const char *what)
{
    const char *found = find(reader->at, reader->end, str_from(what));
    svg_advance(reader, found != NULL ? found + strlen(what) : reader->end);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct str trim(const char *from, const char *to)
{
    while (from < to && is_blank(*from))
        from++;
    while (to > from && is_blank(to[-1]))
        to--;
    return (struct str){from, (size_t)(to - from)};
}

/* {{=<% %>=}}: the content without its equals signs. */
static void set_delimiters(struct svg_reader *reader, struct str content)
{
    const char *end = content.p + content.n, *p = content.p;
    while (p < end && !is_blank(*p))
        p++;
    struct str open = {content.p, (size_t)(p - content.p)}, close = trim(p, end);
    if (open.n != 0 && close.n != 0) {
        reader->open = open;
        reader->close = close;
    }
}

bool svg_read_tag(struct svg_reader *reader, struct svg_tag *tag_r)
{
    size_t left = (size_t)(reader->end - reader->at);
    if (left < reader->open.n || memcmp(reader->at, reader->open.p, reader->open.n) != 0)
        return false;
    tag_r->pos = svg_pos(reader);
    const char *from = reader->at + reader->open.n;
    while (from < reader->end && is_blank(*from))
        from++;
    tag_r->sigil = ' ';
    if (from < reader->end && *from != '\0' && strchr("{&#^/><$!=", *from) != NULL)
        tag_r->sigil = *from++;
    /* The brace or equals sign belongs to what closes. */
    char inner = tag_r->sigil == '{' ? '}' : tag_r->sigil == '=' ? '=' : '\0';
    const char *to = from;
    for (;; to++) {
        to = find(to, reader->end, reader->close);
        if (to == NULL) {
            svg_advance(reader, reader->end);
            return true;
        }
        if (inner == '=' ? to > from && to[-1] == '=' : inner == '\0')
            break;
        if (inner == '}' && to > from && to[-1] == '}')
            break;
        if (inner == '}' && to + reader->close.n < reader->end && to[reader->close.n] == '}')
            break;
    }
    const char *name_end = inner != '\0' && to > from && to[-1] == inner ? to - 1 : to;
    const char *after = to + reader->close.n;
    if (inner == '}' && name_end == to)
        after++; /* {{{x}}}: the first brace of three closed */
    tag_r->name = trim(from, name_end);
    if (tag_r->sigil == '=')
        set_delimiters(reader, tag_r->name);
    svg_advance(reader, after);
    return true;
}

/* -- files ------------------------------------------------------------------------------------- */

/* Relative, no part of it empty or hidden; ".." is hidden too. */
static bool is_inside(struct str name)
{
    bool part_start = true;
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '\0' || (part_start && (name.p[i] == '.' || name.p[i] == '/')))
            return false;
        part_start = name.p[i] == '/';
    }
    return name.n != 0 && name.n <= 255 && !part_start;
}

static bool read_text(h2o_mem_pool_t *pool, int fd, struct str *text_r)
{
    char *text = h2o_mem_alloc_pool(pool, SVG_MAX_FILE + 1);
    size_t n = 0;
    while (n <= SVG_MAX_FILE) {
        ssize_t got = read(fd, text + n, SVG_MAX_FILE + 1 - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *text_r = (struct str){text, n};
    return true;
}

/* The file of that name, or with .svg added to it, read at its first mention. `at` is NULL for who
 * only looks. */
static struct svg_file *file_of(struct svg_source *source, struct str name, const struct pos *at)
{
    for (size_t i = 0; i < source->file_count; i++) {
        if (str_eq(source->files[i].name, name))
            return &source->files[i];
    }
    if (at == NULL)
        return NULL;
    int fd = -1;
    char *path = NULL;
    if (is_inside(name)) {
        size_t n = strlen(source->dir) + name.n + sizeof("/.svg");
        path = h2o_mem_alloc_pool(source->pool, n);
        for (int with_ending = 0; with_ending < 2 && fd < 0; with_ending++) {
            snprintf(path, n, "%s/%.*s%s", source->dir, (int)name.n, name.p,
                     with_ending ? ".svg" : "");
            fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
            struct stat status;
            if (fd >= 0 && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))) {
                close(fd);
                fd = -1;
            }
        }
    }
    if (fd < 0) {
        diag_error(source->diag, *at, "no template \"%.*s\" in %s", SHOWN(name), source->dir);
        return NULL;
    }
    struct svg_file file = {.name = name, .path = path};
    bool good = read_text(source->pool, fd, &file.text);
    if (!good)
        diag_error(source->diag, *at, "can't read %s: %s", file.path, strerror(errno));
    else if (file.text.n > SVG_MAX_FILE)
        diag_error(source->diag, *at, "%s is larger than 1 MiB", file.path);
    else if (source->file_count == SVG_MAX_FILES)
        diag_error(source->diag, *at, "more than %d partials", SVG_MAX_FILES - 1);
    close(fd);
    if (!good || file.text.n > SVG_MAX_FILE || source->file_count == SVG_MAX_FILES)
        return NULL;
    source->files[source->file_count] = file;
    return &source->files[source->file_count++];
}

/* -- names ------------------------------------------------------------------------------------- */

static bool is_among(const struct str *names, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(names[i], name))
            return true;
    }
    return false;
}

/* The field that was meant, NULL = none is near. */
static const char *nearest(struct svg_source *source, struct str name)
{
    const struct template_fields *fields = source->fields;
    const char **known =
        h2o_mem_alloc_pool(source->pool, (fields->count + 1) * sizeof(const char *));
    for (size_t i = 0; i < fields->count; i++)
        known[i] = h2o_strdup(source->pool, fields->names[i].p, fields->names[i].n).base;
    known[fields->count] = "qr";
    return diag_nearest(name, known, fields->count + 1);
}

/* A template that asks by a section whether there is such a field does without it. */
static void meet_unknown(struct svg_source *source, const struct svg_tag *tag)
{
    bool asks = tag->sigil == '#' || tag->sigil == '^';
    const char *near = nearest(source, tag->name);
    if (is_among(source->optional, source->optional_count, tag->name))
        return;
    if (asks && near == NULL && source->optional_count < SVG_MAX_OPTIONAL) {
        source->optional[source->optional_count++] = tag->name;
        return;
    }
    diag_error(source->diag, tag->pos, "the certificate has no field \"%.*s\"%s%s%s",
               SHOWN(tag->name), near != NULL ? ", did you mean \"" : "", near != NULL ? near : "",
               near != NULL ? "\"?" : "");
}

static void note_shown(struct svg_source *source, struct str name)
{
    if (!is_among(source->shown, source->shown_count, name))
        source->shown[source->shown_count++] = name;
}

/* `in_qr`: inside {{#qr}}, or in a partial, which may be included there. */
static void check_name(struct svg_source *source, const struct svg_tag *tag, bool in_qr)
{
    const char *dot = memchr(tag->name.p, '.', tag->name.n);
    struct str first = {tag->name.p, dot != NULL ? (size_t)(dot - tag->name.p) : tag->name.n};
    if (tag->name.n == 0 || str_eq(tag->name, STR(".")))
        return;
    bool field = dot == NULL && is_among(source->fields->names, source->fields->count, first);
    bool of_qr = str_eq(first, STR("qr")) ||
                 (in_qr && (str_eq(first, STR("path")) || str_eq(first, STR("size"))));
    if (field)
        note_shown(source, first);
    if (!field && !of_qr)
        meet_unknown(source, tag);
    else if (field && (tag->sigil == '{' || tag->sigil == '&'))
        diag_warning(source->diag, tag->pos,
                     "the value of \"%.*s\" gets into the SVG unescaped: a name with < or & breaks "
                     "it, and whoever sends one can draw; write {{%.*s}}",
                     SHOWN(first), SHOWN(first));
}

/* The tags of one file: names are checked, files that it includes are read. */
static void read_tags(struct svg_source *source, const struct svg_file *file)
{
    struct svg_reader reader;
    struct svg_tag tag;
    bool partial = file != source->files;
    unsigned in_qr = 0;

    svg_reader_init(&reader, file->path, file->text);
    while (reader.at < reader.end) {
        if (!svg_read_tag(&reader, &tag)) {
            svg_advance(&reader, reader.at + 1);
            continue;
        }
        switch (tag.sigil) {
        case '#':
        case '^':
            check_name(source, &tag, partial || in_qr != 0);
            in_qr += tag.sigil == '#' && str_eq(tag.name, STR("qr"));
            break;
        case '/':
            in_qr -= in_qr != 0 && str_eq(tag.name, STR("qr"));
            break;
        case ' ':
        case '{':
        case '&':
            check_name(source, &tag, partial || in_qr != 0);
            break;
        case '>':
        case '<':
            if (tag.name.n != 0 && tag.name.p[0] == '*')
                diag_error(source->diag, tag.pos,
                           "a certificate's partial can't be named by a value");
            else
                file_of(source, tag.name, &tag.pos);
            break;
        default:
            break;
        }
    }
}

/* Text that no font can draw would show as boxes on each certificate: told once a file. */
static void check_characters(struct svg_source *source, const struct svg_file *file)
{
    uint32_t lacks = source->fonts != NULL ? svg_fonts_lack(source->fonts, file->text) : 0;
    if (lacks != 0)
        diag_warning(source->diag, (struct pos){file->path, 0, 0},
                     "no installed font can draw U+%04X, which stands in it", lacks);
}

bool svg_source_read(struct svg_source *source, const char *name, struct pos at)
{
    size_t errors = diag_errors(source->diag);
    source->shown =
        h2o_mem_alloc_pool(source->pool, (source->fields->count + 1) * sizeof(struct str));
    source->in_markup =
        h2o_mem_alloc_pool(source->pool, (source->fields->count + 1) * sizeof(struct str));
    file_of(source, str_from(name), &at);
    for (size_t i = 0; i < source->file_count; i++) { /* grows while tags are read */
        struct svg_file *file = &source->files[i];
        if (utf8_valid(file->text)) { /* else compiling tells */
            read_tags(source, file);
            check_characters(source, file);
        }
        svg_markup_read(source, file);
    }
    return diag_errors(source->diag) == errors;
}

bool svg_source_lookup(void *source, struct str name, struct str *text_r)
{
    const struct svg_file *file = file_of(source, name, NULL);
    if (file == NULL)
        return false;
    *text_r = file->compiled;
    return true;
}
