/* The objects of a template in normal form -> what a document is copied from.
 *
 * Streams with holes stay deflated: the bytes between holes are deflated when the template is
 * loaded, each run ending at a byte's border without looking back past a hole (Z_FULL_FLUSH,
 * RFC 1951 section 3.2.4 for the empty block it ends with); values go between them as stored
 * blocks, and the checksum of the whole (Adler-32, RFC 1950) is combined from the parts'. So a
 * request deflates nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>
#include "base/buf.h"
#include "certificates/pdf_filled.h"
#include "crypto/crypto.h"

/* Returns the deflated size; bytes_r[i] are the pieces' own. */
static size_t deflate_pieces(struct pdf_loading *loading, const struct pdf_pieces *pieces,
                             struct str *bytes_r)
{
    z_stream z = {0};
    size_t total = 0;

    gw_assert(deflateInit(&z, Z_BEST_COMPRESSION) == Z_OK);
    for (size_t i = 0; i < pieces->count; i++) {
        struct str plain = pieces->list[i].bytes;
        size_t room = plain.n + plain.n / 1000 + 64;
        char *to = h2o_mem_alloc_pool(loading->keep, room);
        z.next_in = (Bytef *)(uintptr_t)plain.p;
        z.avail_in = (uInt)plain.n;
        z.next_out = (Bytef *)to;
        z.avail_out = (uInt)room;
        (void)deflate(&z, Z_FULL_FLUSH);
        gw_assert(z.avail_in == 0 && z.avail_out != 0);
        bytes_r[i] = (struct str){to, room - z.avail_out};
        total += bytes_r[i].n;
    }
    deflateEnd(&z);
    return total;
}

void pdf_layout_vary(struct pdf_loading *loading, struct pdf_template *template, int id,
                     struct str dict, bool deflate_it, struct pdf_pieces pieces)
{
    enum { STORED_BLOCK = 5, LAST_BLOCK = 6, TYPICAL_VALUE = 16 };
    struct pdf_object object = {.id = id, .stream = dict.n != 0, .pieces = pieces};
    size_t plain = 0;
    struct buf head;

    for (size_t i = 0; i < pieces.count; i++)
        plain += pieces.list[i].bytes.n;
    if (object.stream && deflate_it && plain < UINT32_MAX / 2) {
        struct str *deflated =
            h2o_mem_alloc_pool(loading->scratch, pieces.count * sizeof(*deflated));
        size_t size =
            deflate_pieces(loading, &pieces, deflated) + pieces.count * STORED_BLOCK + LAST_BLOCK;
        object.deflated = size < plain;
        for (size_t i = 0; i < pieces.count && object.deflated; i++) {
            struct pdf_piece *piece = &pieces.list[i];
            piece->plain = piece->bytes.n;
            piece->adler = (uint32_t)adler32_z(1, (const Bytef *)piece->bytes.p, piece->bytes.n);
            piece->bytes = deflated[i];
        }
    }
    buf_init(&head, SIZE_MAX / 2);
    (void)buf_printf(&head, "%d 0 obj\n", id);
    if (object.stream) {
        gw_assert(dict.n >= 2 && memcmp(dict.p + dict.n - 2, ">>", 2) == 0);
        (void)buf_append(&head, dict.p, dict.n - 2);
        (void)buf_printf(&head, "%s/Length ", object.deflated ? "/Filter /FlateDecode " : "");
    }
    object.head = pdf_copy(loading->keep, buf_str(&head));
    buf_fini(&head);
    template->objects[template->object_count++] = object;
}

static const struct pdf_object *varying(const struct pdf_template *template, int id)
{
    for (size_t i = 0; i < template->object_count; i++)
        if (template->objects[i].id == id)
            return &template->objects[i];
    return NULL;
}

static bool write_constant(struct pdf_loading *loading, struct buf *to, int id)
{
    qpdf_data qpdf = loading->qpdf;
    qpdf_oh object = qpdf_get_object_by_id(qpdf, id, 0);
    bool stream = qpdf_oh_is_stream(qpdf, object);

    (void)buf_printf(to, "%d 0 obj\n", id);
    const char *text =
        qpdf_oh_unparse_resolved(qpdf, stream ? qpdf_oh_get_dict(qpdf, object) : object);
    (void)buf_append(to, text, strlen(text));
    if (stream) {
        unsigned char *data = NULL;
        size_t n = 0;
        QPDF_BOOL filtered;
        pdf_forget_error(qpdf);
        if ((qpdf_oh_get_stream_data(qpdf, object, qpdf_dl_none, &filtered, &data, &n) &
             QPDF_ERRORS) != 0) {
            pdf_error(loading, "object %d: %s", id, pdf_complaint(qpdf));
            return false;
        }
        (void)buf_append(to, "\nstream\n", 8);
        (void)buf_append(to, data, n);
        (void)buf_append(to, "\nendstream", 10);
        free(data);
    }
    (void)buf_append(to, "\nendobj\n", 8);
    qpdf_oh_release(qpdf, object);
    return true;
}

/* How much a document can take, and which pieces are pointed at rather than copied. */
static void measure(struct pdf_template *template)
{
    enum { OBJECT_FIXED = 96, END_FIXED = 256 };
    size_t referred = 1;

    template->fixed = template->xref.n + template->trailer.n + END_FIXED;
    if (template->prefix.n < PDF_REFER_MIN)
        template->fixed += template->prefix.n;
    else
        template->referred = template->prefix.n;
    for (size_t i = 0; i < template->object_count + 1; i++) {
        const struct pdf_object *object = &template->objects[i];
        bool title = i == template->object_count;
        const struct pdf_pieces *pieces = title ? &template->title : &object->pieces;
        template->fixed += OBJECT_FIXED + (title ? 0 : object->head.n);
        for (size_t k = 0; k < pieces->count; k++) {
            struct pdf_piece *piece = &pieces->list[k];
            template->fixed += PDF_HOLE_FIXED;
            if (piece->bytes.n >= PDF_REFER_MIN && referred < PDF_MAX_REFERRED) {
                piece->referred = true;
                referred++;
                template->referred += piece->bytes.n;
            } else {
                template->fixed += piece->bytes.n;
            }
            if (piece->hole.kind != PDF_HOLE_NONE)
                template->growth[piece->hole.field] += PDF_GROWTH;
        }
    }
}

bool pdf_layout_finish(struct pdf_loading *loading, struct pdf_template *template,
                       size_t object_count)
{
    struct buf prefix, xref, trailer;
    uint8_t digest[32];
    char id[33];
    bool good = true;

    buf_init(&prefix, UINT32_MAX);
    buf_init(&xref, UINT32_MAX);
    buf_init(&trailer, UINT32_MAX);
    (void)buf_printf(&prefix, "%%PDF-%s\n%%\xe2\xe3\xcf\xd3\n",
                     qpdf_get_pdf_version(loading->qpdf));
    (void)buf_printf(&xref, "xref\n0 %zu\n", object_count + 1);
    template->xref_entries = xref.n;
    (void)buf_printf(&xref, "0000000000 65535 f \n");
    for (size_t id_number = 1; id_number <= object_count && good; id_number++) {
        size_t offset = prefix.n;
        if (varying(template, (int)id_number) == NULL)
            good = write_constant(loading, &prefix, (int)id_number);
        (void)buf_printf(&xref, "%010zu 00000 n \n", offset);
    }
    sha256(prefix.p, prefix.n, digest);
    hex_encode(digest, 16, id);
    (void)buf_printf(&trailer, "trailer\n<< /Size %zu /Root %d 0 R /Info %d 0 R /ID [<%s><",
                     object_count + 1,
                     qpdf_oh_get_object_id(loading->qpdf, qpdf_get_root(loading->qpdf)),
                     template->objects[template->object_count - 1].id, id);
    template->prefix = pdf_copy(loading->keep, buf_str(&prefix));
    template->xref = pdf_copy(loading->keep, buf_str(&xref));
    template->trailer = pdf_copy(loading->keep, buf_str(&trailer));
    buf_fini(&trailer);
    buf_fini(&xref);
    buf_fini(&prefix);
    measure(template);
    return good;
}
