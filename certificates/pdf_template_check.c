/* What an operator is told about a template: where each field stands and which characters its font
 * can draw there. What is certain to fail is an error; what may fail, for some name, a warning. */
#include <stdlib.h>
#include "certificates/pdf_filled.h"
#include "certificates/pdf_font.h"

struct wanted { /* characters that a font lacks, of those that a field needs */
    const struct pdf_font *font;
    bool (*needs)(uint32_t c);
};

static bool draws(const void *font, uint32_t c)
{
    return pdf_font_draw(font, c)->n != 0;
}

static bool lacks(const void *of, uint32_t c)
{
    const struct wanted *wanted = of;
    return wanted->needs(c) && pdf_font_draw(wanted->font, c)->n == 0;
}

/* What names are likely to have: ASCII without control characters, the letters of Latin-1. */
static bool in_names(uint32_t c)
{
    return (c >= ' ' && c < 0x7f) || (c >= 0xc0 && c <= 0xff && c != 0xd7 && c != 0xf7);
}

static bool in_dates(uint32_t c)
{
    return c >= '0' && c <= '9';
}

/* Crockford's base32 and dashes. */
static bool in_serials(uint32_t c)
{
    return in_dates(c) || c == '-' ||
           (c >= 'A' && c <= 'Z' && c != 'I' && c != 'L' && c != 'O' && c != 'U');
}

static bool in_addresses(uint32_t c)
{
    return in_serials(c) || (c >= 'a' && c <= 'z') || c == ':' || c == '/' || c == '.';
}

static const struct {
    const char *name;
    bool (*needs)(uint32_t c);
} certain[] = {{"timestamp", in_dates}, {"serial", in_serials}, {"verify_url", in_addresses}};

/* The section didn't ask for these: a template may do without. */
static bool is_made(struct str name)
{
    bool made = str_eq(name, STR("signer"));
    for (size_t i = 0; i < COUNT(certain); i++)
        made = made || str_eq(name, str_from(certain[i].name));
    return made;
}

/* Whether the font has a letter or digit that the placeholder itself isn't spelled with. */
static bool draws_others(const struct pdf_font *font, struct str name)
{
    for (uint32_t c = '0'; c <= 'z'; c++)
        if (((c <= '9') || (c >= 'A' && c <= 'Z') || c >= 'a') && draws(font, c) &&
            memchr(name.p, (int)c, name.n) == NULL)
            return true;
    for (uint32_t c = 0xc0; c < PDF_DIRECT; c++)
        if (draws(font, c))
            return true;
    return font->other_count > 8; /* of another script */
}

static char *ranges(struct pdf_loading *loading, bool (*has)(const void *of, uint32_t c),
                    const void *of)
{
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);
    gw_assert(to != NULL);
    pdf_print_ranges(to, has, of, ' ', 0x100);
    gw_assert(!ferror(to) && fclose(to) == 0 && text != NULL);
    char *copy = h2o_mem_alloc_pool(loading->scratch, n + 1);
    memcpy(copy, text, n + 1);
    free(text);
    return copy;
}

static const char *name_of(const struct pdf_font *font)
{
    return font->name.n != 0 ? font->name.p : "without a name";
}

static void check_placeholder(struct pdf_loading *loading, struct str name,
                              const struct pdf_placeholder *placeholder)
{
    const struct pdf_font *font = placeholder->font;
    struct wanted wanted = {font, in_names};
    bool must = false;

    for (size_t i = 0; i < COUNT(certain); i++)
        if (str_eq(name, str_from(certain[i].name))) {
            wanted.needs = certain[i].needs;
            must = true;
        }
    char *missing = ranges(loading, lacks, &wanted);
    if (missing[0] == '\0')
        return;
    if (must)
        pdf_error(loading,
                  "%s: \"%%%.*s%%\" can't be drawn: its font %s lacks %s; embed the whole font",
                  placeholder->where, (int)name.n, name.p, name_of(font), missing);
    else if (!draws_others(font, name))
        pdf_error(loading,
                  "%s: \"%%%.*s%%\" can't be drawn: its font %s has the letters of the placeholder "
                  "and no others; embed the whole font",
                  placeholder->where, (int)name.n, name.p, name_of(font));
    else
        pdf_warning(loading,
                    "%s: \"%%%.*s%%\": its font %s can't draw %s; values with these are refused",
                    placeholder->where, (int)name.n, name.p, name_of(font), missing);
}

void pdf_check(struct pdf_loading *loading, const struct pdf_template *template)
{
    for (size_t i = 0; i < template->name_count; i++) {
        struct str name = template->names[i];
        bool drawn = false, told = false, made = is_made(name);
        for (size_t k = 0; k < template->placeholder_count; k++) {
            const struct pdf_placeholder *placeholder = &template->placeholders[k];
            if (placeholder->field != i)
                continue;
            told = true;
            if (placeholder->font == NULL)
                continue;
            drawn = true;
            check_placeholder(loading, name, placeholder);
        }
        if (!told && !made)
            pdf_warning(loading,
                        "\"%%%.*s%%\" does not stand as text: what is drawn as an outline or a "
                        "picture can't be filled in",
                        (int)name.n, name.p);
        else if (!drawn && !made)
            pdf_warning(loading, "\"%%%.*s%%\" does not stand as text on a page", (int)name.n,
                        name.p);
    }
}

/* A whole font's characters fill a page: they are told where it is met first. */
static void print_drawn(const struct pdf_template *template, size_t placeholder, FILE *to)
{
    const struct pdf_placeholder *all = template->placeholders;
    size_t first = 0;
    while (all[first].font != all[placeholder].font)
        first++;
    struct str name = template->names[all[first].field];
    fprintf(to, ", %s%s, draws ", name_of(all[first].font),
            all[first].font->embedded || all[first].font->type3 ? "" : " (not embedded)");
    if (first < placeholder)
        fprintf(to, "what it draws for %%%.*s%%", (int)name.n, name.p);
    else
        pdf_print_ranges(to, draws, all[first].font, ' ', 0x20000);
}

void pdf_template_describe(const struct pdf_template *template, FILE *to)
{
    for (size_t i = 0; i < template->placeholder_count; i++) {
        const struct pdf_placeholder *placeholder = &template->placeholders[i];
        struct str name = template->names[placeholder->field];
        fprintf(to, "  %%%.*s%%: %s", (int)name.n, name.p, placeholder->where);
        if (placeholder->font != NULL)
            print_drawn(template, i, to);
        fputc('\n', to);
    }
}
