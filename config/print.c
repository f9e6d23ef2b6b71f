/* The effective configuration as TOML: every key with its value and, the first time, what it is
 * for. What came from ${NAME} is printed as it stood, so no secret shows and it reads back the same
 * in another environment too. */
#include "config/config_internal.h"

#include <stdlib.h>

enum { VALUE_WIDTH = 24 }; /* longer values push their comment to the right */

struct printer {
    const struct config *config;
    FILE *to;
};

/* The same value as a TOML string. A literal ${ becomes $${ unless it is a reference. */
static void print_string(struct printer *p, struct str s, bool referenced)
{
    fputc('"', p->to);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            fprintf(p->to, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(p->to, "\\u%04X", c);
        else if (c == '$' && !referenced && i + 1 < s.n && s.p[i + 1] == '{')
            fputs("$$", p->to);
        else
            fputc(c, p->to);
    }
    fputc('"', p->to);
}

static void print_text(struct printer *p, const struct str *field)
{
    const struct place *place = config_place(p->config, field);
    if (place != NULL && place->is_file) {
        fputs("{ file = ", p->to);
        print_string(p, place->source, place->referenced);
        fputs(" }", p->to);
    } else if (place != NULL && place->referenced) {
        print_string(p, place->source, true);
    } else {
        print_string(p, *field, false);
    }
}

static void print_value(struct printer *p, const struct schema_key *key, const void *field)
{
    const struct place *place = config_place(p->config, field);
    const struct config_strings *strings = field;
    char number[CONFIG_NUMBER_TEXT];

    if (place != NULL && place->referenced && !place->is_file) {
        print_string(p, place->source, true);
        return;
    }
    switch (key->type) {
    case VALUE_BOOL:
        fputs(*(const bool *)field ? "true" : "false", p->to);
        break;
    case VALUE_COUNT:
        fprintf(p->to, "%" PRIu32, *(const uint32_t *)field);
        break;
    case VALUE_DURATION:
        config_duration_text(*(const uint64_t *)field, number);
        fprintf(p->to, "\"%s\"", number);
        break;
    case VALUE_SIZE:
        config_size_text(*(const uint64_t *)field, number);
        fprintf(p->to, "\"%s\"", number);
        break;
    case VALUE_WORD:
        fprintf(p->to, "\"%s\"", key->words[*(const uint8_t *)field]);
        break;
    case VALUE_STRING:
    case VALUE_JSON:
        print_text(p, field);
        break;
    case VALUE_STRINGS:
        fputc('[', p->to);
        for (size_t i = 0; i < strings->count; i++) {
            fputs(i == 0 ? "" : ", ", p->to);
            print_text(p, &strings->items[i]);
        }
        fputc(']', p->to);
    }
}

static void print_keys(struct printer *p, const struct schema_section *section, const char *path,
                       const void *record, bool with_docs)
{
    int width = 0;
    for (size_t i = 0; i < section->key_count; i++)
        if ((int)strlen(section->keys[i].name) > width)
            width = (int)strlen(section->keys[i].name);
    fprintf(p->to, "\n[%s]\n", path);
    for (size_t i = 0; i < section->key_count; i++) {
        const struct schema_key *key = &section->keys[i];
        char *value = NULL;
        size_t length;
        struct printer one = {p->config, open_memstream(&value, &length)};
        gw_assert(one.to != NULL);
        print_value(&one, key, (const char *)record + key->offset);
        gw_assert(!ferror(one.to));
        gw_assert(fclose(one.to) == 0 && value != NULL);
        if (with_docs)
            fprintf(p->to, "%-*s = %-*s  # %s\n", width, key->name, VALUE_WIDTH, value, key->doc);
        else
            fprintf(p->to, "%-*s = %s\n", width, key->name, value);
        free(value);
    }
}

static bool is_bare(struct str key)
{
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        if (!is_letter_or_digit(c) && c != '-' && c != '_')
            return false;
    }
    return key.n != 0;
}

static void print_pairs(struct printer *p, const char *path, const struct config_pairs *pairs)
{
    if (pairs->count == 0)
        return;
    fprintf(p->to, "\n[%s]\n", path);
    for (size_t i = 0; i < pairs->count; i++) {
        if (is_bare(pairs->items[i].name))
            fputs(pairs->items[i].name.p, p->to);
        else
            print_string(p, pairs->items[i].name, true);
        fputs(" = ", p->to);
        print_text(p, &pairs->items[i].value);
        fputc('\n', p->to);
    }
}

/* path: of this section's table, "pages.home". */
static void print_section(struct printer *p, const struct schema_section *section, const char *path,
                          const void *record, bool with_docs)
{
    char below_path[256];
    if (section != &schema_root)
        print_keys(p, section, path, record, with_docs);
    for (size_t i = 0; i < section->section_count; i++) {
        const struct schema_section *below = &section->sections[i];
        const char *at = (const char *)record + below->offset;
        const char *dot = path[0] != '\0' ? "." : "";
        snprintf(below_path, sizeof(below_path), "%s%s%s", path, dot, below->name);
        if (below->shape == SECTION_TABLE) {
            print_section(p, below, below_path, at, with_docs);
            continue;
        }
        if (below->shape == SECTION_PAIRS) {
            print_pairs(p, below_path, (const struct config_pairs *)(const void *)at);
            continue;
        }
        const char *array;
        memcpy(&array, at, sizeof(array));
        size_t count = *(const size_t *)(const void *)((const char *)record + below->count_offset);
        for (size_t k = 0; k < count; k++) {
            const struct str *name = (const void *)(array + k * below->size);
            snprintf(below_path, sizeof(below_path), "%s%s%s.%s", path, dot, below->name, name->p);
            print_section(p, below, below_path, name, with_docs && k == 0);
        }
    }
}

void config_print(const struct config *config, FILE *to)
{
    struct printer p = {config, to};
    fputs("# The effective configuration, defaults included.\n", to);
    print_section(&p, &schema_root, "", config, true);
}
