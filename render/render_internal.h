/* What the files of render/ share. A template's way: scan.c cuts its text into tokens, lines.c
 * settles which blanks belong to the page and which to tags on lines of their own, compile.c turns
 * tokens into instructions, render.c walks these. template_set.c finds and keeps the templates,
 * escape.c writes values' text. */
#ifndef GW_RENDER_INTERNAL_H
#define GW_RENDER_INTERNAL_H

#include "render/render.h"

enum {
    MAX_TEMPLATE = 1024 * 1024, /* bytes of one template's text */
    MAX_NESTING = 64,           /* sections, blocks and parents open at once in one template */
    MAX_NAME_PARTS = 64,        /* a.b.c has three */
};

/* -- tokens ---------------------------------------------------------------------------------- */

enum tag {
    TAG_TEXT,     /* outside of tags: at most one line, its newline included */
    TAG_SILENT,   /* comments and delimiters */
    TAG_VALUE,    /* {{x}} */
    TAG_RAW,      /* {{{x}}} {{&x}} */
    TAG_SECTION,  /* {{#x}} */
    TAG_INVERTED, /* {{^x}} */
    TAG_BLOCK,    /* {{$x}} */
    TAG_PARENT,   /* {{<x}} */
    TAG_PARTIAL,  /* {{>x}} */
    TAG_CLOSE     /* {{/x}} */
};

struct token {
    uint8_t tag;     /* enum tag */
    bool dynamic;    /* {{>*x}} {{<*x}}: text is the name of the value that holds the name */
    bool line_start; /* the first of its line, where an indentation would go */
    bool alone;      /* nothing else on its line; of a block inside a parent: its text begins on a
                      * line of its own */
    bool whole;      /* of a block inside a parent: its text ends with a whole line, or is empty */
    uint32_t match;  /* of what opens the index of what closes, and the other way round */
    uint32_t line, column;
    struct str text;   /* the text, or the name */
    struct str indent; /* of partials, parents and blocks: what goes before each line */
    struct str eol;    /* of blocks: the newline of the line that they fill */
};

struct tokens {
    struct token *tokens; /* owned */
    size_t count, capacity;
};

/* Cuts `text` into tokens that borrow from it. False when an error was added to diag, by their
 * positions in `file`. */
bool scan_template(struct tokens *tokens, const char *file, struct str text, struct diag *diag);
/* Settles blanks, newlines and indentations of tags that stand alone. */
void settle_lines(struct tokens *tokens, const char *file, struct diag *diag);

/* -- instructions ---------------------------------------------------------------------------- */

enum op {
    OP_TEXT,
    OP_INDENT, /* nothing but a line's start, where a closing tag begins the line */
    OP_VALUE,
    OP_RAW,
    OP_SECTION,
    OP_END, /* of a section: the next element, or on */
    OP_INVERTED,
    OP_PLACE_END, /* of an inverted section of defer.NAME */
    OP_INCLUDE,   /* a partial or a parent */
    OP_BLOCK,
    OP_RETURN /* the end of a template or of an argument */
};

struct instruction {
    uint8_t op;      /* enum op */
    bool line_start; /* an indentation goes before it */
    uint16_t count;  /* parts of the path; 0 is {{.}} */
    /* bytes of text; else how far to jump: past a section or an include's arguments, to the end of
     * a block's default */
    uint32_t n;
    union {
        const char *text;
        const struct str *path;
        const struct include *include;
        const struct block *block;
    };
};

/* The text of a block inside a parent tag: what the parent's block of that name shows instead. */
struct argument {
    struct str name;
    uint32_t start, count; /* instructions of the template that passes it */
    bool whole;            /* ends with a whole line, or is empty */
    const struct argument *next;
};

struct include {
    const struct template *template; /* NULL when there is none of that name */
    const struct template *includer; /* holds the arguments */
    const struct str *path;          /* of a dynamic name's value */
    uint16_t path_count;
    bool dynamic;
    bool alone;
    struct str indent;
    const struct argument *arguments;
};

struct block {
    struct str name;
    bool alone;
    struct str indent;
    struct str eol; /* {NULL, 0} when it doesn't end a line */
};

/* A template and all it points to live in its set's pool. */
struct template
{
    const char *name;  /* within the set */
    const char *file;  /* for messages */
    struct str text;   /* borrowed by names and literals */
    struct str ending; /* ".html": tried on the names of what it includes */
    struct instruction *code;
    uint32_t count;
    bool compiled, broken;
    bool plain;                 /* {{x}} isn't escaped */
    bool dynamic;               /* includes by dynamic names */
    bool takes_root;            /* has {{.}} outside of sections */
    struct template **includes; /* by static names, each once */
    uint32_t include_count;
    struct template **reach; /* itself and what it includes, at any depth; once it is loaded */
    uint32_t reach_count;
    const struct template_set *set;
    struct template *next; /* in the set */
};

/* Finds what a tag of `from` at `at` includes. NULL when there is none. */
typedef struct template *include_fn(void *arg, struct template *from, struct str name,
                                    struct pos at);

/* Fills in template->code and what goes with it; marks the template broken on errors. */
void compile_template(struct template *template, h2o_mem_pool_t *pool, struct diag *diag,
                      include_fn *include, void *arg);

/* The loaded template that a dynamic name means to `from`, or NULL. Any thread. */
const struct template *template_by_name(const struct template *from, struct str name);

/* -- values' text ---------------------------------------------------------------------------- */

/* Appends text with & < > " ' as entities. */
void write_escaped(struct out *out, struct str text);
/* Appends the inside of a JSON string that holds escapes, decoded; with entities when html. */
void write_json_decoded(struct out *out, struct str text, bool html);

#endif
