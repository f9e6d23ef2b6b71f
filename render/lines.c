/* Blanks and newlines: which of them belong to the page, which only lay out the template.
 *
 * A tag other than a value that is alone on its line takes the whole line with it. Of a partial,
 * parent or block, the blanks before it are then the indentation of each line that comes in its
 * place. With inheritance (mustache/spec, ~inheritance) there is more to it:
 *
 * - a parent or a block may hold anything between its opening and closing tag and still be alone
 *   when the line has nothing before the first and nothing after the last;
 * - the text of a block inside a parent (an argument) loses the indentation it has there, that of
 *   its first line, and gets the one of the block whose place it takes;
 * - that block's indentation is the one of its default's first line when its tags have lines of
 *   their own, else the blanks before it.
 *
 * The specification leaves open what becomes of the newline when one of the two fills whole lines
 * and the other doesn't. Here the block decides: one that fills whole lines keeps doing so.
 *
 * Tokens are changed in place; nothing is added or removed. Recursion is as deep as parents nest,
 * at most MAX_NESTING. */
#include "render/render_internal.h"

struct lines {
    struct token *tokens;
    uint32_t count;
    const char *file;
    struct diag *diag;
};

static size_t leading_blanks(struct str text)
{
    size_t n = 0;
    while (n < text.n && (text.p[n] == ' ' || text.p[n] == '\t'))
        n++;
    return n;
}

static bool ends_line(const struct token *token)
{
    return token->tag == TAG_TEXT && token->text.n != 0 && token->text.p[token->text.n - 1] == '\n';
}

/* "\r\n", "\n" or "". */
static struct str newline_of(struct str text)
{
    size_t n = 0;
    if (text.n != 0 && text.p[text.n - 1] == '\n')
        n = text.n > 1 && text.p[text.n - 2] == '\r' ? 2 : 1;
    return (struct str){text.p + text.n - n, n};
}

/* Nothing but blanks, and perhaps a newline after them. */
static bool is_blank_text(const struct token *token)
{
    return token->tag == TAG_TEXT &&
           leading_blanks(token->text) + newline_of(token->text).n == token->text.n;
}

/* The blanks before the first line that has anything else, of those that begin in [from, to).
 * {NULL, 0} when no line does. */
static struct str intrinsic_indent(const struct lines *l, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        const struct token *token = &l->tokens[i];
        if (!token->line_start || (is_blank_text(token) && (ends_line(token) || i + 1 == to)))
            continue;
        if (token->tag != TAG_TEXT)
            return STR("");
        return (struct str){token->text.p, leading_blanks(token->text)};
    }
    return (struct str){NULL, 0};
}

/* Takes the indentation off every line of [from, to). Arguments in there lose the rest of theirs
 * when their turn comes. */
static void dedent(struct lines *l, uint32_t from, uint32_t to, struct str indent)
{
    if (indent.n == 0)
        return;
    for (uint32_t i = from; i < to; i++) {
        struct token *token = &l->tokens[i];
        if (token->tag != TAG_TEXT || !token->line_start)
            continue;
        size_t n = 0;
        while (n < indent.n && n < token->text.n && token->text.p[n] == indent.p[n])
            n++;
        token->text.p += n;
        token->text.n -= n;
    }
}

static void swap_tokens(struct lines *l, uint32_t a, uint32_t b)
{
    struct token kept = l->tokens[a];
    l->tokens[a] = l->tokens[b];
    l->tokens[b] = kept;
}

/* A block that fills one line takes that line's blanks and newline inside, so that all of the line
 * is its default. */
static void widen_block(struct lines *l, uint32_t first, uint32_t open, uint32_t close,
                        uint32_t last)
{
    struct token *tokens = l->tokens;

    tokens[open].alone = true;
    tokens[open].line_start = false;
    if (first != open)
        tokens[open].indent = tokens[first].text;
    if (last != close)
        tokens[open].eol = newline_of(tokens[last].text);
    swap_tokens(l, first, open);
    swap_tokens(l, close, last);
    tokens[first].match = last;
    tokens[last].match = first;
    tokens[first + 1].line_start = true;
}

/* A tag, or a parent with all inside it, that stands alone: its line goes. */
static void take_line(struct lines *l, uint32_t first, uint32_t open, uint32_t close, uint32_t last)
{
    struct token *token = &l->tokens[open];
    struct str before = first != open ? l->tokens[first].text : STR("");
    struct str newline = last != close ? newline_of(l->tokens[last].text) : STR("");

    token->alone = true;
    token->indent = before;
    if (token->tag == TAG_BLOCK) {
        struct str inside = intrinsic_indent(l, open + 1, token->match);
        if (inside.p != NULL)
            token->indent = inside;
    }
    if (token->tag == TAG_CLOSE && l->tokens[token->match].tag == TAG_BLOCK)
        l->tokens[token->match].eol = newline;
    l->tokens[first].line_start = token->line_start = false;
    if (first != open)
        l->tokens[first].text.n = 0;
    if (last != close)
        l->tokens[last].text.n = 0;
}

static void settle(struct lines *l, uint32_t from, uint32_t to);

static void settle_argument(struct lines *l, uint32_t open, uint32_t close)
{
    struct token *block = &l->tokens[open], *last = &l->tokens[close - 1];
    uint32_t from = open + 1;

    if (from < close && is_blank_text(&l->tokens[from]) && ends_line(&l->tokens[from])) {
        l->tokens[from++].text.n = 0;
        block->alone = true;
    }
    bool close_begins_line = l->tokens[close].line_start;
    if (from < close && last->line_start && is_blank_text(last) && !ends_line(last)) {
        last->text.n = 0;
        last->line_start = false;
        close_begins_line = true;
    }
    block->whole = close_begins_line || from == close;
    if (block->alone)
        dedent(l, from, close, intrinsic_indent(l, from, close));
    l->tokens[close].line_start = false;
    settle(l, from, close);
}

/* Inside a parent only its blocks count. */
static void settle_parent(struct lines *l, uint32_t open, uint32_t close)
{
    for (uint32_t i = open + 1; i < close; i++) {
        struct token *token = &l->tokens[i];
        if (token->tag == TAG_BLOCK)
            settle_argument(l, i, token->match);
        else if (token->tag != TAG_TEXT && token->tag != TAG_SILENT)
            diag_warning(l->diag, (struct pos){l->file, token->line, token->column},
                         "ignored: only {{$blocks}} count inside {{<%.*s}}",
                         (int)l->tokens[open].text.n, l->tokens[open].text.p);
        if (token->match > i)
            i = token->match;
    }
}

/* One line, tokens [first, last]. */
static void settle_line(struct lines *l, uint32_t first, uint32_t last, bool at_end)
{
    struct token *tokens = l->tokens;
    uint32_t open = first, close = last;

    if (!tokens[first].line_start || !(ends_line(&tokens[last]) || at_end))
        return;
    if (open < last && is_blank_text(&tokens[open]))
        open++;
    if (close > open && is_blank_text(&tokens[close]))
        close--;
    const struct token *token = &tokens[open];
    switch ((enum tag)token->tag) {
    case TAG_TEXT:
    case TAG_VALUE:
    case TAG_RAW:
        break;
    case TAG_BLOCK:
        if (token->match == close) {
            widen_block(l, first, open, close, last);
            break;
        }
        __attribute__((fallthrough));
    default:
        if (open == close || (token->tag == TAG_PARENT && token->match == close))
            take_line(l, first, open, close, last);
        break;
    }
}

/* The lines of [from, to), parents as if they were one tag. */
static void settle(struct lines *l, uint32_t from, uint32_t to)
{
    for (uint32_t first = from, next; first < to; first = next) {
        for (next = first; next < to && !ends_line(&l->tokens[next]); next++)
            if (l->tokens[next].tag == TAG_PARENT)
                next = l->tokens[next].match;
        bool at_end = next >= to;
        uint32_t last = at_end ? to - 1 : next;
        next = last + 1;
        settle_line(l, first, last, at_end && to == l->count);
    }
    for (uint32_t i = from; i < to; i++) {
        if (l->tokens[i].tag == TAG_PARENT) {
            settle_parent(l, i, l->tokens[i].match);
            i = l->tokens[i].match;
        }
    }
}

void settle_lines(struct tokens *tokens, const char *file, struct diag *diag)
{
    struct lines l = {tokens->tokens, (uint32_t)tokens->count, file, diag};
    settle(&l, 0, l.count);
}
