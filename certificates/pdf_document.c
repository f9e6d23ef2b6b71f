/* A tokenizer, and on it the few structures that lead from a file's last line to its first page.
 * Nothing is kept but the newest trailer: an entry of a cross-reference table is found by counting
 * twenty bytes an entry, so looking again costs less than remembering.
 *
 * Two rules end every walk: a token is never empty, and /Prev leads backwards. */
#include "certificates/pdf_document.h"
#include "base/text.h"

enum {
    ENTRY = 20,         /* bytes of one entry of a cross-reference table, section 7.5.4 */
    OBJECTS = 8388607,  /* more than readers take, ISO 32000-1 annex C */
    REVISIONS = 64,     /* tables that are looked through */
    TAIL = 1024,        /* where "startxref" is looked for, bytes from the end */
    NESTING = 64,       /* brackets in brackets */
    REFERENCES_MAX = 16 /* that lead to a reference again */
};

/* -- tokens ----------------------------------------------------------------------------------- */

/* White space and delimiters, section 7.2.2: what ends a token. */
static const bool ends_token[256] = {
    [' '] = true, ['\n'] = true, ['\r'] = true, ['\t'] = true, ['\f'] = true, ['\0'] = true,
    ['('] = true, [')'] = true,  ['<'] = true,  ['>'] = true,  ['['] = true,  [']'] = true,
    ['{'] = true, ['}'] = true,  ['/'] = true,  ['%'] = true};

static bool is_regular(char c)
{
    return !ends_token[(uint8_t)c];
}

static const char *skip_blanks(const char *p, const char *end)
{
    while (p < end && (pdf_is_space(*p) || *p == '%')) {
        if (*p == '%')
            while (p < end && *p != '\n' && *p != '\r')
                p++;
        else
            p++;
    }
    return p;
}

static const char *skip_regular(const char *p, const char *end)
{
    while (p < end && is_regular(*p))
        p++;
    return p;
}

static const char *string_end(const char *p, const char *end)
{
    size_t depth = 0;
    for (; p < end; p++) {
        if (*p == '(')
            depth++;
        else if (*p == ')' && --depth == 0)
            return p + 1;
        else if (*p == '\\' && p + 1 < end)
            p++;
    }
    return NULL;
}

/* Behind the token at p, which is not blank. NULL: there is no such token. */
static const char *token_end(const char *p, const char *end)
{
    const char *q;
    switch (*p) {
    case '(':
        return string_end(p, end);
    case '<':
        if (end - p >= 2 && p[1] == '<')
            return p + 2;
        for (q = p + 1; q < end && (hex_value(*q) >= 0 || pdf_is_space(*q)); q++)
            ;
        return q < end && *q == '>' ? q + 1 : NULL;
    case '>':
        return end - p >= 2 && p[1] == '>' ? p + 2 : NULL;
    case '[':
    case ']':
        return p + 1;
    case '/':
        return skip_regular(p + 1, end);
    default:
        q = skip_regular(p, end);
        return q > p ? q : NULL;
    }
}

/* Behind a reference when one begins at p, else NULL. */
static const char *reference_end(const char *p, const char *end)
{
    for (int i = 0; i < 2; i++) {
        const char *digits = p;
        while (p < end && is_digit(*p))
            p++;
        if (p == digits)
            return NULL;
        const char *blank = p;
        p = skip_blanks(p, end);
        if (p == blank)
            return NULL;
    }
    return p < end && *p == 'R' && skip_regular(p, end) == p + 1 ? p + 1 : NULL;
}

/* Behind the value at p. Brackets are counted, not descended into; which kind is open on which
 * level stands in a bit each. */
static const char *value_end(const char *p, const char *end)
{
    uint64_t arrays = 0;
    size_t depth = 0;
    if (is_digit(*p)) {
        const char *behind = reference_end(p, end);
        if (behind)
            return behind;
    }
    while (p < end) {
        const char *behind = token_end(p, end);
        if (!behind)
            return NULL;
        bool two = behind - p == 2; /* "<<" and ">>", for "<" and ">" alone are none */
        if (*p == '[' || (*p == '<' && two && p[1] == '<')) {
            if (depth == NESTING)
                return NULL;
            arrays = arrays << 1 | (*p == '[');
            depth++;
        } else if (*p == ']' || *p == '>') {
            if (depth == 0 || (arrays & 1) != (*p == ']'))
                return NULL;
            arrays >>= 1;
            depth--;
        }
        if (depth == 0)
            return behind;
        p = skip_blanks(behind, end);
    }
    return NULL;
}

/* -- values ----------------------------------------------------------------------------------- */

struct str pdf_value_next(struct str *inside)
{
    struct str nothing = {NULL, 0};
    if (inside->n == 0)
        return nothing;
    const char *end = inside->p + inside->n, *p = skip_blanks(inside->p, end);
    const char *behind = p < end ? value_end(p, end) : NULL;
    if (!behind) {
        *inside = nothing;
        return nothing;
    }
    *inside = (struct str){behind, (size_t)(end - behind)};
    return (struct str){p, (size_t)(behind - p)};
}

static struct str unwrapped(struct str value, const char *open, const char *close, size_t n)
{
    if (value.n < 2 * n || memcmp(value.p, open, n) != 0 ||
        memcmp(value.p + value.n - n, close, n) != 0)
        return (struct str){NULL, 0};
    return (struct str){value.p + n, value.n - 2 * n};
}

struct str pdf_value_dictionary(struct str value)
{
    return unwrapped(value, "<<", ">>", 2);
}

struct str pdf_value_array(struct str value)
{
    return unwrapped(value, "[", "]", 1);
}

struct str pdf_value_get(struct str dictionary, struct str key)
{
    while (dictionary.n != 0) {
        struct str name = pdf_value_next(&dictionary), value = pdf_value_next(&dictionary);
        if (value.n == 0 || name.p[0] != '/')
            break;
        if (str_eq((struct str){name.p + 1, name.n - 1}, key))
            return value;
    }
    return (struct str){NULL, 0};
}

/* Takes digits off the front, blanks before them too. */
static bool take_unsigned(struct str *text, size_t max, size_t *number_r)
{
    size_t i = 0, number = 0;
    while (i < text->n && pdf_is_space(text->p[i]))
        i++;
    size_t digits = i;
    for (; i < text->n && is_digit(text->p[i]); i++) {
        size_t digit = (size_t)(text->p[i] - '0');
        if (digit > max || number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    if (i == digits)
        return false;
    *text = (struct str){text->p + i, text->n - i};
    *number_r = number;
    return true;
}

bool pdf_value_unsigned(struct str value, size_t max, size_t *number_r)
{
    return value.n != 0 && take_unsigned(&value, max, number_r) && value.n == 0;
}

unsigned pdf_value_reference(struct str value)
{
    size_t number;
    if (value.n == 0 || value.p[value.n - 1] != 'R' || !take_unsigned(&value, OBJECTS, &number))
        return 0;
    return (unsigned)number;
}

/* -- cross-reference tables -------------------------------------------------------------------- */

static bool take_word(struct str *text, struct str word)
{
    if (text->n < word.n || memcmp(text->p, word.p, word.n) != 0)
        return false;
    *text = (struct str){text->p + word.n, text->n - word.n};
    return true;
}

static void take_blanks(struct str *text)
{
    while (text->n != 0 && pdf_is_space(text->p[0]))
        *text = (struct str){text->p + 1, text->n - 1};
}

struct table {
    bool listed;     /* `number` is in it */
    size_t object;   /* where it is; 0 = it is free, or of another generation */
    struct str rest; /* behind "trailer" */
};

/* Reads the table at `at`, and of its entries the one of object `number`. False: there is none. */
static bool read_table(struct str bytes, size_t at, size_t number, struct table *table_r)
{
    struct str rest = {bytes.p + at, bytes.n - at};
    *table_r = (struct table){.listed = false};
    if (!take_word(&rest, STR("xref")))
        return false;
    for (;;) {
        size_t first, count, offset, generation;
        take_blanks(&rest);
        if (take_word(&rest, STR("trailer")))
            break;
        if (!take_unsigned(&rest, OBJECTS, &first) || !take_unsigned(&rest, OBJECTS, &count))
            return false;
        take_blanks(&rest);
        if (count > rest.n / ENTRY)
            return false;
        if (number >= first && number - first < count) {
            struct str entry = {rest.p + (number - first) * ENTRY, ENTRY};
            if (!take_unsigned(&entry, bytes.n, &offset) ||
                !take_unsigned(&entry, 65535, &generation))
                return false;
            take_blanks(&entry);
            table_r->listed = true;
            table_r->object = entry.n != 0 && entry.p[0] == 'n' && generation == 0 ? offset : 0;
        }
        rest = (struct str){rest.p + count * ENTRY, rest.n - count * ENTRY};
    }
    table_r->rest = rest;
    return true;
}

/* The trailer of the table at `at`: what is inside its brackets, and where the table before it is;
 * 0 = it is the first. */
static bool read_trailer(const struct table *table, size_t at, struct str *trailer_r,
                         size_t *prev_r)
{
    struct str rest = table->rest;
    *trailer_r = pdf_value_dictionary(pdf_value_next(&rest));
    *prev_r = 0;
    struct str prev = pdf_value_get(*trailer_r, STR("Prev"));
    if (prev.n != 0 && (at == 0 || !pdf_value_unsigned(prev, at - 1, prev_r)))
        return false;
    return trailer_r->n != 0 && pdf_value_get(*trailer_r, STR("XRefStm")).n == 0;
}

struct str pdf_document_object(const struct pdf_document *document, unsigned number)
{
    struct str nothing = {NULL, 0}, bytes = document->bytes;
    struct str trailer;
    struct table table;
    if (number == 0 || number >= document->size)
        return nothing;
    size_t at = document->xref;
    for (int i = 0;; i++) {
        if (i == REVISIONS || at == 0 || !read_table(bytes, at, number, &table))
            return nothing;
        if (table.listed)
            break;
        if (!read_trailer(&table, at, &trailer, &at))
            return nothing;
    }
    size_t found, generation;
    struct str rest = {bytes.p + table.object, bytes.n - table.object};
    if (table.object == 0 || !take_unsigned(&rest, OBJECTS, &found) || found != number ||
        !take_unsigned(&rest, 65535, &generation) || generation != 0)
        return nothing;
    take_blanks(&rest);
    return take_word(&rest, STR("obj")) ? pdf_value_next(&rest) : nothing;
}

struct str pdf_document_resolve(const struct pdf_document *document, struct str value)
{
    unsigned number;
    for (int i = 0; (number = pdf_value_reference(value)) != 0; i++) {
        if (i == REFERENCES_MAX)
            return (struct str){NULL, 0};
        value = pdf_document_object(document, number);
    }
    return value;
}

/* The number behind the last "startxref". */
static bool find_startxref(struct str bytes, size_t *at_r)
{
    struct str word = STR("startxref");
    size_t last = bytes.n < word.n ? 0 : bytes.n - word.n, from = last > TAIL ? last - TAIL : 0;
    for (size_t i = last; i > from; i--)
        if (memcmp(bytes.p + i, word.p, word.n) == 0) {
            struct str rest = {bytes.p + i + word.n, bytes.n - i - word.n};
            return take_unsigned(&rest, bytes.n, at_r);
        }
    return false;
}

bool pdf_document_open(struct str bytes, struct pdf_document *document_r, const char **error_r)
{
    struct pdf_document document = {.bytes = bytes};
    struct table table;
    size_t size, prev;
    *error_r = "is not a PDF";
    if (bytes.n < 8 || memcmp(bytes.p, "%PDF-", 5) != 0)
        return false;
    *error_r = "has no cross-reference table where it says";
    if (!find_startxref(bytes, &document.xref) || document.xref == 0 ||
        !read_table(bytes, document.xref, 0, &table) ||
        !read_trailer(&table, document.xref, &document.trailer, &prev))
        return false;
    *error_r = "has a trailer that is broken";
    if (!pdf_value_unsigned(pdf_value_get(document.trailer, STR("Size")), OBJECTS, &size) ||
        size == 0)
        return false;
    document.size = (unsigned)size;
    *error_r = "is encrypted";
    if (pdf_value_get(document.trailer, STR("Encrypt")).n != 0)
        return false;
    *document_r = document;
    *error_r = NULL;
    return true;
}
