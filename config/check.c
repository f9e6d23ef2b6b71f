/* Rules between keys: what no key can be told to be wrong by itself. What a rule finds wrong it
 * also mends, so that whoever looks at the configuration for further errors finds it sound. */
#include "config/load_internal.h"

#include <stdlib.h>

/* A client certificate and its key come together, or are both left out. */
static void check_tls(struct reader *r, struct config_tls *tls)
{
    bool has_cert = tls->cert_file.n != 0;
    if (has_cert == (tls->key_file.n != 0))
        return;
    diag_error(r->diag, config_pos(r->config, has_cert ? &tls->cert_file : &tls->key_file),
               has_cert ? "cert_file needs key_file beside it"
                        : "key_file needs cert_file beside it");
    tls->cert_file = tls->key_file = STR("");
}

static void report_unknown_upload(struct reader *r, const struct str *from)
{
    const struct config *config = r->config;
    const char **names = calloc(config->upload_count + 1, sizeof(*names));
    gw_assert(names != NULL);
    for (size_t i = 0; i < config->upload_count; i++)
        names[i] = config->uploads[i].name.p;
    const char *nearest = diag_nearest(*from, names, config->upload_count);
    if (nearest != NULL)
        diag_error(r->diag, config_pos(config, from), "unknown upload \"%s\"; did you mean \"%s\"?",
                   from->p, nearest);
    else
        diag_error(r->diag, config_pos(config, from),
                   "unknown upload \"%s\"; there is no [uploads.%s]", from->p, from->p);
    free(names);
}

/* Files come from an upload section or from a folder. */
static void check_download(struct reader *r, struct config_download *download)
{
    struct str *from = &download->from, *dir = &download->dir;
    if (from->n != 0 && dir->n != 0) {
        diag_error(r->diag, config_pos(r->config, dir),
                   "a download has either \"from\" or \"dir\", not both");
        *dir = STR("");
    } else if (from->n == 0 && dir->n == 0) {
        diag_error(r->diag, config_pos(r->config, from),
                   "a download needs \"from\" (an upload section) or \"dir\" (a plain folder)");
    }
    if (from->n != 0 && config_find_upload(r->config, *from) == NULL) {
        report_unknown_upload(r, from);
        *from = STR("");
    }
}

/* A key and its certificate come together; what is registered can be verified somewhere. */
static void check_certificate(struct reader *r, struct config_certificate *certificate)
{
    struct config_sign *sign = &certificate->sign;
    if ((sign->key.n != 0) != (sign->certificate.n != 0)) {
        bool has_key = sign->key.n != 0;
        diag_error(r->diag, config_pos(r->config, has_key ? &sign->key : &sign->certificate),
                   has_key ? "sign: key needs certificate beside it"
                           : "sign: certificate needs key beside it");
        sign->key = sign->certificate = STR("");
    }
    if (sign->key.n == 0 && sign->timestamp.n != 0) {
        diag_error(r->diag, config_pos(r->config, &sign->timestamp),
                   "sign: a timestamp needs key and certificate beside it");
        sign->timestamp = STR("");
    }
    if (certificate->registered && r->config->registry.url.n == 0)
        diag_error(r->diag, config_pos(r->config, &certificate->registered),
                   "certificates that are registered need [register] url, where they are verified "
                   "(or say register = false)");
    certificate->asked.name = certificate->name;
    for (size_t i = 0; i < certificate->field_count; i++) {
        struct config_field *field = &certificate->fields[i];
        if (field->value.n != 0 && field->from.n != 0) {
            diag_error(r->diag, config_pos(r->config, &field->value),
                       "a field has either \"value\" or \"from\", not both");
            field->from = STR("");
        }
    }
}

void reader_check(struct reader *r)
{
    for (size_t i = 0; i < r->config->certificate_count; i++)
        check_certificate(r, &r->config->certificates[i]);
    for (size_t i = 0; i < r->config->upstream_count; i++)
        check_tls(r, &r->config->upstreams[i].tls);
    for (size_t i = 0; i < r->config->download_count; i++)
        check_download(r, &r->config->downloads[i]);
}
