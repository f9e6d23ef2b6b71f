/* Asks a font's own program, by FreeType, which codes have an outline: what the file's dictionaries
 * say about a subset can't be trusted, a glyph that was left out still has its number.
 *
 * How a code finds its glyph: ISO 32000-1 section 9.6.6 (simple fonts), 9.7.4 (composite ones). */
#include <ft2build.h>
#include FT_FREETYPE_H
#include FT_CID_H
#include FT_OUTLINE_H
#include "certificates/pdf_font.h"
#include "certificates/pdf_font_names.h"

static FT_UInt in_charmap(FT_Face face, int platform, int encoding, FT_ULong code)
{
    for (int i = 0; i < face->num_charmaps; i++) {
        FT_CharMap map = face->charmaps[i];
        if (map->platform_id != platform || map->encoding_id != encoding)
            continue;
        return FT_Set_Charmap(face, map) == 0 ? FT_Get_Char_Index(face, code) : 0;
    }
    return 0;
}

static FT_UInt by_name(FT_Face face, struct str name)
{
    char text[128];
    if (name.n == 0 || name.n >= sizeof(text) || !FT_HAS_GLYPH_NAMES(face))
        return 0;
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    return FT_Get_Name_Index(face, text);
}

/* What the encoding, not ToUnicode, says that a code is. */
static uint32_t encoded(const struct pdf_font *font, unsigned code)
{
    return font->names[code].n != 0 ? pdf_glyph_unicode(font->names[code])
                                    : pdf_encoding_unicode(font->base, (uint8_t)code);
}

static FT_UInt mac_glyph(FT_Face face, uint32_t c)
{
    for (unsigned code = 0x20; c != 0 && code < 256; code++)
        if (pdf_encoding_unicode(PDF_ENCODING_MAC_ROMAN, (uint8_t)code) == c)
            return in_charmap(face, 1, 0, code);
    return 0;
}

static FT_UInt truetype_glyph(FT_Face face, const struct pdf_font *font, unsigned code)
{
    uint32_t c = encoded(font, code);
    FT_UInt glyph = 0;

    if (c != 0) {
        glyph = in_charmap(face, 3, 1, c);
        if (glyph == 0)
            glyph = mac_glyph(face, c);
        if (glyph == 0)
            glyph = by_name(face, font->names[code]);
    }
    if (glyph == 0)
        glyph = in_charmap(face, 3, 0, code);
    if (glyph == 0)
        glyph = in_charmap(face, 3, 0, 0xf000 + code);
    if (glyph == 0)
        glyph = in_charmap(face, 1, 0, code);
    return glyph;
}

static FT_UInt type1_glyph(FT_Face face, const struct pdf_font *font, unsigned code)
{
    if (font->names[code].n != 0)
        return by_name(face, font->names[code]);
    uint32_t c = encoded(font, code);
    if (c != 0)
        return FT_Select_Charmap(face, FT_ENCODING_UNICODE) == 0 ? FT_Get_Char_Index(face, c) : 0;
    return FT_Select_Charmap(face, FT_ENCODING_ADOBE_CUSTOM) == 0 ||
                   FT_Select_Charmap(face, FT_ENCODING_ADOBE_STANDARD) == 0
               ? FT_Get_Char_Index(face, code)
               : 0;
}

static bool has_outline(FT_Face face, FT_UInt glyph, uint32_t c)
{
    if (glyph == 0 || FT_Load_Glyph(face, glyph, FT_LOAD_NO_SCALE | FT_LOAD_NO_HINTING) != 0)
        return false;
    return pdf_is_blank(c) || face->glyph->outline.n_points > 0;
}

/* A composite font's glyphs by their CID: the program's own order, or /CIDToGIDMap, or the CIDs
 * that a CFF program names. */
static void judge_composite(struct pdf_loading *loading, FT_Face face, const struct pdf_font *font,
                            bool *drawable)
{
    qpdf_oh map_stream = qpdf_oh_get_key_if_dict(loading->qpdf, font->dict, "/CIDToGIDMap");
    struct str map = {NULL, 0};
    bool mapped =
        qpdf_oh_is_stream(loading->qpdf, map_stream) && pdf_stream_data(loading, map_stream, &map);
    FT_Bool cid_keyed = 0;

    if (FT_Get_CID_Is_Internally_CID_Keyed(face, &cid_keyed) == 0 && cid_keyed) {
        for (FT_UInt glyph = 1; glyph < (FT_UInt)face->num_glyphs && glyph < 65536; glyph++) {
            FT_UInt cid = 0;
            if (FT_Get_CID_From_Glyph_Index(face, glyph, &cid) == 0 && cid < 65536)
                drawable[cid] = has_outline(face, glyph, font->chars[cid].c[0]);
        }
        return;
    }
    for (uint32_t cid = 0; cid < 65536; cid++) {
        FT_UInt glyph = cid;
        if (font->chars[cid].c[0] == 0)
            continue;
        if (mapped)
            glyph = 2 * cid + 1 < map.n
                        ? (FT_UInt)((uint8_t)map.p[2 * cid] << 8 | (uint8_t)map.p[2 * cid + 1])
                        : 0;
        drawable[cid] = has_outline(face, glyph, font->chars[cid].c[0]);
    }
}

static void judge_type3(struct pdf_loading *loading, const struct pdf_font *font, bool *drawable)
{
    qpdf_oh glyphs = qpdf_oh_get_key_if_dict(loading->qpdf, font->dict, "/CharProcs");
    char key[130];
    for (unsigned code = 0; code < 256; code++) {
        if (font->names[code].n == 0 || font->names[code].n + 2 > sizeof(key))
            continue;
        snprintf(key, sizeof(key), "/%.*s", (int)font->names[code].n, font->names[code].p);
        drawable[code] =
            qpdf_oh_is_stream(loading->qpdf, qpdf_oh_get_key_if_dict(loading->qpdf, glyphs, key));
    }
}

void pdf_font_read_glyphs(struct pdf_loading *loading, const struct pdf_font *font, bool *drawable)
{
    static const char *const files[] = {"/FontFile2", "/FontFile3", "/FontFile"};
    qpdf_oh descriptor = qpdf_oh_get_key_if_dict(loading->qpdf, font->dict, "/FontDescriptor");
    FT_Library library;
    FT_Face face;
    struct str program;
    size_t file = 0;

    if (font->type3) {
        judge_type3(loading, font, drawable);
        return;
    }
    if (!font->embedded)
        return;
    while (file < COUNT(files) - 1 &&
           !qpdf_oh_is_stream(loading->qpdf,
                              qpdf_oh_get_key_if_dict(loading->qpdf, descriptor, files[file])))
        file++;
    qpdf_oh stream = qpdf_oh_get_key_if_dict(loading->qpdf, descriptor, files[file]);
    if (!pdf_stream_data(loading, stream, &program) || FT_Init_FreeType(&library) != 0)
        return;
    if (FT_New_Memory_Face(library, (const FT_Byte *)program.p, (FT_Long)program.n, 0, &face) ==
        0) {
        if (font->composite)
            judge_composite(loading, face, font, drawable);
        else
            for (unsigned code = 0; code < 256; code++)
                drawable[code] =
                    font->chars[code].c[0] != 0 &&
                    has_outline(face,
                                FT_IS_SFNT(face) && file == 0 ? truetype_glyph(face, font, code)
                                                              : type1_glyph(face, font, code),
                                font->chars[code].c[0]);
        FT_Done_Face(face);
    }
    FT_Done_FreeType(library);
}
