/* From a text to its modules by libqrencode, from modules to the outline of what is dark.
 *
 * The outline is walked along the modules' edges with the dark always at the right hand. That makes
 * outer edges run clockwise and those of holes the other way, so the nonzero rule fills exactly the
 * dark. Each outline has a topmost edge that runs to the right, over a dark module with a light one
 * above it: looking at these in turn, and leaving out those that were walked, finds every outline
 * once. */
#include "certificates/qr.h"

#include <qrencode.h>
#include <stdlib.h>
#include "base/out.h"

enum { QUIET = 4 };

struct modules {
    const unsigned char *dark; /* bit 0 of each byte; row by row */
    int width;
    bool *walked; /* the module's upper edge */
};

static bool is_dark(const struct modules *m, int x, int y)
{
    return x >= 0 && y >= 0 && x < m->width && y < m->width && (m->dark[y * m->width + x] & 1) != 0;
}

enum { RIGHT, DOWN, LEFT, UP };

static void write_step(struct out *out, int heading, unsigned length)
{
    out_write(out, heading == RIGHT || heading == LEFT ? "h" : "v", 1);
    if (heading == LEFT || heading == UP)
        out_write(out, "-", 1);
    out_number(out, length);
}

/* From the upper left corner of a module whose upper edge is an outline's topmost. */
static void walk(struct modules *m, int from_x, int from_y, struct out *out)
{
    static const int step[4][2] = {{1, 0}, {0, 1}, {-1, 0}, {0, -1}};
    /* of the corner's four modules, by heading, the one ahead at the left hand and at the right */
    static const int ahead[4][2][2] = {
        {{0, -1}, {0, 0}}, {{0, 0}, {-1, 0}}, {{-1, 0}, {-1, -1}}, {{-1, -1}, {0, -1}}};
    int x = from_x, y = from_y, heading = RIGHT;
    unsigned length = 0;

    out_write(out, "M", 1);
    out_number(out, (unsigned)x + QUIET);
    out_write(out, " ", 1);
    out_number(out, (unsigned)y + QUIET);
    do {
        if (heading == RIGHT)
            m->walked[y * m->width + x] = true;
        x += step[heading][0];
        y += step[heading][1];
        length++;
        bool left = is_dark(m, x + ahead[heading][0][0], y + ahead[heading][0][1]);
        bool right = is_dark(m, x + ahead[heading][1][0], y + ahead[heading][1][1]);
        if (right && !left)
            continue;
        write_step(out, heading, length);
        length = 0;
        heading = (heading + (right ? 3 : 1)) % 4;
    } while (x != from_x || y != from_y || heading != RIGHT);
    out_write(out, "z", 1);
}

bool qr_outline(struct str text, h2o_mem_pool_t *pool, struct qr *qr_r)
{
    if (text.n == 0 || text.n > 4096)
        return false;
    QRcode *code = QRcode_encodeData((int)text.n, (const unsigned char *)text.p, 0, QR_ECLEVEL_M);
    if (code == NULL)
        return false;
    struct modules modules = {.dark = code->data, .width = code->width};
    size_t count = (size_t)code->width * (size_t)code->width;
    modules.walked = h2o_mem_alloc_pool(pool, count * sizeof(bool));
    memset(modules.walked, 0, count * sizeof(bool));
    struct out out;
    out_init(&out, pool, count * 4); /* measured: 3 bytes a module */
    for (int y = 0; y < code->width; y++) {
        for (int x = 0; x < code->width; x++) {
            if (is_dark(&modules, x, y) && !is_dark(&modules, x, y - 1) &&
                !modules.walked[y * code->width + x])
                walk(&modules, x, y, &out);
        }
    }
    qr_r->size = (unsigned)code->width + 2 * QUIET;
    QRcode_free(code);

    h2o_iovec_t *vecs;
    size_t vec_count = out_vecs(&out, &vecs), n = 0;
    char *path = vecs[0].base;
    if (vec_count > 1) {
        path = h2o_mem_alloc_pool(pool, out_size(&out));
        for (size_t i = 0; i < vec_count; n += vecs[i++].len)
            memcpy(path + n, vecs[i].base, vecs[i].len);
    }
    qr_r->path = (struct str){path, out_size(&out)};
    return true;
}
