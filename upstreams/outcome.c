/* What curl or the system said becomes how the call ended and why, in the words of RFC 9209 section
 * 2.3, which go into Proxy-Status, logs and metrics as they are. */
#include "upstreams/internal.h"

#include <errno.h>
#include <string.h>

static struct outcome not_connected(long os_errno)
{
    switch (os_errno) {
    case ETIMEDOUT:
        return (struct outcome){UP_TIMEOUT, "connection_timeout"};
    case EHOSTUNREACH:
    case ENETUNREACH:
        return (struct outcome){UP_FAILED, "destination_ip_unroutable"};
    case ECONNREFUSED:
        return (struct outcome){UP_FAILED, "connection_refused"};
    case ECONNRESET:
        return (struct outcome){UP_FAILED, "connection_terminated"};
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EADDRNOTAVAIL: /* no local port is free */
        return (struct outcome){UP_FAILED, "proxy_internal_error"};
    default: /* no such unix socket, no permission */
        return (struct outcome){UP_FAILED, "destination_unavailable"};
    }
}

/* curl has one code for a connection that broke and for bytes that make no sense. */
static const char *not_received(long os_errno, const char *text)
{
    if (strstr(text, "alert") != NULL)
        return "tls_alert_received"; /* TLS 1.3 tells of a refused client certificate this late */
    if (os_errno != 0)
        return "connection_terminated";
    return strstr(text, "SSL") != NULL ? "tls_protocol_error" : "http_protocol_error";
}

struct outcome outcome_of(CURLcode code, long os_errno, const char *text)
{
    switch (code) {
    case CURLE_OK:
        return (struct outcome){UP_ANSWERED, NULL};
    case CURLE_OPERATION_TIMEDOUT: /* only connecting has a timeout in curl */
        return outcome_of_timeout(UNCONNECTED);
    case CURLE_COULDNT_CONNECT:
        return not_connected(os_errno);
    case CURLE_COULDNT_RESOLVE_HOST:
        return (struct outcome){UP_FAILED, "dns_error"};
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return (struct outcome){UP_FAILED, "tls_certificate_error"};
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ENGINE_INITFAILED:
        return (struct outcome){UP_FAILED, strstr(text, "alert") != NULL ? "tls_alert_received"
                                                                         : "tls_protocol_error"};
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
        return (struct outcome){UP_FAILED, "connection_terminated"};
    case CURLE_RECV_ERROR:
        return (struct outcome){UP_FAILED, not_received(os_errno, text)};
    case CURLE_PARTIAL_FILE:
        return (struct outcome){UP_FAILED, "http_response_incomplete"};
    case CURLE_FILESIZE_EXCEEDED:
        return (struct outcome){UP_FAILED, "http_response_body_size"};
    case CURLE_OUT_OF_MEMORY: /* memory.c never says so: a header line over 100 KB is what is meant
                               */
        return (struct outcome){UP_FAILED, "http_response_header_size"};
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_WRITE_ERROR: /* bytes behind the compressed stream; ours have their own refusals */
        return (struct outcome){UP_FAILED, "http_response_content_coding"};
    case CURLE_UNSUPPORTED_PROTOCOL: /* an answer without a status line */
    case CURLE_WEIRD_SERVER_REPLY:
        return (struct outcome){UP_FAILED, "http_protocol_error"};
    default:
        return (struct outcome){UP_FAILED, "proxy_internal_error"};
    }
}

/* Failures are what keeps or breaks a connection, or keeps an answer waiting. What came whole and
 * is merely too large or badly packed says nothing of the upstream's health, and what went wrong
 * here even less. */
struct meaning outcome_meaning(const struct up_result *result)
{
    static const struct {
        const char *error;
        struct meaning meaning;
    } meanings[] = {
        {"connection_refused", {REASON_CONNECT, REPORT_BAD}},
        {"connection_timeout", {REASON_CONNECT, REPORT_BAD}},
        {"destination_ip_unroutable", {REASON_CONNECT, REPORT_BAD}},
        {"destination_unavailable", {REASON_CONNECT, REPORT_BAD}},
        {"tls_certificate_error", {REASON_CONNECT, REPORT_BAD}},
        {"tls_protocol_error", {REASON_CONNECT, REPORT_BAD}},
        {"tls_alert_received", {REASON_CONNECT, REPORT_BAD}},
        {"connection_terminated", {REASON_RESET, REPORT_BAD}},
        {"http_response_incomplete", {REASON_RESET, REPORT_BAD}},
        {"http_response_timeout", {REASON_TIMEOUT, REPORT_BAD}},
        {"connection_write_timeout", {REASON_TIMEOUT, REPORT_BAD}},
        {"http_protocol_error", {0, REPORT_BAD}},
        {"dns_error", {0, REPORT_BAD}},
        {"dns_timeout", {0, REPORT_BAD}},
    };
    if (result->end == UP_ANSWERED)
        return (struct meaning){0, result->status >= 500 ? REPORT_BAD : REPORT_GOOD};
    for (size_t i = 0; i < COUNT(meanings); i++)
        if (strcmp(result->error, meanings[i].error) == 0)
            return meanings[i].meaning;
    return (struct meaning){0, REPORT_NOTHING};
}

struct outcome outcome_of_timeout(enum unfinished what)
{
    static const char *const errors[] = {[UNCONNECTED] = "connection_timeout",
                                         [UNSENT] = "connection_write_timeout",
                                         [UNANSWERED] = "http_response_timeout"};
    return (struct outcome){UP_TIMEOUT, errors[what]};
}
