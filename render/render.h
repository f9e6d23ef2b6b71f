/* render/: Mustache (specification 1.4, with inheritance and dynamic names, without lambdas).
 *
 * A template is compiled once to instructions; rendering walks them over json_values straight into
 * the response's bytes: no tree, no copies of strings that need no escaping. {{x}} is escaped for
 * HTML (& < > " '), {{{x}}} and {{&x}} are not. Falsey: missing, null, false, "", []. Numbers and
 * strings print their text; objects and arrays print as JSON.
 *
 * Sets are immutable once loaded: any thread may render. */
#ifndef GW_RENDER_H
#define GW_RENDER_H

#include "base/base.h"
#include "base/diag.h"
#include "base/json.h"
#include "base/out.h"

struct template_set; /* owns its templates; shared partials and parents are compiled once */
struct template;

/* Templates are found under `dir` ("index.html", "cards/item.html"), named relative to it wherever
 * they are named; a partial {{>card}} is "card" itself or "card" with the ending of the template
 * that includes it. dir may be NULL for a set that is compiled from memory. Positions in diags
 * point into the set: print a diag before its set is destroyed. */
struct template_set *template_set_create(const char *dir);
void template_set_destroy(struct template_set **set);

/* Compiles `name` and all that it includes. On an error (no such file, a name that leaves `dir`,
 * an unclosed section, …) returns NULL and adds to diag: what is wrong inside a template at its own
 * file:line:column, a missing `name` at `at`. The same name gives the same template again; of one
 * known to be broken the errors are not told again. A template that includes by a dynamic name
 * ({{>*name}}) loads all files of its ending, for these are what such a name can mean. */
struct template *template_load(struct template_set *set, const char *name, struct pos at,
                               struct diag *diag);

/* Compiles from memory; partials come from `lookup` (false = no such partial = empty, as the
 * specification says; `lookup` NULL = there are none), dynamic names reach what the set holds. For
 * tests, fuzzing and built-in pages. */
typedef bool template_lookup_fn(void *arg, struct str name, struct str *text_r);
struct template *template_compile(struct template_set *set, const char *name, struct str text,
                                  template_lookup_fn *lookup, void *arg, struct diag *diag);
/* The same for text that is no HTML (a file's name, a title): {{x}} isn't escaped, and there are no
 * partials. */
struct template *template_compile_plain(struct template_set *set, const char *name, struct str text,
                                        struct diag *diag);

/* Whether the template (partials included) may look up a name of the root object that begins with
 * `name` ("user" for {{user.id}}): lets the caller leave out what nobody reads. True when it can't
 * be known. */
bool template_uses(const struct template *template, struct str name);

/* Calls fn with the first part of each name that the template itself looks up ("user" of
 * {{user.id}}), as often as it stands there. */
void template_each_name(const struct template *template, void (*fn)(void *arg, struct str name),
                        void *arg);

/* Appends the page. Long unescaped values are pointed at: root and what it is made of must stay
 * until the response was sent. `pool` holds what must be decoded. False, with the output up to
 * there, when a cap was hit: 128 sections and includes open at once (recursive partials end there),
 * 1 KiB of indentation, 64 MiB of output, or an amount of work (about a quarter of a second) that
 * only loops over loops over long lists get to. */
bool template_render(const struct template *template, struct json_value root, h2o_mem_pool_t *pool,
                     struct out *out);

/* -- rendering bit by bit -----------------------------------------------------------------------
 *
 * A page whose data comes little by little: rendering goes as far as it can and waits where it
 * looks up a name of the root that isn't there yet. All the rest is as with template_render().
 *
 * `{{#defer.recco}}…{{/defer.recco}}` stands for what is shown once the root's `recco` is there,
 * `{{^defer.recco}}…{{/defer.recco}}` for what is shown in its place until then. With everything
 * there from the start, and in template_render(), whose root has to have a `defer` for it, that is
 * what they are: a section and an inverted section. */
struct rendering;

enum template_found { FOUND_VALUE, FOUND_LATER, FOUND_DEFERRED };
/* path: what is looked up in the root; count 0: all of it. *value_r: what all of the path leads to.
 * FOUND_LATER: rendering
 * waits. FOUND_DEFERRED, of a path `defer.NAME`: it doesn't; the section is left out for now, and
 * what stands in for it is put between place_begin and place_end. */
typedef enum template_found template_find_fn(void *arg, const struct str *path, unsigned count,
                                             struct json_value *value_r);
struct template_places {
    /* Writes what stands before and behind what is shown in the place of NAME. */
    void (*begin)(void *arg, struct str name, struct out *out);
    void (*end)(void *arg, struct str name, struct out *out);
    /* The section was left out here. */
    void (*empty)(void *arg, struct str name, struct out *out);
};

enum rendering_state { RENDERING_DONE, RENDERING_WAITS, RENDERING_FAILED };

/* In the pool, with all that it needs. arg is for find and places. */
struct rendering *rendering_create(const struct template *template, h2o_mem_pool_t *pool,
                                   template_find_fn *find, const struct template_places *places,
                                   void *arg);
/* Goes on, appending to out. After RENDERING_WAITS to be called again when something has come. */
enum rendering_state rendering_run(struct rendering *rendering, struct out *out);
/* Renders a section that was left out, whose data is there now: all of `name`, in order; FAILED as
 * with template_render(). */
enum rendering_state rendering_run_deferred(struct rendering *rendering, struct str name,
                                            struct out *out);

#endif
