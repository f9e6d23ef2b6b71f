/* Static data is read once, with the configuration, so that the moment in which everything else has
 * failed needs no disk: all that is left to do then is to write its bytes. */
#include "pages/static_data.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "pages/outcome.h"
#include "pages/place.h"

/* Reads all of it into the pool. An error's text; NULL = done. */
static const char *read_all(h2o_mem_pool_t *pool, int fd, struct str *text_r)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode))
        return "not a file";
    if (st.st_size > STATIC_DATA_MAX)
        return "larger than 8 MiB";
    char *text = h2o_mem_alloc_pool(pool, (size_t)st.st_size + 1);
    size_t n = 0;
    while (n < (size_t)st.st_size) {
        ssize_t got = read(fd, text + n, (size_t)st.st_size - n);
        if (got == 0)
            break; /* it was cut meanwhile */
        if (got > 0)
            n += (size_t)got;
        else if (errno != EINTR)
            return strerror(errno);
    }
    *text_r = (struct str){text, n};
    return NULL;
}

static bool read_file(h2o_mem_pool_t *pool, const struct config *config,
                      const struct config_fallback *fallback, struct diag *diag, struct str *text_r)
{
    const char *path = fallback->static_file.p;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would wait for its writer */
    const char *error = fd == -1 ? strerror(errno) : read_all(pool, fd, text_r);
    if (fd != -1)
        close(fd);
    if (error != NULL)
        diag_error(diag, config_pos(config, &fallback->static_file), "cannot read %s: %s", path,
                   error);
    return error == NULL;
}

static struct pos in_file(const char *file, struct str text, size_t offset)
{
    struct pos at = {file, 1, 1};
    for (size_t i = 0; i < offset; i++) {
        at.column++;
        if (text.p[i] == '\n') {
            at.line++;
            at.column = 1;
        }
    }
    return at;
}

bool static_data_load(h2o_mem_pool_t *pool, const struct config *config,
                      const struct config_fallback *fallback, struct diag *diag,
                      struct json_doc *doc_r)
{
    json_doc_init(doc_r);
    const bool is_file = fallback->value.n == 0;
    struct str text = fallback->value;
    if (is_file && fallback->static_file.n == 0)
        return true;
    if (is_file && !read_file(pool, config, fallback, diag, &text))
        return false;

    struct json_doc doc;
    size_t at;
    json_doc_init(&doc);
    enum json_error error = json_parse(&doc, text.p, text.n, OUTCOME_JSON_DEPTH, &at);
    if (error == JSON_OK) {
        *doc_r = doc;
        doc_r->nodes = h2o_mem_alloc_pool(pool, doc.count * sizeof(*doc.nodes));
        memcpy(doc_r->nodes, doc.nodes, doc.count * sizeof(*doc.nodes));
        doc_r->capacity = doc.count;
    } else if (is_file) {
        diag_error(diag, in_file(fallback->static_file.p, text, at), "%s", json_error_text(error));
    } else {
        diag_error(diag, place_inside(config_pos(config, &fallback->value), at),
                   "static data is JSON: %s", json_error_text(error));
    }
    json_doc_fini(&doc);
    return error == JSON_OK;
}
