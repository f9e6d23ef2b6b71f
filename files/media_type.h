/* A file's media type, by its content. */
#ifndef GW_FILES_MEDIA_TYPE_H
#define GW_FILES_MEDIA_TYPE_H

#include "config/config.h"

enum {
    MEDIA_TYPE_HEAD = 8 * 1024, /* bytes of a file's beginning that are looked at */
    MEDIA_TYPE_MAX = 128        /* bytes of a type's name, with its NUL */
};

/* "image/png"; "application/octet-stream" when nothing better is known. Takes up to a millisecond
 * and a lock that all share: not on a loop. */
void media_type_detect(const void *head, size_t n, char type_r[MEDIA_TYPE_MAX]);
/* Whether one of the list is the type, or its "image/" and a star; an empty list allows all. Case
 * doesn't matter (RFC 9110 section 8.3.1). */
bool media_type_allowed(const struct config_strings *allow, struct str type);
/* Frees what detecting has loaded. Nobody is detecting. */
void media_type_unload(void);

#endif
