#include "http/tls_names.h"

#include <stdlib.h>
#include "base/text.h"

enum { NAME_MAX_BYTES = 253 };

/* Lower case, without the dot that may end it. False: it can't be a host's. */
static bool normalize(struct str name, char text_r[NAME_MAX_BYTES + 1])
{
    if (name.n != 0 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0 || name.n > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!is_letter_or_digit(c) && c != '-' && c != '.' && c != '_')
            return false;
        text_r[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    text_r[name.n] = '\0';
    return true;
}

bool tls_names_add(struct tls_names *names, struct str name, size_t certificate)
{
    char text[2 + NAME_MAX_BYTES + 1];
    bool wild = name.n > 2 && name.p[0] == '*' && name.p[1] == '.';
    struct str host = wild ? (struct str){name.p + 2, name.n - 2} : name;
    if (!normalize(host, text + (wild ? 2 : 0)))
        return false;
    if (wild)
        memcpy(text, "*.", 2);
    names->items = realloc(names->items, (names->count + 1) * sizeof(*names->items));
    gw_assert(names->items != NULL);
    struct tls_name *item = &names->items[names->count++];
    *item = (struct tls_name){strdup(text), certificate};
    gw_assert(item->text != NULL);
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct tls_name *one = a, *other = b;
    int order = strcmp(one->text, other->text);
    return order != 0
               ? order
               : (one->certificate > other->certificate) - (one->certificate < other->certificate);
}

void tls_names_sort(struct tls_names *names)
{
    if (names->count != 0)
        qsort(names->items, names->count, sizeof(*names->items), by_name);
}

static long find(const struct tls_names *names, const char *text)
{
    size_t from = 0, to = names->count;
    while (from < to) { /* the first that isn't before it */
        size_t middle = from + (to - from) / 2;
        if (strcmp(names->items[middle].text, text) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    if (from == names->count || strcmp(names->items[from].text, text) != 0)
        return -1;
    return (long)names->items[from].certificate;
}

long tls_names_find(const struct tls_names *names, struct str asked)
{
    char text[NAME_MAX_BYTES + 1];
    if (!normalize(asked, text))
        return -1;
    long found = find(names, text);
    char *dot = strchr(text, '.');
    if (found >= 0 || dot == NULL || dot == text)
        return found;
    dot[-1] = '*';
    return find(names, dot - 1);
}

void tls_names_fini(struct tls_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i].text);
    free(names->items);
    *names = (struct tls_names){0};
}
