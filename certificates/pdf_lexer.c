/* The lexer of PDF syntax: one pass, no copies, no errors. A template that draws wrongly draws as
 * wrongly afterwards; all that must hold is that no bytes lead it astray. */
#include "certificates/pdf_lexer.h"
#include "base/text.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == '\0';
}

static bool is_delimiter(char c)
{
    return c == '(' || c == ')' || c == '<' || c == '>' || c == '[' || c == ']' || c == '{' ||
           c == '}' || c == '/' || c == '%';
}

static size_t regular_end(struct str text, size_t at)
{
    while (at < text.n && !is_space(text.p[at]) && !is_delimiter(text.p[at]))
        at++;
    return at;
}

static size_t literal_end(struct str text, size_t at)
{
    unsigned depth = 0;
    for (; at < text.n; at++) {
        if (text.p[at] == '\\')
            at++;
        else if (text.p[at] == '(')
            depth++;
        else if (text.p[at] == ')' && --depth == 0)
            return at + 1;
    }
    return text.n;
}

static bool is_number(struct str token)
{
    bool digits = false;
    for (size_t i = 0; i < token.n; i++) {
        if (token.p[i] >= '0' && token.p[i] <= '9')
            digits = true;
        else if (token.p[i] != '.' && token.p[i] != '-' && token.p[i] != '+')
            return false;
    }
    return digits;
}

enum pdf_token_kind pdf_next(struct pdf_lexer *lexer, struct str *token_r)
{
    struct str text = lexer->text;
    size_t from = lexer->at, to;
    enum pdf_token_kind kind;

    for (;; from++) {
        if (from < text.n && text.p[from] == '%') {
            while (from < text.n && text.p[from] != '\n' && text.p[from] != '\r')
                from++;
        }
        if (from >= text.n || !is_space(text.p[from]))
            break;
    }
    if (from >= text.n) {
        lexer->at = text.n;
        *token_r = (struct str){NULL, 0};
        return PDF_END;
    }
    char c = text.p[from], second = from + 1 < text.n ? text.p[from + 1] : '\0';
    if (c == '(') {
        kind = PDF_STRING;
        to = literal_end(text, from);
    } else if ((c == '<' && second == '<') || (c == '>' && second == '>')) {
        kind = c == '<' ? PDF_OPEN : PDF_CLOSE;
        to = from + 2;
    } else if (c == '<') {
        kind = PDF_STRING;
        const char *end = memchr(text.p + from, '>', text.n - from);
        to = end ? (size_t)(end - text.p) + 1 : text.n;
    } else if (c == '[' || c == ']') {
        kind = c == '[' ? PDF_OPEN : PDF_CLOSE;
        to = from + 1;
    } else if (c == '/') {
        kind = PDF_NAME;
        to = regular_end(text, from + 1);
    } else {
        to = regular_end(text, from);
        if (to == from)
            to++; /* a stray delimiter is a word of its own */
        kind = is_number((struct str){text.p + from, to - from}) ? PDF_NUMBER : PDF_WORD;
    }
    lexer->at = to;
    *token_r = (struct str){text.p + from, to - from};
    return kind;
}

/* The bytes of an image may hold "EI": the one that counts stands alone and is followed by what
 * looks like content, not by more bytes of an image. */
void pdf_skip_image(struct pdf_lexer *lexer)
{
    enum { LOOK_AHEAD = 12 };
    struct str text = lexer->text;

    for (size_t at = lexer->at + 1; at + 2 < text.n; at++) {
        if (text.p[at] != 'E' || text.p[at + 1] != 'I' || !is_space(text.p[at - 1]) ||
            !is_space(text.p[at + 2]))
            continue;
        size_t ahead = 0, end = at + 3 + LOOK_AHEAD < text.n ? at + 3 + LOOK_AHEAD : text.n;
        for (ahead = at + 3; ahead < end; ahead++)
            if ((unsigned char)text.p[ahead] > 0x7e ||
                (text.p[ahead] < ' ' && !is_space(text.p[ahead])))
                break;
        if (ahead == end) {
            lexer->at = at + 2;
            return;
        }
    }
    lexer->at = text.n;
}

static size_t read_hex(struct str token, uint8_t *bytes_r)
{
    size_t n = 0;
    int high = -1;
    for (size_t i = 1; i < token.n && token.p[i] != '>'; i++) {
        int digit = hex_value(token.p[i]);
        if (digit < 0)
            continue;
        if (high < 0) {
            high = digit;
        } else {
            bytes_r[n++] = (uint8_t)(high << 4 | digit);
            high = -1;
        }
    }
    if (high >= 0)
        bytes_r[n++] = (uint8_t)(high << 4);
    return n;
}

size_t pdf_string_read(struct str token, uint8_t *bytes_r)
{
    static const char escapes[] = "n\nr\rt\tb\bf\f";
    size_t n = 0, i = 1, end = token.n;

    if (token.n == 0 || token.p[0] == '<')
        return read_hex(token, bytes_r);
    if (end > 1 && literal_end(token, 0) == end && token.p[end - 1] == ')')
        end--;
    while (i < end) {
        char c = token.p[i++];
        if (c == '\r') { /* a line's end, whichever, is one \n */
            if (i < end && token.p[i] == '\n')
                i++;
            c = '\n';
        } else if (c == '\\') {
            if (i >= end)
                break;
            c = token.p[i++];
            if (c == '\n')
                continue;
            if (c == '\r') {
                if (i < end && token.p[i] == '\n')
                    i++;
                continue;
            }
            if (c >= '0' && c <= '7') {
                unsigned code = (unsigned)(c - '0');
                for (int k = 0; k < 2 && i < end && token.p[i] >= '0' && token.p[i] <= '7'; k++)
                    code = code * 8 + (unsigned)(token.p[i++] - '0');
                c = (char)code;
            } else {
                for (size_t k = 0; k + 1 < sizeof(escapes) - 1; k += 2)
                    if (escapes[k] == c) {
                        c = escapes[k + 1];
                        break;
                    }
            }
        }
        bytes_r[n++] = (uint8_t)c;
    }
    return n;
}

struct str pdf_name_read(struct str token, char *name_r)
{
    size_t n = 0;
    for (size_t i = 1; i < token.n; i++) {
        int high, low;
        if (token.p[i] == '#' && i + 2 < token.n && (high = hex_value(token.p[i + 1])) >= 0 &&
            (low = hex_value(token.p[i + 2])) >= 0) {
            name_r[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            name_r[n++] = token.p[i];
        }
    }
    return (struct str){name_r, n};
}

double pdf_number_read(struct str token)
{
    double value = 0, unit = 0;
    bool negative = false;
    for (size_t i = 0; i < token.n; i++) {
        char c = token.p[i];
        if (c == '-') {
            if (i != 0)
                break; /* "1-2": readers take what comes first */
            negative = true;
        } else if (c == '.') {
            if (unit != 0)
                break;
            unit = 1;
        } else if (c >= '0' && c <= '9') {
            if (unit != 0)
                value += (c - '0') * (unit /= 10);
            else if (value < 1e9)
                value = value * 10 + (c - '0');
        }
    }
    if (value > 1e9)
        value = 1e9;
    return negative ? -value : value;
}
