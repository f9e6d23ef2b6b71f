/* Collects errors and prints them in the order in which the user meets them in the file. */
#include "base/diag.h"

#include <stdarg.h>
#include <stdlib.h>

struct entry {
    struct pos at; /* file: owned, or NULL */
    size_t order;  /* of arrival: keeps the sort stable */
    bool warning;
    char *text; /* owned */
};

struct diag {
    struct entry *entries;
    size_t count, capacity, errors;
};

/* More than anybody reads; what comes after is counted but not kept. */
enum { MAX_ENTRIES = 1000 };

struct diag *diag_create(void)
{
    struct diag *diag = calloc(1, sizeof(*diag));
    gw_assert(diag != NULL);
    return diag;
}

void diag_destroy(struct diag **diag)
{
    if (*diag == NULL)
        return;
    for (size_t i = 0; i < (*diag)->count; i++) {
        free((char *)(uintptr_t)(*diag)->entries[i].at.file);
        free((*diag)->entries[i].text);
    }
    free((*diag)->entries);
    free(*diag);
    *diag = NULL;
}

static void add(struct diag *diag, struct pos at, bool warning, const char *format, va_list args)
    __attribute__((format(printf, 4, 0)));
static void add(struct diag *diag, struct pos at, bool warning, const char *format, va_list args)
{
    if (!warning)
        diag->errors++;
    if (diag->count == MAX_ENTRIES)
        return;
    if (diag->count == diag->capacity) {
        diag->capacity = diag->capacity ? diag->capacity * 2 : 8;
        diag->entries = realloc(diag->entries, diag->capacity * sizeof(*diag->entries));
        gw_assert(diag->entries != NULL);
    }
    struct entry *entry = &diag->entries[diag->count];
    *entry = (struct entry){.at = at, .order = diag->count, .warning = warning};
    if (at.file != NULL) {
        entry->at.file = strdup(at.file);
        gw_assert(entry->at.file != NULL);
    }
    gw_assert(vasprintf(&entry->text, format, args) >= 0);
    /* A message quotes what the file says; it must stay one line and harmless on a terminal. */
    for (char *c = entry->text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    diag->count++;
}

void diag_error(struct diag *diag, struct pos at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(diag, at, false, format, args);
    va_end(args);
}

void diag_warning(struct diag *diag, struct pos at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(diag, at, true, format, args);
    va_end(args);
}

size_t diag_errors(const struct diag *diag)
{
    return diag->errors;
}

static int compare(const void *va, const void *vb)
{
    const struct entry *a = va, *b = vb;
    int files = strcmp(a->at.file ? a->at.file : "", b->at.file ? b->at.file : "");
    if (files != 0)
        return files;
    if (a->at.line != b->at.line)
        return a->at.line < b->at.line ? -1 : 1;
    if (a->at.column != b->at.column)
        return a->at.column < b->at.column ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

void diag_print(const struct diag *diag, FILE *to)
{
    struct entry *sorted = calloc(diag->count + 1, sizeof(*sorted));
    gw_assert(sorted != NULL);
    if (diag->count != 0)
        memcpy(sorted, diag->entries, diag->count * sizeof(*sorted));
    qsort(sorted, diag->count, sizeof(*sorted), compare);
    for (size_t i = 0; i < diag->count; i++) {
        const struct entry *e = &sorted[i];
        if (e->at.file != NULL)
            fprintf(to, "%s:", e->at.file);
        if (e->at.line != 0)
            fprintf(to, "%u:", e->at.line);
        if (e->at.line != 0 && e->at.column != 0)
            fprintf(to, "%u:", e->at.column);
        fprintf(to, "%s%s: %s\n", e->at.file ? " " : "", e->warning ? "warning" : "error", e->text);
    }
    if (diag->errors > MAX_ENTRIES)
        fprintf(to, "error: %zu errors in all\n", diag->errors);
    free(sorted);
}

/* Optimal string alignment distance (Levenshtein with neighbours swapped as one edit), of words of
 * at most WORD bytes. */
enum { WORD = 64 };
static size_t distance(struct str a, const char *b, size_t bn)
{
    size_t rows[3][WORD + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= bn; j++)
        last[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= bn; j++) {
            size_t best = last[j - 1] + (a.p[i - 1] != b[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a.p[i - 1] == b[j - 2] && a.p[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[bn];
}

const char *diag_nearest(struct str word, const char *const *candidates, size_t count)
{
    const char *nearest = NULL;
    if (word.n == 0 || word.n > WORD)
        return NULL;
    size_t allowed = word.n <= 3 ? 1 : word.n / 3;
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(candidates[i]);
        if (n > WORD)
            continue;
        size_t d = distance(word, candidates[i], n);
        if (d <= allowed) {
            nearest = candidates[i];
            if (d == 0)
                break;
            allowed = d - 1;
        }
    }
    return nearest;
}
