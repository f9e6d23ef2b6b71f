/* A font of a template: what its codes mean, which characters it really can draw, and how they are
 * written. Only single characters: a script whose letters join, stack or run from right to left
 * (Arabic, Hebrew, Devanagari ...) needs an engine that shapes it, so its characters count as
 * ones that can't be drawn; so do combining marks. */
#ifndef GW_CERTIFICATES_PDF_FONT_H
#define GW_CERTIFICATES_PDF_FONT_H

#include <stdio.h>
#include "certificates/pdf_internal.h"

enum { PDF_CODE_CHARS = 3 }; /* that one code may stand for, as "ffi" does */

/* What one code stands for; 0 ends it early. */
struct pdf_chars {
    uint32_t c[PDF_CODE_CHARS];
};

/* How one character is written: `n` bytes, 0 = it can't be. */
struct pdf_drawn {
    uint16_t width; /* thousandths of the size */
    uint8_t n;
    char bytes[4];
};
enum { PDF_DIRECT = 0x250 }; /* Latin: found by index, the others by bisection */

struct pdf_font {
    struct str name;
    bool composite; /* two bytes a code, written in hexadecimal; else one, written literally */
    bool embedded;
    bool has_widths;
    struct pdf_drawn *direct; /* [PDF_DIRECT]; NULL until it was judged */
    struct pdf_other {
        uint32_t c, code;
        struct pdf_drawn drawn;
    } * others; /* sorted */
    size_t other_count;
    /* While it is loaded, from scratch: */
    struct pdf_chars *chars; /* by code, 256 or 65536; NULL = its text can't be read */
    uint16_t *widths;        /* by code */
    struct str *names;       /* of glyphs by code, where /Differences tells them; simple fonts */
    uint8_t base;            /* enum pdf_encoding of the other codes */
    bool type3;
    qpdf_oh dict; /* of a composite font: its descendant */
    struct str written;
};

struct pdf_fonts *pdf_fonts_create(struct pdf_loading *loading);
/* The font that `resources` knows by that name; NULL = none. */
struct pdf_font *pdf_font_get(struct pdf_loading *loading, qpdf_oh resources, struct str name);
/* Finds out what it can draw, by its own program. Once. */
void pdf_font_judge(struct pdf_loading *loading, struct pdf_font *font);

/* How a code is written inside of a string. */
struct pdf_drawn pdf_font_code(const struct pdf_font *font, uint32_t code);

/* -- pdf_font_unicode.c: a ToUnicode CMap, into chars[0 .. count). */
void pdf_font_read_unicode(struct str cmap, struct pdf_chars *chars, size_t count);

/* -- pdf_font_glyphs.c: marks in `drawable`, by code, what has an outline in the font's program. */
void pdf_font_read_glyphs(struct pdf_loading *loading, const struct pdf_font *font, bool *drawable);

/* Whether a character is drawn right by drawing its glyph after the one before it. */
bool pdf_is_simple(uint32_t c);
bool pdf_is_blank(uint32_t c);

static inline const struct pdf_drawn *pdf_font_draw(const struct pdf_font *font, uint32_t c)
{
    static const struct pdf_drawn none;
    if (c < PDF_DIRECT)
        return &font->direct[c];
    size_t low = 0, high = font->other_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (font->others[middle].c == c)
            return &font->others[middle].drawn;
        if (font->others[middle].c < c)
            low = middle + 1;
        else
            high = middle;
    }
    return &none;
}

/* Prints the characters of [from, until) that `has` holds for, in ranges: "A-Z U+00C0-U+00FF". */
void pdf_print_ranges(FILE *to, bool (*has)(const void *of, uint32_t c), const void *of,
                      uint32_t from, uint32_t until);

#endif
