/* What compiling and expanding share: the characters of a URL. */
#ifndef GW_PAGES_EXPAND_INTERNAL_H
#define GW_PAGES_EXPAND_INTERNAL_H

#include "base/text.h"
#include "pages/expand.h"

/* RFC 6570, appendix A. */
struct expand_operation {
    char sign;
    char first;     /* before the expression's first defined variable; 0 = nothing */
    char separator; /* before the others */
    bool named;     /* sends key=value */
    bool if_empty;  /* ... and the '=' of an empty value too */
    bool may_lack;  /* does without a part's value, as it does without a request's */
};
enum { EXPAND_OPERATIONS = 6 };
extern const struct expand_operation expand_operations[EXPAND_OPERATIONS];

/* RFC 3986 section 2.3, by byte. */
extern const bool expand_unreserved[256];

static inline bool expand_is_unreserved(char c)
{
    return expand_unreserved[(unsigned char)c];
}

/* Whether a path segment means "here" or "up", its dots encoded or not. Some servers strip
 * ";parameters" before they look, so these don't count. */
bool expand_is_dot_segment(struct str segment);

/* It ends a segment as well: servers that decode first and then look for ".." (nginx does) would go
 * up there. A backslash is a slash to some. */
static inline bool expand_is_encoded_slash(const char *p, const char *end)
{
    int byte = percent_byte(p, end);
    return byte == '/' || byte == '\\';
}

/* What ends a header's line or a C string: CR, LF, NUL. */
bool expand_has_line_end(struct str text);

#endif
