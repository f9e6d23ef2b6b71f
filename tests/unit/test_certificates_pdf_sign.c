/* A signed certificate, as its judges see it: qpdf, pdfsig, openssl and pdftoppm look at real
 * files. */
#include <math.h>
#include "certificates/pdf_read.h"
#include "certificates/pdf_sign.h"
#include "crypto/sign.h"
#include "tests/unit/crypto_fixture.h"
#include "tests/unit/pdf_samples.h"

/* -- judges ------------------------------------------------------------------------------------ */

static void must_pass_qpdf(const struct buf *pdf)
{
    write_file("look.pdf", pdf->p, pdf->n);
    assert_runs("qpdf --check look.pdf");
}

static void must_say(const char *printed, const char *words)
{
    if (!strstr(printed, words))
        fail_msg("not said: %s\nbut: %s", words, printed);
}

/* Of a reader who trusts the root. */
static const char *pdfsig(const struct buf *pdf)
{
    write_file("look.pdf", pdf->p, pdf->n);
    assert_runs("pdfsig -nssdir nss look.pdf");
    return log_text();
}

static struct signer *signer; /* of P-256 */

static int make_signer(void **state)
{
    folder_make(state);
    assert_runs("mkdir nss nss-empty && certutil -N -d sql:nss --empty-password && "
                "certutil -N -d sql:nss-empty --empty-password && "
                "certutil -A -d sql:nss -n root -t CT,CT,CT -a -i root.crt");
    signer = load_kind(3, "chain");
    return 0;
}

static int remove_signer(void **state)
{
    signer_destroy(&signer);
    return folder_remove(state);
}

/* -- signing ----------------------------------------------------------------------------------- */

static const struct pdf_signature plain = {
    .signer = STR("A signer"), .reason = STR("Issued"), .when_s = 1795426200, .room = 4096};

static void sign_by(const struct signer *who, struct buf *pdf, const struct pdf_signature *facts)
{
    struct pdf_signature signature = *facts;
    struct pdf_hole hole;
    const char *error;
    uint8_t digest[SIGNATURE_DIGEST_MAX];
    struct cms cms;
    signature.room = signer_size(who);
    uint8_t *der = malloc(signature.room);
    if (!pdf_sign_prepare(pdf, &signature, &hole, &error))
        fail_msg("%s", error);
    assert_null(error);
    assert_int_equal(hole.to - hole.from, 2 * signature.room + 2);
    pdf_sign_digest(pdf, hole, signer_digest(who), digest);
    cms_sign(who, digest, &cms);
    pdf_sign_fill(pdf, hole, der, cms_write(&cms, (struct str){NULL, 0}, der));
    free(der);
}

static void sign(struct buf *pdf, const struct pdf_signature *facts)
{
    sign_by(signer, pdf, facts);
}

/* What was added behind `was`, NUL-terminated. */
static const char *added(struct buf *pdf, size_t was)
{
    assert_true(buf_append(pdf, "", 1));
    pdf->n--;
    return pdf->p + was;
}

/* -- documents of every shape ------------------------------------------------------------------ */

#define PAGES "<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
#define LINK                                                                        \
    "<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /Border [0 0 0] /A << /S /URI " \
    "/URI (https://example.org/\\(a\\)>>]) >> >>"
#define FIELD(name) "<< /FT /Tx /T " name " /V (x) /Type /Annot /Subtype /Widget /Rect [0 0 9 9] >>"

/* Each is a document, and what its update must and must not say. */
static const struct {
    const char *what, *header;
    const char *objects[12];
    const char *said[6];
    const char *unsaid;
} shapes[] = {
    {"nothing yet",
     "%PDF-1.4",
     {"<< /Type /Catalog /Pages 2 0 R >>", PAGES, "<< " SAMPLE_PAGE " >>", SAMPLE_STREAM},
     {"\n/Version /1.7\n", "/ESIC", "/SigFlags 3\n/Fields [ 5 0 R]", "/Annots [ 5 0 R]",
      "/T (Signature1)", "xref\n1 1\n"},
     "/AP"},
    {"a newer version",
     "%PDF-2.0",
     {"<< /Type /Catalog /Pages 2 0 R >>", PAGES, "<< " SAMPLE_PAGE " >>", SAMPLE_STREAM},
     {"/ESIC"},
     "\n/Version"},
    {"an older version in the catalog, and 1.7 in the header",
     "%PDF-1.7",
     {"<< /Type /Catalog /Version /1.5 /Pages 2 0 R >>", PAGES, "<< " SAMPLE_PAGE " >>",
      SAMPLE_STREAM},
     {"\n/Version /1.5\n"},
     "\n/Version /1.7"},
    {"annotations, comments, nested brackets",
     "%PDF-1.4",
     {"<</Type/Catalog/Pages 2 0 R%\n/X<</Y[(a\\)]>>)<</Z<3e>>>[]]>>>>", PAGES,
      "<< " SAMPLE_PAGE "% ]\n /Annots [5 0 R % >>\n] >>", SAMPLE_STREAM, LINK},
     {"/X <</Y[(a\\)]>>)<</Z<3e>>>[]]>>\n", "/Annots [5 0 R % >>\n 6 0 R]", "3 1\n"},
     NULL},
    {"annotations as an object of their own: the page stays as it is",
     "%PDF-1.4",
     {"<< /Type /Catalog /Pages 2 0 R >>", PAGES, "<< " SAMPLE_PAGE " /Annots 6 0 R >>",
      SAMPLE_STREAM, LINK, "[ 5 0 R ]"},
     {"\n6 0 obj\n[ 5 0 R  7 0 R]\n", "/P 3 0 R"},
     "\n3 0 obj"},
    {"a form in the catalog",
     "%PDF-1.4",
     {"<< /Type /Catalog /Pages 2 0 R /AcroForm << /DA (/F1 0 Tf) /Fields [5 0 R] >> >>", PAGES,
      "<< " SAMPLE_PAGE " /Annots [5 0 R] >>", SAMPLE_STREAM, FIELD("(name)")},
     {"/AcroForm <<\n/DA (/F1 0 Tf)\n/SigFlags 3\n/Fields [5 0 R 6 0 R]\n>>", "/T (Signature1)"},
     NULL},
    {"a form and its fields as objects of their own",
     "%PDF-1.4",
     {"<< /Type /Catalog /Pages 2 0 R /AcroForm 6 0 R >>", PAGES,
      "<< " SAMPLE_PAGE " /Annots [5 0 R] >>", SAMPLE_STREAM, FIELD("(Signature7)"),
      "<< /SigFlags 1 /Fields 7 0 R >>", "[ 5 0 R ]"},
     {"/AcroForm 6 0 R\n", "\n6 0 obj\n<<\n/SigFlags 3\n/Fields 7 0 R\n",
      "\n7 0 obj\n[ 5 0 R  8 0 R]", "/T (Signature8)"},
     "/SigFlags 1"},
    {"a form that is empty, a name in UTF-16",
     "%PDF-1.4",
     {"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [5 0 R] >> >>", PAGES,
      "<< " SAMPLE_PAGE " /Annots [] >>", SAMPLE_STREAM,
      FIELD("<FEFF005300690067006E006100740075007200650031>")},
     {"/T (Signature2)", "/Annots [ 6 0 R]"},
     NULL},
    {"null where there could be something",
     "%PDF-1.4",
     {"<< /Type /Catalog /Pages 2 0 R /AcroForm 5 0 R >>", PAGES,
      "<< " SAMPLE_PAGE " /Annots null >>", SAMPLE_STREAM, "null"},
     {"/AcroForm <<\n/SigFlags 3\n/Fields [ 6 0 R]", "/Annots [ 6 0 R]"},
     "5 0 obj"},
    {"pages in a tree",
     "%PDF-1.4",
     {"<< /Type /Catalog /Pages 6 0 R /Extensions << /X << /BaseVersion /1.7 "
      "/ExtensionLevel 2 >> >> >>",
      "<< /Type /Pages /Parent 6 0 R /Kids [3 0 R 5 0 R] /Count 2 >>", "<< " SAMPLE_PAGE " >>",
      SAMPLE_STREAM, "<< " SAMPLE_PAGE " >>", "<< /Type /Pages /Kids 7 0 R /Count 2 >>",
      "[ 2 0 R ]"},
     {"/P 3 0 R", "/Extensions << /X <<", "xref\n1 1\n"},
     "/ESIC"},
};

static void test_signed_documents_of_every_shape(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        struct buf pdf = sample_plain(shapes[i].header, shapes[i].objects, "");
        size_t was = pdf.n;
        must_pass_qpdf(&pdf); /* else the sample is wrong */
        sign(&pdf, &plain);
        const char *update = added(&pdf, was);
        for (size_t k = 0; k < COUNT(shapes[i].said) && shapes[i].said[k]; k++)
            if (!strstr(update, shapes[i].said[k]))
                fail_msg("%s: no %s in\n%s", shapes[i].what, shapes[i].said[k], update);
        if (shapes[i].unsaid && strstr(update, shapes[i].unsaid))
            fail_msg("%s: %s in\n%s", shapes[i].what, shapes[i].unsaid, update);
        must_pass_qpdf(&pdf);
        const char *judged = pdfsig(&pdf);
        must_say(judged, "Signature #1");
        must_say(judged, "Signature is Valid.");
        must_say(judged, "Total document signed");
        assert_null(strstr(judged, "Signature #2"));
        buf_fini(&pdf);
    }
}

static void test_valid_altered_and_appended_are_told_apart(void **state)
{
    (void)state;
    struct buf pdf = sample_cairo();
    sign(&pdf, &plain);
    must_pass_qpdf(&pdf);
    const char *judged = pdfsig(&pdf);
    must_say(judged, "Signature is Valid.");
    must_say(judged, "Certificate is Trusted.");
    must_say(judged, "Total document signed");
    must_say(judged, "Signature Type: ETSI.CAdES.detached");
    must_say(judged, "Signature Field Name: Signature1");
    assert_runs("pdfsig -nssdir nss-empty look.pdf");
    must_say(log_text(), "Certificate issuer isn't Trusted."); /* the root is in the chain */

    pdf.p[10] ^= 1; /* in the comment behind the header */
    judged = pdfsig(&pdf);
    must_say(judged, "Digest Mismatch");
    assert_null(strstr(judged, "is Valid"));
    pdf.p[10] ^= 1;

    assert_true(buf_append(&pdf, "%more\n", 6));
    judged = pdfsig(&pdf);
    must_say(judged, "Not total document signed");
    must_say(judged, "Signature is Valid.");
    buf_fini(&pdf);
}

struct covered {
    const struct buf *pdf;
    const struct pdf_found_signature *found;
};

static void covered_digest(void *arg, enum digest_kind kind, uint8_t *digest_r)
{
    const struct covered *covered = arg;
    struct buf pdf = *covered->pdf;
    pdf.n = covered->found->end;
    pdf_sign_digest(&pdf, (struct pdf_hole){covered->found->hole_from, covered->found->hole_to},
                    kind, digest_r);
}

/* As who verifies a file does: find, read, ask. */
static enum cms_verdict verdict(const struct signer *who, const struct buf *pdf)
{
    static uint8_t der[16 * 1024];
    struct pdf_found_signature found[PDF_MAX_SIGNATURES];
    struct covered covered = {pdf, found};
    struct cms_found cms;
    assert_int_equal(pdf_find_signatures(buf_str(pdf), found), 1);
    size_t n = pdf_read_contents(buf_str(pdf), found, der);
    assert_true(n != 0);
    assert_true(cms_check(who, (struct str){(const char *)der, n}, covered_digest, &covered, &cms));
    write_file("cms", der, n);
    write_file("content", pdf->p, found->hole_from);
    FILE *file = fopen(in_folder("content"), "ab");
    fwrite(pdf->p + found->hole_to, 1, found->end - found->hole_to, file);
    fclose(file);
    return cms.verdict;
}

static void test_each_kind_of_key_signs_for_all_judges(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct buf pdf = sample_template();
        struct signer *who = load_kind(i, "chain");
        sign_by(who, &pdf, &plain);
        must_pass_qpdf(&pdf);
        const char *judged = pdfsig(&pdf);
        must_say(judged, "Signature is Valid.");
        must_say(judged, "Certificate is Trusted.");
        must_say(judged, "Total document signed");
        assert_int_equal(verdict(who, &pdf), CMS_GOOD);
        assert_runs("openssl cms -verify -binary -cades -inform DER -in cms -content content "
                    "-CAfile root.crt -purpose any -out /dev/null");
        if (i != 3)
            assert_int_equal(verdict(signer, &pdf), CMS_FOREIGN);
        assert_true(buf_append(&pdf, "%more", 5));
        assert_int_equal(verdict(who, &pdf), CMS_GOOD); /* as far as it goes */
        pdf.p[10] ^= 1;
        assert_int_equal(verdict(who, &pdf), CMS_ALTERED);
        assert_fails("openssl cms -verify -binary -cades -inform DER -in cms -content content "
                     "-CAfile root.crt -purpose any -out /dev/null");
        signer_destroy(&who);
        buf_fini(&pdf);
    }
}

static void test_the_picture_stays(void **state)
{
    (void)state;
    static const struct pdf_signature visible = {
        .when_s = 1795426200, .room = 4096, .rect = {20.5, -10, 120, 40.0625}};
    struct buf (*const makers[])(void) = {sample_cairo, sample_template};
    for (size_t i = 0; i < COUNT(makers); i++) {
        struct buf pdf = makers[i]();
        size_t was = pdf.n;
        write_file("before.pdf", pdf.p, pdf.n);
        sign(&pdf, &visible);
        must_pass_qpdf(&pdf);
        must_say(added(&pdf, was), "/Rect [ 20.500 -10 140.500 30.063 ]");
        assert_runs("pdftoppm -r 40 before.pdf before && pdftoppm -r 40 look.pdf look && "
                    "cmp before-1.ppm look-1.ppm && "
                    "[ \"$(tail -c +16 look-1.ppm | tr -d '\\377' | wc -c)\" -gt 100 ]");
        buf_fini(&pdf);
    }
}

static void test_a_second_signature_covers_the_first(void **state)
{
    (void)state;
    struct buf pdf = sample_cairo();
    sign(&pdf, &plain);
    size_t was = pdf.n;
    sign(&pdf, &plain);
    must_say(added(&pdf, was), "/T (Signature2)");
    must_pass_qpdf(&pdf);
    const char *judged = pdfsig(&pdf), *second = strstr(judged, "Signature #2");
    assert_non_null(second);
    must_say(second, "Signature is Valid.");
    must_say(second, "Total document signed");
    const char *first_end = strstr(judged, "Not total document signed");
    assert_true(first_end && first_end < second);
    assert_true(strstr(judged, "Signature is Valid.") < second);

    struct pdf_found_signature found[PDF_MAX_SIGNATURES];
    assert_int_equal(pdf_find_signatures(buf_str(&pdf), found), 2);
    assert_int_equal(found[0].end, was);
    assert_int_equal(found[1].end, pdf.n);
    buf_fini(&pdf);
}

/* -- texts, numbers, bytes --------------------------------------------------------------------- */

static void test_texts_are_ascii_or_utf_16(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        const char *said;
    } cases[] = {
        {STR("Issued"), "/Reason (Issued)\n"},
        {STR("a (b) \\ c"), "/Reason (a \\(b\\) \\\\ c)\n"},
        {STR(")) >> endobj"), "/Reason (\\)\\) >> endobj)\n"},
        {STR("Prüfung"), "/Reason <FEFF0050007200FC00660075006E0067>\n"},
        {STR("学校"), "/Reason <FEFF5B666821>\n"},
        {STR("😀"), "/Reason <FEFFD83DDE00>\n"},
        {STR("a\nb"), "/Reason <FEFF0061000A0062>\n"},
        {STR("a\xff"), "/Reason <FEFF0061FFFD>\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf pdf = sample_template();
        size_t was = pdf.n;
        struct pdf_signature signature = plain;
        struct pdf_hole hole;
        const char *error;
        signature.reason = cases[i].text;
        assert_true(pdf_sign_prepare(&pdf, &signature, &hole, &error));
        const char *update = added(&pdf, was);
        must_say(update, cases[i].said);
        must_say(update, "/Name (A signer)\n");
        must_say(update, "/M (D:20261123093000Z)\n");
        assert_null(strstr(update, "/Location"));
        assert_null(strstr(update, "/ContactInfo"));
        must_pass_qpdf(&pdf);
        buf_fini(&pdf);
    }
}

static void test_the_identifier_keeps_its_first_half(void **state)
{
    (void)state;
    struct buf pdf = sample_template();
    size_t was = pdf.n;
    struct pdf_hole hole;
    const char *error;
    assert_true(pdf_sign_prepare(&pdf, &plain, &hole, &error));
    const char *id = strstr(added(&pdf, was), "/ID [<0011> <");
    assert_non_null(id);
    assert_int_equal(strspn(id + 13, "0123456789abcdef"), 32);
    buf_fini(&pdf);
}

static void test_the_same_in_is_the_same_out(void **state)
{
    (void)state;
    struct buf one = sample_cairo(), two = sample_cairo(), other = sample_cairo();
    struct pdf_signature later = plain;
    struct pdf_hole hole;
    const char *error;
    later.when_s++;
    assert_true(pdf_sign_prepare(&one, &plain, &hole, &error));
    assert_true(pdf_sign_prepare(&two, &plain, &hole, &error));
    assert_true(pdf_sign_prepare(&other, &later, &hole, &error));
    assert_int_equal(one.n, two.n);
    assert_memory_equal(one.p, two.p, one.n);
    assert_int_equal(one.n, other.n);
    struct str id = STR("/ID [");
    const char *a = memmem(one.p, one.n, id.p, id.n), *b = memmem(other.p, other.n, id.p, id.n);
    assert_non_null(a);
    assert_memory_equal(a, b, 5 + 34 + 1);
    assert_memory_not_equal(a + 5 + 34 + 1, b + 5 + 34 + 1, 34);
    buf_fini(&one);
    buf_fini(&two);
    buf_fini(&other);
}

static void test_the_serial_tells_documents_apart(void **state)
{
    (void)state;
    static const struct str serials[] = {STR("8K3QF"), STR("2M7XR")};
    struct str id = STR("/ID [");
    const char *ids[COUNT(serials)];
    struct buf pdfs[COUNT(serials)];
    for (size_t i = 0; i < COUNT(serials); i++) {
        struct pdf_signature signature = plain;
        struct pdf_hole hole;
        const char *error;
        signature.serial = serials[i];
        pdfs[i] = sample_cairo();
        assert_true(pdf_sign_prepare(&pdfs[i], &signature, &hole, &error));
        ids[i] = memmem(pdfs[i].p, pdfs[i].n, id.p, id.n);
        assert_non_null(ids[i]);
    }
    assert_memory_not_equal(ids[0] + 5, ids[1] + 5, 34);
    assert_memory_not_equal(ids[0] + 5 + 34 + 1, ids[1] + 5 + 34 + 1, 34);
    for (size_t i = 0; i < COUNT(serials); i++)
        buf_fini(&pdfs[i]);
}

static void test_the_digest_leaves_out_the_hole_alone(void **state)
{
    (void)state;
    struct buf pdf = sample_template();
    struct pdf_hole hole;
    const char *error;
    uint8_t before[DIGEST_MAX], after[DIGEST_MAX], der[4096];
    memset(der, 0xa5, sizeof(der));
    assert_true(pdf_sign_prepare(&pdf, &plain, &hole, &error));
    assert_int_equal(pdf.p[hole.from], '<');
    assert_int_equal(pdf.p[hole.to - 1], '>');
    pdf_sign_digest(&pdf, hole, DIGEST_SHA256, before);
    pdf_sign_fill(&pdf, hole, der, sizeof(der));
    assert_int_equal(pdf.p[hole.from], '<');
    assert_int_equal(pdf.p[hole.to - 1], '>');
    pdf_sign_digest(&pdf, hole, DIGEST_SHA256, after);
    assert_memory_equal(before, after, 32);
    const size_t edges[] = {0, hole.from - 1, hole.to, pdf.n - 1};
    for (size_t i = 0; i < COUNT(edges); i++) {
        pdf.p[edges[i]] ^= 1;
        pdf_sign_digest(&pdf, hole, DIGEST_SHA256, after);
        assert_memory_not_equal(before, after, 32);
        pdf.p[edges[i]] ^= 1;
    }
    buf_fini(&pdf);
}

/* -- refused ----------------------------------------------------------------------------------- */

static void test_a_buffer_without_room_stays_as_it_was(void **state)
{
    (void)state;
    struct buf sample = sample_cairo(), pdf = sample_cairo();
    struct pdf_hole hole;
    const char *error;
    assert_true(pdf_sign_prepare(&pdf, &plain, &hole, &error));
    size_t needed = pdf.n;
    for (size_t max = sample.n; max <= needed; max += max + 64 < needed ? 64 : 1) {
        pdf.n = sample.n;
        pdf.max = max;
        memcpy(pdf.p, sample.p, sample.n);
        bool fits = pdf_sign_prepare(&pdf, &plain, &hole, &error);
        assert_int_equal(fits, max == needed);
        if (!fits) {
            assert_string_equal(error, "has no room for a signature");
            assert_int_equal(pdf.n, sample.n);
            assert_memory_equal(pdf.p, sample.p, sample.n);
        }
    }
    struct pdf_signature endless = plain;
    endless.room = SIZE_MAX / 2 + 2;
    pdf.n = sample.n;
    assert_false(pdf_sign_prepare(&pdf, &endless, &hole, &error));
    assert_string_equal(error, "has no room for a signature");
    buf_fini(&sample);
    buf_fini(&pdf);
}

static void must_refuse(struct buf *pdf, const struct pdf_signature *signature, const char *why)
{
    struct pdf_hole hole;
    const char *error;
    size_t was = pdf->n;
    if (pdf_sign_prepare(pdf, signature, &hole, &error))
        fail_msg("signed, but %s", why);
    assert_string_equal(error, why);
    assert_int_equal(pdf->n, was);
}

static void test_what_is_not_ours_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *objects[6];
        const char *trailer, *why;
    } cases[] = {
        {{"<< /Type /Catalog /Pages 2 0 R >>", PAGES}, "", "has no first page"},
        {{"<< /Type /Catalog >>"}, "", "has no first page"},
        {{"<< /Type /Catalog /Pages 9999999 0 R >>"}, "", "has no first page"},
        {{"<< /Type /Catalog /Pages 99999999999999999999 0 R >>"}, "", "has no first page"},
        {{"(a string)"}, "", "has no catalog"},
        {{"<< /Type /Catalog /Pages 2 0 R", "", ""}, "", "has no catalog"},
        {{"<< /Type /Catalog /Pages (2 0 R >>"}, "", "has no catalog"},
        {{"<< /Type /Catalog /Pages [2 0 R>> >>"}, "", "has no catalog"},
        {{"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["},
         "",
         "has no catalog"},
        {{"<< /Type /Catalog /Pages 2 0 R >>", "<< /Kids [2 0 R] >>"}, "", "has no first page"},
        {{"<< /Type /Catalog /Pages 2 0 R >>", "<< /Kids [] >>"}, "", "has no first page"},
        {{"<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Font >>"}, "", "has no first page"},
        {{"<< /Type /Catalog /Pages 2 0 R >>", "2 0 R"}, "", "has no first page"},
        {{"<< /Type /Catalog /Pages 2 0 R >>", PAGES, "<< /Type /Page /Annots 4 0 R >>", "4 0 R"},
         "",
         "has annotations that are broken"},
        {{"<< /Type /Catalog /Pages 2 0 R >>", PAGES, "<< /Type /Page /Annots << >> >>"},
         "",
         "has annotations that are broken"},
        {{"<< /Type /Catalog /Pages 2 0 R /AcroForm 9 0 R >>", PAGES, "<< /Type /Page >>"},
         "",
         "has a form that is broken"},
        {{"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields 1 >> >>", PAGES,
          "<< /Type /Page >>"},
         "",
         "has a form that is broken"},
        {{"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields 4 0 R >> >>", PAGES,
          "<< /Type /Page /Annots 4 0 R >>", "[]"},
         "",
         "uses one object for two things"},
        {{"<< /Type /Catalog /Pages 2 0 R /AcroForm 1 0 R >>", PAGES, "<< /Type /Page >>"},
         "",
         "uses one object for two things"},
        {{"<< /Type /Catalog /Pages 2 0 R 5 6 >>", PAGES, "<< /Type /Page >>"},
         "",
         "has a dictionary that is broken"},
        {{"<< /Type /Catalog /Pages 2 0 R /A >>", PAGES, "<< /Type /Page >>"},
         "",
         "has a dictionary that is broken"},
        {{"<< /Type /Catalog /Pages 2 0 R >>", PAGES, "<< /Type /Page >>"},
         "/Encrypt 9 0 R",
         "is encrypted"},
        {{"<< /Type /Catalog /Pages 2 0 R >>", PAGES, "<< /Type /Page >>"},
         "/XRefStm 15",
         "has no cross-reference table where it says"},
        {{"<< /Type /Catalog /Pages 2 0 R >>", PAGES, "<< /Type /Page >>"},
         "/Prev 99999",
         "has no cross-reference table where it says"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf pdf = sample_plain("%PDF-1.4", cases[i].objects, cases[i].trailer);
        must_refuse(&pdf, &plain, cases[i].why);
        buf_fini(&pdf);
    }
    static const struct {
        struct str bytes;
        const char *why;
    } files[] = {
        {STR(""), "is not a PDF"},
        {STR("%PDF-1."), "is not a PDF"},
        {STR("<html>%PDF-1.4"), "is not a PDF"},
        {STR("%PDF-1.4"), "has no cross-reference table where it says"},
        {STR("%PDF-1.4\nstartxref\n9\n"), "has no cross-reference table where it says"},
        {STR("%PDF-1.4\nstartxref\n"), "has no cross-reference table where it says"},
        {STR("%PDF-1.4\nstartxref\n99999999999999999999999"),
         "has no cross-reference table where it says"},
        {STR("%PDF-1.4\nxref\n0 4294967295\ntrailer <<>>\nstartxref\n9"),
         "has no cross-reference table where it says"},
        {STR("%PDF-1.4\nxref\n0 1\ntrailer << /Size 1 >>\nstartxref\n9"),
         "has no cross-reference table where it says"},
        {STR("%PDF-1.4\nxref\ntrailer << /A 1 >>\nstartxref\n9"), "has a trailer that is broken"},
        {STR("%PDF-1.4\nxref\ntrailer << /Size 0 >>\nstartxref\n9"),
         "has a trailer that is broken"},
        {STR("%PDF-1.4\nxref\ntrailer << /Size -1 >>\nstartxref\n9"),
         "has a trailer that is broken"},
        {STR("%PDF-1.4\nxref\ntrailer << /Size 9 /Root 1 1 R >>\nstartxref\n9"), "has no catalog"},
    };
    for (size_t i = 0; i < COUNT(files); i++) {
        struct buf pdf;
        buf_init(&pdf, SAMPLE_MAX);
        assert_true(buf_append(&pdf, files[i].bytes.p, files[i].bytes.n));
        must_refuse(&pdf, &plain, files[i].why);
        buf_fini(&pdf);
    }
    static const double rects[][4] = {
        {NAN, 0, 1, 1}, {0, INFINITY, 1, 1}, {0, 0, -1, 1}, {0, 0, 1, 1e300}};
    struct buf pdf = sample_template();
    struct pdf_signature signature = plain;
    for (size_t i = 0; i < COUNT(rects); i++) {
        memcpy(signature.rect, rects[i], sizeof(rects[i]));
        must_refuse(&pdf, &signature, "cannot show a signature outside of any page");
    }
    signature = plain;
    signature.when_s = INT64_MAX;
    must_refuse(&pdf, &signature, "cannot be signed at a time that has no date");
    buf_fini(&pdf);
}

/* Cut anywhere, changed anywhere: signed or refused, and then untouched. In a block of its own size
 * each, so that a sanitizer sees a read past the end. */
static void test_broken_documents_are_no_danger(void **state)
{
    (void)state;
    static const char *const objects[] = {"<< /Type /Catalog /Pages 2 0 R /AcroForm 6 0 R >>",
                                          PAGES,
                                          "<< " SAMPLE_PAGE " /Annots 7 0 R >>",
                                          SAMPLE_STREAM,
                                          FIELD("(Signature1)"),
                                          "<< /Fields [5 0 R] >>",
                                          "[5 0 R]",
                                          NULL};
    struct buf sample = sample_plain("%PDF-1.4", objects, "/ID [<00> <00>]");
    size_t signed_count = 0, refused = 0;
    for (size_t i = 0; i < 10 * sample.n; i++) {
        size_t n = i < sample.n ? i : sample.n, at = i % sample.n;
        struct buf pdf = {.p = malloc(n + 1), .n = n, .capacity = n, .max = SAMPLE_MAX};
        struct pdf_hole hole;
        const char *error;
        memcpy(pdf.p, sample.p, n);
        if (i >= sample.n)
            pdf.p[at] = "\0<>[]()9 /"[i / sample.n];
        char *copy = malloc(n + 1);
        memcpy(copy, pdf.p, n);
        if (pdf_sign_prepare(&pdf, &plain, &hole, &error)) {
            assert_true(hole.from > n && hole.to < pdf.n);
            signed_count++;
        } else {
            assert_non_null(error);
            assert_int_equal(pdf.n, n);
            refused++;
        }
        assert_memory_equal(pdf.p, copy, n);
        free(copy);
        buf_fini(&pdf);
    }
    assert_true(signed_count > 100 && refused > 100);
    buf_fini(&sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signed_documents_of_every_shape),
        cmocka_unit_test(test_valid_altered_and_appended_are_told_apart),
        cmocka_unit_test(test_each_kind_of_key_signs_for_all_judges),
        cmocka_unit_test(test_the_picture_stays),
        cmocka_unit_test(test_a_second_signature_covers_the_first),
        cmocka_unit_test(test_texts_are_ascii_or_utf_16),
        cmocka_unit_test(test_the_identifier_keeps_its_first_half),
        cmocka_unit_test(test_the_same_in_is_the_same_out),
        cmocka_unit_test(test_the_serial_tells_documents_apart),
        cmocka_unit_test(test_the_digest_leaves_out_the_hole_alone),
        cmocka_unit_test(test_a_buffer_without_room_stays_as_it_was),
        cmocka_unit_test(test_what_is_not_ours_is_refused),
        cmocka_unit_test(test_broken_documents_are_no_danger),
    };
    return cmocka_run_group_tests(tests, make_signer, remove_signer);
}
