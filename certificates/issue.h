/* A request for a certificate, from its head to its reply. */
#ifndef GW_CERTIFICATES_ISSUE_H
#define GW_CERTIFICATES_ISSUE_H

#include "http/http.h"

/* The handler of a section's route; arg: the struct section. */
void issue_certificate(struct http_request *request, void *arg);

#endif
