/* Who may, by name: the users of a [basic_auth.NAME], from the configuration and from a file as
 * htpasswd writes it. Read-only once made: any thread. */
#ifndef GW_MIDDLEWARE_BASIC_USERS_H
#define GW_MIDDLEWARE_BASIC_USERS_H

#include "base/diag.h"
#include "config/config.h"

enum { BASIC_USERS_MAX = 10000, BASIC_NAME_MAX = 255 };

struct basic_user {
    struct str name; /* borrowed from `text` or the configuration */
    struct str hash; /* likewise; sound, ends with NUL */
    struct pos at;
};

struct basic_users {
    struct basic_user *all; /* owned; by name */
    size_t count;
    char *text; /* owned: the file's */
};

/* Errors where they stand: malformed lines, hashes of other kinds, names that are there twice, or
 * nobody at all. */
void basic_users_read(struct basic_users *users, const struct config *config,
                      const struct config_basic_auth *section, struct diag *diag);
void basic_users_free(struct basic_users *users);
/* NULL: nobody's name. */
const struct basic_user *basic_users_find(const struct basic_users *users, struct str name);

#endif
