/* libmagic: one cookie, opened when first needed (its database is 8 MB, mapped from a file; looking
 * at plain text touches most of it), because a cookie for each thread would be 2.5 MB more a
 * thread. A cookie is for one thread at a time. */
#include "files/media_type.h"

#include <magic.h>
#include <pthread.h>
#include <stdio.h>
#include "base/log.h"

static const char UNKNOWN[] = "application/octet-stream";

static struct {
    pthread_mutex_t lock;
    magic_t cookie;
    bool tried;
} magic = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What a client sends is hostile: nothing is unpacked, no structure followed far. */
static magic_t open_magic(void)
{
    static const struct {
        int parameter;
        size_t limit;
    } limits[] = {{MAGIC_PARAM_INDIR_MAX, 8},
                  {MAGIC_PARAM_NAME_MAX, 40},
                  {MAGIC_PARAM_REGEX_MAX, 1024},
                  {MAGIC_PARAM_BYTES_MAX, MEDIA_TYPE_HEAD}};
    magic_t cookie = magic_open(MAGIC_MIME_TYPE | MAGIC_NO_CHECK_COMPRESS | MAGIC_NO_CHECK_ELF |
                                MAGIC_NO_CHECK_TOKENS | MAGIC_NO_CHECK_APPTYPE);
    if (cookie == NULL)
        return NULL;
    for (size_t i = 0; i < COUNT(limits); i++)
        magic_setparam(cookie, limits[i].parameter, &limits[i].limit);
    if (magic_load(cookie, NULL) == 0)
        return cookie;
    log_event(LOG_WARN, "files' types can't be told, all are application/octet-stream", "error=%s",
              log_quote(str_from(magic_error(cookie))));
    magic_close(cookie);
    return NULL;
}

void media_type_detect(const void *head, size_t n, char type_r[MEDIA_TYPE_MAX])
{
    const char *found = NULL;
    pthread_mutex_lock(&magic.lock);
    if (!magic.tried)
        magic.cookie = open_magic();
    magic.tried = true;
    if (magic.cookie != NULL && n != 0)
        found = magic_buffer(magic.cookie, head, n < MEDIA_TYPE_HEAD ? n : MEDIA_TYPE_HEAD);
    /* Of what the database has several names for it gives them all; a name has one slash. */
    size_t length = found != NULL ? strspn(found, "abcdefghijklmnopqrstuvwxyz"
                                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/.+-_")
                                  : 0;
    if (length == 0 || length >= MEDIA_TYPE_MAX || memchr(found, '/', length) == NULL)
        found = UNKNOWN, length = sizeof(UNKNOWN) - 1;
    memcpy(type_r, found, length);
    type_r[length] = '\0';
    pthread_mutex_unlock(&magic.lock);
}

bool media_type_allowed(const struct config_strings *allow, struct str type)
{
    for (size_t i = 0; i < allow->count; i++) {
        struct str item = allow->items[i];
        bool whole_family = item.n > 2 && memcmp(item.p + item.n - 2, "/*", 2) == 0;
        struct str front = {type.p, item.n - 1};
        if (str_eq(item, STR("*/*")) || str_caseeq(item, type) ||
            (whole_family && type.n >= item.n &&
             str_caseeq(front, (struct str){item.p, item.n - 1})))
            return true;
    }
    return allow->count == 0;
}

void media_type_unload(void)
{
    pthread_mutex_lock(&magic.lock);
    if (magic.cookie != NULL)
        magic_close(magic.cookie);
    magic.cookie = NULL;
    magic.tried = false;
    pthread_mutex_unlock(&magic.lock);
}
