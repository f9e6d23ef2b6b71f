/* What a signature adds: a field on the first page with its widget, a signature dictionary, and
 * where they hang: the catalog, the page, or where these are objects of their own the annotations,
 * the form, its fields. What changes is copied entry by entry as it stands, with what is added at
 * the end; everything else of the document is left alone. */
#include "certificates/pdf_sign.h"
#include "certificates/pdf_document.h"
#include "certificates/pdf_update.h"
#include "base/text.h"
#include <stdio.h>
#include <time.h>

enum {
    DEPTH_MAX = 32,                       /* of the page tree */
    RANGE_ROOM = 3 * (OFFSET_DIGITS + 1), /* bytes of the last three numbers of /ByteRange */
    UPDATE_LIKELY = 4096                  /* bytes of an update without the hole, usually */
};

static void put_date(struct update *update, int64_t when_s)
{
    time_t when = (time_t)when_s;
    struct tm tm;
    if (!gmtime_r(&when, &tm) || tm.tm_year < -1900 || tm.tm_year > 8099) {
        update_fail(update, "cannot be signed at a time that has no date");
        return;
    }
    update_putf(update, "/M (D:%04d%02d%02d%02d%02d%02dZ)\n", tm.tm_year + 1900, tm.tm_mon + 1,
                tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* A name that no field has: "Signature" and a number higher than the others'. Names in UTF-16 are
 * read by their digits as well. */
static size_t free_name(const struct pdf_document *document, struct str fields)
{
    size_t highest = 0, number;
    while (fields.n != 0) {
        struct str field =
            pdf_value_dictionary(pdf_document_resolve(document, pdf_value_next(&fields)));
        struct str name = pdf_document_resolve(document, pdf_value_get(field, STR("T")));
        char text[64];
        size_t n = 0;
        bool hex = name.n != 0 && name.p[0] == '<';
        for (size_t i = 1; i + 1 < name.n && n < sizeof(text); i++) {
            uint8_t byte = (uint8_t)name.p[i];
            if (hex) {
                if (!hex_decode((struct str){name.p + i, 2}, &byte, 1))
                    break;
                i++;
            }
            if (is_letter_or_digit((char)byte))
                text[n++] = (char)byte;
        }
        struct str prefix = STR("Signature");
        if (n > prefix.n && memcmp(text, prefix.p, prefix.n) == 0 &&
            pdf_value_unsigned((struct str){text + prefix.n, n - prefix.n}, 999999999, &number) &&
            number > highest)
            highest = number;
    }
    return highest + 1;
}

/* -- objects ----------------------------------------------------------------------------------- */

/* All that is known before anything is written. {NULL, 0} = the document has none yet. */
struct parts {
    unsigned root, page; /* numbers */
    struct str catalog, page_entries;
    struct str form, fields, annotations;                       /* what stands in their brackets */
    unsigned form_object, fields_object, annotations_object;    /* 0 = not objects of their own */
    unsigned field_object, signature_object, appearance_object; /* added; the last 0 = none */
};

/* What `key` leads to: its object's number when it is one, and what stands in its brackets. */
static bool find_part(const struct pdf_document *document, struct str dictionary, struct str key,
                      struct str (*unwrap)(struct str value), unsigned *object_r, struct str *r)
{
    struct str value = pdf_value_get(dictionary, key);
    struct str target = pdf_document_resolve(document, value);
    bool absent = value.n == 0 || str_eq(target, STR("null"));
    *object_r = absent ? 0 : pdf_value_reference(value);
    *r = absent ? (struct str){NULL, 0} : unwrap(target);
    return absent || r->p != NULL;
}

static const char *find_parts(const struct pdf_document *document, struct parts *parts_r)
{
    struct parts parts = {.root =
                              pdf_value_reference(pdf_value_get(document->trailer, STR("Root")))};
    parts.catalog = pdf_value_dictionary(pdf_document_object(document, parts.root));
    if (!parts.catalog.p)
        return "has no catalog";
    parts.page = pdf_value_reference(pdf_value_get(parts.catalog, STR("Pages")));
    for (int depth = 0;; depth++) {
        parts.page_entries = pdf_value_dictionary(pdf_document_object(document, parts.page));
        if (!parts.page_entries.p || depth == DEPTH_MAX)
            return "has no first page";
        struct str kids = pdf_value_get(parts.page_entries, STR("Kids"));
        if (kids.n == 0)
            break;
        kids = pdf_value_array(pdf_document_resolve(document, kids));
        parts.page = pdf_value_reference(pdf_value_next(&kids));
    }
    if (!str_eq(pdf_value_get(parts.page_entries, STR("Type")), STR("/Page")))
        return "has no first page";
    if (!find_part(document, parts.page_entries, STR("Annots"), pdf_value_array,
                   &parts.annotations_object, &parts.annotations))
        return "has annotations that are broken";
    if (!find_part(document, parts.catalog, STR("AcroForm"), pdf_value_dictionary,
                   &parts.form_object, &parts.form) ||
        !find_part(document, parts.form, STR("Fields"), pdf_value_array, &parts.fields_object,
                   &parts.fields))
        return "has a form that is broken";
    *parts_r = parts;
    return NULL;
}

static void put_form(struct update *update, const struct parts *parts)
{
    static const struct str ours[] = {STR("Fields"), STR("SigFlags")};
    update_put(update, STR("<<\n"));
    update_put_entries(update, parts->form, ours, COUNT(ours));
    update_put(update, STR("/SigFlags 3\n/Fields "));
    if (parts->fields_object != 0)
        update_putf(update, "%u 0 R\n", parts->fields_object);
    else
        update_put_array(update, parts->fields, parts->field_object);
    update_put(update, STR(">>\n"));
}

/* "%PDF-1.5", and what the catalog says instead: is it before 1.7? */
static bool is_old(const struct pdf_document *document, struct str catalog)
{
    struct str version = pdf_value_get(catalog, STR("Version")),
               header = {document->bytes.p + 5, 3};
    bool later = version.n == 4 && memcmp(version.p + 1, header.p, 3) > 0;
    return memcmp(later ? version.p + 1 : header.p, "1.7", 3) < 0;
}

/* The catalog says what the signature needs: version 1.7, and the extension of PAdES's that
 * ETSI.CAdES.detached belongs to (section 7.12). */
static void put_catalog(struct update *update, const struct parts *parts)
{
    static const struct str ours[] = {STR("AcroForm"), STR("Version")};
    struct str version = pdf_value_get(parts->catalog, STR("Version"));
    update_begin(update, parts->root);
    update_put(update, STR("<<\n"));
    update_put_entries(update, parts->catalog, ours, COUNT(ours));
    if (is_old(update->document, parts->catalog))
        update_put(update, STR("/Version /1.7\n"));
    else if (version.n != 0) {
        update_put(update, STR("/Version "));
        update_put(update, version);
        update_put(update, STR("\n"));
    }
    if (pdf_value_get(parts->catalog, STR("Extensions")).n == 0)
        update_put(update,
                   STR("/Extensions << /ESIC << /BaseVersion /1.7 /ExtensionLevel 1 >> >>\n"));
    update_put(update, STR("/AcroForm "));
    if (parts->form_object != 0)
        update_putf(update, "%u 0 R\n", parts->form_object);
    else
        put_form(update, parts);
    update_put(update, STR(">>\n"));
    update_end(update);
}

/* Arrays and the form where they are objects of their own. */
static void put_changed(struct update *update, const struct parts *parts)
{
    static const struct str ours[] = {STR("Annots")};
    if (parts->form_object != 0) {
        update_begin(update, parts->form_object);
        put_form(update, parts);
        update_end(update);
    }
    if (parts->fields_object != 0) {
        update_begin(update, parts->fields_object);
        update_put_array(update, parts->fields, parts->field_object);
        update_end(update);
    }
    if (parts->annotations_object != 0) {
        update_begin(update, parts->annotations_object);
        update_put_array(update, parts->annotations, parts->field_object);
        update_end(update);
    } else {
        update_begin(update, parts->page);
        update_put(update, STR("<<\n"));
        update_put_entries(update, parts->page_entries, ours, COUNT(ours));
        update_put(update, STR("/Annots "));
        update_put_array(update, parts->annotations, parts->field_object);
        update_put(update, STR(">>\n"));
        update_end(update);
    }
}

/* Field and widget in one, sections 12.7.4.5 and 12.5.6.19. /F: printed, locked. */
static void put_field(struct update *update, const struct parts *parts, const double rect[4])
{
    size_t name = free_name(update->document, parts->fields);
    update_begin(update, parts->field_object);
    update_putf(update, "<<\n/Type /Annot\n/Subtype /Widget\n/FT /Sig\n/T (Signature%zu)\n", name);
    update_putf(update, "/V %u 0 R\n/F 132\n/P %u 0 R\n/Rect [", parts->signature_object,
                parts->page);
    update_put_number(update, rect[0]);
    update_put_number(update, rect[1]);
    update_put_number(update, rect[0] + rect[2]);
    update_put_number(update, rect[1] + rect[3]);
    update_put(update, STR(" ]\n"));
    if (parts->appearance_object != 0)
        update_putf(update, "/AP << /N %u 0 R >>\n", parts->appearance_object);
    update_put(update, STR(">>\n"));
    update_end(update);
    if (parts->appearance_object == 0)
        return;
    update_begin(update, parts->appearance_object);
    update_put(update, STR("<<\n/Type /XObject\n/Subtype /Form\n/BBox [ 0 0"));
    update_put_number(update, rect[2]);
    update_put_number(update, rect[3]);
    update_put(update, STR(" ]\n/Length 0\n>>\nstream\n\nendstream\n"));
    update_end(update);
}

/* Section 12.8.1. *range_r: where the last three numbers of /ByteRange go, blanks until then. */
static void put_signature(struct update *update, const struct parts *parts,
                          const struct pdf_signature *signature, struct pdf_hole *hole_r,
                          size_t *range_r)
{
    update_begin(update, parts->signature_object);
    update_put(update,
               STR("<<\n/Type /Sig\n/Filter /Adobe.PPKLite\n/SubFilter /ETSI.CAdES.detached\n"));
    update_put_text(update, STR("/Name"), signature->signer);
    update_put_text(update, STR("/Reason"), signature->reason);
    update_put_text(update, STR("/Location"), signature->location);
    update_put_text(update, STR("/ContactInfo"), signature->contact);
    put_date(update, signature->when_s);
    update_put(update, STR("/ByteRange [0"));
    *range_r = update->out.n;
    update_putf(update, "%*s]\n/Contents ", RANGE_ROOM, "");
    hole_r->from = update_at(update);
    update_put(update, STR("<"));
    if (signature->room > update->out.max || !buf_reserve(&update->out, 2 * signature->room)) {
        update_fail(update, "has no room for a signature");
        return;
    }
    memset(update->out.p + update->out.n, '0', 2 * signature->room);
    update->out.n += 2 * signature->room;
    update_put(update, STR(">"));
    hole_r->to = update_at(update);
    update_put(update, STR("\n>>\n"));
    update_end(update);
}

/* Over the blanks that were left in /ByteRange, now that the end is known. */
static void put_range(struct update *update, size_t at, struct pdf_hole hole)
{
    char numbers[RANGE_ROOM + 1];
    int n = snprintf(numbers, sizeof(numbers), " %zu %zu %zu", hole.from, hole.to,
                     update_at(update) - hole.to);
    gw_assert(n > 0);
    if ((size_t)n > RANGE_ROOM)
        update_fail(update, "is too large for a cross-reference table");
    else
        memcpy(update->out.p + at, numbers, (size_t)n);
}

static bool is_rect(const double rect[4])
{
    for (int i = 0; i < 4; i++)
        if (!(rect[i] >= -20000 && rect[i] <= 20000)) /* annex C: 14400 is the largest page */
            return false;
    return rect[2] >= 0 && rect[3] >= 0;
}

bool pdf_sign_prepare(struct buf *pdf, const struct pdf_signature *signature,
                      struct pdf_hole *hole_r, const char **error_r)
{
    struct pdf_document document;
    struct parts parts;
    struct update update;
    struct pdf_hole hole = {0, 0};
    size_t range = 0;
    if (!pdf_document_open(buf_str(pdf), &document, error_r))
        return false;
    *error_r = is_rect(signature->rect) ? find_parts(&document, &parts)
                                        : "cannot show a signature outside of any page";
    if (*error_r)
        return false;

    update_init(&update, &document, signature->serial, UPDATE_LIKELY + 2 * signature->room,
                pdf->max - pdf->n);
    parts.field_object = update.size++;
    parts.signature_object = update.size++;
    parts.appearance_object = signature->rect[2] > 0 && signature->rect[3] > 0 ? update.size++ : 0;
    put_catalog(&update, &parts);
    put_changed(&update, &parts);
    put_field(&update, &parts, signature->rect);
    put_signature(&update, &parts, signature, &hole, &range);
    update_finish(&update);
    if (!update.error)
        put_range(&update, range, hole);
    if (!update.error && !buf_append(pdf, update.out.p, update.out.n))
        update_fail(&update, "has no room for a signature");
    *error_r = update.error;
    update_fini(&update);
    *hole_r = hole;
    return *error_r == NULL;
}

/* -- the hole ---------------------------------------------------------------------------------- */

void pdf_sign_digest(const struct buf *pdf, struct pdf_hole hole, enum digest_kind kind,
                     uint8_t *digest_r)
{
    uint8_t value[DIGEST_MAX];
    struct digest *digest = digest_create(kind);
    digest_update(digest, pdf->p, hole.from);
    digest_update(digest, pdf->p + hole.to, pdf->n - hole.to);
    size_t n = digest_finish(digest, value);
    memcpy(digest_r, value, n);
    digest_destroy(&digest);
}

void pdf_sign_fill(struct buf *pdf, struct pdf_hole hole, const uint8_t *der, size_t n)
{
    gw_assert(n <= (hole.to - hole.from - 2) / 2);
    for (size_t i = 0; i < n; i++) {
        pdf->p[hole.from + 1 + 2 * i] = "0123456789abcdef"[der[i] >> 4];
        pdf->p[hole.from + 2 + 2 * i] = "0123456789abcdef"[der[i] & 15];
    }
}
