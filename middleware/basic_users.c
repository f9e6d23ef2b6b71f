/* Users are read once, sorted, and found by halving: nothing of them changes while requests run. */
#include "middleware/basic_users.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/text.h"
#include "crypto/crypto.h"

enum { FILE_MAX = 4 << 20 };

/* Length first: whatever order, as long as it is one. */
static int compare(struct str a, struct str b)
{
    return a.n != b.n ? (a.n < b.n ? -1 : 1) : memcmp(a.p, b.p, a.n);
}

static int by_name(const void *a, const void *b)
{
    return compare(((const struct basic_user *)a)->name, ((const struct basic_user *)b)->name);
}

/* The same names in the order of their lines, so that the later one is told. */
static int by_name_and_line(const void *va, const void *vb)
{
    const struct basic_user *a = va, *b = vb;
    int order = by_name(a, b);
    return order != 0 ? order : a->at.line < b->at.line ? -1 : a->at.line > b->at.line;
}

static const char *name_wrong(struct str name)
{
    if (name.n == 0 || name.n > BASIC_NAME_MAX)
        return "a user's name has 1 to 255 bytes";
    if (has_control(name) || memchr(name.p, ':', name.n) != NULL)
        return "a user's name can't hold a colon or a control character";
    return NULL;
}

/* The hash never shows. */
static void add(struct basic_users *users, struct str name, struct str hash, struct pos name_at,
                struct pos hash_at, struct diag *diag)
{
    const char *wrong = name_wrong(name);
    if (wrong != NULL) {
        diag_error(diag, name_at, "%s", wrong);
        return;
    }
    wrong = password_hash_wrong(hash);
    if (wrong != NULL)
        diag_error(diag, hash_at, "%.*s: the hash is %s", (int)name.n, name.p, wrong);
    else
        users->all[users->count++] = (struct basic_user){name, hash, name_at};
}

/* -- the file ---------------------------------------------------------------------------------- */

static size_t count_lines(const char *text)
{
    size_t lines = 1;
    for (; (text = strchr(text, '\n')) != NULL; text++)
        lines++;
    return lines;
}

/* NUL-terminated. NULL: an error was told. */
static char *read_file(const char *path, struct pos at, struct diag *diag)
{
    struct stat about;
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &about) != 0) {
        diag_error(diag, at, "users_file: %s cannot be read: %s", path, strerror(errno));
    } else if (!S_ISREG(about.st_mode) || about.st_size > FILE_MAX) {
        diag_error(diag, at, "users_file: %s is %s", path,
                   S_ISREG(about.st_mode) ? "larger than 4 MiB" : "not a plain file");
    } else {
        text = calloc(1, (size_t)about.st_size + 1);
        gw_assert(text != NULL);
        ssize_t n = pread(fd, text, (size_t)about.st_size, 0);
        text[n > 0 ? n : 0] = '\0';
    }
    if (fd >= 0)
        close(fd);
    return text;
}

/* "user:hash" a line; what follows another ':' is a comment, as it is to htpasswd. */
static void read_lines(struct basic_users *users, const char *path, struct diag *diag)
{
    unsigned number = 0;
    for (char *line = users->text, *next; line != NULL; line = next) {
        char *end = strchrnul(line, '\n');
        next = *end == '\n' ? end + 1 : NULL;
        *end = '\0';
        number++;
        if (end != line && end[-1] == '\r')
            *--end = '\0';
        if (line == end || *line == '#')
            continue;
        struct pos at = {.file = path, .line = number, .column = 1};
        char *colon = strchr(line, ':');
        if (colon == NULL) {
            diag_error(diag, at, "expected \"user:hash\"");
            continue;
        }
        struct str name = {line, (size_t)(colon - line)};
        char *hash = colon + 1, *hash_end = strchrnul(hash, ':');
        *hash_end = '\0';
        struct pos hash_at = {.file = path, .line = number, .column = (unsigned)name.n + 2};
        add(users, name, (struct str){hash, (size_t)(hash_end - hash)}, at, hash_at, diag);
    }
}

/* -- all --------------------------------------------------------------------------------------- */

static void report_twice(const struct basic_users *users, struct diag *diag)
{
    for (size_t i = 1; i < users->count; i++) {
        const struct basic_user *user = &users->all[i];
        if (str_eq(user[-1].name, user->name))
            diag_error(diag, user->at, "%.*s: a user of this name is there already",
                       (int)user->name.n, user->name.p);
    }
}

void basic_users_read(struct basic_users *users, const struct config *config,
                      const struct config_basic_auth *section, struct diag *diag)
{
    struct pos file_at = config_pos(config, &section->users_file);
    *users = (struct basic_users){0};
    if (section->users_file.n != 0)
        users->text = read_file(section->users_file.p, file_at, diag);
    bool told = section->users_file.n != 0 && users->text == NULL;
    size_t room = section->users.count + (users->text != NULL ? count_lines(users->text) : 0);
    users->all = calloc(room + 1, sizeof(*users->all));
    gw_assert(users->all != NULL);
    size_t errors = diag_errors(diag);
    for (size_t i = 0; i < section->users.count; i++) {
        const struct config_pair *pair = &section->users.items[i];
        add(users, pair->name, pair->value, config_pos(config, &pair->name),
            config_pos(config, &pair->value), diag);
    }
    if (users->text != NULL)
        read_lines(users, section->users_file.p, diag);
    if (users->count == 0 && !told && diag_errors(diag) == errors)
        diag_error(diag, config_pos(config, &section->name),
                   "nobody is let in: it needs users, in [basic_auth.%s.users] or in users_file",
                   section->name.p);
    if (users->count > BASIC_USERS_MAX)
        diag_error(diag, file_at, "more than %d users", BASIC_USERS_MAX);
    qsort(users->all, users->count, sizeof(*users->all), by_name_and_line);
    report_twice(users, diag);
}

void basic_users_free(struct basic_users *users)
{
    free(users->all);
    free(users->text);
}

const struct basic_user *basic_users_find(const struct basic_users *users, struct str name)
{
    struct basic_user wanted = {.name = name};
    return users->count == 0 ? NULL
                             : bsearch(&wanted, users->all, users->count, sizeof(wanted), by_name);
}
