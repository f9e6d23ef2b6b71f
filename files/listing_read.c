/* One page of what there is to download. A folder has no order and no cursor of its own, so all its
 * names are read and sorted for each page: thousands a millisecond, and never on a loop. Only what
 * lands on the page is looked at more closely, by the same rules by which it would be sent. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/text.h"
#include "crypto/crypto.h"
#include "files/download_internal.h"

static struct str pool_str(h2o_mem_pool_t *pool, const char *p, size_t n)
{
    h2o_iovec_t kept = h2o_strdup(pool, p, n);
    return (struct str){kept.base, kept.len};
}

/* Names of records are what clients sent; what is no UTF-8 becomes U+FFFD. */
static struct str readable(h2o_mem_pool_t *pool, struct str name)
{
    if (utf8_valid(name))
        return name;
    char *text = h2o_mem_alloc_pool(pool, 3 * name.n), *to = text;
    for (const char *p = name.p, *end = name.p + name.n; p != end;) {
        size_t n = utf8_length(p, end);
        to = mempcpy(to, n != 0 ? p : "\xef\xbf\xbd", n != 0 ? n : 3);
        p += n != 0 ? n : 1;
    }
    return (struct str){text, (size_t)(to - text)};
}

/* RFC 3986: everything but unreserved characters. */
static struct str segment_encoded(h2o_mem_pool_t *pool, struct str name, bool folder)
{
    char *text = h2o_mem_alloc_pool(pool, 3 * name.n + 1), *to = text;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (is_letter_or_digit(c) || (c != '\0' && strchr("-._~", c) != NULL)) {
            *to++ = c;
            continue;
        }
        *to++ = '%';
        *to++ = "0123456789ABCDEF"[(unsigned char)c >> 4];
        *to++ = "0123456789ABCDEF"[c & 15];
    }
    if (folder)
        *to++ = '/';
    return (struct str){text, (size_t)(to - text)};
}

static struct listing_entry *add_entry(struct listing *listing)
{
    if (listing->entries == NULL)
        listing->entries =
            h2o_mem_alloc_pool(listing->pool, listing->room * sizeof(*listing->entries));
    return &listing->entries[listing->count++];
}

/* -- records ---------------------------------------------------------------------------------- */

/* "1732268712345.0123…ef": when, and the id. */
static bool parse_place(struct str cursor, int64_t *ms_r, struct str *id_r)
{
    const char *dot = memchr(cursor.p, '.', cursor.n);
    int64_t ms = 0;
    if (dot == NULL || dot == cursor.p || dot - cursor.p > 18)
        return false;
    for (const char *p = cursor.p; p != dot; p++) {
        if (!is_digit(*p))
            return false;
        ms = ms * 10 + (*p - '0');
    }
    *ms_r = ms;
    *id_r = (struct str){dot + 1, cursor.n - (size_t)(dot + 1 - cursor.p)};
    return id_r->n == STORE_ID;
}

static void add_record(struct listing *listing, const struct file_record *file)
{
    struct listing_entry *entry = add_entry(listing);
    struct str id = pool_str(listing->pool, file->id.p, file->id.n);
    struct str name = file->name.n != 0 ? file->name : file->id;
    *entry = (struct listing_entry){
        .name = readable(listing->pool, pool_str(listing->pool, name.p, name.n)),
        .link = id,
        .type = pool_str(listing->pool, file->type.p, file->type.n).p,
        .size = file->size,
        .modified = file->created_ms / 1000,
        .fields = pool_str(listing->pool, file->fields.p, file->fields.n),
    };
}

int listing_read_records(struct listing *listing, const struct download *download, struct str after)
{
    int64_t after_ms = INT64_MAX;
    struct str after_id = STR("");
    struct file_record *files;
    size_t count;
    if (after.n != 0 && !parse_place(after, &after_ms, &after_id))
        return EINVAL;
    enum store_result result = store_list_files(download->store, download->config->from, after_ms,
                                                after_id, listing->room + 1, &files, &count);
    if (result != STORE_OK)
        return result == STORE_BUSY ? EBUSY : EIO;
    for (size_t i = 0; i < count; i++) {
        if (i < listing->room)
            add_record(listing, &files[i]);
        if (i + 1 == listing->room && count > listing->room) {
            char cursor[64];
            int n = snprintf(cursor, sizeof(cursor), "%lld.%.*s", (long long)files[i].created_ms,
                             (int)files[i].id.n, files[i].id.p);
            listing->next = pool_str(listing->pool, cursor, (size_t)n);
        }
        free(files[i].memory);
    }
    free(files);
    return 0;
}

/* -- folders ---------------------------------------------------------------------------------- */

struct names {
    char **items; /* owned */
    size_t count, capacity;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
}

/* Not hidden, and a name that a URL may have: no controls, UTF-8. */
static bool may_show(const char *name)
{
    struct str text = str_from(name);
    return name[0] != '.' && !has_control(text) && utf8_valid(text);
}

/* What may be shown and comes after `after`, sorted. */
static void read_names(DIR *dir, const char *after, struct names *names, bool *truncated_r)
{
    size_t seen = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (++seen > FOLDER_MAX + 2) { /* "." and ".." */
            *truncated_r = true;
            break;
        }
        if (!may_show(entry->d_name) || strcmp(entry->d_name, after) <= 0)
            continue;
        if (names->count == names->capacity) {
            names->capacity = names->capacity == 0 ? 256 : 2 * names->capacity;
            names->items = h2o_mem_realloc(names->items, names->capacity * sizeof(*names->items));
        }
        char *name = strdup(entry->d_name);
        gw_assert(name != NULL);
        names->items[names->count++] = name;
    }
    if (names->count != 0)
        qsort(names->items, names->count, sizeof(*names->items), compare_names);
}

static void add_name(struct listing *listing, const struct download *download, struct str name,
                     const struct stat *st)
{
    struct listing_entry *entry = add_entry(listing);
    bool folder = S_ISDIR(st->st_mode);
    char *kept = h2o_mem_alloc_pool(listing->pool, name.n + 2);
    memcpy(kept, name.p, name.n);
    memcpy(kept + name.n, folder ? "/" : "", folder ? 2 : 1);
    *entry = (struct listing_entry){
        .name = {kept, name.n + folder},
        .link = segment_encoded(listing->pool, name, folder),
        .type = folder ? NULL : http_dir_type(download->dir, name),
        .size = folder ? 0 : (uint64_t)st->st_size,
        .modified = st->st_mtim.tv_sec,
    };
}

/* Fills the page from what can really be had. */
static void add_names(struct listing *listing, const struct download *download, struct str path,
                      const struct names *names)
{
    char *whole = h2o_mem_alloc(path.n + NAME_MAX + 1);
    if (path.n != 0)
        memcpy(whole, path.p, path.n);
    struct str last = STR("");
    for (size_t i = 0; i < names->count; i++) {
        struct str name = str_from(names->items[i]);
        struct stat st;
        memcpy(whole + path.n, name.p, name.n);
        if (http_dir_stat(download->dir, (struct str){whole, path.n + name.n}, &st) != 0)
            continue;
        if (listing->count == listing->room) {
            char *cursor = h2o_mem_alloc_pool(listing->pool, BASE64_LENGTH(last.n) + 1);
            listing->next = (struct str){cursor, base64url_encode(last.p, last.n, cursor)};
            break;
        }
        last = name;
        add_name(listing, download, name, &st);
    }
    free(whole);
}

int listing_read_folder(struct listing *listing, const struct download *download, struct str path,
                        struct str after)
{
    uint8_t name[NAME_MAX + 4];
    size_t n = 0;
    if (after.n > BASE64_LENGTH(NAME_MAX) || (after.n != 0 && !base64url_decode(after, name, &n)))
        return EINVAL;
    name[n] = '\0';
    int fd, error = http_dir_list(download->dir, path, &fd);
    if (error != 0)
        return error;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        error = errno;
        close(fd);
        return error;
    }
    struct names names = {0};
    read_names(dir, (const char *)name, &names, &listing->truncated);
    closedir(dir);
    add_names(listing, download, path, &names);
    names_free(&names);
    return 0;
}
