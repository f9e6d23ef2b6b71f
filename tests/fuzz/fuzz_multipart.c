/* Any bytes as a form: read in one piece, byte by byte and cut where the input says, it must tell
 * the same; and where parts begin and end must be what a reader finds that has the whole body
 * before it and does nothing clever.
 *
 * The input: a byte that chooses the boundary, a byte that seeds the cuts, the body. */
#include <stdlib.h>
#include "base/buf.h"
#include "http/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
    struct str type, boundary;
} forms[] = {
    {STR("multipart/form-data; boundary=x"), STR("x")},
    {STR("multipart/form-data; boundary=\"-- -\""), STR("-- -")},
    {STR("multipart/form-data; boundary=----WebKitFormBoundaryabcabcab"),
     STR("----WebKitFormBoundaryabcabcab")},
};

static void add(struct buf *buf, char tag, struct str text)
{
    gw_assert(buf_append(buf, &tag, 1) && buf_append(buf, text.p, text.n));
}

/* Names too, so that they are looked at; checked for what the header promises. */
static void add_part(struct buf *said, const struct multipart_part *part)
{
    gw_assert(part->name.n <= MULTIPART_NAME_MAX && part->filename.n <= MULTIPART_NAME_MAX);
    gw_assert(part->is_file || part->filename.n == 0);
    for (size_t i = 0; i < part->filename.n; i++)
        gw_assert(part->filename.p[i] != '\0' && part->filename.p[i] != '/' &&
                  part->filename.p[i] != '\\');
    add(said, 'P', part->name);
    add(said, part->is_file ? 'F' : 'N', part->filename);
    add(said, 'T', part->type);
}

/* What is said of the body when it comes in pieces of at most `longest` bytes, chosen by seed; 0:
 * in one. heads: what is said of heads goes there, the rest into bodies. */
static bool read_in_pieces(size_t form, struct str body, size_t longest, unsigned seed,
                           struct buf *heads, struct buf *bodies)
{
    struct multipart *multipart = malloc(sizeof(*multipart));
    bool failed = false;
    gw_assert(multipart_init(multipart, forms[form].type));
    while (body.n != 0 && !failed) {
        seed = seed * 1103515245 + 12345;
        size_t n = longest != 0 ? 1 + (seed >> 8) % longest : body.n;
        if (n > body.n)
            n = body.n;
        char *copy = malloc(n);
        memcpy(copy, body.p, n);
        body = (struct str){body.p + n, body.n - n};
        struct str bytes = {copy, n};
        for (enum multipart_event event = 0;
             !failed && (event = multipart_next(multipart, &bytes)) != MULTIPART_MORE;)
            switch (event) {
            case MULTIPART_PART:
                add_part(heads, &multipart->part);
                gw_assert(buf_append(bodies, "[", 1));
                break;
            case MULTIPART_DATA:
                gw_assert(multipart->data.n != 0);
                gw_assert(buf_append(bodies, multipart->data.p, multipart->data.n));
                break;
            case MULTIPART_END:
                gw_assert(buf_append(bodies, "]", 1));
                break;
            case MULTIPART_DONE:
                gw_assert(buf_append(bodies, ".", 1));
                break;
            default:
                add(heads, '!', str_from(multipart->error));
                failed = true;
            }
        gw_assert(failed || bytes.n == 0);
        free(copy);
    }
    bool finished = multipart_finished(multipart);
    gw_assert(!(failed && finished));
    free(multipart);
    return finished;
}

static const char *find(const char *from, const char *end, struct str what)
{
    return memmem(from, (size_t)(end - from), what.p, what.n);
}

/* The plain reader: whole body, one memmem after another. Stops where a form goes wrong; what is
 * wrong within a head it doesn't know. */
static void read_whole(size_t form, struct str body, struct buf *bodies)
{
    struct buf padded;
    char text[4 + MULTIPART_BOUNDARY_MAX];
    struct str delimiter = {text, 4 + forms[form].boundary.n};
    memcpy(text, "\r\n--", 4);
    memcpy(text + 4, forms[form].boundary.p, forms[form].boundary.n);
    /* The line end before a first delimiter may be missing. */
    buf_init(&padded, body.n + 2);
    gw_assert(buf_append(&padded, "\r\n", 2) && buf_append(&padded, body.p, body.n));

    const char *end = padded.p + padded.n, *at = find(padded.p, end, delimiter);
    while (at != NULL) {
        at += delimiter.n;
        if (end - at >= 2 && memcmp(at, "--", 2) == 0) {
            gw_assert(buf_append(bodies, ".", 1));
            break;
        }
        while (at != end && (*at == ' ' || *at == '\t'))
            at++;
        if (end - at < 2 || memcmp(at, "\r\n", 2) != 0)
            break;
        /* An empty head has no line before its empty one; either way its line end may be the
         * delimiter's. */
        const char *head = find(at, end, STR("\r\n\r\n"));
        if (head == NULL)
            break;
        gw_assert(buf_append(bodies, "[", 1));
        const char *data = head + 4, *next = find(head + 2, end, delimiter);
        const char *data_end = next != NULL ? next : end;
        if (data_end > data)
            gw_assert(buf_append(bodies, data, (size_t)(data_end - data)));
        if (next != NULL)
            gw_assert(buf_append(bodies, "]", 1));
        at = next;
    }
    buf_fini(&padded);
}

static bool begins_with(struct str text, struct str beginning)
{
    return beginning.n == 0 ||
           (text.n >= beginning.n && memcmp(text.p, beginning.p, beginning.n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf heads[3], bodies[3], plain;
    if (size < 2)
        return 0;
    size_t form = data[0] % COUNT(forms), room = 2 * size + 65536;
    struct str body = {(const char *)data + 2, size - 2};
    const size_t longest[3] = {0, 1, 1 + data[1] % 100u};
    bool finished[3];

    buf_init(&plain, room);
    for (size_t i = 0; i < 3; i++) {
        buf_init(&heads[i], 8 * room);
        buf_init(&bodies[i], room);
        finished[i] = read_in_pieces(form, body, longest[i], data[1], &heads[i], &bodies[i]);
        gw_assert(finished[i] == finished[0]);
        gw_assert(str_eq(buf_str(&heads[i]), buf_str(&heads[0])));
        gw_assert(str_eq(buf_str(&bodies[i]), buf_str(&bodies[0])));
    }
    read_whole(form, body, &plain);
    if (finished[0])
        gw_assert(str_eq(buf_str(&bodies[0]), buf_str(&plain)));
    else /* it stopped at a head, or holds back what may be a delimiter's beginning */
        gw_assert(begins_with(buf_str(&plain), buf_str(&bodies[0])));
    for (size_t i = 0; i < 3; i++) {
        buf_fini(&heads[i]);
        buf_fini(&bodies[i]);
    }
    buf_fini(&plain);
    return 0;
}
