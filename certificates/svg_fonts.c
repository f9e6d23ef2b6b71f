/* What the installed fonts can draw, all together: Pango looks for a character in the fonts that
 * the template names and then in every other one, so the union of all tells what will be a box. One
 * set, made when a template is loaded, is asked; no font is opened for it.
 *
 * Characters that change the direction of what stands around them (U+202A to U+202E and U+2066 to
 * U+2069) count as lacking: inside a name they could turn the text of the certificate around. */
#include "certificates/svg_internal.h"

#include <fontconfig/fontconfig.h>
#include <stdlib.h>
#include "base/text.h"

struct svg_fonts {
    FcCharSet *covered;
};

/* Pango draws with outlines of these two kinds only. */
static bool is_usable(FcPattern *font)
{
    FcChar8 *format = NULL;
    return FcPatternGetString(font, FC_FONTFORMAT, 0, &format) == FcResultMatch &&
           (strcmp((const char *)format, "TrueType") == 0 ||
            strcmp((const char *)format, "CFF") == 0);
}

struct svg_fonts *svg_fonts_load(void)
{
    struct svg_fonts fonts = {NULL};
    FcConfig *config = FcConfigReference(NULL);
    FcFontSet *set = config != NULL ? FcConfigGetFonts(config, FcSetSystem) : NULL;

    for (int i = 0; set != NULL && i < set->nfont; i++) {
        FcCharSet *characters = NULL;
        if (!is_usable(set->fonts[i]) ||
            FcPatternGetCharSet(set->fonts[i], FC_CHARSET, 0, &characters) != FcResultMatch)
            continue;
        if (fonts.covered == NULL)
            fonts.covered = FcCharSetCreate();
        gw_assert(FcCharSetMerge(fonts.covered, characters, NULL));
    }
    if (config != NULL)
        FcConfigDestroy(config); /* drops the reference */
    if (fonts.covered == NULL)
        return NULL;
    struct svg_fonts *loaded = malloc(sizeof(*loaded));
    gw_assert(loaded != NULL);
    *loaded = fonts;
    return loaded;
}

void svg_fonts_destroy(struct svg_fonts **fonts)
{
    if (*fonts == NULL)
        return;
    FcCharSetDestroy((*fonts)->covered);
    free(*fonts);
    *fonts = NULL;
}

static bool turns_text(uint32_t c)
{
    return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* Shapes or joins others without a glyph of its own, or is blank. */
static bool needs_no_glyph(uint32_t c)
{
    bool selector = (c >= 0xfe00 && c <= 0xfe0f) || (c >= 0xe0100 && c <= 0xe01ef);
    bool arabic_sign = (c >= 0x600 && c <= 0x605) || c == 0x6dd || c == 0x8e2;
    switch (g_unichar_type(c)) {
    case G_UNICODE_SPACE_SEPARATOR:
        return true;
    case G_UNICODE_FORMAT:
        return !arabic_sign;
    default:
        return selector || c == 0x34f;
    }
}

uint32_t svg_fonts_lack(const struct svg_fonts *fonts, struct str text)
{
    const char *p = text.p, *end = text.p + text.n;
    while (p < end) {
        unsigned char first = (unsigned char)*p;
        if (first < 0x80) { /* in every font; XML has no control characters but these three */
            if (first < 0x20 && first != '\n' && first != '\t' && first != '\r')
                return first;
            p++;
            continue;
        }
        size_t n = utf8_length(p, end);
        gw_assert(n != 0);
        uint32_t c = utf8_decode(p, n);
        if (turns_text(c) || (!FcCharSetHasChar(fonts->covered, c) && !needs_no_glyph(c)))
            return c;
        p += n;
    }
    return 0;
}
