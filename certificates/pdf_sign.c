/* The update is written front to back into a buffer of its own, so that views of the document stay
 * where they are and a failure leaves it untouched. Objects that change (catalog, page, or where
 * they are objects of their own: annotations, form, its fields) are copied entry by entry as they
 * stand, with what is added at the end; everything else of the document is left alone, which is
 * what makes an incremental update (ISO 32000-1 section 7.5.6).
 *
 * Nothing in it depends on anything but the document and the signature's facts: the same in, the
 * same out. */
#include "certificates/pdf_sign.h"
#include "certificates/pdf_document.h"
#include "base/text.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    OBJECTS_MAX = 8, /* in one update: three are added, at most five change */
    DEPTH_MAX = 32,  /* of the page tree */
    DIGITS = 10      /* of an offset: a cross-reference table has no more */
};

struct update {
    struct buf out;
    size_t base; /* where it goes: the document's length */
    struct {
        unsigned number;
        size_t at;
    } objects[OBJECTS_MAX]; /* in ascending order */
    size_t object_count;
    const char *error; /* the first one */
};

static void fail(struct update *update, const char *error)
{
    if (!update->error)
        update->error = error;
}

static void put(struct update *update, struct str text)
{
    if (!buf_append(&update->out, text.p, text.n))
        fail(update, "has no room for a signature");
}

/* Short texts: numbers in between. */
static void putf(struct update *update, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void putf(struct update *update, const char *format, ...)
{
    char text[160];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    gw_assert(n >= 0 && (size_t)n < sizeof(text));
    put(update, (struct str){text, (size_t)n});
}

static void begin_object(struct update *update, unsigned number)
{
    size_t i = update->object_count;
    gw_assert(i < OBJECTS_MAX);
    for (; i > 0 && update->objects[i - 1].number >= number; i--) {
        if (update->objects[i - 1].number == number)
            fail(update, "uses one object for two things");
        update->objects[i] = update->objects[i - 1];
    }
    update->objects[i].number = number;
    update->objects[i].at = update->base + update->out.n;
    update->object_count++;
    putf(update, "%u 0 obj\n", number);
}

static void end_object(struct update *update)
{
    put(update, STR("endobj\n"));
}

/* The entries of a dictionary but those that are given anew. */
static void put_entries(struct update *update, struct str dictionary, const struct str *except,
                        size_t count)
{
    while (dictionary.n != 0) {
        struct str name = pdf_next(&dictionary), value = pdf_next(&dictionary);
        bool given = false;
        if (name.n == 0)
            break;
        if (value.n == 0 || name.p[0] != '/') {
            fail(update, "has a dictionary that is broken");
            break;
        }
        for (size_t i = 0; i < count; i++)
            given = given || str_eq((struct str){name.p + 1, name.n - 1}, except[i]);
        if (given)
            continue;
        put(update, name);
        put(update, STR(" "));
        put(update, value);
        put(update, STR("\n"));
    }
}

/* An array (none = an empty one) and the reference that is added to it. */
static void put_array(struct update *update, struct str array, unsigned added)
{
    put(update, STR("["));
    put(update, array);
    putf(update, " %u 0 R]\n", added);
}

/* -- what the values are ----------------------------------------------------------------------- */

/* Text string, section 7.9.2.2: ASCII as it is, else UTF-16. */
static void put_text(struct update *update, struct str key, struct str text)
{
    bool plain = true;
    if (text.n == 0)
        return;
    put(update, key);
    for (size_t i = 0; i < text.n; i++)
        plain = plain && text.p[i] >= ' ' && text.p[i] <= '~';
    put(update, plain ? STR(" (") : STR(" <FEFF"));
    for (size_t i = 0, n; i < text.n; i += n) {
        if (plain) {
            n = 1;
            if (memchr("()\\", text.p[i], 3))
                put(update, STR("\\"));
            put(update, (struct str){text.p + i, 1});
            continue;
        }
        n = utf8_length(text.p + i, text.p + text.n);
        uint32_t code = n != 0 ? utf8_decode(text.p + i, n) : 0xfffd;
        n = n != 0 ? n : 1;
        if (code > 0xffff)
            putf(update, "%04X%04X", 0xd800 + ((code - 0x10000) >> 10), 0xdc00 + (code & 0x3ff));
        else
            putf(update, "%04X", code);
    }
    put(update, plain ? STR(")\n") : STR(">\n"));
}

/* Thousandths of a point do; printf would write the locale's decimal point. */
static void put_number(struct update *update, double number)
{
    long thousandths = lround(number * 1000), rest = labs(thousandths);
    putf(update, " %s%ld.%03ld", thousandths < 0 ? "-" : "", rest / 1000, rest % 1000);
}

static void put_date(struct update *update, int64_t when_s)
{
    time_t when = (time_t)when_s;
    struct tm tm;
    if (!gmtime_r(&when, &tm) || tm.tm_year < -1900 || tm.tm_year > 8099) {
        fail(update, "cannot be signed at a time that has no date");
        return;
    }
    putf(update, "/M (D:%04d%02d%02d%02d%02d%02dZ)\n", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
         tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* A name that no field has: "Signature" and a number higher than the others'. Names in UTF-16 are
 * read by their digits as well. */
static size_t free_name(const struct pdf_document *document, struct str fields)
{
    size_t highest = 0, number;
    while (fields.n != 0) {
        struct str field = pdf_dictionary(pdf_resolve(document, pdf_next(&fields)));
        struct str name = pdf_resolve(document, pdf_get(field, STR("T")));
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
            pdf_unsigned((struct str){text + prefix.n, n - prefix.n}, 999999999, &number) &&
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
    struct str value = pdf_get(dictionary, key);
    *object_r = pdf_reference(value);
    *r = unwrap(pdf_resolve(document, value));
    return value.n == 0 || r->p != NULL;
}

static const char *find_parts(const struct pdf_document *document, struct parts *parts_r)
{
    struct parts parts = {.root = pdf_reference(pdf_get(document->trailer, STR("Root")))};
    parts.catalog = pdf_dictionary(pdf_object(document, parts.root));
    if (!parts.catalog.p)
        return "has no catalog";
    parts.page = pdf_reference(pdf_get(parts.catalog, STR("Pages")));
    for (int depth = 0;; depth++) {
        parts.page_entries = pdf_dictionary(pdf_object(document, parts.page));
        if (!parts.page_entries.p || depth == DEPTH_MAX)
            return "has no first page";
        struct str kids = pdf_get(parts.page_entries, STR("Kids"));
        if (kids.n == 0)
            break;
        kids = pdf_array(pdf_resolve(document, kids));
        parts.page = pdf_reference(pdf_next(&kids));
    }
    if (!str_eq(pdf_get(parts.page_entries, STR("Type")), STR("/Page")))
        return "has no first page";
    if (!find_part(document, parts.page_entries, STR("Annots"), pdf_array,
                   &parts.annotations_object, &parts.annotations))
        return "has annotations that are broken";
    if (!find_part(document, parts.catalog, STR("AcroForm"), pdf_dictionary, &parts.form_object,
                   &parts.form) ||
        !find_part(document, parts.form, STR("Fields"), pdf_array, &parts.fields_object,
                   &parts.fields))
        return "has a form that is broken";
    *parts_r = parts;
    return NULL;
}

static void put_form(struct update *update, const struct parts *parts)
{
    static const struct str ours[] = {STR("Fields"), STR("SigFlags")};
    put(update, STR("<<\n"));
    put_entries(update, parts->form, ours, COUNT(ours));
    put(update, STR("/SigFlags 3\n/Fields "));
    if (parts->fields_object != 0)
        putf(update, "%u 0 R\n", parts->fields_object);
    else
        put_array(update, parts->fields, parts->field_object);
    put(update, STR(">>\n"));
}

/* The catalog says what the signature needs: version 1.7, and the extension of PAdES's that
 * ETSI.CAdES.detached belongs to (section 7.12). */
static void put_catalog(struct update *update, const struct parts *parts, bool old_version)
{
    static const struct str ours[] = {STR("AcroForm"), STR("Version")};
    struct str version = pdf_get(parts->catalog, STR("Version"));
    begin_object(update, parts->root);
    put(update, STR("<<\n"));
    put_entries(update, parts->catalog, ours, COUNT(ours));
    if (old_version)
        put(update, STR("/Version /1.7\n"));
    else if (version.n != 0) {
        put(update, STR("/Version "));
        put(update, version);
        put(update, STR("\n"));
    }
    if (pdf_get(parts->catalog, STR("Extensions")).n == 0)
        put(update, STR("/Extensions << /ESIC << /BaseVersion /1.7 /ExtensionLevel 1 >> >>\n"));
    put(update, STR("/AcroForm "));
    if (parts->form_object != 0)
        putf(update, "%u 0 R\n", parts->form_object);
    else
        put_form(update, parts);
    put(update, STR(">>\n"));
    end_object(update);
}

/* Arrays and the form where they are objects of their own. */
static void put_changed(struct update *update, const struct parts *parts)
{
    static const struct str ours[] = {STR("Annots")};
    if (parts->form_object != 0) {
        begin_object(update, parts->form_object);
        put_form(update, parts);
        end_object(update);
    }
    if (parts->fields_object != 0) {
        begin_object(update, parts->fields_object);
        put_array(update, parts->fields, parts->field_object);
        end_object(update);
    }
    if (parts->annotations_object != 0) {
        begin_object(update, parts->annotations_object);
        put_array(update, parts->annotations, parts->field_object);
        end_object(update);
    } else {
        begin_object(update, parts->page);
        put(update, STR("<<\n"));
        put_entries(update, parts->page_entries, ours, COUNT(ours));
        put(update, STR("/Annots "));
        put_array(update, parts->annotations, parts->field_object);
        put(update, STR(">>\n"));
        end_object(update);
    }
}

/* Field and widget in one, sections 12.7.4.5 and 12.5.6.19. /F: printed, locked. */
static void put_field(struct update *update, const struct parts *parts, size_t name,
                      const double rect[4])
{
    begin_object(update, parts->field_object);
    putf(update, "<<\n/Type /Annot\n/Subtype /Widget\n/FT /Sig\n/T (Signature%zu)\n", name);
    putf(update, "/V %u 0 R\n/F 132\n/P %u 0 R\n/Rect [", parts->signature_object, parts->page);
    put_number(update, rect[0]);
    put_number(update, rect[1]);
    put_number(update, rect[0] + rect[2]);
    put_number(update, rect[1] + rect[3]);
    put(update, STR(" ]\n"));
    if (parts->appearance_object != 0)
        putf(update, "/AP << /N %u 0 R >>\n", parts->appearance_object);
    put(update, STR(">>\n"));
    end_object(update);
    if (parts->appearance_object == 0)
        return;
    begin_object(update, parts->appearance_object);
    put(update, STR("<<\n/Type /XObject\n/Subtype /Form\n/BBox [ 0 0"));
    put_number(update, rect[2]);
    put_number(update, rect[3]);
    put(update, STR(" ]\n/Length 0\n>>\nstream\n\nendstream\n"));
    end_object(update);
}

/* Section 12.8.1. *range_r: where the last three numbers of /ByteRange go, blanks until then. */
static void put_signature(struct update *update, const struct parts *parts,
                          const struct pdf_signature *signature, struct pdf_hole *hole_r,
                          size_t *range_r)
{
    begin_object(update, parts->signature_object);
    put(update, STR("<<\n/Type /Sig\n/Filter /Adobe.PPKLite\n/SubFilter /ETSI.CAdES.detached\n"));
    put_text(update, STR("/Name"), signature->signer);
    put_text(update, STR("/Reason"), signature->reason);
    put_text(update, STR("/Location"), signature->location);
    put_text(update, STR("/ContactInfo"), signature->contact);
    put_date(update, signature->when_s);
    put(update, STR("/ByteRange [0"));
    *range_r = update->out.n;
    putf(update, "%*s]\n/Contents ", 3 * (DIGITS + 1), "");
    hole_r->from = update->base + update->out.n;
    put(update, STR("<"));
    if (signature->room > update->out.max || !buf_reserve(&update->out, 2 * signature->room)) {
        fail(update, "has no room for a signature");
        return;
    }
    memset(update->out.p + update->out.n, '0', 2 * signature->room);
    update->out.n += 2 * signature->room;
    put(update, STR(">"));
    hole_r->to = update->base + update->out.n;
    put(update, STR("\n>>\n"));
    end_object(update);
}

/* -- the tail ---------------------------------------------------------------------------------- */

/* The identifier of this state of the file, section 14.4: of what went into it. */
static void put_id(struct update *update, const struct pdf_document *document,
                   const struct pdf_signature *signature)
{
    char hex[65];
    uint8_t value[DIGEST_MAX];
    struct digest *digest = digest_create(DIGEST_SHA256);
    struct str was = pdf_array(pdf_get(document->trailer, STR("ID")));
    struct str first = pdf_next(&was);
    digest_update(digest, document->bytes.p, document->bytes.n);
    digest_finish(digest, value);
    hex_encode(value, 16, hex);
    put(update, STR("/ID ["));
    if (first.n != 0)
        put(update, first);
    else
        putf(update, "<%s>", hex);
    digest_update(digest, value, 32);
    digest_update(digest, update->out.p, update->out.n);
    digest_update(digest, &signature->when_s, sizeof(signature->when_s));
    digest_finish(digest, value);
    hex_encode(value, 16, hex);
    putf(update, " <%s>]\n", hex);
    digest_destroy(&digest);
}

/* Section 7.5.4: one subsection an object, unless they follow each other. */
static void put_tail(struct update *update, const struct pdf_document *document, unsigned size,
                     const struct pdf_signature *signature)
{
    static const struct str ours[] = {STR("Size"), STR("Prev"), STR("ID")};
    size_t at = update->base + update->out.n;
    put(update, STR("xref\n"));
    for (size_t i = 0, n; i < update->object_count; i += n) {
        for (n = 1; i + n < update->object_count &&
                    update->objects[i + n].number == update->objects[i].number + n;
             n++)
            ;
        putf(update, "%u %zu\n", update->objects[i].number, n);
        for (size_t k = i; k < i + n; k++)
            putf(update, "%0*zu 00000 n \n", DIGITS, update->objects[k].at);
    }
    putf(update, "trailer\n<<\n/Size %u\n/Prev %zu\n", size, document->xref);
    put_entries(update, document->trailer, ours, COUNT(ours));
    put_id(update, document, signature);
    putf(update, ">>\nstartxref\n%zu\n%%%%EOF\n", at);
}

/* "%PDF-1.5", and what the catalog says instead: is it before 1.7? */
static bool is_old(const struct pdf_document *document, struct str catalog)
{
    struct str version = pdf_get(catalog, STR("Version")), header = {document->bytes.p + 5, 3};
    bool later = version.n == 4 && memcmp(version.p + 1, header.p, 3) > 0;
    return memcmp(later ? version.p + 1 : header.p, "1.7", 3) < 0;
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
    struct update update = {.base = pdf->n};
    struct pdf_document document;
    struct parts parts;
    struct pdf_hole hole;
    size_t range, was = pdf->n;
    buf_init(&update.out, pdf->max - pdf->n);
    if (!pdf_open(buf_str(pdf), &document, &update.error))
        goto out;
    update.error = find_parts(&document, &parts);
    if (!is_rect(signature->rect))
        fail(&update, "cannot show a signature outside of any page");
    if (update.error)
        goto out;

    unsigned size = document.size;
    bool visible = signature->rect[2] > 0 && signature->rect[3] > 0;
    bool old = is_old(&document, parts.catalog);
    parts.field_object = size++;
    parts.signature_object = size++;
    parts.appearance_object = visible ? size++ : 0;

    if (pdf->p[pdf->n - 1] != '\n')
        put(&update, STR("\n"));
    put_catalog(&update, &parts, old);
    put_changed(&update, &parts);
    put_field(&update, &parts, free_name(&document, parts.fields), signature->rect);
    put_signature(&update, &parts, signature, &hole, &range);
    put_tail(&update, &document, size, signature);
    if (update.error)
        goto out;
    if (!buf_append(pdf, update.out.p, update.out.n)) {
        fail(&update, "has no room for a signature");
        goto out;
    }
    char numbers[3 * (DIGITS + 1) + 1];
    int n =
        snprintf(numbers, sizeof(numbers), " %zu %zu %zu", hole.from, hole.to, pdf->n - hole.to);
    if (n < 0 || (size_t)n >= sizeof(numbers)) {
        pdf->n = was;
        fail(&update, "is too large for a cross-reference table");
        goto out;
    }
    memcpy(pdf->p + was + range, numbers, (size_t)n);
    *hole_r = hole;
out:
    buf_fini(&update.out);
    *error_r = update.error;
    return update.error == NULL;
}

/* -- the hole ---------------------------------------------------------------------------------- */

void pdf_sign_digest(const struct buf *pdf, struct pdf_hole hole, enum digest_kind kind,
                     uint8_t *digest_r)
{
    uint8_t value[DIGEST_MAX];
    struct digest *digest = digest_create(kind);
    digest_update(digest, pdf->p, hole.from);
    digest_update(digest, pdf->p + hole.to, pdf->n - hole.to);
    memcpy(digest_r, value, digest_finish(digest, value));
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
