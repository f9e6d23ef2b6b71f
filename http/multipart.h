/* multipart/form-data (RFC 7578, RFC 2046 section 5.1), incremental: bytes go in as they come, in
 * pieces of any size, events come out, the same whatever the pieces (but for where data is cut).
 * Part data is a view of what went in, never copied; the few bytes that may have begun a boundary
 * and did not are a view of the boundary itself. Pure: no memory but this struct, no clock, any
 * thread.
 *
 *     while ((event = multipart_next(multipart, &bytes)) != MULTIPART_MORE)
 *         ...                            until MULTIPART_ERROR
 */
#ifndef GW_HTTP_MULTIPART_H
#define GW_HTTP_MULTIPART_H

#include "base/base.h"

enum {
    MULTIPART_BOUNDARY_MAX = 70,   /* RFC 2046 */
    MULTIPART_HEAD_MAX = 8 * 1024, /* bytes of one part's header section */
    MULTIPART_NAME_MAX = 4 * 1024  /* bytes of a decoded field's or file's name */
};

enum multipart_event {
    MULTIPART_MORE, /* all bytes are used up */
    MULTIPART_PART, /* a part begins: part */
    MULTIPART_DATA, /* bytes of it, at least one: data */
    MULTIPART_END,  /* the part is whole */
    MULTIPART_DONE, /* the closing boundary was seen; what follows (epilogue) is ignored */
    MULTIPART_ERROR /* error: constant text; nothing else comes any more */
};

/* Valid until the call after MULTIPART_END. Names are UTF-8 (invalid bytes and NUL have become
 * U+FFFD), decoded in every form that browsers and clients send: quoted with %22 %0D %0A (WHATWG),
 * backslash escapes of quotes and backslashes, filename* (RFC 8187, though RFC 7578 forbids it),
 * which wins; RFC 2047 words are left alone. A path before the file's name is cut off
 * ("C:\x\y.txt" -> "y.txt"). Names may hold control characters, or be ".." */
struct multipart_part {
    struct str name;     /* of the field */
    struct str filename; /* "" may be a file whose name is empty: see is_file */
    bool is_file;        /* it has a filename parameter */
    struct str type;     /* Content-Type as it came, free of control characters; "" = none */
};

struct multipart {
    /* outputs of multipart_next() */
    struct multipart_part part;
    struct str data;
    const char *error;
    /* private: see multipart.c */
    uint8_t state;
    uint8_t delimiter_n;
    uint8_t matched; /* bytes of the delimiter that the input so far ends with */
    uint8_t assumed; /* how many of those were no bytes of the input */
    uint8_t again;   /* how far to go on from a byte like the delimiter's last */
    uint16_t head_n, line_at;
    char delimiter[4 + MULTIPART_BOUNDARY_MAX]; /* CR LF - - and the boundary */
    uint8_t skips[256];
    char head[MULTIPART_HEAD_MAX];
    char names[2][MULTIPART_NAME_MAX];
};

/* content_type: the request's. False: it isn't multipart/form-data with a valid boundary. */
bool multipart_init(struct multipart *multipart, struct str content_type);
/* Looks at *bytes, moves it past what was used. Call again until MULTIPART_MORE. */
enum multipart_event multipart_next(struct multipart *multipart, struct str *bytes);
/* At the body's end: whether the form was whole. */
bool multipart_finished(const struct multipart *multipart);

/* Reads multipart->head (head_n bytes that end with an empty line, every LF after a CR) into
 * multipart->part. Returns NULL, or what is wrong with it. */
const char *multipart_head(struct multipart *multipart);

#endif
