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

/* Templates are found under `dir` ("index.html", "cards/item.html"); a partial {{>card}} is
 * "card" itself or "card" with the ending of the template that the set was asked for. */
struct template_set *template_set_create(const char *dir);
void template_set_destroy(struct template_set **set);

/* Compiles `name` and all that it includes. On an error (no such file, a name that leaves `dir`,
 * an unclosed section, …) returns NULL and adds to diag: broken syntax at its own file:line:column
 * in the template, a missing file at `at`. The same name gives the same template again. */
struct template *template_load(struct template_set *set, const char *name, struct pos at,
                               struct diag *diag);

/* Compiles from memory; partials come from `lookup` (NULL result = no such partial = empty, as the
 * specification says). For tests, fuzzing and built-in pages. */
typedef bool template_lookup_fn(void *arg, struct str name, struct str *text_r);
struct template *template_compile(struct template_set *set, const char *name, struct str text,
                                  template_lookup_fn *lookup, void *arg, struct diag *diag);

/* Whether the template (partials included) may look up a name of the root object that begins with
 * `name`: lets the caller leave out what nobody reads. True when it can't be known. */
bool template_uses(const struct template *template, struct str name);

/* Appends the page. `pool` holds what must be decoded. Depth of sections and partials is capped
 * (recursive partials end there): false when the cap was hit, output up to there stands. */
bool template_render(const struct template *template, struct json_value root, h2o_mem_pool_t *pool,
                     struct out *out);

#endif
