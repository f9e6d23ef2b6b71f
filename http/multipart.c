/* Where the parts of a form begin and end.
 *
 * All that costs time is the search for the delimiter, CR LF "--" boundary, in the files' bytes. It
 * is Horspool's: look at the byte where the delimiter would end; whatever it is, a table tells how
 * far the delimiter can move at least. A boundary is 30 to 60 bytes, so one byte of about 40 is
 * looked at, and what the data is made of matters little.
 *
 * A boundary can't hold a CR. So when a piece of input ends within what may be a delimiter, that
 * begins at the piece's last CR, and how many bytes matched is all there is to keep: the bytes
 * themselves are the delimiter's. For the same reason a failed match never hides another one.
 *
 * The line end before the first delimiter of a body and before one that follows a head (a part
 * without a body, not even an empty one: RFC 2046 section 5.1.1, body-part) needn't be there: these
 * are searched with CR LF assumed. */
#include "http/multipart_internal.h"

enum state {
    PREAMBLE,
    DELIMITER, /* right after one */
    CLOSING,   /* after its first '-' */
    PADDING,   /* blanks after it (transport-padding) */
    LINE_END,  /* after the CR of its line */
    HEAD,
    BODY,
    EPILOGUE,
    FAILED
};

bool multipart_init(struct multipart *multipart, struct str content_type)
{
    struct str boundary;
    if (!multipart_boundary(content_type, &boundary))
        return false;
    multipart->part = (struct multipart_part){0};
    multipart->data = (struct str){NULL, 0};
    multipart->error = NULL;
    multipart->state = PREAMBLE;
    multipart->matched = multipart->assumed = 2;
    multipart->head_n = multipart->line_at = 0;

    char *delimiter = multipart->delimiter;
    size_t n = 4 + boundary.n;
    memcpy(delimiter, "\r\n--", 4);
    memcpy(delimiter + 4, boundary.p, boundary.n);
    multipart->delimiter_n = (uint8_t)n;
    memset(multipart->skips, (int)n, sizeof(multipart->skips));
    for (size_t i = 0; i < n - 1; i++)
        multipart->skips[(unsigned char)delimiter[i]] = (uint8_t)(n - 1 - i);
    uint8_t *last = &multipart->skips[(unsigned char)delimiter[n - 1]];
    multipart->again = *last;
    *last = 0; /* stops the search's inner loop */
    return true;
}

static void take(struct str *bytes, size_t n)
{
    bytes->p += n;
    bytes->n -= n;
}

static enum multipart_event fail(struct multipart *multipart, const char *error)
{
    multipart->state = FAILED;
    multipart->error = error;
    return MULTIPART_ERROR;
}

/* Offset of the first delimiter in bytes, bytes.n without one. */
static size_t find_delimiter(const struct multipart *multipart, struct str bytes)
{
    const char *delimiter = multipart->delimiter;
    const uint8_t *skips = multipart->skips;
    size_t last = multipart->delimiter_n - 1u, at = last;
    while (at < bytes.n) {
        size_t skip = skips[(unsigned char)bytes.p[at]];
        if (skip != 0) {
            at += skip;
            continue;
        }
        const char *start = bytes.p + at - last;
        if (*start == '\r' && memcmp(start, delimiter, last) == 0)
            return at - last;
        at += multipart->again;
    }
    return bytes.n;
}

/* How many bytes at the end of `bytes`, in which there is no delimiter, one may begin with. */
static size_t delimiter_begun(const struct multipart *multipart, struct str bytes)
{
    size_t tail = multipart->delimiter_n - 1u;
    if (tail > bytes.n)
        tail = bytes.n;
    const char *cr = memrchr(bytes.p + bytes.n - tail, '\r', tail);
    if (cr == NULL)
        return 0;
    size_t n = (size_t)(bytes.p + bytes.n - cr);
    return memcmp(cr, multipart->delimiter, n) == 0 ? n : 0;
}

/* The bytes up to the next delimiter, as data (n = 0: none to tell of), and then the delimiter.
 * True: it has been passed. */
static bool pass_delimiter(struct multipart *multipart, struct str *bytes, struct str *data_r)
{
    *data_r = (struct str){NULL, 0};
    if (multipart->matched != 0 && multipart->matched != multipart->delimiter_n) {
        const char *wanted = multipart->delimiter + multipart->matched;
        size_t left = (size_t)multipart->delimiter_n - multipart->matched;
        size_t n = left < bytes->n ? left : bytes->n;
        if (n == 0 || memcmp(bytes->p, wanted, n) == 0) {
            multipart->matched = (uint8_t)(multipart->matched + n);
            take(bytes, n);
        } else {
            *data_r = (struct str){multipart->delimiter + multipart->assumed,
                                   (size_t)multipart->matched - multipart->assumed};
            multipart->matched = multipart->assumed = 0;
            if (data_r->n != 0)
                return false;
        }
    }
    if (multipart->matched == 0 && bytes->n != 0) {
        size_t n = find_delimiter(multipart, *bytes);
        size_t matched =
            n != bytes->n ? multipart->delimiter_n : delimiter_begun(multipart, *bytes);
        *data_r = (struct str){bytes->p, n != bytes->n ? n : n - matched};
        multipart->matched = (uint8_t)matched;
        take(bytes, data_r->n + matched);
        if (data_r->n != 0)
            return false;
    }
    return multipart->matched == multipart->delimiter_n;
}

/* Takes bytes of a head up to the end of a line. True: its empty line was taken. */
static bool take_head(struct multipart *multipart, struct str *bytes)
{
    const char *lf = memchr(bytes->p, '\n', bytes->n);
    size_t n = lf != NULL ? (size_t)(lf - bytes->p) + 1 : bytes->n;
    if (n > MULTIPART_HEAD_MAX - (size_t)multipart->head_n) {
        fail(multipart, "the head of a part is too large");
        return false;
    }
    memcpy(multipart->head + multipart->head_n, bytes->p, n);
    multipart->head_n = (uint16_t)(multipart->head_n + n);
    take(bytes, n);
    if (lf == NULL)
        return false;
    unsigned line_n = (unsigned)multipart->head_n - multipart->line_at;
    if (line_n < 2 || multipart->head[multipart->head_n - 2] != '\r') {
        fail(multipart, "a line in the head of a part ends without CR");
        return false;
    }
    multipart->line_at = multipart->head_n;
    return line_n == 2;
}

/* The rest of a delimiter's line is told apart byte by byte. */
static enum state after_delimiter(struct multipart *multipart, char c)
{
    bool blank = c == ' ' || c == '\t';
    switch (multipart->state) {
    case DELIMITER:
        if (c == '-')
            return CLOSING;
        __attribute__((fallthrough));
    case PADDING:
        return blank ? PADDING : c == '\r' ? LINE_END : FAILED;
    case CLOSING:
        return c == '-' ? EPILOGUE : FAILED;
    default: /* LINE_END */
        return c == '\n' ? HEAD : FAILED;
    }
}

enum multipart_event multipart_next(struct multipart *multipart, struct str *bytes)
{
    if (multipart->state == FAILED)
        return MULTIPART_ERROR;
    while (bytes->n != 0 || multipart->matched == multipart->delimiter_n) {
        switch (multipart->state) {
        case PREAMBLE:
        case BODY:
            if (pass_delimiter(multipart, bytes, &multipart->data)) {
                bool body = multipart->state == BODY;
                multipart->state = DELIMITER;
                multipart->matched = multipart->assumed = 0;
                if (body)
                    return MULTIPART_END;
            } else if (multipart->data.n != 0 && multipart->state == BODY) {
                return MULTIPART_DATA;
            }
            break;
        case DELIMITER:
        case CLOSING:
        case PADDING:
        case LINE_END:
            multipart->state = after_delimiter(multipart, *bytes->p);
            take(bytes, 1);
            if (multipart->state == FAILED)
                return fail(multipart, "a boundary is followed by something else than a line end");
            if (multipart->state == EPILOGUE)
                return MULTIPART_DONE;
            multipart->head_n = multipart->line_at = 0;
            break;
        case HEAD:
            if (take_head(multipart, bytes)) {
                const char *error = multipart_head(multipart);
                if (error != NULL)
                    return fail(multipart, error);
                multipart->state = BODY;
                multipart->matched = multipart->assumed = 2;
                return MULTIPART_PART;
            }
            if (multipart->state == FAILED)
                return MULTIPART_ERROR;
            break;
        default: /* EPILOGUE */
            take(bytes, bytes->n);
        }
    }
    return MULTIPART_MORE;
}

bool multipart_finished(const struct multipart *multipart)
{
    return multipart->state == EPILOGUE;
}
