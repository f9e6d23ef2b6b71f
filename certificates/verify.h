/* Verify pages: anybody who has a certificate's serial, or its file, may ask whether it holds.
 *
 *   verify.c        which request goes where; asking the register
 *   verify_file.c   a PDF that was sent: its digest, its signatures
 *   verdict.h       what follows from what was found
 *   verify_page.h   how it is said: HTML and JSON
 *
 * Below the path of [register] url: GET PATH and PATH/verify show the form, GET PATH/{serial} what
 * the register says, POST PATH/verify takes a PDF (raw, or the first file of a form). */
#ifndef GW_CERTIFICATES_VERIFY_H
#define GW_CERTIFICATES_VERIFY_H

#include "base/diag.h"
#include "base/offload.h"
#include "config/config.h"
#include "crypto/sign.h"
#include "http/http.h"
#include "render/render.h"
#include "stores/stores.h"

struct verify;

struct verify_needs {
    const struct config *config;
    struct store *store;     /* NULL while a configuration is only checked */
    struct offload *compute; /* where files are looked at: digests, signatures */
    struct offload *reads;   /* where the register is read */
    struct template_set *templates;
    struct http_server *server;
    const struct signer *const *signers; /* of all sections that sign; borrowed, as all here */
    size_t signer_count;
};
/* Adds the routes and, on the control socket, those that change what the register says. Errors in
 * diag. Never NULL. */
struct verify *verify_create(const struct verify_needs *needs, struct diag *diag);
/* The loops have ended, the offloads are stopped. */
void verify_destroy(struct verify **verify);

#endif
