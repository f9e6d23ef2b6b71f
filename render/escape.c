/* Values' text as HTML. Most of it needs no escaping, so the work is to find that out fast: sixteen
 * bytes at a time are stored where they would go and looked at; short texts, the usual case, are
 * covered by two loads that overlap. What must be escaped is rare and handled a byte at a time. */
#include "render/render_internal.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { VECTOR = 16, PIECE = 512 };

/* Stored as eight bytes whatever its length. */
struct entity {
    char text[7];
    uint8_t n; /* 0: the byte stands for itself */
};

static const struct entity entities[256] = {['&'] = {"&amp;", 5},
                                            ['<'] = {"&lt;", 4},
                                            ['>'] = {"&gt;", 4},
                                            ['"'] = {"&quot;", 6},
                                            ['\''] = {"&#39;", 5}};

#ifdef __SSE2__

/* A bit for each byte that must be escaped. & and ' differ in one bit, < and > in another. */
static inline unsigned special_bits(__m128i bytes)
{
    __m128i amp_apos = _mm_cmpeq_epi8(_mm_or_si128(bytes, _mm_set1_epi8(1)), _mm_set1_epi8('\''));
    __m128i lt_gt = _mm_cmpeq_epi8(_mm_or_si128(bytes, _mm_set1_epi8(2)), _mm_set1_epi8('>'));
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(amp_apos, lt_gt), quote));
}

/* Copies to `to`, at most n bytes, and returns how many of them come before the first that must be
 * escaped; what it wrote from there on means nothing. */
static inline size_t copy_plain(char *to, const char *p, size_t n)
{
    size_t i = 0;
    for (; n - i >= VECTOR; i += VECTOR) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        _mm_storeu_si128((__m128i *)(void *)(to + i), bytes);
        unsigned bits = special_bits(bytes);
        if (bits != 0)
            return i + (unsigned)__builtin_ctz(bits);
    }
    if (n - i >= 8) {
        uint64_t low, high;
        memcpy(&low, p + i, 8);
        memcpy(&high, p + n - 8, 8);
        memcpy(to + i, &low, 8);
        memcpy(to + n - 8, &high, 8);
        unsigned bits = special_bits(_mm_set_epi64x((long long)high, (long long)low));
        if (bits == 0)
            return n;
        /* the high half begins at n - 8; where the halves overlap the low one has found it */
        unsigned first = (unsigned)__builtin_ctz(bits);
        return first < 8 ? i + first : n - VECTOR + first;
    }
    if (n - i >= 4) {
        uint32_t low, high;
        memcpy(&low, p + i, 4);
        memcpy(&high, p + n - 4, 4);
        memcpy(to + i, &low, 4);
        memcpy(to + n - 4, &high, 4);
        uint64_t both = (uint64_t)high << 32 | low;
        unsigned bits = special_bits(_mm_cvtsi64_si128((long long)both));
        if (bits == 0)
            return n;
        unsigned first = (unsigned)__builtin_ctz(bits);
        return first < 4 ? i + first : n - 8 + first;
    }
    for (; i < n && entities[(unsigned char)p[i]].n == 0; i++)
        to[i] = p[i];
    return i;
}

#else

static inline size_t copy_plain(char *to, const char *p, size_t n)
{
    size_t i = 0;
    for (; i < n && entities[(unsigned char)p[i]].n == 0; i++)
        to[i] = p[i];
    return i;
}

#endif

void write_escaped(struct out *out, struct str text)
{
    const char *p = text.p, *end = text.p + text.n;

    while (p < end) {
        /* Room for a piece and the entity that may cut it. Asking for all that is left would leave
         * a chunk of that size behind at every other entity: the square of a long text. */
        size_t piece = (size_t)(end - p) < PIECE ? (size_t)(end - p) : PIECE;
        char *to = out_room(out, piece + sizeof(struct entity));
        size_t plain = copy_plain(to, p, piece);
        p += plain;
        out->at = to + plain;
        /* neighbours are often special too: a tag's quotes, an entity in plain text */
        for (; p < end && entities[(unsigned char)*p].n != 0; p++) {
            const struct entity *entity = &entities[(unsigned char)*p];
            memcpy(out_room(out, sizeof(*entity)), entity, sizeof(*entity));
            out->at += entity->n;
        }
    }
}

/* One loop for both: with html, what is special in HTML is escaped, decoded or not. */
void write_json_decoded(struct out *out, struct str text, bool html)
{
    const char *p = text.p, *end = text.p + text.n;

    while (p < end) {
        const char *backslash = memchr(p, '\\', (size_t)(end - p));
        struct str plain = {p, (size_t)((backslash != NULL ? backslash : end) - p)};
        if (html)
            write_escaped(out, plain);
        else
            out_str(out, plain);
        p += plain.n;
        if (p == end)
            break;
        char bytes[4];
        struct str decoded = {bytes, json_decode_escape(&p, bytes)};
        if (html)
            write_escaped(out, decoded);
        else
            out_str(out, decoded);
    }
}
