/* What the files of the .svg kind share. A template's way:
 *
 *   svg_source.c    its files, partials included; the fields that they name
 *   svg_markup.c    what the SVG itself says: gw:fit, and what the drawing will not do as meant
 *   svg_template.c  loading all that, and one drawing's steps
 *   svg_draw.c      SVG text -> PDF, by librsvg and cairo
 *   svg_fonts.c     which characters the installed fonts can draw */
#ifndef GW_CERTIFICATES_SVG_INTERNAL_H
#define GW_CERTIFICATES_SVG_INTERNAL_H

#include <h2o/string_.h>
#include <librsvg/rsvg.h>
#include "base/out.h"
#include "certificates/template_kinds.h"
#include "render/render.h"

enum {
    SVG_MAX_FILES = 32,
    SVG_MAX_OPTIONAL = 32, /* of one template: itself and its partials */
    SVG_MAX_FITS = 64,
    SVG_MAX_FILE = 1024 * 1024 /* bytes; as render/ has it */
};

/* -- reading templates ------------------------------------------------------------------------- */

/* Goes through a template's text, which is Mustache around SVG. Delimiters may change on the way.
 */
struct svg_reader {
    const char *file;
    const char *at, *end;
    const char *line_at; /* where the line begins */
    unsigned line;
    struct str open, close; /* delimiters */
};
void svg_reader_init(struct svg_reader *reader, const char *file, struct str text);
struct pos svg_pos(const struct svg_reader *reader);
void svg_advance(struct svg_reader *reader, const char *to);
/* Past the next `what`; to the end when there is none. */
void svg_skip_past(struct svg_reader *reader, const char *what);

struct svg_tag {
    char sigil; /* as written: { & # ^ / > < $ ! =; ' ' = a value */
    struct str name;
    struct pos pos;
};
/* If a Mustache tag begins here, moves past it. One that isn't closed, of which render/ tells, ends
 * the text. */
bool svg_read_tag(struct svg_reader *reader, struct svg_tag *tag_r);

struct svg_fonts;

/* -- a template's source ----------------------------------------------------------------------- */

/* A <text> that shrinks where it is wider than it may be. Its start tag was given an id and a value
 * that yields a transform, or nothing. */
struct svg_fit {
    const char *id;    /* "#gw-fit-…", as librsvg wants it */
    struct str member; /* of the root object: the transform */
    double x, y, width;
};

struct svg_file {
    struct str name; /* as templates name it */
    const char *path;
    struct str text;     /* as it was read */
    struct str compiled; /* what render/ gets: gw:fit rewritten */
};

struct svg_source {
    h2o_mem_pool_t *pool; /* borrowed; all else lives there */
    const char *dir;
    const struct template_fields *fields;
    const struct svg_fonts *fonts; /* NULL = there is none */
    struct diag *diag;
    struct svg_file files[SVG_MAX_FILES]; /* the first is the template itself */
    size_t file_count;
    struct svg_fit fits[SVG_MAX_FITS];
    size_t fit_count;
    struct str title;  /* of the SVG, when it is constant; else "" */
    struct str *shown; /* the fields that are named, each once */
    size_t shown_count;
    struct str optional[SVG_MAX_OPTIONAL]; /* names of no field that sections ask about */
    size_t optional_count;
    struct str *in_markup; /* those that stand in attributes or style sheets, each once */
    size_t in_markup_count;
    bool all_in_markup; /* a partial or a context stands there: it could be any */
};
/* Reads `name` and all that it includes, and fills in the files' compiled text. False after errors.
 */
bool svg_source_read(struct svg_source *source, const char *name, struct pos at);
/* A template_lookup_fn over a source. */
bool svg_source_lookup(void *source, struct str name, struct str *text_r);

/* Goes through one file's markup: warns, notes fits and the title, writes file->compiled. */
void svg_markup_read(struct svg_source *source, struct svg_file *file);

/* -- fonts --------------------------------------------------------------------------------------
 */

/* Of all that is installed now. NULL = there is no font at all. */
struct svg_fonts *svg_fonts_load(void);
void svg_fonts_destroy(struct svg_fonts **fonts);
/* The first character of the text that can't be shown; 0 = all can. */
uint32_t svg_fonts_lack(const struct svg_fonts *fonts, struct str text);

/* -- drawing ------------------------------------------------------------------------------------
 */

/* From text in pieces. NULL: *error_r. `base`: the template's file, next to which pictures lie. */
RsvgHandle *svg_parse(struct out *text, GFile *base, GError **error_r);
/* How wide an element's text is in its own units; 0 = it isn't there. */
double svg_text_width(RsvgHandle *svg, const char *id);

struct svg_document {
    const char *title; /* "" = none */
    int64_t when_s;
};
/* Appends a PDF of one page. False: *error_r, the buffer is as it was. */
bool svg_to_pdf(RsvgHandle *svg, const struct svg_document *document, struct buf *pdf,
                GError **error_r);

#endif
