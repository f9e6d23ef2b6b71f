/* From a template's text to tokens: tags are read here, by the delimiters in force, and what opens
 * is matched with what closes, so that later passes need no error handling of their own.
 *
 * Text is cut at each newline. It costs nothing later (neighbouring texts become one instruction
 * again) and makes "the tag is alone on its line" a question about neighbours. */
#include <stdarg.h>
#include <stdlib.h>
#include "render/render_internal.h"

/* A file that is no template at all would else drown the others' errors. */
enum { MAX_ERRORS = 20 };

struct scanner {
    struct tokens *tokens;
    const char *file;
    struct diag *diag;
    const char *at, *end;
    struct str open_delimiter, close_delimiter;
    bool line_start; /* the next token begins a line */
    unsigned failures;
    uint32_t line;
    const char *line_at;
    uint32_t open[MAX_NESTING]; /* tokens that wait for their close */
    unsigned depth;
};

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

static const char *find(const char *from, const char *end, struct str what)
{
    return memmem(from, (size_t)(end - from), what.p, what.n);
}

/* For messages: a name cut to a length that a line can show. */
#define SHOWN(name) (int)((name).n > 60 ? 60 : (name).n), (name).p

static char sigil(const struct token *token)
{
    static const char sigils[] = {
        [TAG_SECTION] = '#', [TAG_INVERTED] = '^', [TAG_BLOCK] = '$', [TAG_PARENT] = '<'};
    return sigils[token->tag];
}

static struct pos pos_of(const struct scanner *s, const struct token *token)
{
    return (struct pos){s->file, token->line, token->column};
}

static struct token *add_token(struct scanner *s, enum tag tag, struct str text)
{
    struct tokens *tokens = s->tokens;
    if (tokens->count == tokens->capacity) {
        size_t capacity = tokens->capacity ? tokens->capacity * 2 : 256;
        struct token *grown = realloc(tokens->tokens, capacity * sizeof(*grown));
        gw_assert(grown != NULL);
        tokens->tokens = grown;
        tokens->capacity = capacity;
    }
    struct token *token = &tokens->tokens[tokens->count++];
    *token = (struct token){.tag = (uint8_t)tag,
                            .line_start = s->line_start,
                            .line = s->line,
                            .column = (uint32_t)(s->at - s->line_at) + 1,
                            .text = text};
    s->line_start = false;
    return token;
}

static void add_text(struct scanner *s, const char *to)
{
    while (s->at < to) {
        const char *newline = memchr(s->at, '\n', (size_t)(to - s->at));
        const char *stop = newline != NULL ? newline + 1 : to;
        add_token(s, TAG_TEXT, (struct str){s->at, (size_t)(stop - s->at)});
        s->at = stop;
        if (newline != NULL) {
            s->line_start = true;
            s->line++;
            s->line_at = stop;
        }
    }
}

/* Moves past a tag, which may hold newlines of its own. */
static void skip_tag(struct scanner *s, const char *to)
{
    const char *newline;
    while ((newline = memchr(s->at, '\n', (size_t)(to - s->at))) != NULL) {
        s->at = s->line_at = newline + 1;
        s->line++;
    }
    s->at = to;
}

static __attribute__((format(printf, 3, 4))) void fail(struct scanner *s, const struct token *token,
                                                       const char *format, ...)
{
    char message[256];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    diag_error(s->diag, pos_of(s, token), "%s", message);
    s->failures++;
}

static void check_name(struct scanner *s, const struct token *token)
{
    struct str name = token->text;
    bool path = token->dynamic || (token->tag != TAG_PARTIAL && token->tag != TAG_PARENT &&
                                   token->tag != TAG_BLOCK && token->tag != TAG_CLOSE);
    size_t parts = 1;

    if (name.n == 0) {
        fail(s, token, "tag without a name");
        return;
    }
    for (size_t i = 0; i < name.n; i++) {
        if (is_blank(name.p[i])) {
            fail(s, token, "blank inside the name \"%.*s\"", SHOWN(name));
            return;
        }
    }
    if (!path || str_eq(name, STR(".")))
        return;
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] != '.')
            continue;
        parts++;
        if (i == 0 || i + 1 == name.n || name.p[i + 1] == '.') {
            fail(s, token, "empty part in the name \"%.*s\"", SHOWN(name));
            return;
        }
    }
    if (parts > MAX_NAME_PARTS)
        fail(s, token, "name of more than %d parts", MAX_NAME_PARTS);
}

static void open_tag(struct scanner *s, struct token *token)
{
    if (s->depth == MAX_NESTING) {
        fail(s, token, "tags nested more than %d deep", MAX_NESTING);
        s->at = s->end; /* what follows would not match */
        s->depth = 0;
        return;
    }
    s->open[s->depth++] = (uint32_t)(token - s->tokens->tokens);
}

static bool closes(const struct token *opener, const struct token *closer)
{
    struct str name = closer->text;
    if (opener->dynamic) {
        if (name.n == 0 || name.p[0] != '*')
            return false;
        name = trim(name.p + 1, name.p + name.n);
    }
    return str_eq(opener->text, name);
}

static void close_tag(struct scanner *s, struct token *token)
{
    struct token *tokens = s->tokens->tokens;
    unsigned depth = s->depth;

    while (depth > 0 && !closes(&tokens[s->open[depth - 1]], token))
        depth--;
    if (s->depth == 0) {
        fail(s, token, "{{/%.*s}} closes nothing", SHOWN(token->text));
    } else if (depth != s->depth) {
        struct token *last = &tokens[s->open[s->depth - 1]];
        fail(s, token, "{{/%.*s}} found, expected {{/%s%.*s}} for line %u", SHOWN(token->text),
             last->dynamic ? "*" : "", SHOWN(last->text), last->line);
    }
    if (depth > 0) { /* else it is as if the tag weren't there */
        s->depth = depth - 1;
        token->match = s->open[s->depth];
        tokens[token->match].match = (uint32_t)(token - tokens);
    }
}

/* {{=<% %>=}} */
static void set_delimiters(struct scanner *s, const struct token *token, struct str content)
{
    const char *end = content.p + content.n, *p = content.p;
    while (p < end && !is_blank(*p))
        p++;
    struct str left = {content.p, (size_t)(p - content.p)}, right = trim(p, end);
    bool good = left.n != 0 && right.n != 0 && memchr(content.p, '=', content.n) == NULL;
    for (size_t i = 0; good && i < right.n; i++)
        good = !is_blank(right.p[i]);
    if (!good) {
        fail(s, token, "bad delimiters, expected {{=left right=}}");
        return;
    }
    s->open_delimiter = left;
    s->close_delimiter = right;
}

/* What stands between a tag's sign and its end, by kind; the scanner is already past the tag. */
static void fill_token(struct scanner *s, struct token *token, char sign, struct str content)
{
    if (sign == '=') {
        set_delimiters(s, token, content);
        return;
    }
    if (token->tag == TAG_SILENT)
        return;
    if ((token->tag == TAG_PARTIAL || token->tag == TAG_PARENT) && content.n != 0 &&
        content.p[0] == '*') {
        token->dynamic = true;
        content = trim(content.p + 1, content.p + content.n);
    }
    token->text = content;
    check_name(s, token);
    if (token->tag == TAG_CLOSE)
        close_tag(s, token);
    else if (token->tag == TAG_SECTION || token->tag == TAG_INVERTED || token->tag == TAG_BLOCK ||
             token->tag == TAG_PARENT)
        open_tag(s, token);
}

/* At an open delimiter. */
static void scan_tag(struct scanner *s)
{
    static const uint8_t kinds[128] = {
        ['#'] = TAG_SECTION, ['^'] = TAG_INVERTED, ['/'] = TAG_CLOSE, ['$'] = TAG_BLOCK,
        ['<'] = TAG_PARENT,  ['>'] = TAG_PARTIAL,  ['&'] = TAG_RAW,   ['!'] = TAG_SILENT,
        ['='] = TAG_SILENT,  ['{'] = TAG_RAW};
    struct token *token = add_token(s, TAG_VALUE, (struct str){NULL, 0});
    struct str close = s->close_delimiter;
    const char *from = s->at + s->open_delimiter.n;

    while (from < s->end && is_blank(*from))
        from++;
    unsigned char sign = from < s->end ? (unsigned char)*from : 0;
    if (sign < sizeof(kinds) && kinds[sign] != 0) {
        token->tag = kinds[sign];
        from++;
    }
    /* {{{x}}} and {{=x y=}} end with a sign before the delimiter */
    char last = sign == '{' ? '}' : sign == '=' ? '=' : 0;
    const char *to = find(from, s->end, close);
    while (last != 0 && to != NULL && (to == from || to[-1] != last))
        to = find(to + 1, s->end, close);
    if (to == NULL) {
        char sign_text[2] = {last, 0};
        fail(s, token, "tag is never closed, no \"%s%.*s\" follows", sign_text, SHOWN(close));
        s->at = s->end;
        return;
    }
    skip_tag(s, to + close.n);
    fill_token(s, token, (char)sign, trim(from, last != 0 ? to - 1 : to));
}

bool scan_template(struct tokens *tokens, const char *file, struct str text, struct diag *diag)
{
    struct scanner s = {.tokens = tokens,
                        .file = file,
                        .diag = diag,
                        .at = text.p,
                        .end = text.p + text.n,
                        .open_delimiter = STR("{{"),
                        .close_delimiter = STR("}}"),
                        .line_start = true,
                        .line = 1,
                        .line_at = text.p};

    tokens->count = 0;
    while (s.at < s.end && s.failures < MAX_ERRORS) {
        const char *tag = find(s.at, s.end, s.open_delimiter);
        add_text(&s, tag != NULL ? tag : s.end);
        if (tag != NULL)
            scan_tag(&s);
    }
    while (s.depth > 0 && s.failures < MAX_ERRORS) {
        const struct token *token = &tokens->tokens[s.open[--s.depth]];
        fail(&s, token, "{{%c%s%.*s}} is never closed", sigil(token), token->dynamic ? "*" : "",
             SHOWN(token->text));
    }
    return s.failures == 0;
}
