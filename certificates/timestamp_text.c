/* Time zones and formats: GLib's. */
#include "certificates/timestamp_text.h"

#include <stdlib.h>
#include <glib.h>
#include <h2o/string_.h>
#include "base/text.h"

struct timestamp_text {
    GTimeZone *zone; /* owned */
    char *format;    /* owned */
};

/* malloc()ed by GLib; NULL: the format isn't one, or gives nothing. */
static char *print(const struct timestamp_text *text, int64_t ms)
{
    GDateTime *utc = g_date_time_new_from_unix_utc(ms / 1000);
    if (utc == NULL)
        return NULL;
    GDateTime *second = g_date_time_to_timezone(utc, text->zone);
    GDateTime *when = g_date_time_add(second, ms % 1000 * G_TIME_SPAN_MILLISECOND);
    char *printed = g_date_time_format(when, text->format);
    g_date_time_unref(when);
    g_date_time_unref(second);
    g_date_time_unref(utc);
    return printed;
}

/* Whether it can be a name of the tz database. GLib opens whatever file is named so, and complains
 * on stderr when that isn't a time zone. */
static bool is_zone_name(const char *zone)
{
    if (*zone == '/')
        return false;
    for (; *zone != '\0'; zone++)
        if (!is_letter_or_digit(*zone) && strchr("/_+-:", *zone) == NULL)
            return false;
    return true;
}

struct timestamp_text *timestamp_text_create(const char *format, struct pos format_at,
                                             const char *zone, struct pos zone_at,
                                             struct diag *diag)
{
    struct timestamp_text *text = h2o_mem_alloc(sizeof(*text));
    *text = (struct timestamp_text){.zone = is_zone_name(zone) ? g_time_zone_new_identifier(zone)
                                                               : NULL,
                                    .format = g_strdup(format)};
    char *sample = NULL;
    if (text->zone == NULL) {
        diag_error(diag, zone_at,
                   "there is no time zone \"%s\" (they are named like "
                   "\"Europe/Paris\"; is tzdata installed?)",
                   zone);
    } else if ((sample = print(text, 0)) == NULL || *sample == '\0') {
        diag_error(diag, format_at, "timestamp_format: \"%s\" is not a format of dates", format);
        g_free(sample);
        sample = NULL;
    }
    if (sample == NULL)
        timestamp_text_destroy(&text);
    g_free(sample);
    return text;
}

void timestamp_text_destroy(struct timestamp_text **text_p)
{
    struct timestamp_text *text = *text_p;
    if (text == NULL)
        return;
    if (text->zone != NULL)
        g_time_zone_unref(text->zone);
    g_free(text->format);
    free(text);
    *text_p = NULL;
}

struct str timestamp_text_print(const struct timestamp_text *text, int64_t ms, h2o_mem_pool_t *pool)
{
    char *printed = print(text, ms);
    gw_assert(printed != NULL); /* the format has printed one already */
    h2o_iovec_t kept = h2o_strdup(pool, printed, SIZE_MAX);
    g_free(printed);
    return (struct str){kept.base, kept.len};
}
