/* What a template's SVG says, read as text before any value is in it: only here a message can name
 * the line that its author wrote.
 *
 * gw:fit="WIDTH" on a <text> isn't SVG. It is taken out, and the start tag gets an id, to measure
 * the text by, and {{{gw-fit-…}}}, which is nothing at first and a transform where the text turned
 * out too wide. The name of the id is made of the file's, so a partial has the same ids whoever
 * includes it.
 *
 * Whatever makes librsvg draw into a picture that it then puts into the PDF (opacity, filters,
 * masks, blending) is told, because text in there can't be found, copied or printed sharply. */
#include "certificates/svg_internal.h"

#include <ctype.h>
#include <math.h>
#include <unistd.h>

enum { MAX_ATTRIBUTES = 64 };

struct attribute {
    struct str name, value;
    struct pos pos;
    const char *from, *to; /* with the blanks before it */
    bool constant;         /* no Mustache tag inside */
};

struct element {
    struct str name;
    struct pos pos;
    struct attribute attributes[MAX_ATTRIBUTES];
    size_t count;
    const char *end; /* where more attributes could go: of ">" or "/>" */
    struct str open, close;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool begins(const struct svg_reader *r, const char *what)
{
    size_t n = strlen(what);
    return (size_t)(r->end - r->at) >= n && memcmp(r->at, what, n) == 0;
}

/* -- what turns into pictures ------------------------------------------------------------------ */

static struct str trim(struct str s)
{
    while (s.n != 0 && is_blank(*s.p))
        s = (struct str){s.p + 1, s.n - 1};
    while (s.n != 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

static void check_property(struct svg_source *source, struct str name, struct str value,
                           struct pos pos)
{
    static const struct {
        struct str name, harmless[3];
        const char *instead;
    } table[] = {
        {STR("opacity"),
         {STR("1"), STR("1.0"), STR("100%")},
         "; fill-opacity and stroke-opacity don't"},
        {STR("filter"), {STR("none")}, ""},
        {STR("mask"), {STR("none")}, "; clip-path doesn't"},
        {STR("mix-blend-mode"), {STR("normal")}, ""},
        {STR("isolation"), {STR("auto")}, ""},
        {STR("clipPathUnits"), {STR("userSpaceOnUse")}, "; userSpaceOnUse doesn't"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        if (!str_eq(table[i].name, name))
            continue;
        for (size_t k = 0; k < COUNT(table[i].harmless); k++) {
            if (table[i].harmless[k].p != NULL && str_eq(table[i].harmless[k], trim(value)))
                return;
        }
        diag_warning(source->diag, pos,
                     "\"%s\" turns what it is on into a picture: text there can't be found, "
                     "copied or printed sharply%s",
                     table[i].name.p, table[i].instead);
    }
}

/* Declarations, with or without rules around them: name: value; */
static void check_css(struct svg_source *source, struct svg_reader r, const char *end)
{
    r.end = end;
    while (r.at < r.end) {
        if (begins(&r, "/*")) {
            svg_skip_past(&r, "*/");
            continue;
        }
        if (!isalpha((unsigned char)*r.at)) {
            svg_advance(&r, r.at + 1);
            continue;
        }
        struct pos pos = svg_pos(&r);
        struct str name = {r.at, 0}, value;
        while (r.at + name.n < r.end && (isalpha((unsigned char)name.p[name.n]) ||
                                         name.p[name.n] == '-' || name.p[name.n] == '_'))
            name.n++;
        svg_advance(&r, name.p + name.n);
        while (r.at < r.end && is_blank(*r.at))
            svg_advance(&r, r.at + 1);
        bool declares = r.at < r.end && *r.at == ':';
        value.p = r.at + declares;
        const char *stop = value.p;
        while (stop < r.end && strchr("{};", *stop) == NULL)
            stop++;
        value.n = (size_t)(stop - value.p);
        svg_advance(&r, stop);
        if (declares)
            check_property(source, name, value, pos);
    }
}

/* -- pictures ---------------------------------------------------------------------------------- */

/* librsvg passes over a picture that it may not or can't read. */
static void check_picture(struct svg_source *source, const struct attribute *href)
{
    struct str name = href->value;
    char path[4096];
    const char *slash = strrchr(source->files[0].path, '/');
    if (!href->constant || name.n == 0 || memchr(name.p, '%', name.n) != NULL ||
        (name.n > 5 && memcmp(name.p, "data:", 5) == 0) || name.p[0] == '#')
        return;
    int n = snprintf(path, sizeof(path), "%.*s/%.*s", (int)(slash - source->files[0].path),
                     source->files[0].path, (int)name.n, name.p);
    bool outside = name.p[0] == '/' || memchr(name.p, ':', name.n) != NULL ||
                   memmem(name.p, name.n, "..", 2) != NULL;
    if (outside)
        diag_warning(source->diag, href->pos,
                     "the picture \"%.*s\" isn't drawn: only files in the template's folder or "
                     "below it are",
                     (int)name.n, name.p);
    else if (n < 0 || n >= (int)sizeof(path) || access(path, R_OK) != 0)
        diag_warning(source->diag, href->pos, "the picture \"%.*s\" isn't there", (int)name.n,
                     name.p);
}

/* -- gw:fit ------------------------------------------------------------------------------------ */

static const struct attribute *attribute(const struct element *element, struct str name)
{
    for (size_t i = 0; i < element->count; i++) {
        if (str_eq(element->attributes[i].name, name))
            return &element->attributes[i];
    }
    return NULL;
}

static bool read_number(const struct attribute *attribute, double *number_r)
{
    char text[32], *end;
    if (attribute == NULL || !attribute->constant || attribute->value.n == 0 ||
        attribute->value.n >= sizeof(text))
        return false;
    memcpy(text, attribute->value.p, attribute->value.n);
    text[attribute->value.n] = '\0';
    *number_r = g_ascii_strtod(text, &end);
    return *end == '\0' && isfinite(*number_r);
}

/* Checks what gw:fit needs. NULL after errors. */
static struct svg_fit *add_fit(struct svg_source *source, const struct element *element,
                               const struct attribute *fit)
{
    const struct attribute *id = attribute(element, STR("id"));
    const struct attribute *transform = attribute(element, STR("transform"));
    struct svg_fit found = {0};
    const char *wrong = NULL;

    if (!str_eq(element->name, STR("text")))
        wrong = "gw:fit is for <text>";
    else if (!read_number(fit, &found.width) || found.width <= 0)
        wrong = "gw:fit must be a width: a number, in the units of x and y";
    else if (!read_number(attribute(element, STR("x")), &found.x) ||
             !read_number(attribute(element, STR("y")), &found.y))
        wrong = "gw:fit needs x and y on the same <text>, a number each: it shrinks about there";
    else if (transform != NULL)
        wrong = "gw:fit makes a transform of its own: put this one on a <g> around the <text>";
    else if (id != NULL)
        wrong = "gw:fit makes an id of its own: put this one on a <g> around the <text>";
    else if (source->fit_count == SVG_MAX_FITS)
        wrong = "too many gw:fit in one template";
    if (wrong != NULL) {
        diag_error(source->diag, fit->pos, "%s", wrong);
        return NULL;
    }
    source->fits[source->fit_count] = found;
    return &source->fits[source->fit_count++];
}

static uint32_t hash(const char *text) /* FNV-1a */
{
    uint32_t h = 2166136261u;
    for (; *text != '\0'; text++)
        h = (h ^ (unsigned char)*text) * 16777619u;
    return h;
}

/* Writes the start tag from `*copied` on without gw:fit, with what takes its place. */
static void rewrite(struct svg_source *source, const struct svg_file *file,
                    const struct element *element, const struct attribute *fit, unsigned number,
                    struct buf *out, const char **copied)
{
    struct svg_fit *added = add_fit(source, element, fit);
    if (added == NULL)
        return;
    char name[32];
    int n = snprintf(name, sizeof(name), "#gw-fit-%08x-%u", hash(file->path), number);
    char *id = h2o_strdup(source->pool, name, (size_t)n).base;
    added->id = id;
    added->member = (struct str){id + 1, (size_t)n - 1};

    gw_assert(buf_append(out, *copied, (size_t)(fit->from - *copied)) &&
              buf_append(out, fit->to, (size_t)(element->end - fit->to)) &&
              buf_printf(out, " id=\"%s\"%.*s&%s%.*s", id + 1, (int)element->open.n,
                         element->open.p, id + 1, (int)element->close.n, element->close.p));
    *copied = element->end;
}

/* -- the pass over a file ---------------------------------------------------------------------- */

static bool ends_name(char c)
{
    return is_blank(c) || c == '=' || c == '>' || c == '/';
}

/* At an attribute's name. */
static void read_attribute(struct svg_reader *r, struct attribute *a, const char *from)
{
    struct svg_tag tag;
    *a = (struct attribute){.name = {r->at, 0}, .pos = svg_pos(r), .from = from, .constant = true};
    while (r->at < r->end && !ends_name(*r->at))
        svg_advance(r, r->at + 1);
    a->name.n = (size_t)(r->at - a->name.p);
    while (r->at < r->end && (is_blank(*r->at) || *r->at == '='))
        svg_advance(r, r->at + 1);
    if (r->at < r->end && (*r->at == '"' || *r->at == '\'')) {
        char quote = *r->at;
        svg_advance(r, r->at + 1);
        a->value.p = r->at;
        while (r->at < r->end && *r->at != quote) {
            if (svg_read_tag(r, &tag))
                a->constant = false;
            else
                svg_advance(r, r->at + 1);
        }
        a->value.n = (size_t)(r->at - a->value.p);
        if (r->at < r->end)
            svg_advance(r, r->at + 1);
    }
    a->to = r->at;
}

/* At "<" of a start tag; moves past its ">". Attributes past MAX_ATTRIBUTES aren't looked at. */
static void read_element(struct svg_reader *r, struct element *element)
{
    struct svg_tag tag;
    struct attribute ignored;
    *element = (struct element){.pos = svg_pos(r), .name = {r->at + 1, 0}};
    svg_advance(r, r->at + 1);
    while (r->at < r->end && !ends_name(*r->at))
        svg_advance(r, r->at + 1);
    element->name.n = (size_t)(r->at - element->name.p);
    while (r->at < r->end && *r->at != '>') {
        const char *from = r->at;
        while (r->at < r->end && is_blank(*r->at))
            svg_advance(r, r->at + 1);
        if (r->at == r->end || *r->at == '>')
            break;
        if (svg_read_tag(r, &tag))
            continue;
        if (*r->at == '/' || *r->at == '=') {
            svg_advance(r, r->at + 1);
            continue;
        }
        read_attribute(
            r, element->count < MAX_ATTRIBUTES ? &element->attributes[element->count++] : &ignored,
            from);
    }
    element->end = r->at > element->name.p && r->at[-1] == '/' ? r->at - 1 : r->at;
    element->open = r->open;
    element->close = r->close;
    if (r->at < r->end)
        svg_advance(r, r->at + 1);
}

/* A reader at an attribute's value. */
static struct svg_reader reader_of(const struct svg_reader *r, const struct attribute *a)
{
    struct svg_reader at = *r;
    at.line = a->pos.line;
    at.line_at = a->name.p - (a->pos.column - 1);
    at.at = a->name.p;
    svg_advance(&at, a->value.p);
    return at;
}

/* -- values in attributes and style sheets ----------------------------------------------------- */

static void note_in_markup(struct svg_source *source, struct str name)
{
    for (size_t i = 0; i < source->in_markup_count; i++)
        if (str_eq(source->in_markup[i], name))
            return;
    for (size_t i = 0; i < source->fields->count; i++)
        if (str_eq(source->fields->names[i], name))
            source->in_markup[source->in_markup_count++] = name;
}

/* {{.}} is the value of a section around it; in a partial that may be one of whoever includes it.
 */
static void note_contexts(struct svg_source *source, const struct svg_file *file)
{
    struct svg_reader r;
    struct svg_tag tag;
    source->all_in_markup |= file != source->files;
    svg_reader_init(&r, file->path, file->text);
    while (r.at < r.end) {
        if (!svg_read_tag(&r, &tag))
            svg_advance(&r, r.at + 1);
        else if (tag.sigil == '#')
            note_in_markup(source, tag.name);
    }
}

static void note_tags(struct svg_source *source, const struct svg_file *file, struct svg_reader r,
                      const char *end)
{
    struct svg_tag tag = {.sigil = ' '};
    r.end = end;
    while (r.at < r.end) {
        if (!svg_read_tag(&r, &tag))
            svg_advance(&r, r.at + 1);
        else if (str_eq(tag.name, STR(".")))
            note_contexts(source, file);
        else
            note_in_markup(source, tag.name);
        source->all_in_markup |= tag.sigil == '>' || tag.sigil == '<';
    }
}

/* Attributes that are prose to librsvg: nothing is opened or drawn of them. */
static bool is_prose(struct str name)
{
    return name.n >= 5 && (memcmp(name.p, "aria-", 5) == 0 || memcmp(name.p, "data-", 5) == 0);
}

static void check_element(struct svg_source *source, const struct svg_file *file,
                          const struct svg_reader *r, const struct element *element)
{
    if (str_eq(element->name, STR("textPath")))
        diag_warning(source->diag, element->pos, "<textPath> isn't drawn");
    if (str_eq(element->name, STR("a")))
        diag_error(source->diag, element->pos,
                   "links can't be drawn: the PDF that cairo writes of <a> is damaged");
    for (size_t i = 0; i < element->count; i++) {
        const struct attribute *a = &element->attributes[i];
        check_property(source, a->name, a->value, a->pos);
        if (!a->constant && !is_prose(a->name))
            note_tags(source, file, reader_of(r, a), a->value.p + a->value.n);
        if (str_eq(a->name, STR("style")) && a->value.n != 0)
            check_css(source, reader_of(r, a), a->value.p + a->value.n);
        if (str_eq(element->name, STR("image")) &&
            (str_eq(a->name, STR("href")) || str_eq(a->name, STR("xlink:href"))))
            check_picture(source, a);
    }
}

/* After the start tag of an element whose text matters. */
static void read_content(struct svg_source *source, const struct svg_file *file,
                         struct svg_reader *r, const struct element *element)
{
    const char *end = memmem(r->at, (size_t)(r->end - r->at), "</", 2);
    if (end == NULL)
        return;
    struct str text = {r->at, (size_t)(end - r->at)};
    if (str_eq(element->name, STR("style"))) {
        check_css(source, *r, end);
        note_tags(source, file, *r, end);
    } else if (source->title.n == 0 && memmem(text.p, text.n, r->open.p, r->open.n) == NULL &&
               memchr(text.p, '&', text.n) == NULL) {
        source->title = trim(text);
    }
    svg_advance(r, end);
}

void svg_markup_read(struct svg_source *source, struct svg_file *file)
{
    struct svg_reader r;
    struct svg_tag tag;
    struct element element;
    struct buf out; /* what the file is with gw:fit rewritten, up to `copied` */
    const char *copied = file->text.p;
    unsigned fits = 0;

    buf_init(&out, 2 * SVG_MAX_FILE);
    svg_reader_init(&r, file->path, file->text);
    while (r.at < r.end) {
        if (svg_read_tag(&r, &tag))
            continue;
        if (begins(&r, "<!--"))
            svg_skip_past(&r, "-->");
        else if (begins(&r, "<![CDATA["))
            svg_skip_past(&r, "]]>");
        else if (begins(&r, "<?") || begins(&r, "<!") || begins(&r, "</"))
            svg_skip_past(&r, ">");
        else if (*r.at == '<' && r.at + 1 < r.end && isalpha((unsigned char)r.at[1])) {
            read_element(&r, &element);
            check_element(source, file, &r, &element);
            const struct attribute *fit = attribute(&element, STR("gw:fit"));
            if (fit != NULL)
                rewrite(source, file, &element, fit, fits++, &out, &copied);
            if (str_eq(element.name, STR("style")) || str_eq(element.name, STR("title")))
                read_content(source, file, &r, &element);
        } else {
            svg_advance(&r, r.at + 1);
        }
    }
    gw_assert(buf_append(&out, copied, (size_t)(r.end - copied)));
    file->compiled = (struct str){h2o_strdup(source->pool, out.p, out.n).base, out.n};
    buf_fini(&out);
}
