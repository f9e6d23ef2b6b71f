/* A chunk's data is moved as a whole; everything around it goes byte by byte through one state
 * machine, whose states are the places in the grammar of RFC 9112 section 7.1 where bytes can part.
 * Lines end in CRLF and nothing else. Blanks stand only where the grammar has BWS, which is not at
 * a line's end. */
#include "http/chunked.h"

#include "base/text.h"

enum state {
    SIZE,        /* before its first digit, or among them */
    BEFORE_SEMI, /* blanks after a size or a value: an extension must follow */
    BEFORE_NAME, /* of an extension */
    NAME,
    AFTER_NAME, /* blanks: '=' or ';' must follow */
    BEFORE_VALUE,
    VALUE,
    QUOTED,
    ESCAPED,
    AFTER_QUOTED,
    SIZE_FEED, /* after the carriage return of a size's line */
    DATA,
    DATA_RETURN,
    DATA_FEED,
    TRAILER, /* at a line's start */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_FEED,
    LAST_FEED,
    END,
    BAD
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* What may stand in a value: no control character but the tab. */
static bool is_text(char c)
{
    return ((unsigned char)c >= 0x20 && c != 0x7f) || c == '\t';
}

/* Where an extension is, or may begin. */
static enum state in_extension(enum state state, char c)
{
    switch (state) {
    case BEFORE_SEMI:
        return is_blank(c) ? BEFORE_SEMI : c == ';' ? BEFORE_NAME : BAD;
    case BEFORE_NAME:
        return is_blank(c) ? BEFORE_NAME : is_token_char(c) ? NAME : BAD;
    case NAME:
        if (c == '\r')
            return SIZE_FEED;
        if (is_token_char(c))
            return NAME;
        /* fall through */
    case AFTER_NAME:
        return is_blank(c) ? AFTER_NAME : c == '=' ? BEFORE_VALUE : c == ';' ? BEFORE_NAME : BAD;
    case BEFORE_VALUE:
        return is_blank(c) ? BEFORE_VALUE : c == '"' ? QUOTED : is_token_char(c) ? VALUE : BAD;
    case VALUE:
        if (is_token_char(c))
            return VALUE;
        /* fall through */
    case AFTER_QUOTED:
        return c == '\r' ? SIZE_FEED : is_blank(c) ? BEFORE_SEMI : c == ';' ? BEFORE_NAME : BAD;
    case QUOTED:
        return c == '"' ? AFTER_QUOTED : c == '\\' ? ESCAPED : is_text(c) ? QUOTED : BAD;
    default: /* ESCAPED */
        return is_text(c) ? QUOTED : BAD;
    }
}

static enum state in_size(struct chunked *chunked, char c)
{
    int digit = hex_value(c);
    if (digit >= 0) {
        if (++chunked->digits > CHUNKED_MAX_SIZE_DIGITS)
            return BAD;
        chunked->left = chunked->left << 4 | (uint64_t)digit;
        return SIZE;
    }
    if (chunked->digits == 0)
        return BAD;
    chunked->digits = 0;
    return c == '\r' ? SIZE_FEED : is_blank(c) ? BEFORE_SEMI : c == ';' ? BEFORE_NAME : BAD;
}

static enum state in_trailer(enum state state, char c)
{
    switch (state) {
    case TRAILER:
        return c == '\r' ? LAST_FEED : is_token_char(c) ? TRAILER_NAME : BAD;
    case TRAILER_NAME:
        return c == ':' ? TRAILER_VALUE : is_token_char(c) ? TRAILER_NAME : BAD;
    case TRAILER_VALUE:
        return c == '\r' ? TRAILER_FEED : is_text(c) ? TRAILER_VALUE : BAD;
    default: /* TRAILER_FEED */
        return c == '\n' ? TRAILER : BAD;
    }
}

static enum state step(struct chunked *chunked, char c)
{
    enum state state = chunked->state;
    switch (state) {
    case SIZE:
        return in_size(chunked, c);
    case SIZE_FEED:
        return c != '\n' ? BAD : chunked->left != 0 ? DATA : TRAILER;
    case DATA_RETURN:
        return c == '\r' ? DATA_FEED : BAD;
    case DATA_FEED:
        return c == '\n' ? SIZE : BAD;
    case TRAILER:
    case TRAILER_NAME:
    case TRAILER_VALUE:
    case TRAILER_FEED:
        if (++chunked->trailers > CHUNKED_MAX_TRAILERS)
            return BAD;
        return in_trailer(state, c);
    case LAST_FEED:
        return c == '\n' ? END : BAD;
    default:
        if (++chunked->extensions > CHUNKED_MAX_EXTENSIONS)
            return BAD;
        return in_extension(state, c);
    }
}

enum chunked_verdict chunked_decode(struct chunked *chunked, char *p, size_t *n, size_t *used_r)
{
    size_t from = 0, to = 0;
    gw_assert(chunked->state < END);
    while (from < *n && chunked->state < END) {
        if (chunked->state != DATA) {
            chunked->state = (uint8_t)step(chunked, p[from++]);
            continue;
        }
        size_t part = *n - from < chunked->left ? *n - from : (size_t)chunked->left;
        if (from != to)
            memmove(p + to, p + from, part);
        from += part, to += part;
        chunked->left -= part;
        if (chunked->left == 0)
            chunked->state = DATA_RETURN;
    }
    *n = to;
    *used_r = from;
    return chunked->state == END ? CHUNKED_END : chunked->state == BAD ? CHUNKED_BAD : CHUNKED_MORE;
}
