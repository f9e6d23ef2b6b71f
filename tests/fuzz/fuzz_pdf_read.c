/* Any bytes as a PDF: what is found lies inside the file and is what it is said to be. The same
 * bytes are given to what signs: refused and left alone, or signed, found, and signed again. */
#include <stdlib.h>
#include "base/text.h"
#include "certificates/pdf_read.h"
#include "certificates/pdf_sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf pdf = {.p = malloc(n + 1), .n = n, .capacity = n, .max = 1 << 20};
    struct pdf_found_signature found[PDF_MAX_SIGNATURES];
    memcpy(pdf.p, data, n); /* its own block: a read past the end is seen */
    size_t count = pdf_find_signatures(buf_str(&pdf), found);
    gw_assert(count <= PDF_MAX_SIGNATURES);
    for (size_t i = 0; i < count; i++) {
        size_t from = found[i].hole_from, to = found[i].hole_to;
        gw_assert(from + 2 <= to && to <= found[i].end && found[i].end <= n);
        gw_assert(pdf.p[from] == '<' && pdf.p[to - 1] == '>');
        for (size_t k = from + 1; k < to - 1; k++)
            gw_assert(hex_value(pdf.p[k]) >= 0);
        uint8_t *der = malloc((to - from) / 2);
        size_t length = pdf_read_contents(buf_str(&pdf), &found[i], der);
        gw_assert(length <= (to - from - 2) / 2 && (length == 0 || der[0] == 0x30));
        free(der);
    }

    const struct pdf_signature signature = {
        .signer = STR("A"), .rect = {1, 2, 3, 4}, .when_s = 1795426200, .room = 16};
    struct pdf_hole hole;
    const char *error;
    if (pdf_sign_prepare(&pdf, &signature, &hole, &error)) {
        gw_assert(hole.from > n && hole.to - hole.from == 34 && hole.to < pdf.n && !error);
        count = pdf_find_signatures(buf_str(&pdf), found);
        if (!memmem(data, n, "/ByteRange",
                    10)) /* which may lead past the end of then, not of now */
            gw_assert(count == 1 && found[0].hole_from == hole.from &&
                      found[0].hole_to == hole.to && found[0].end == pdf.n);
        gw_assert(pdf_sign_prepare(&pdf, &signature, &hole, &error)); /* what we made, we read */
    } else
        gw_assert(pdf.n == n && error);
    gw_assert(memcmp(pdf.p, data, n) == 0);
    buf_fini(&pdf);
    return 0;
}
