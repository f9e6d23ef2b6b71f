/* Every key of the configuration file, section by section. To add one: a field in config.h, a line
 * here, a paragraph in docs/configuration.md (a test looks for it). */
#include "config/schema.h"

#include <stddef.h>
#include "config/config.h"

#define SECONDS(n) ((uint64_t)(n)*1000)
#define HOURS(n)   (SECONDS(n) * 3600)
#define KIB(n)     ((uint64_t)(n) << 10)
#define GIB(n)     ((uint64_t)(n) << 30)
#define TIB(n)     ((uint64_t)(n) << 40)

/* Of static char tables; NULL ends each. */
static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const log_formats[] = {"logfmt", "json", NULL};
static const char *const access_formats[] = {"", "logfmt", "json", "combined", NULL};
static const char *const access_words[] = {"stdout", "off", NULL};
static const char *const tls_versions[] = {"1.2", "1.3", NULL};
static const char *const client_certificates[] = {"off", "optional", "required", NULL};
static const char *const needs[] = {"optional", "required", NULL};
static const char *const auths[] = {"public", "token", "signed", NULL};
static const char *const dispositions[] = {"attachment", "inline", NULL};
static const char *const reserved_parts[] = {"request", "page", "parts", "defer", NULL};
static const char *const reserved_asked[] = {"query",  "path",    "form",  "json", "header",
                                             "cookie", "request", "field", NULL};
static const char *const reserved_fields[] = {"serial", "timestamp", "verify_url", "qr",
                                              "fit",    "signer",    NULL};
static const char *const balances[] = {"round_robin", "least_inflight", NULL};
static const char *const methods[] = {"GET", "POST", NULL};
static const char *const samplers[] = {"always_on",
                                       "always_off",
                                       "traceidratio",
                                       "parentbased_always_on",
                                       "parentbased_always_off",
                                       "parentbased_traceidratio",
                                       NULL};
static const char *const without_timestamps[] = {"fail", "sign", NULL};

/* clang-format off */

#define AT(field) .offset = offsetof(struct config_server, field)
static const struct schema_key server_keys[] = {
    {"listen", VALUE_STRINGS, RULE_NOT_EMPTY | RULE_UNIX_PATH, AT(listen),
     .fallback = "[\"127.0.0.1:8080\"]",
     .doc = "addresses: \"host:port\", \"[v6]:port\", \"unix:/path\""},
    {"listen_tls", VALUE_STRINGS, RULE_NOT_EMPTY | RULE_UNIX_PATH, AT(listen_tls),
     .fallback = "[]", .doc = "addresses where TLS is spoken"},
    {"workers", VALUE_COUNT, AT(workers), .fallback = "0", .max = 1024,
     .doc = "loop threads; 0 = one a CPU that the process may use"},
    {"max_connections", VALUE_COUNT, AT(max_connections), .fallback = "10000",
     .min = 1, .max = 1000000, .doc = "client connections in the whole process"},
    {"max_streams", VALUE_COUNT, AT(max_streams), .fallback = "100",
     .min = 1, .max = 100, .doc = "requests of one HTTP/2 connection at once; more wait"},
    {"head_timeout", VALUE_DURATION, AT(head_timeout_ms), .fallback = "\"10s\"",
     .min = 1, .max = HOURS(1), .doc = "a request's head, from its first byte to its last"},
    {"idle_timeout", VALUE_DURATION, AT(idle_timeout_ms), .fallback = "\"10s\"",
     .min = 1, .max = HOURS(1), .doc = "a connection without a request"},
    {"body_idle_timeout", VALUE_DURATION, AT(body_idle_timeout_ms), .fallback = "\"30s\"",
     .min = 1, .max = HOURS(1), .doc = "a request's body of which nothing arrives"},
    {"body_min_rate", VALUE_SIZE, AT(body_min_rate), .fallback = "\"128\"", .max = GIB(1),
     .doc = "bytes a second that a body must keep up over body_idle_timeout; 0 = any"},
    {"drain_delay", VALUE_DURATION, AT(drain_delay_ms), .fallback = "\"0s\"", .max = HOURS(1),
     .doc = "after SIGTERM, not ready but accepting, so that load balancers can notice"},
    {"drain_timeout", VALUE_DURATION, AT(drain_timeout_ms), .fallback = "\"10s\"",
     .max = HOURS(1), .doc = "after that, for requests under way"},
    {"max_body", VALUE_SIZE, AT(max_body), .fallback = "\"1MiB\"",
     .max = GIB(1), .doc = "a request's body, but for uploads"},
    {"server_timing", VALUE_BOOL, AT(server_timing), .fallback = "false",
     .doc = "send Server-Timing with each page"},
    {"gzip", VALUE_BOOL, AT(gzip), .fallback = "true",
     .doc = "compress answers for clients that accept it"},
    {"gzip_types", VALUE_STRINGS, RULE_MEDIA, AT(gzip_types),
     .fallback = "[\"text/html\", \"text/css\", \"text/javascript\", \"text/plain\", "
                 "\"text/csv\", \"text/xml\", \"text/markdown\", \"application/json\", "
                 "\"application/javascript\", \"application/xml\", "
                 "\"application/manifest+json\", \"image/svg+xml\"]",
     .doc = "those that are compressed; \"text/*\" is all of a kind"},
    {"gzip_min_size", VALUE_SIZE, AT(gzip_min_size), .fallback = "\"1KiB\"", .max = GIB(1),
     .doc = "smaller answers fit into a packet or two as they are"},
    {"error_template", VALUE_STRING, AT(error_template), .fallback = "\"\"",
     .doc = "under templates/; \"\" = the built-in page"},
    {"trusted_proxies", VALUE_STRINGS, RULE_NOT_EMPTY, AT(trusted_proxies), .fallback = "[]",
     .doc = "addresses or CIDR blocks whose Forwarded and X-Forwarded-* are believed"},
    {"middleware", VALUE_STRINGS, RULE_NOT_EMPTY, AT(middleware), .fallback = "[]",
     .doc = "\"KIND.NAME\": what every request passes, in this order"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_server_tls, field)
static const struct schema_key server_tls_keys[] = {
    {"min_version", VALUE_WORD, AT(min_version), .fallback = "\"1.2\"", .words = tls_versions,
     .doc = "1.2 or 1.3"},
    {"client_certificates", VALUE_WORD, AT(client_certificates), .fallback = "\"off\"",
     .words = client_certificates, .doc = "off, optional or required"},
    {"client_ca", VALUE_STRING, RULE_PATH, AT(client_ca), .fallback = "\"\"",
     .doc = "PEM; the authorities of clients' certificates"},
    {"session_tickets", VALUE_BOOL, AT(session_tickets), .fallback = "true",
     .doc = "clients that come again need no whole handshake"},
    {"ticket_lifetime", VALUE_DURATION, AT(ticket_lifetime_ms), .fallback = "\"12h\"",
     .min = SECONDS(1), .max = HOURS(24 * 7), .doc = "of a ticket, and of the key that seals new ones"},
    {"redirect", VALUE_BOOL, AT(redirect), .fallback = "false",
     .doc = "answer all that comes without TLS by 308 to https"},
    {"redirect_port", VALUE_COUNT, AT(redirect_port), .fallback = "0", .max = 65535,
     .doc = "where to; 0 = the first port of listen_tls"},
    {"hsts", VALUE_DURATION, AT(hsts_ms), .fallback = "\"0s\"", .max = HOURS(24 * 365 * 10),
     .doc = "Strict-Transport-Security with this max-age; 0s = not sent"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_server_certificate, field)
static const struct schema_key server_certificate_keys[] = {
    {"certificate", VALUE_STRING, RULE_NOT_EMPTY | RULE_PATH, AT(certificate),
     .doc = "PEM: the server's, then those up to the authority's"},
    {"key", VALUE_STRING, RULE_NOT_EMPTY | RULE_PATH, AT(key), .doc = "PEM, without a passphrase"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_admin, field)
static const struct schema_key admin_keys[] = {
    {"listen", VALUE_STRING, RULE_UNIX_PATH, AT(listen), .fallback = "\"127.0.0.1:9090\"",
     .doc = "health, read-only; \"\" = off"},
    {"control", VALUE_STRING, RULE_UNIX_PATH, AT(control),
     .fallback = "\"unix:${GATEWAY_DATA:-data}/control.sock\"",
     .doc = "what changes things; a unix socket; \"\" = off"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_log, field)
static const struct schema_key log_keys[] = {
    {"level", VALUE_WORD, AT(level), .fallback = "\"info\"", .words = log_levels,
     .doc = "debug, info, warn or error"},
    {"format", VALUE_WORD, AT(format), .fallback = "\"logfmt\"", .words = log_formats,
     .doc = "logfmt or json, for both logs"},
    {"access", VALUE_STRING, RULE_NOT_EMPTY | RULE_PATH, AT(access), .fallback = "\"stdout\"",
     .words = access_words, .doc = "\"stdout\", \"off\" or a file's path"},
    {"access_format", VALUE_WORD, AT(access_format), .fallback = "\"\"", .words = access_formats,
     .doc = "of the access log: \"\" = format; logfmt, json or combined (Apache's, nginx's)"},
    {"slow", VALUE_DURATION, AT(slow_ms), .fallback = "\"0s\"", .max = HOURS(1),
     .doc = "requests that take longer are logged with what their parts waited for; 0 = none"},
};
#undef AT

/* Named and defaulted as OpenTelemetry's SDKs have it in the environment. */
#define AT(field) .offset = offsetof(struct config_traces, field)
static const struct schema_key traces_keys[] = {
    {"enabled", VALUE_BOOL, AT(enabled), .fallback = "false",
     .doc = "hand contexts on; an endpoint does so, too"},
    {"endpoint", VALUE_STRING, RULE_URL, AT(endpoint),
     .fallback = "\"${OTEL_EXPORTER_OTLP_ENDPOINT:-}\"",
     .doc = "the collector's URL, to which /v1/traces is added (OTLP/HTTP); \"\" = spans aren't "
            "exported"},
    {"service_name", VALUE_STRING, RULE_NOT_EMPTY, AT(service_name),
     .fallback = "\"${OTEL_SERVICE_NAME:-gateway}\"", .doc = "service.name of each span"},
    {"resource_attributes", VALUE_STRING, AT(resource_attributes),
     .fallback = "\"${OTEL_RESOURCE_ATTRIBUTES:-}\"",
     .doc = "more of them: \"name=value,name=value\", percent-encoded"},
    {"sampler", VALUE_WORD, AT(sampler),
     .fallback = "\"${OTEL_TRACES_SAMPLER:-parentbased_always_on}\"", .words = samplers,
     .doc = "which requests; parentbased_: as the client says, if it is a trusted proxy"},
    {"sampler_arg", VALUE_STRING, RULE_NOT_EMPTY, AT(sampler_arg),
     .fallback = "\"${OTEL_TRACES_SAMPLER_ARG:-1}\"",
     .doc = "of a traceidratio: the share that is sampled, 0 to 1"},
    {"propagators", VALUE_STRING, AT(propagators),
     .fallback = "\"${OTEL_PROPAGATORS:-tracecontext,baggage}\"",
     .doc = "what is read from requests and sent to upstreams; \"none\" = nothing"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_tls, field)
static const struct schema_key tls_keys[] = {
    {"ca_file", VALUE_STRING, RULE_PATH, AT(ca_file), .fallback = "\"\"",
     .doc = "PEM; \"\" = the system's authorities"},
    {"cert_file", VALUE_STRING, RULE_PATH, AT(cert_file), .fallback = "\"\"",
     .doc = "client certificate, PEM"},
    {"key_file", VALUE_STRING, RULE_PATH, AT(key_file), .fallback = "\"\"",
     .doc = "the client certificate's key, PEM"},
    {"min_version", VALUE_WORD, AT(min_version), .fallback = "\"1.2\"", .words = tls_versions,
     .doc = "1.2 or 1.3"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_upstream, field)
static const struct schema_key upstream_keys[] = {
    {"url", VALUE_STRING, RULE_NOT_EMPTY | RULE_UNIX_PATH | RULE_URL, AT(url),
     .doc = "http://, https:// or unix:/path; a path prefix may follow the host"},
    {"addresses", VALUE_STRINGS, RULE_NOT_EMPTY, AT(addresses), .fallback = "[]",
     .doc = "\"host:port\" or \"host:port weight=3\", instead of the url's host"},
    {"balance", VALUE_WORD, AT(balance), .fallback = "\"round_robin\"", .words = balances,
     .doc = "round_robin or least_inflight, where there are several addresses"},
    {"deadline_header", VALUE_STRING, AT(deadline_header), .fallback = "\"\"",
     .doc = "a header that tells the upstream the milliseconds left; \"\" = none"},
    {"connect_timeout", VALUE_DURATION, AT(connect_timeout_ms), .fallback = "\"500ms\"",
     .min = 1, .max = HOURS(1), .doc = "name, TCP and TLS"},
    {"timeout", VALUE_DURATION, AT(timeout_ms), .fallback = "\"1s\"",
     .min = 1, .max = HOURS(1), .doc = "one attempt, connecting included, queueing not"},
    {"max_idle", VALUE_COUNT, AT(max_idle), .fallback = "64", .max = 65536,
     .doc = "kept-alive connections a worker"},
    {"connection_lifetime", VALUE_DURATION, AT(connection_lifetime_ms), .fallback = "\"60s\"",
     .min = 1, .max = HOURS(24), .doc = "older connections are not used again"},
    {"max_inflight", VALUE_COUNT, AT(max_inflight), .fallback = "256", .min = 1, .max = 1000000,
     .doc = "calls under way at once in the whole process"},
    {"max_queue", VALUE_COUNT, AT(max_queue), .fallback = "1024", .max = 1000000,
     .doc = "calls that wait for their turn; more are shed"},
    {"queue_timeout", VALUE_DURATION, AT(queue_timeout_ms), .fallback = "\"200ms\"",
     .max = HOURS(1), .doc = "the longest wait for a turn"},
    {"max_body", VALUE_SIZE, AT(max_body), .fallback = "\"8MiB\"", .min = 1, .max = GIB(1),
     .doc = "an answer's body, decoded"},
    {"resolve_every", VALUE_DURATION, AT(resolve_every_ms), .fallback = "\"30s\"",
     .min = 1, .max = HOURS(24), .doc = "a name's addresses are looked up again when older"},
    {"forward_headers", VALUE_STRINGS, RULE_NOT_EMPTY, AT(forward_headers),
     .fallback = "[\"Accept-Language\", \"traceparent\", \"X-Request-Id\", \"Forwarded\", "
                 "\"X-Forwarded-For\", \"X-Forwarded-Proto\", \"X-Forwarded-Host\"]",
     .doc = "the client's headers that go upstream; no other does"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_part, field)
static const struct schema_key part_keys[] = {
    {"upstream", VALUE_STRING, RULE_OWN_NAME, AT(upstream), .fallback = "\"\"",
     .doc = "who is asked; default: the part's own name"},
    {"path", VALUE_STRING, AT(path), .fallback = "\"/\"",
     .doc = "after the upstream's url; RFC 6570"},
    {"need", VALUE_WORD, AT(need), .fallback = "\"optional\"", .words = needs,
     .doc = "optional or required"},
    {"timeout", VALUE_DURATION, AT(timeout_ms), .fallback = "\"0s\"", .max = HOURS(1),
     .doc = "one attempt; 0s = the upstream's"},
    {"select", VALUE_STRING, AT(select), .fallback = "\"\"",
     .doc = "path into the answer; \"\" = all of it"},
    {"allow", VALUE_STRINGS, RULE_NOT_EMPTY, AT(allow), .fallback = "[]",
     .doc = "paths that are kept; [] = all"},
    {"deny", VALUE_STRINGS, RULE_NOT_EMPTY, AT(deny), .fallback = "[]",
     .doc = "paths that are dropped"},
    {"into", VALUE_STRING, AT(into), .fallback = "\"\"",
     .doc = "where it goes; \"\" = under the part's name, \".\" = into the root"},
    {"method", VALUE_WORD, AT(method), .fallback = "\"GET\"", .words = methods,
     .doc = "GET or POST"},
    {"body", VALUE_STRING, AT(body), .fallback = "\"\"",
     .doc = "of a POST: JSON, whose strings may hold {variables}"},
    {"idempotent", VALUE_BOOL, AT(idempotent), .fallback = "false",
     .doc = "a POST that may be made twice, so it is retried and hedged"},
    {"when", VALUE_STRING, AT(when), .fallback = "\"\"",
     .doc = "skipped unless it holds: \"query.debug\", \"promo.kind == 'banner'\""},
    {"each", VALUE_STRING, AT(each), .fallback = "\"\"",
     .doc = "called for each element of another part's array: \"recco.items\""},
    {"as", VALUE_STRING, RULE_NOT_EMPTY, AT(as), .fallback = "\"item\"",
     .doc = "what the element is called: {item.id}"},
    {"concurrency", VALUE_COUNT, AT(concurrency), .fallback = "10", .min = 1, .max = 1000,
     .doc = "calls of each under way at once"},
    {"max_items", VALUE_COUNT, AT(max_items), .fallback = "100", .min = 1, .max = 10000,
     .doc = "elements of each that are asked for"},
    {"batch", VALUE_COUNT, AT(batch), .fallback = "0", .max = 1000,
     .doc = "elements of each that one call asks for; 0 = a call each"},
    {"by", VALUE_STRING, AT(by), .fallback = "\"\"",
     .doc = "of a batch's answer: the member that says whose it is; \"\" = an object by key"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_fallback, field)
static const struct schema_key fallback_keys[] = {
    {"upstream", VALUE_STRING, AT(upstream), .fallback = "\"\"",
     .doc = "who is asked instead; \"\" = the part's"},
    {"path", VALUE_STRING, AT(path), .fallback = "\"\"",
     .doc = "what is asked for instead; \"\" = nothing"},
    {"timeout", VALUE_DURATION, AT(timeout_ms), .fallback = "\"0s\"", .max = HOURS(1),
     .doc = "one attempt; 0s = the upstream's"},
    {"static", VALUE_JSON, AT(value), .fallback = "\"\"",
     .doc = "data when nobody answers: a table, an array or JSON in a string"},
    {"static_file", VALUE_STRING, RULE_PATH, AT(static_file), .fallback = "\"\"",
     .doc = "the same from a JSON file"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_caching, field)
static const struct schema_key caching_keys[] = {
    {"enabled", VALUE_BOOL, AT(enabled), .fallback = "false",
     .doc = "keep answers, as their Cache-Control says (RFC 9111)"},
    {"ttl", VALUE_DURATION, AT(ttl_ms), .fallback = "\"0s\"", .max = HOURS(24 * 365),
     .doc = "how long where an answer doesn't say; 0s = then it isn't kept"},
    {"negative_ttl", VALUE_DURATION, AT(negative_ttl_ms), .fallback = "\"0s\"",
     .max = HOURS(24 * 365), .doc = "the same for 404, 410 and the like"},
    {"stale_while_revalidate", VALUE_DURATION, AT(stale_while_revalidate_ms),
     .fallback = "\"0s\"", .max = HOURS(24 * 365),
     .doc = "for so long past that it is still used while it is asked for anew"},
    {"stale_if_error", VALUE_DURATION, AT(stale_if_error_ms), .fallback = "\"0s\"",
     .max = HOURS(24 * 365), .doc = "for so long past that it stands in when asking fails"},
    {"tags", VALUE_STRINGS, RULE_NOT_EMPTY, AT(tags), .fallback = "[]",
     .doc = "names to purge what is kept by"},
    {"last_good", VALUE_BOOL, AT(last_good), .fallback = "false",
     .doc = "keep the newest good answer on the disk too, for after a restart"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_cache, field)
static const struct schema_key cache_keys[] = {
    {"max_size", VALUE_SIZE, AT(max_size), .fallback = "\"64MiB\"", .max = TIB(1),
     .doc = "memory for kept answers, in the whole process"},
    {"last_good", VALUE_STRING, RULE_PATH, AT(last_good),
     .fallback = "\"${GATEWAY_DATA:-data}/last-good\"",
     .doc = "folder for the last good answers of parts that want it"},
    {"last_good_max_size", VALUE_SIZE, AT(last_good_max_size), .fallback = "\"64MiB\"",
     .min = 1, .max = TIB(1), .doc = "of all files in it; the oldest go"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_retry, field)
static const struct schema_key retry_keys[] = {
    {"attempts", VALUE_COUNT, AT(attempts), .fallback = "0", .max = 10,
     .doc = "of one call, in all; 0 = 2 where there are several addresses, else 1"},
    {"on", VALUE_STRINGS, RULE_NOT_EMPTY, AT(on),
     .fallback = "[\"connect\", \"reset\", \"502\", \"503\", \"504\"]",
     .doc = "connect, reset, timeout, or a status"},
    {"backoff", VALUE_DURATION, AT(backoff_ms), .fallback = "\"25ms\"", .max = HOURS(1),
     .doc = "the most that the first retry waits; doubles with each"},
    {"max_backoff", VALUE_DURATION, AT(max_backoff_ms), .fallback = "\"250ms\"",
     .max = HOURS(1), .doc = "the most that any waits"},
    {"budget", VALUE_COUNT, AT(budget), .fallback = "20", .max = 100,
     .doc = "retries, in percent of the calls of the last ten seconds"},
    {"budget_floor", VALUE_COUNT, AT(budget_floor), .fallback = "3", .max = 1000000,
     .doc = "retries a second that are always allowed"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_hedge, field)
static const struct schema_key hedge_keys[] = {
    {"after", VALUE_STRING, AT(after), .fallback = "\"\"",
     .doc = "a second call after it: a duration, or \"p95\"; \"\" = off"},
    {"budget", VALUE_COUNT, AT(budget), .fallback = "10", .max = 100,
     .doc = "hedges, in percent of the calls of the last ten seconds"},
    {"budget_floor", VALUE_COUNT, AT(budget_floor), .fallback = "1", .max = 1000000,
     .doc = "hedges a second that are always allowed"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_breaker, field)
static const struct schema_key breaker_keys[] = {
    {"error_share", VALUE_COUNT, AT(error_share), .fallback = "50", .max = 100,
     .doc = "percent of the last ten seconds' calls that opens it; 0 = no share does"},
    {"min_calls", VALUE_COUNT, AT(min_calls), .fallback = "20", .min = 1, .max = 1000000,
     .doc = "fewer in ten seconds prove nothing"},
    {"consecutive", VALUE_COUNT, AT(consecutive), .fallback = "20", .max = 1000000,
     .doc = "failures one after the other that open it; 0 = no number does"},
    {"open_for", VALUE_DURATION, AT(open_for_ms), .fallback = "\"5s\"",
     .min = 1, .max = HOURS(24), .doc = "then it is tried with single calls"},
    {"probes", VALUE_COUNT, AT(probes), .fallback = "3", .min = 1, .max = 1000,
     .doc = "good answers to those that close it"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_ejection, field)
static const struct schema_key ejection_keys[] = {
    {"consecutive", VALUE_COUNT, AT(consecutive), .fallback = "5", .max = 1000000,
     .doc = "failures of one address that put it aside; 0 = never"},
    {"for", VALUE_DURATION, AT(for_ms), .fallback = "\"10s\"", .min = 1, .max = HOURS(24),
     .doc = "times how often that happened lately"},
    {"max_share", VALUE_COUNT, AT(max_share), .fallback = "50", .max = 100,
     .doc = "percent of the addresses; never the last one"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_health, field)
static const struct schema_key health_keys[] = {
    {"path", VALUE_STRING, AT(path), .fallback = "\"\"",
     .doc = "asked for at each address, after the url's path; \"\" = off"},
    {"interval", VALUE_DURATION, AT(interval_ms), .fallback = "\"5s\"",
     .min = 10, .max = HOURS(24), .doc = "from one check to the next"},
    {"timeout", VALUE_DURATION, AT(timeout_ms), .fallback = "\"1s\"",
     .min = 1, .max = HOURS(1), .doc = "one check"},
    {"healthy", VALUE_COUNT, AT(healthy), .fallback = "2", .min = 1, .max = 1000,
     .doc = "good answers in a row that bring an address back"},
    {"unhealthy", VALUE_COUNT, AT(unhealthy), .fallback = "3", .min = 1, .max = 1000,
     .doc = "bad ones in a row that put it aside"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_page, field)
static const struct schema_key page_keys[] = {
    {"path", VALUE_STRING, RULE_NOT_EMPTY, AT(path),
     .doc = "the page's address, \"/product/{id}\""},
    {"template", VALUE_STRING, AT(template), .fallback = "\"\"",
     .doc = "under templates/; \"\" = JSON only"},
    {"deadline", VALUE_DURATION, AT(deadline_ms), .fallback = "\"2s\"",
     .min = 1, .max = HOURS(1), .doc = "the whole page; parts still under way are cut"},
    {"stream", VALUE_BOOL, AT(stream), .fallback = "false",
     .doc = "send what can be shown before the slowest part has come"},
    {"flush_after", VALUE_DURATION, AT(flush_after_ms), .fallback = "\"5ms\"",
     .max = HOURS(1), .doc = "pages that take less go out as a whole"},
    {"defer", VALUE_STRINGS, RULE_NOT_EMPTY, AT(defer), .fallback = "[]",
     .doc = "parts that nothing waits for: they take their place in the browser"},
    {"preload", VALUE_STRINGS, RULE_NOT_EMPTY, AT(preload), .fallback = "[]",
     .doc = "what browsers are to load early: \"/assets/site.css\""},
    {"csp", VALUE_STRING, AT(csp), .fallback = "\"\"",
     .doc = "Content-Security-Policy of the page; \"\" = none"},
    {"micro_cache", VALUE_DURATION, AT(micro_cache_ms), .fallback = "\"0s\"",
     .max = HOURS(24), .doc = "a rendered page is sent again for so long; 0s = never"},
    {"middleware", VALUE_STRINGS, RULE_NOT_EMPTY, AT(middleware), .fallback = "[]",
     .doc = "\"KIND.NAME\": what its requests pass, after [server] middleware"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_static, field)
static const struct schema_key static_keys[] = {
    {"path", VALUE_STRING, RULE_NOT_EMPTY, AT(path), .doc = "URL prefix, \"/assets\""},
    {"dir", VALUE_STRING, RULE_NOT_EMPTY | RULE_PATH, AT(dir), .doc = "the folder it shows"},
    {"max_age", VALUE_DURATION, AT(max_age_ms), .fallback = "\"0s\"", .max = HOURS(24 * 365),
     .doc = "Cache-Control: max-age"},
    {"middleware", VALUE_STRINGS, RULE_NOT_EMPTY, AT(middleware), .fallback = "[]",
     .doc = "\"KIND.NAME\": what its requests pass, after [server] middleware"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_route, field)
static const struct schema_key route_keys[] = {
    {"path", VALUE_STRING, RULE_NOT_EMPTY, AT(path),
     .doc = "URL prefix, \"/shop\"; \"/\" = all that nothing else takes"},
    {"upstream", VALUE_STRING, RULE_OWN_NAME, AT(upstream), .fallback = "\"\"",
     .doc = "who answers; default: the route's own name"},
    {"to", VALUE_STRING, AT(to), .fallback = "\"\"",
     .doc = "what the upstream gets instead of the prefix: \"/v2\", \"/\"; \"\" = the prefix"},
    {"methods", VALUE_STRINGS, RULE_NOT_EMPTY, AT(methods), .fallback = "[]",
     .doc = "those it takes; [] = every one but CONNECT and TRACE"},
    {"timeout", VALUE_DURATION, AT(timeout_ms), .fallback = "\"0s\"", .max = HOURS(1),
     .doc = "until the answer's head is in; 0s = the upstream's"},
    {"idle_timeout", VALUE_DURATION, AT(idle_timeout_ms), .fallback = "\"30s\"",
     .min = 1, .max = HOURS(24), .doc = "a body of which the upstream takes or sends nothing"},
    {"max_body", VALUE_SIZE, AT(max_body), .fallback = "\"1GiB\"", .max = TIB(1024),
     .doc = "a request's body; 0 = no limit"},
    {"preserve_host", VALUE_BOOL, AT(preserve_host), .fallback = "false",
     .doc = "the upstream gets the client's Host instead of its own"},
    {"middleware", VALUE_STRINGS, RULE_NOT_EMPTY, AT(middleware), .fallback = "[]",
     .doc = "\"KIND.NAME\": what its requests pass, after [server] middleware"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_data, field)
static const struct schema_key data_keys[] = {
    {"dir", VALUE_STRING, RULE_NOT_EMPTY | RULE_PATH, AT(dir),
     .fallback = "\"${GATEWAY_DATA:-data}\"",
     .doc = "where what must not be lost is kept: the database, the secret"},
    {"secret", VALUE_STRING, RULE_SECRET | RULE_LONG, AT(secret), .fallback = "\"\"",
     .doc = "what keys are derived from; \"\" = the file secret in dir, made when missing"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_token, field)
static const struct schema_key token_keys[] = {
    {"digest", VALUE_STRING, RULE_NOT_EMPTY | RULE_DIGEST, AT(digest),
     .doc = "of a bearer token: \"sha256:\" and 64 hexadecimal digits (gateway token)"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_upload, field)
static const struct schema_key upload_keys[] = {
    {"path", VALUE_STRING, RULE_NOT_EMPTY, AT(path), .doc = "the form's address, \"/upload\""},
    {"dir", VALUE_STRING, RULE_NOT_EMPTY | RULE_PATH, AT(dir), .doc = "where files are kept"},
    {"max_size", VALUE_SIZE, AT(max_size), .fallback = "\"1GiB\"", .min = 1, .max = TIB(16),
     .doc = "one file"},
    {"max_files", VALUE_COUNT, AT(max_files), .fallback = "16", .min = 1, .max = 1000,
     .doc = "in one form"},
    {"allow_types", VALUE_STRINGS, RULE_NOT_EMPTY | RULE_MEDIA, AT(allow_types),
     .fallback = "[]",
     .doc = "media types by content, \"image/*\"; [] = all"},
    {"fields", VALUE_STRINGS, RULE_NOT_EMPTY, AT(fields), .fallback = "[]",
     .doc = "a form's other fields, kept with its files"},
    {"redirect", VALUE_STRING, RULE_NOT_EMPTY, AT(redirect), .fallback = "\"/\"",
     .doc = "where a browser goes after its form was taken"},
    {"template", VALUE_STRING, AT(template), .fallback = "\"\"",
     .doc = "the upload page, under templates/; \"\" = the built-in one"},
    {"auth", VALUE_WORD, AT(auth), .fallback = "\"token\"", .words = auths,
     .doc = "who may upload and delete: public, token or signed"},
    {"max_concurrent", VALUE_COUNT, AT(max_concurrent), .fallback = "256", .min = 1,
     .max = 100000, .doc = "uploads under way; more get 503"},
    {"quota", VALUE_SIZE, AT(quota), .fallback = "\"0\"", .max = TIB(1024),
     .doc = "bytes kept in all; 0 = no limit"},
    {"client_quota", VALUE_SIZE, AT(client_quota), .fallback = "\"0\"", .max = TIB(1024),
     .doc = "bytes kept of one client; 0 = no limit"},
    {"expire_after", VALUE_DURATION, AT(expire_after_ms), .fallback = "\"24h\"",
     .min = 1, .max = HOURS(24 * 365), .doc = "partial uploads that nobody goes on with"},
    {"lock_timeout", VALUE_DURATION, AT(lock_timeout_ms), .fallback = "\"20s\"",
     .min = 1, .max = HOURS(1), .doc = "waiting for who still holds a partial upload"},
    {"middleware", VALUE_STRINGS, RULE_NOT_EMPTY, AT(middleware), .fallback = "[]",
     .doc = "\"KIND.NAME\": what its requests pass, after [server] middleware"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_download, field)
static const struct schema_key download_keys[] = {
    {"path", VALUE_STRING, RULE_NOT_EMPTY, AT(path), .doc = "URL prefix, \"/files\""},
    {"from", VALUE_STRING, AT(from), .fallback = "\"\"",
     .doc = "an upload section, whose files are served by id; either this or dir"},
    {"dir", VALUE_STRING, RULE_PATH, AT(dir), .fallback = "\"\"",
     .doc = "a plain folder; either this or from"},
    {"auth", VALUE_WORD, AT(auth), .fallback = "\"public\"", .words = auths,
     .doc = "who may read: public, token or signed"},
    {"disposition", VALUE_WORD, AT(disposition), .fallback = "\"attachment\"",
     .words = dispositions, .doc = "attachment (saved) or inline (shown)"},
    {"listing", VALUE_BOOL, AT(listing), .fallback = "false",
     .doc = "show what there is, as HTML or JSON"},
    {"page_size", VALUE_COUNT, AT(page_size), .fallback = "100", .min = 1, .max = 10000,
     .doc = "files on a page of the listing"},
    {"max_age", VALUE_DURATION, AT(max_age_ms), .fallback = "\"0s\"", .max = HOURS(24 * 365),
     .doc = "Cache-Control: max-age"},
    {"middleware", VALUE_STRINGS, RULE_NOT_EMPTY, AT(middleware), .fallback = "[]",
     .doc = "\"KIND.NAME\": what its requests pass, after [server] middleware"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_certificate, field)
static const struct schema_key certificate_keys[] = {
    {"path", VALUE_STRING, RULE_NOT_EMPTY, AT(path),
     .doc = "where certificates are asked for, \"/certificate\""},
    {"template", VALUE_STRING, RULE_NOT_EMPTY, AT(template),
     .doc = "under templates/: .svg, or .pdf with %placeholders%"},
    {"open", VALUE_BOOL, AT(open), .fallback = "false",
     .doc = "anybody may, under rate_limit; else a token or a signed link is needed"},
    {"rate_limit", VALUE_STRING, AT(rate_limit), .fallback = "\"30/m\"",
     .doc = "requests of one client where it is open, \"5/s\", \"30/m\", \"100/h\"; \"\" = any"},
    {"register", VALUE_BOOL, AT(registered), .fallback = "true",
     .doc = "keep each one, so that it can be verified, repeated and revoked"},
    {"filename", VALUE_STRING, RULE_NOT_EMPTY, AT(filename), .fallback = "\"certificate.pdf\"",
     .doc = "of the download; {{name}} is a field"},
    {"title", VALUE_STRING, AT(title), .fallback = "\"\"",
     .doc = "of the document; {{name}} is a field"},
    {"disposition", VALUE_WORD, AT(disposition), .fallback = "\"attachment\"",
     .words = dispositions, .doc = "attachment (saved) or inline (shown)"},
    {"timestamp_format", VALUE_STRING, RULE_NOT_EMPTY, AT(timestamp_format),
     .fallback = "\"%Y-%m-%d\"", .doc = "of the field timestamp, as strftime()"},
    {"time_zone", VALUE_STRING, RULE_NOT_EMPTY, AT(time_zone), .fallback = "\"UTC\"",
     .doc = "of the field timestamp, \"Europe/Paris\""},
    {"show", VALUE_STRINGS, RULE_NOT_EMPTY, AT(show), .fallback = "[]",
     .doc = "fields that the verify page shows"},
    {"quota", VALUE_SIZE, AT(quota), .fallback = "\"10GiB\"", .max = TIB(1024),
     .doc = "bytes kept in all; 0 = no limit"},
    {"deadline", VALUE_DURATION, AT(asked.deadline_ms), .fallback = "\"2s\"",
     .min = 1, .max = HOURS(1), .doc = "of its parts; those still under way are cut"},
    {"middleware", VALUE_STRINGS, RULE_NOT_EMPTY, AT(middleware), .fallback = "[]",
     .doc = "\"KIND.NAME\": what its requests pass, after [server] middleware"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_field, field)
static const struct schema_key field_keys[] = {
    {"from", VALUE_STRING, AT(from), .fallback = "\"\"",
     .doc = "query.X, path.X, form.X, json.X or PART.X; default: of its own name in the request"},
    {"value", VALUE_STRING, AT(value), .fallback = "\"\"", .doc = "a constant, instead of from"},
    {"fallback", VALUE_STRING, AT(fallback), .fallback = "\"\"",
     .doc = "when there is none in from"},
    {"required", VALUE_BOOL, AT(required), .fallback = "true", .doc = "without it: 400"},
    {"max_length", VALUE_COUNT, AT(max_length), .fallback = "200", .min = 1, .max = 10000,
     .doc = "characters"},
    {"pattern", VALUE_STRING, AT(pattern), .fallback = "\"\"",
     .doc = "a regular expression (PCRE2) for the whole value"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_sign, field)
static const struct schema_key sign_keys[] = {
    {"key", VALUE_STRING, RULE_PATH, AT(key), .fallback = "\"\"",
     .doc = "the key's file, PEM (gateway keygen makes one); \"\" = not signed"},
    {"certificate", VALUE_STRING, RULE_PATH, AT(certificate), .fallback = "\"\"",
     .doc = "its certificate's file, PEM, followed by its chain"},
    {"password", VALUE_STRING, RULE_SECRET, AT(password), .fallback = "\"\"",
     .doc = "of the key's file"},
    {"reason", VALUE_STRING, AT(reason), .fallback = "\"\"", .doc = "as PDF readers show it"},
    {"location", VALUE_STRING, AT(location), .fallback = "\"\"", .doc = "as PDF readers show it"},
    {"contact", VALUE_STRING, AT(contact), .fallback = "\"\"", .doc = "as PDF readers show it"},
    {"rect", VALUE_STRING, AT(rect), .fallback = "\"\"",
     .doc = "\"x y width height\" on the first page, in points from the lower left; \"\" = none"},
    {"timestamp", VALUE_STRING, AT(timestamp), .fallback = "\"\"",
     .doc = "an upstream: the time stamp authority (RFC 3161); \"\" = none"},
    {"timestamp_path", VALUE_STRING, AT(timestamp_path), .fallback = "\"/\"",
     .doc = "after the upstream's url"},
    {"without_timestamp", VALUE_WORD, AT(without_timestamp), .fallback = "\"fail\"",
     .words = without_timestamps, .doc = "when the authority is away: fail, or sign without"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_register, field)
static const struct schema_key register_keys[] = {
    {"url", VALUE_STRING, AT(url), .fallback = "\"\"",
     .doc = "of the verify pages, as the world sees it: \"https://example.org/certificates\""},
    {"template", VALUE_STRING, AT(template), .fallback = "\"\"",
     .doc = "the verify page, under templates/; \"\" = the built-in one"},
    {"max_file", VALUE_SIZE, AT(max_file), .fallback = "\"10MiB\"", .min = 1, .max = GIB(1),
     .doc = "a PDF that is to be verified"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_cors, field)
static const struct schema_key cors_keys[] = {
    {"origins", VALUE_STRINGS, RULE_NOT_EMPTY, AT(origins),
     .doc = "\"https://shop.example\", \"https://*.shop.example\", \"null\"; or \"*\" alone"},
    {"methods", VALUE_STRINGS, RULE_NOT_EMPTY, AT(methods),
     .fallback = "[\"GET\", \"HEAD\", \"POST\"]", .doc = "that may be asked with; \"*\" = all"},
    {"headers", VALUE_STRINGS, RULE_NOT_EMPTY, AT(headers), .fallback = "[]",
     .doc = "that requests may have beside the harmless ones; \"*\" = all but Authorization"},
    {"expose", VALUE_STRINGS, RULE_NOT_EMPTY, AT(expose), .fallback = "[]",
     .doc = "headers of answers that scripts may read beside the harmless ones; \"*\" = all"},
    {"credentials", VALUE_BOOL, AT(credentials), .fallback = "false",
     .doc = "requests may come with cookies; nothing may be \"*\" then"},
    {"max_age", VALUE_DURATION, AT(max_age_ms), .fallback = "\"10m\"", .max = HOURS(24),
     .doc = "how long browsers remember what they may"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_access, field)
static const struct schema_key access_keys[] = {
    {"allow", VALUE_STRINGS, RULE_NOT_EMPTY, AT(allow), .fallback = "[]",
     .doc = "addresses, CIDR blocks or \"unix\"; [] = all that aren't denied"},
    {"deny", VALUE_STRINGS, RULE_NOT_EMPTY, AT(deny), .fallback = "[]",
     .doc = "likewise; of several networks that have an address the smallest decides"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_limits, field)
static const struct schema_key limits_keys[] = {
    {"max_body", VALUE_SIZE, AT(max_body), .fallback = "\"0B\"", .max = TIB(1024),
     .doc = "a request's body; 0 = as large as whoever takes it allows"},
    {"max_query", VALUE_SIZE, AT(max_query), .fallback = "\"0B\"", .max = KIB(8),
     .doc = "what follows the '?' in a request's target; 0 = as long as a target may be"},
    {"max_headers", VALUE_SIZE, AT(max_headers), .fallback = "\"0B\"", .max = KIB(64),
     .doc = "names and values of a request's headers, together; 0 = as large as a head may be"},
    {"methods", VALUE_STRINGS, RULE_NOT_EMPTY, AT(methods), .fallback = "[]",
     .doc = "those that are let pass, HEAD with GET; [] = every one"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_rate_limit, field)
static const struct schema_key rate_limit_keys[] = {
    {"rate", VALUE_STRING, RULE_NOT_EMPTY, AT(rate),
     .doc = "requests of one client: \"100/s\", \"30/m\", \"1000/h\", \"5000/d\""},
    {"burst", VALUE_COUNT, AT(burst), .fallback = "0", .max = 1000000,
     .doc = "how many may come at once; 0 = as many as the rate says"},
    {"by", VALUE_STRING, RULE_NOT_EMPTY, AT(by), .fallback = "\"address\"",
     .doc = "who counts as one: \"address\", \"user\", \"header:NAME\" or \"cookie:NAME\""},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_shedding, field)
static const struct schema_key shedding_keys[] = {
    {"target", VALUE_DURATION, AT(target_ms), .fallback = "\"20ms\"", .min = 5, .max = SECONDS(10),
     .doc = "how long requests may wait for their turn on a loop"},
    {"interval", VALUE_DURATION, AT(interval_ms), .fallback = "\"100ms\"",
     .min = 20, .max = SECONDS(10), .doc = "when all wait longer for so long, more are turned away"},
    {"keep", VALUE_COUNT, AT(keep), .fallback = "10", .max = 100,
     .doc = "percent of the requests that are served whatever happens"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_security_headers, field)
static const struct schema_key security_headers_keys[] = {
    {"csp", VALUE_STRING, AT(csp), .fallback = "\"\"",
     .doc = "Content-Security-Policy of what has none of its own; \"\" = none"},
    {"frame_options", VALUE_STRING, AT(frame_options), .fallback = "\"SAMEORIGIN\"",
     .doc = "X-Frame-Options; \"\" = none"},
    {"referrer_policy", VALUE_STRING, AT(referrer_policy),
     .fallback = "\"strict-origin-when-cross-origin\"", .doc = "Referrer-Policy; \"\" = none"},
    {"permissions_policy", VALUE_STRING, AT(permissions_policy), .fallback = "\"\"",
     .doc = "Permissions-Policy; \"\" = none"},
    {"opener_policy", VALUE_STRING, AT(opener_policy), .fallback = "\"same-origin\"",
     .doc = "Cross-Origin-Opener-Policy; \"\" = none"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_basic_auth, field)
static const struct schema_key basic_auth_keys[] = {
    {"realm", VALUE_STRING, RULE_OWN_NAME, AT(realm), .fallback = "\"\"",
     .doc = "what browsers show when they ask for a password"},
    {"users_file", VALUE_STRING, RULE_PATH, AT(users_file), .fallback = "\"\"",
     .doc = "\"user:hash\" a line, as htpasswd writes it; \"\" = none"},
    {"user_header", VALUE_STRING, AT(user_header), .fallback = "\"\"",
     .doc = "request header that tells upstreams the user's name; \"\" = none"},
    {"forward", VALUE_BOOL, AT(forward), .fallback = "false",
     .doc = "Authorization goes on to upstreams"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_jwt, field)
static const struct schema_key jwt_keys[] = {
    {"from", VALUE_STRING, RULE_NOT_EMPTY, AT(from), .fallback = "\"header\"",
     .doc = "where the token is: \"header\" (Authorization: Bearer) or \"cookie:NAME\""},
    {"algorithms", VALUE_STRINGS, RULE_NOT_EMPTY, AT(algorithms),
     .doc = "that are taken: \"HS256\", \"RS256\", \"ES256\""},
    {"secret", VALUE_STRING, RULE_SECRET | RULE_LONG, AT(secret), .fallback = "\"\"",
     .doc = "the key of HS256; \"\" = none"},
    {"public_key", VALUE_STRING, RULE_PATH, AT(public_key), .fallback = "\"\"",
     .doc = "the key of RS256 or ES256, PEM; \"\" = none"},
    {"upstream", VALUE_STRING, AT(upstream), .fallback = "\"\"", .doc = "who has the keys"},
    {"jwks", VALUE_STRING, AT(jwks), .fallback = "\"\"",
     .doc = "path of a JWK Set at the upstream; \"\" = isn't asked"},
    {"jwks_ttl", VALUE_DURATION, AT(jwks_ttl_ms), .fallback = "\"10m\"",
     .min = SECONDS(10), .max = HOURS(24), .doc = "how long it is kept where it has no max-age"},
    {"jwks_refetch", VALUE_DURATION, AT(jwks_refetch_ms), .fallback = "\"10s\"",
     .min = 100, .max = HOURS(1), .doc = "at most so often a token with an unknown key has it fetched"},
    {"issuer", VALUE_STRING, AT(issuer), .fallback = "\"\"", .doc = "what iss says; \"\" = any"},
    {"audience", VALUE_STRINGS, RULE_NOT_EMPTY, AT(audience), .fallback = "[]",
     .doc = "aud says one of these; [] = any"},
    {"required", VALUE_STRINGS, RULE_NOT_EMPTY, AT(required), .fallback = "[\"exp\"]",
     .doc = "claims that must be there"},
    {"leeway", VALUE_DURATION, AT(leeway_ms), .fallback = "\"30s\"",
     .max = HOURS(1), .doc = "by which clocks may differ: for exp, nbf and iat"},
    {"forward", VALUE_BOOL, AT(forward), .fallback = "true",
     .doc = "Authorization goes on to upstreams"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_forward_auth, field)
static const struct schema_key forward_auth_keys[] = {
    {"upstream", VALUE_STRING, RULE_OWN_NAME, AT(upstream), .fallback = "\"\"", .doc = "who is asked"},
    {"path", VALUE_STRING, RULE_NOT_EMPTY, AT(path), .doc = "after the upstream's url, \"/auth\""},
    {"timeout", VALUE_DURATION, AT(timeout_ms), .fallback = "\"0s\"",
     .max = HOURS(1), .doc = "for the answer, retries included; 0s = the upstream's for each"},
    {"request_headers", VALUE_STRINGS, RULE_NOT_EMPTY, AT(request_headers),
     .fallback = "[\"Authorization\", \"Cookie\"]", .doc = "of the client's, that it is asked with"},
    {"response_headers", VALUE_STRINGS, RULE_NOT_EMPTY, AT(response_headers), .fallback = "[]",
     .doc = "of its answer, that requests to upstreams get"},
};
#undef AT

#define AT(field) .offset = offsetof(struct config_offload, field)
static const struct schema_key offload_keys[] = {
    {"threads", VALUE_COUNT, AT(threads), .fallback = "0", .max = 256,
     .doc = "that draw and sign; 0 = one a CPU that the process may use"},
    {"max_queue", VALUE_COUNT, AT(max_queue), .fallback = "256", .min = 1, .max = 100000,
     .doc = "jobs that wait for one; more get 503"},
};
#undef AT

#define KEYS(table)     .keys = (table), .key_count = COUNT(table)
#define SECTIONS(table) .sections = (table), .section_count = COUNT(table)

static const struct schema_section server_tls_sections[] = {
    {"tls.certificates.*", "certificates", SECTION_NAMED, KEYS(server_certificate_keys),
     .offset = offsetof(struct config_server_tls, certificates),
     .count_offset = offsetof(struct config_server_tls, certificate_count),
     .size = sizeof(struct config_server_certificate)},
};

static const struct schema_section traces_sections[] = {
    {"traces.headers", "headers", SECTION_PAIRS,
     .offset = offsetof(struct config_traces, headers)},
};

static const struct schema_section upstream_sections[] = {
    {"upstreams.*.set_headers", "set_headers", SECTION_PAIRS,
     .offset = offsetof(struct config_upstream, set_headers)},
    {"upstreams.*.tls", "tls", SECTION_TABLE, KEYS(tls_keys),
     .offset = offsetof(struct config_upstream, tls)},
    {"upstreams.*.retry", "retry", SECTION_TABLE, KEYS(retry_keys),
     .offset = offsetof(struct config_upstream, retry)},
    {"upstreams.*.hedge", "hedge", SECTION_TABLE, KEYS(hedge_keys),
     .offset = offsetof(struct config_upstream, hedge)},
    {"upstreams.*.breaker", "breaker", SECTION_TABLE, KEYS(breaker_keys),
     .offset = offsetof(struct config_upstream, breaker)},
    {"upstreams.*.ejection", "ejection", SECTION_TABLE, KEYS(ejection_keys),
     .offset = offsetof(struct config_upstream, ejection)},
    {"upstreams.*.health", "health", SECTION_TABLE, KEYS(health_keys),
     .offset = offsetof(struct config_upstream, health)},
};

/* Of a page's parts and of a certificate's: the paths only serve to name them in messages. */
#define PART_SECTIONS(above)                                                        \
    {                                                                               \
        {above ".*.parts.*.headers", "headers", SECTION_PAIRS, .expanded = true,    \
         .offset = offsetof(struct config_part, headers)},                          \
        {above ".*.parts.*.cache", "cache", SECTION_TABLE, KEYS(caching_keys),      \
         .offset = offsetof(struct config_part, cache)},                            \
        {above ".*.parts.*.fallback", "fallback", SECTION_TABLE, KEYS(fallback_keys), \
         .offset = offsetof(struct config_part, fallback)},                         \
    }
static const struct schema_section part_sections[] = PART_SECTIONS("pages");
static const struct schema_section asked_sections[] = PART_SECTIONS("certificates");

static const struct schema_section route_sections[] = {
    {"routes.*.cache", "cache", SECTION_TABLE, KEYS(caching_keys),
     .offset = offsetof(struct config_route, cache)},
};

static const struct schema_section page_sections[] = {
    {"pages.*.parts.*", "parts", SECTION_NAMED, KEYS(part_keys), SECTIONS(part_sections),
     .offset = offsetof(struct config_page, parts),
     .count_offset = offsetof(struct config_page, part_count),
     .size = sizeof(struct config_part), .reserved = reserved_parts},
};

static const struct schema_section certificate_sections[] = {
    {"certificates.*.fields.*", "fields", SECTION_NAMED, KEYS(field_keys),
     .offset = offsetof(struct config_certificate, fields),
     .count_offset = offsetof(struct config_certificate, field_count),
     .size = sizeof(struct config_field), .reserved = reserved_fields},
    {"certificates.*.parts.*", "parts", SECTION_NAMED, KEYS(part_keys), SECTIONS(asked_sections),
     .offset = offsetof(struct config_certificate, asked.parts),
     .count_offset = offsetof(struct config_certificate, asked.part_count),
     .size = sizeof(struct config_part), .reserved = reserved_asked},
    {"certificates.*.sign", "sign", SECTION_TABLE, KEYS(sign_keys),
     .offset = offsetof(struct config_certificate, sign)},
};

#define AT(field) .offset = offsetof(struct config_headers, field)
static const struct schema_section headers_sections[] = {
    {"headers.*.request", "request", SECTION_PAIRS, AT(request)},
    {"headers.*.request_add", "request_add", SECTION_PAIRS, AT(request_add)},
    {"headers.*.response", "response", SECTION_PAIRS, AT(response)},
    {"headers.*.response_add", "response_add", SECTION_PAIRS, AT(response_add)},
};
#undef AT
static const struct schema_section basic_auth_sections[] = {
    {"basic_auth.*.users", "users", SECTION_PAIRS, .pairs = PAIRS_SECRETS,
     .offset = offsetof(struct config_basic_auth, users)},
};

static const struct schema_section jwt_sections[] = {
    {"jwt.*.claims", "claims", SECTION_PAIRS, .pairs = PAIRS_PLAIN,
     .offset = offsetof(struct config_jwt, claims)},
};

static const struct schema_section sections[] = {
    {"server", "server", SECTION_TABLE, KEYS(server_keys),
     .offset = offsetof(struct config, server)},
    {"tls", "tls", SECTION_TABLE, KEYS(server_tls_keys), SECTIONS(server_tls_sections),
     .offset = offsetof(struct config, tls)},
    {"admin", "admin", SECTION_TABLE, KEYS(admin_keys), .offset = offsetof(struct config, admin)},
    {"log", "log", SECTION_TABLE, KEYS(log_keys), .offset = offsetof(struct config, log)},
    {"traces", "traces", SECTION_TABLE, KEYS(traces_keys), SECTIONS(traces_sections),
     .offset = offsetof(struct config, traces)},
    {"upstreams.*", "upstreams", SECTION_NAMED, KEYS(upstream_keys), SECTIONS(upstream_sections),
     .offset = offsetof(struct config, upstreams),
     .count_offset = offsetof(struct config, upstream_count),
     .size = sizeof(struct config_upstream)},
    {"pages.*", "pages", SECTION_NAMED, KEYS(page_keys), SECTIONS(page_sections),
     .offset = offsetof(struct config, pages), .count_offset = offsetof(struct config, page_count),
     .size = sizeof(struct config_page)},
    {"static.*", "static", SECTION_NAMED, KEYS(static_keys),
     .offset = offsetof(struct config, statics),
     .count_offset = offsetof(struct config, static_count), .size = sizeof(struct config_static)},
    {"routes.*", "routes", SECTION_NAMED, KEYS(route_keys), SECTIONS(route_sections),
     .offset = offsetof(struct config, routes),
     .count_offset = offsetof(struct config, route_count), .size = sizeof(struct config_route)},
    {"data", "data", SECTION_TABLE, KEYS(data_keys), .offset = offsetof(struct config, data)},
    {"tokens.*", "tokens", SECTION_NAMED, KEYS(token_keys),
     .offset = offsetof(struct config, tokens),
     .count_offset = offsetof(struct config, token_count), .size = sizeof(struct config_token)},
    {"uploads.*", "uploads", SECTION_NAMED, KEYS(upload_keys),
     .offset = offsetof(struct config, uploads),
     .count_offset = offsetof(struct config, upload_count), .size = sizeof(struct config_upload)},
    {"downloads.*", "downloads", SECTION_NAMED, KEYS(download_keys),
     .offset = offsetof(struct config, downloads),
     .count_offset = offsetof(struct config, download_count),
     .size = sizeof(struct config_download)},
    {"certificates.*", "certificates", SECTION_NAMED, KEYS(certificate_keys),
     SECTIONS(certificate_sections), .offset = offsetof(struct config, certificates),
     .count_offset = offsetof(struct config, certificate_count),
     .size = sizeof(struct config_certificate)},
    {"register", "register", SECTION_TABLE, KEYS(register_keys),
     .offset = offsetof(struct config, registry)},
    {"offload", "offload", SECTION_TABLE, KEYS(offload_keys),
     .offset = offsetof(struct config, offload)},
    {"cache", "cache", SECTION_TABLE, KEYS(cache_keys), .offset = offsetof(struct config, cache)},
    {"cors.*", "cors", SECTION_NAMED, KEYS(cors_keys), .offset = offsetof(struct config, cors),
     .count_offset = offsetof(struct config, cors_count), .size = sizeof(struct config_cors)},
    {"headers.*", "headers", SECTION_NAMED, SECTIONS(headers_sections),
     .offset = offsetof(struct config, headers),
     .count_offset = offsetof(struct config, headers_count),
     .size = sizeof(struct config_headers)},
    {"access.*", "access", SECTION_NAMED, KEYS(access_keys),
     .offset = offsetof(struct config, access),
     .count_offset = offsetof(struct config, access_count), .size = sizeof(struct config_access)},
    {"limits.*", "limits", SECTION_NAMED, KEYS(limits_keys),
     .offset = offsetof(struct config, limits),
     .count_offset = offsetof(struct config, limits_count), .size = sizeof(struct config_limits)},
    {"rate_limits.*", "rate_limits", SECTION_NAMED, KEYS(rate_limit_keys),
     .offset = offsetof(struct config, rate_limits),
     .count_offset = offsetof(struct config, rate_limit_count),
     .size = sizeof(struct config_rate_limit)},
    {"shedding.*", "shedding", SECTION_NAMED, KEYS(shedding_keys),
     .offset = offsetof(struct config, shedding),
     .count_offset = offsetof(struct config, shedding_count),
     .size = sizeof(struct config_shedding)},
    {"security_headers.*", "security_headers", SECTION_NAMED, KEYS(security_headers_keys),
     .offset = offsetof(struct config, security_headers),
     .count_offset = offsetof(struct config, security_headers_count),
     .size = sizeof(struct config_security_headers)},
    {"basic_auth.*", "basic_auth", SECTION_NAMED, KEYS(basic_auth_keys),
     SECTIONS(basic_auth_sections), .offset = offsetof(struct config, basic_auths),
     .count_offset = offsetof(struct config, basic_auth_count),
     .size = sizeof(struct config_basic_auth)},
    {"forward_auth.*", "forward_auth", SECTION_NAMED, KEYS(forward_auth_keys),
     .offset = offsetof(struct config, forward_auths),
     .count_offset = offsetof(struct config, forward_auth_count),
     .size = sizeof(struct config_forward_auth)},
    {"jwt.*", "jwt", SECTION_NAMED, KEYS(jwt_keys), SECTIONS(jwt_sections),
     .offset = offsetof(struct config, jwts), .count_offset = offsetof(struct config, jwt_count),
     .size = sizeof(struct config_jwt)},
};

/* clang-format on */

const struct schema_section schema_root = {"", "", SECTION_TABLE, SECTIONS(sections)};

/* Names of named sections come first in their structs; load.c writes them there. */
_Static_assert(offsetof(struct config_cors, name) == 0, "");
_Static_assert(offsetof(struct config_headers, name) == 0, "");
_Static_assert(offsetof(struct config_access, name) == 0, "");
_Static_assert(offsetof(struct config_limits, name) == 0, "");
_Static_assert(offsetof(struct config_rate_limit, name) == 0, "");
_Static_assert(offsetof(struct config_shedding, name) == 0, "");
_Static_assert(offsetof(struct config_security_headers, name) == 0, "");
_Static_assert(offsetof(struct config_server_certificate, name) == 0, "");
_Static_assert(offsetof(struct config_basic_auth, name) == 0, "");
_Static_assert(offsetof(struct config_jwt, name) == 0, "");
_Static_assert(offsetof(struct config_forward_auth, name) == 0, "");
_Static_assert(offsetof(struct config_upstream, name) == 0, "");
_Static_assert(offsetof(struct config_page, name) == 0, "");
_Static_assert(offsetof(struct config_part, name) == 0, "");
_Static_assert(offsetof(struct config_static, name) == 0, "");
_Static_assert(offsetof(struct config_route, name) == 0, "");
_Static_assert(offsetof(struct config_token, name) == 0, "");
_Static_assert(offsetof(struct config_upload, name) == 0, "");
_Static_assert(offsetof(struct config_download, name) == 0, "");
_Static_assert(offsetof(struct config_certificate, name) == 0, "");
_Static_assert(offsetof(struct config_field, name) == 0, "");

/* "duration", "array of strings": how documents and messages call the key's type. */
static const char *type_name(const struct schema_key *key)
{
    static const char *const names[] = {
        [VALUE_BOOL] = "boolean",
        [VALUE_COUNT] = "integer",
        [VALUE_DURATION] = "duration",
        [VALUE_SIZE] = "size",
        [VALUE_STRINGS] = "array of strings",
        [VALUE_WORD] = "word",
        [VALUE_STRING] = "string",
        [VALUE_JSON] = "any",
    };
    return key->rules & RULE_PATH ? "path" : names[key->type];
}

static void each_key(const struct schema_section *section,
                     void (*fn)(const char *key, const char *type, const char *default_text,
                                void *arg),
                     void *arg)
{
    char path[128];
    for (size_t i = 0; i < section->key_count; i++) {
        const struct schema_key *key = &section->keys[i];
        const char *fallback = key->fallback != NULL ? key->fallback : "";
        snprintf(path, sizeof(path), "%s.%s", section->path, key->name);
        fn(path, type_name(key), key->rules & RULE_OWN_NAME ? "its own name" : fallback, arg);
    }
    if (section->shape == SECTION_PAIRS) {
        snprintf(path, sizeof(path), "%s.*", section->path);
        fn(path, "string", "", arg);
    }
    for (size_t i = 0; i < section->section_count; i++)
        each_key(&section->sections[i], fn, arg);
}

void config_each_key(void (*fn)(const char *key, const char *type, const char *default_text,
                                void *arg),
                     void *arg)
{
    each_key(&schema_root, fn, arg);
}
