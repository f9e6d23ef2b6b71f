/* config/: one TOML file becomes checked, immutable structs.
 *
 * What the file alone can tell is checked here (syntax, unknown keys with "did you mean", types,
 * durations, sizes, ranges, required keys, ${NAME}). What needs other knowledge (does a template
 * compile, does an upstream exist, is a URL usable) is checked by the folder that has it, with
 * config_pos() for the place; all of it lands in the same diag and is printed together.
 *
 * The keys stand in one table (schema.c) that drives reading, "did you mean", print-config and the
 * test that docs/configuration.md names each of them. Every string is NUL-terminated. All memory
 * belongs to struct config, which is read-only after config_load(): any thread. */
#ifndef GW_CONFIG_H
#define GW_CONFIG_H

#include <stdio.h>
#include "base/base.h"
#include "base/diag.h"

struct config_strings {
    struct str *items;
    size_t count;
};

/* One name = "value" pair of a table whose keys are the user's. */
struct config_pair {
    struct str name, value;
};
struct config_pairs {
    struct config_pair *items;
    size_t count;
};

enum config_need { NEED_OPTIONAL, NEED_REQUIRED };
enum config_tls_version { TLS_1_2, TLS_1_3 };
enum config_client_certificates {
    CLIENT_CERTIFICATES_OFF,
    CLIENT_CERTIFICATES_OPTIONAL,
    CLIENT_CERTIFICATES_REQUIRED
};
enum config_auth { AUTH_PUBLIC, AUTH_TOKEN, AUTH_SIGNED };
enum config_disposition { DISPOSITION_ATTACHMENT, DISPOSITION_INLINE };

struct config_server {                /* [server] */
    struct config_strings listen;     /* "host:port", "[v6]:port", "unix:/path" */
    struct config_strings listen_tls; /* the same, where TLS is spoken */
    uint32_t workers;                 /* 0 = one a CPU that affinity and the cgroup allow */
    uint32_t max_connections;         /* in the whole process */
    uint32_t max_streams;             /* requests of an HTTP/2 connection that run at once */
    uint64_t head_timeout_ms;         /* from a head's first byte to its last */
    uint64_t idle_timeout_ms;         /* a connection without a request */
    uint64_t body_idle_timeout_ms;    /* a body of which nothing arrives */
    uint64_t body_min_rate;           /* bytes a second, over any body_idle_timeout; 0 = any */
    uint64_t drain_delay_ms;   /* after SIGTERM: /readyz says no, but nothing is refused yet */
    uint64_t drain_timeout_ms; /* then, for requests under way */
    uint64_t max_body;         /* bytes of a request's body, but for uploads */
    bool server_timing;        /* send Server-Timing */
    bool gzip;                 /* compress for who accepts it */
    struct config_strings gzip_types;      /* media types, or all of one kind */
    uint64_t gzip_min_size;                /* bytes; less isn't worth it */
    struct str error_template;             /* under templates/; "" = the built-in page */
    struct config_strings trusted_proxies; /* CIDR; whose Forwarded/X-Forwarded-* are believed */
    struct config_strings middleware;      /* "KIND.NAME": what every request passes, in order */
};

struct config_server_certificate { /* [tls.certificates.NAME] */
    struct str name;
    struct str certificate; /* PEM: the server's, then those between it and the authority */
    struct str key;         /* PEM, without a passphrase */
};

struct config_server_tls {                          /* [tls]: of [server] listen_tls */
    struct config_server_certificate *certificates; /* the first is the default */
    size_t certificate_count;
    uint8_t min_version;         /* enum config_tls_version */
    uint8_t client_certificates; /* enum config_client_certificates */
    struct str client_ca;        /* PEM: who may have signed them; "" = none */
    bool session_tickets;
    uint64_t ticket_lifetime_ms; /* also of the keys that seal them */
    bool redirect;               /* cleartext listeners send everybody to https */
    uint32_t redirect_port;      /* 0 = the first TLS listener's */
    uint64_t hsts_ms;            /* Strict-Transport-Security; 0 = not sent */
};

struct config_admin {   /* [admin] */
    struct str listen;  /* "" = off */
    struct str control; /* "unix:/path"; "" = off */
};

enum config_access_format {
    ACCESS_AS_FORMAT,
    ACCESS_AS_LOGFMT,
    ACCESS_AS_JSON,
    ACCESS_AS_COMBINED
};

struct config_log {        /* [log] */
    uint8_t level;         /* enum log_level of base/log.h */
    uint8_t format;        /* enum log_format: "logfmt" or "json", for both logs */
    struct str access;     /* "stdout", "off" or a file's path */
    uint8_t access_format; /* enum config_access_format */
    uint64_t slow_ms;      /* requests that take longer are told on stderr; 0 = none */
};

struct config_tls {                 /* [upstreams.NAME.tls] */
    struct str ca_file;             /* "" = the system's */
    struct str cert_file, key_file; /* client certificate; both or none */
    uint8_t min_version;            /* enum config_tls_version */
};

struct config_retry {  /* [upstreams.NAME.retry] */
    uint32_t attempts; /* of one call, in all; 0 = 2 where there are several addresses, else 1 */
    struct config_strings on; /* "connect", "reset", "timeout", "502" */
    uint64_t backoff_ms;      /* the most that the first retry waits; doubles with each */
    uint64_t max_backoff_ms;
    uint32_t budget;       /* retries, in percent of the calls of the last ten seconds */
    uint32_t budget_floor; /* retries a second that are always allowed */
};

struct config_hedge {      /* [upstreams.NAME.hedge] */
    struct str after;      /* "" = off, "p95", or a duration */
    uint32_t budget;       /* percent, as of retries */
    uint32_t budget_floor; /* hedges a second */
};

struct config_breaker {   /* [upstreams.NAME.breaker] */
    uint32_t error_share; /* percent of the calls of the last ten seconds that opens it; 0 = any */
    uint32_t min_calls;   /* fewer prove nothing */
    uint32_t consecutive; /* failures one after the other that open it; 0 = any number */
    uint64_t open_for_ms;
    uint32_t probes; /* good answers that close it */
};

struct config_ejection {  /* [upstreams.NAME.ejection] */
    uint32_t consecutive; /* failures of one address; 0 = never */
    uint64_t for_ms;      /* times how often it was ejected lately */
    uint32_t max_share;   /* percent of the addresses; never the last one */
};

struct config_health { /* [upstreams.NAME.health] */
    struct str path;   /* "" = off */
    uint64_t interval_ms, timeout_ms;
    uint32_t healthy, unhealthy; /* good and bad answers in a row that change its mind */
};

enum config_balance { BALANCE_ROUND_ROBIN, BALANCE_LEAST_INFLIGHT };

struct config_upstream { /* [upstreams.NAME] */
    struct str name;
    struct str url; /* http://, https:// or unix:/path; a path prefix may follow the host */
    struct config_strings addresses; /* "host:port" or "host:port weight=3"; none = the url's */
    uint8_t balance;                 /* enum config_balance */
    struct str deadline_header;      /* tells the upstream the milliseconds left; "" = doesn't */
    uint64_t connect_timeout_ms;
    uint64_t timeout_ms; /* one attempt, connecting included, queueing not */
    uint32_t max_idle;   /* kept-alive connections a worker */
    uint64_t connection_lifetime_ms;
    uint32_t max_inflight; /* calls under way at once in the whole process */
    uint32_t max_queue;    /* calls waiting for a slot, in the whole process; more are shed */
    uint64_t queue_timeout_ms;
    uint64_t max_body;                     /* bytes of an answer's body, decoded */
    uint64_t resolve_every_ms;             /* a name's addresses are looked up again when older */
    struct config_strings forward_headers; /* request headers that go upstream */
    struct config_pairs set_headers;       /* [upstreams.NAME.set_headers]: sent with every call */
    struct config_tls tls;
    struct config_retry retry;
    struct config_hedge hedge;
    struct config_breaker breaker;
    struct config_ejection ejection;
    struct config_health health;
};

enum config_sampler {
    SAMPLER_ALWAYS_ON,
    SAMPLER_ALWAYS_OFF,
    SAMPLER_RATIO,
    SAMPLER_PARENT_ON,
    SAMPLER_PARENT_OFF,
    SAMPLER_PARENT_RATIO
};

struct config_traces {   /* [traces] */
    bool enabled;        /* an endpoint does the same */
    struct str endpoint; /* the collector's URL; "" = spans aren't exported */
    struct str service_name;
    struct str resource_attributes;   /* "name=value,name=value" */
    uint8_t sampler;                  /* enum config_sampler */
    struct str sampler_arg;           /* "0.01" */
    struct str propagators;           /* "tracecontext,baggage" */
    struct config_pairs headers;      /* [traces.headers]: sent with each batch */
    struct config_upstream collector; /* made of endpoint and headers, else with every default;
                                         url "" = none */
};

enum config_method { METHOD_GET, METHOD_POST };

struct config_cache {            /* [cache] */
    uint64_t max_size;           /* bytes of all kept answers; 0 = nothing is kept */
    struct str last_good;        /* absolute: a folder for last good answers; "" = none are kept */
    uint64_t last_good_max_size; /* bytes of these */
};

struct config_caching { /* [pages.NAME.parts.NAME.cache] and the like: what is kept, how long */
    bool enabled;
    uint64_t ttl_ms;                    /* where the answer says nothing; 0 = then it isn't kept */
    uint64_t negative_ttl_ms;           /* of 404, 410 and the like, likewise */
    uint64_t stale_while_revalidate_ms; /* where the answer says nothing */
    uint64_t stale_if_error_ms;
    struct config_strings tags; /* to purge by */
    bool last_good;             /* the newest good answer is kept on the disk too */
};

struct config_fallback {    /* [pages.NAME.parts.NAME.fallback] */
    struct str upstream;    /* "" = the part's */
    struct str path;        /* "" = nobody else is asked */
    uint64_t timeout_ms;    /* 0 = the upstream's */
    struct str value;       /* key "static": JSON; "" = none */
    struct str static_file; /* absolute, JSON; "" = none */
};

struct config_part { /* [pages.NAME.parts.NAME] */
    struct str name;
    struct str upstream;               /* default: the part's own name */
    struct str path;                   /* RFC 6570, relative to the upstream's URL */
    uint8_t need;                      /* enum config_need */
    uint64_t timeout_ms;               /* 0 = the upstream's */
    struct str select;                 /* "data.items"; "" = the whole answer */
    struct config_strings allow, deny; /* paths; empty allow = everything */
    struct str into;             /* "" = under the part's name; "." = spread into the root; "a.b" */
    uint8_t method;              /* enum config_method */
    struct str body;             /* JSON whose strings may hold {variables}; "" = none */
    bool idempotent;             /* a POST that may be made twice */
    struct str when;             /* a condition; "" = always */
    struct str each;             /* "recco.items": called for each of them; "" = once */
    struct str as;               /* what an element is called in path, headers and body */
    uint32_t concurrency;        /* calls of each under way at once */
    uint32_t max_items;          /* elements of each that are asked for */
    uint32_t batch;              /* elements that one call asks for; 0 = a call each */
    struct str by;               /* of a batch's answer: the member that says whose it is */
    struct config_pairs headers; /* [pages.NAME.parts.NAME.headers]: may hold {variables} */
    struct config_fallback fallback;
    struct config_caching cache;
};

struct config_page { /* [pages.NAME] */
    struct str name;
    struct str path;     /* "/product/{id}" */
    struct str template; /* "" = JSON only */
    uint64_t deadline_ms;
    bool stream;                   /* it is sent as its parts come in */
    uint64_t flush_after_ms;       /* but not before, where all may come in time */
    struct config_strings defer;   /* parts that are shown when the rest has been */
    struct config_strings preload; /* what browsers are to load early */
    struct str csp;                /* Content-Security-Policy; "" = none */
    struct config_strings middleware;
    uint64_t micro_cache_ms;   /* a rendered page is sent again for so long; 0 = never */
    struct config_part *parts; /* in the file's order */
    size_t part_count;
};

struct config_static { /* [static.NAME] */
    struct str name;
    struct str path; /* URL prefix, "/assets" */
    struct str dir;  /* absolute once read */
    struct config_strings middleware;
    uint64_t max_age_ms; /* Cache-Control: max-age */
};

struct config_route { /* [routes.NAME] */
    struct str name;
    struct str path;               /* URL prefix, "/shop"; "/" = all that nothing else takes */
    struct str upstream;           /* default: the route's own name */
    struct str to;                 /* what stands there instead of the prefix; "" = the prefix */
    struct config_strings methods; /* none = every one */
    uint64_t timeout_ms;           /* until the answer's head; 0 = the upstream's */
    uint64_t idle_timeout_ms;      /* without a byte of either body */
    uint64_t max_body;             /* bytes of a request's body; 0 = any number */
    struct config_strings middleware;
    bool preserve_host; /* Host is the client's, not the upstream's */
    struct config_caching cache;
};

struct config_data {   /* [data] */
    struct str dir;    /* absolute: the database and the secret live there */
    struct str secret; /* what keys are derived from; "" = the file "secret" in dir */
};

struct config_token { /* [tokens.NAME] */
    struct str name;
    struct str digest; /* "sha256:" and 64 hexadecimal digits */
};

struct config_upload { /* [uploads.NAME] */
    struct str name;
    struct str path;                   /* "/upload" */
    struct str dir;                    /* absolute */
    uint64_t max_size;                 /* bytes of one file */
    uint32_t max_files;                /* in one form */
    struct config_strings allow_types; /* "image/png", "image/" and a star; empty = all */
    struct config_strings fields;      /* names of a form's other fields, kept with its files */
    struct str redirect;               /* where a form's sender goes afterwards */
    struct str template;      /* of the upload page, under templates/; "" = the built-in one */
    uint8_t auth;             /* enum config_auth */
    uint32_t max_concurrent;  /* uploads under way */
    uint64_t quota;           /* bytes in all; 0 = no limit */
    uint64_t client_quota;    /* bytes of one client; 0 = no limit */
    uint64_t expire_after_ms; /* partial uploads that nobody goes on with */
    struct config_strings middleware;
    uint64_t lock_timeout_ms; /* waiting for who holds a partial upload */
};

struct config_download { /* [downloads.NAME] */
    struct str name;
    struct str path;     /* URL prefix, "/files" */
    struct str from;     /* name of an upload route, whose files are served by id; or "" and */
    struct str dir;      /* absolute: a plain directory */
    uint8_t auth;        /* enum config_auth */
    uint8_t disposition; /* enum config_disposition */
    bool listing;
    struct config_strings middleware;
    uint32_t page_size;  /* files on a page of the listing */
    uint64_t max_age_ms; /* Cache-Control: max-age */
};

struct config_field { /* [certificates.NAME.fields.NAME] */
    struct str name;
    struct str from;  /* "query.name", "path.id", "form.name", "json.a.b" or "PART.a.b"; "" = where
                         the request has one of its own name */
    struct str value; /* a constant, "" = none; instead of from */
    struct str fallback; /* when `from` has nothing */
    bool required;
    uint32_t max_length; /* characters */
    struct str pattern;  /* PCRE2, of the whole value; "" = any */
};

struct config_sign {        /* [certificates.NAME.sign] */
    struct str key;         /* absolute path, PEM; "" = certificates aren't signed */
    struct str certificate; /* absolute path, PEM: the key's own first, then its chain */
    struct str password;    /* of the key; "" = none */
    struct str reason, location, contact;
    struct str rect;      /* "x y width height" in points from the lower left; "" = invisible */
    struct str timestamp; /* an upstream, the RFC 3161 authority; "" = none */
    struct str timestamp_path; /* after the upstream's url */
    uint8_t without_timestamp; /* enum config_without_timestamp: the authority is away */
};
enum config_without_timestamp { WITHOUT_TIMESTAMP_FAIL, WITHOUT_TIMESTAMP_SIGN };

struct config_certificate { /* [certificates.NAME] */
    struct str name;
    struct str path;             /* "/certificate" */
    struct str template;         /* under templates/; .svg or .pdf */
    bool open;                   /* anybody may, under rate_limit; else a token or a signed link */
    struct str rate_limit;       /* "30/m": of one client, where it is open */
    bool registered;             /* key "register" */
    struct str filename, title;  /* Mustache over the fields */
    uint8_t disposition;         /* enum config_disposition */
    struct str timestamp_format; /* as g_date_time_format() */
    struct str time_zone;        /* of the tz database */
    struct config_strings show;  /* fields that the verify page shows */
    struct config_strings middleware;
    uint64_t quota;              /* bytes kept in all; 0 = no limit */
    struct config_field *fields; /* in the file's order; none = a field "name" */
    size_t field_count;
    struct config_page asked; /* its parts and deadline; else empty but for the name */
    struct config_sign sign;
};

struct config_register { /* [register] */
    struct str url;      /* of the verify pages, as the world sees it; "" = none */
    struct str template; /* of the verify page, under templates/; "" = the built-in one */
    uint64_t max_file;   /* bytes of a PDF that is to be verified */
};

struct config_offload { /* [offload]: threads for what computes for long */
    uint32_t threads;   /* 0 = one a CPU */
    uint32_t max_queue; /* jobs that wait; more get 503 */
};

struct config_cors { /* [cors.NAME] */
    struct str name;
    struct config_strings origins; /* "https://a.example", "https://" and a star, "null"; or "*" */
    struct config_strings methods;
    struct config_strings headers; /* that requests may have */
    struct config_strings expose;  /* headers of answers that scripts may read */
    bool credentials;              /* cookies and the like are sent, answers may be read */
    uint64_t max_age_ms;           /* how long browsers remember what they may */
};

struct config_headers { /* [headers.NAME]: tables; a value "" = it is taken away */
    struct str name;
    struct config_pairs request, response; /* set in place of what is there */
    struct config_pairs request_add, response_add;
};

struct config_access { /* [access.NAME]: networks, as trusted_proxies */
    struct str name;
    struct config_strings allow; /* none = everybody who isn't denied */
    struct config_strings deny;
};

struct config_limits { /* [limits.NAME]; 0 = no limit of its own */
    struct str name;
    uint64_t max_body;             /* bytes, as are the others */
    uint64_t max_query;            /* what follows the '?' */
    uint64_t max_headers;          /* names and values of a request's headers, together */
    struct config_strings methods; /* none = every one */
};

struct config_rate_limit { /* [rate_limits.NAME] */
    struct str name;
    struct str rate; /* "100/s", /m, /h, /d */
    uint32_t burst;  /* requests at once; 0 = the rate's number */
    struct str by;   /* "address", "user", "header:X-Api-Key", "cookie:sid" */
};

struct config_shedding { /* [shedding.NAME] */
    struct str name;
    uint64_t target_ms;   /* a request's wait for its turn that is fine */
    uint64_t interval_ms; /* longer ones for so long are not */
    uint32_t keep;        /* percent of the requests that are served whatever happens */
};

struct config_security_headers { /* [security_headers.NAME]; each "" = not sent */
    struct str name;
    struct str csp;                /* Content-Security-Policy, where a page has none of its own */
    struct str frame_options;      /* X-Frame-Options */
    struct str referrer_policy;    /* Referrer-Policy */
    struct str permissions_policy; /* Permissions-Policy */
    struct str opener_policy;      /* Cross-Origin-Opener-Policy */
};

struct config_basic_auth { /* [basic_auth.NAME] */
    struct str name;
    struct str realm;          /* default: the section's own name */
    struct str users_file;     /* absolute: "user:hash" a line, as htpasswd makes it; "" = none */
    struct str user_header;    /* of the request to upstreams: the user's name; "" = none */
    bool forward;              /* Authorization goes on to upstreams */
    struct config_pairs users; /* [basic_auth.NAME.users]: name = hash */
};

struct config_jwt { /* [jwt.NAME] */
    struct str name;
    struct str from;                  /* "header" (Authorization) or "cookie:NAME" */
    struct config_strings algorithms; /* "HS256", "RS256", "ES256" */
    struct str secret;                /* of HS256; "" = none */
    struct str public_key;            /* absolute: PEM, of RS256 or ES256; "" = none */
    struct str upstream;              /* who has the keys */
    struct str jwks;                  /* where, after the upstream's url; "" = isn't asked */
    uint64_t jwks_ttl_ms;             /* where the answer has no max-age */
    uint64_t jwks_refetch_ms;         /* between two that unknown keys ask for */
    struct str issuer;                /* "" = any */
    struct config_strings audience;   /* one of these; none = any */
    struct config_strings required;   /* claims that must be there */
    uint64_t leeway_ms;               /* of clocks */
    bool forward;                     /* Authorization goes on to upstreams */
    struct config_pairs claims;       /* [jwt.NAME.claims]: claim = header for upstreams */
};

struct config_forward_auth { /* [forward_auth.NAME] */
    struct str name;
    struct str upstream;                    /* who is asked */
    struct str path;                        /* after the upstream's url */
    uint64_t timeout_ms;                    /* retries included; 0 = the upstream's for each */
    struct config_strings request_headers;  /* of the client's, that it is asked with */
    struct config_strings response_headers; /* of its answer, that upstreams get */
};

struct config {
    struct str file;          /* as given */
    struct str dir;           /* absolute folder of the file: what relative paths are relative to */
    struct str templates_dir; /* dir/templates */
    struct config_server server;
    struct config_server_tls tls;
    struct config_admin admin;
    struct config_log log;
    struct config_traces traces;
    struct config_upstream *upstreams;
    size_t upstream_count;
    struct config_page *pages;
    size_t page_count;
    struct config_static *statics;
    size_t static_count;
    struct config_route *routes;
    size_t route_count;
    struct config_data data;
    struct config_token *tokens;
    size_t token_count;
    struct config_upload *uploads;
    size_t upload_count;
    struct config_download *downloads;
    size_t download_count;
    struct config_certificate *certificates;
    size_t certificate_count;
    struct config_register registry; /* key "register" */
    struct config_offload offload;
    struct config_cache cache;
    struct config_cors *cors;
    size_t cors_count;
    struct config_headers *headers;
    size_t headers_count;
    struct config_access *access;
    size_t access_count;
    struct config_limits *limits;
    size_t limits_count;
    struct config_rate_limit *rate_limits;
    size_t rate_limit_count;
    struct config_shedding *shedding;
    size_t shedding_count;
    struct config_security_headers *security_headers;
    size_t security_headers_count;
    struct config_basic_auth *basic_auths; /* key "basic_auth" */
    size_t basic_auth_count;
    struct config_jwt *jwts; /* key "jwt" */
    size_t jwt_count;
    struct config_forward_auth *forward_auths; /* key "forward_auth" */
    size_t forward_auth_count;
    struct config_private *private; /* positions, sources of values, the pool */
};

/* Reads and checks `file`. Never NULL; when diag_errors() grew, the config may only be used to
 * find further errors (every pointer in it is sound) and then be destroyed. What could not be read
 * has its default. A required string is "" only when its error was told: whoever finds one "" need
 * not tell another. A file that can't be read or isn't TOML leaves an empty config. The errors'
 * positions borrow the config's file name: print them before config_destroy(). */
struct config *config_load(const char *file, struct diag *diag);
/* The same from memory; `name` is what positions show, `dir` what paths are relative to. */
struct config *config_parse(struct str text, const char *name, const char *dir, struct diag *diag);
void config_destroy(struct config **config);

/* Where the value of a field stands, by the field's address (&page->template), or that of one
 * string of a list (&part->allow.items[i]); the table's header, or the file alone, when the key was
 * left out. A name's place is its segment of the header. */
struct pos config_pos(const struct config *config, const void *field);
/* The text of such a field for people to see: as it stands in the file when there is a ${NAME} in
 * it, "{ file }" when it came from one. Any of these may be a secret. */
struct str config_shown(const struct config *config, const struct str *field);

const struct config_upstream *config_find_upstream(const struct config *config, struct str name);
const struct config_upload *config_find_upload(const struct config *config, struct str name);

/* Prints the effective configuration as TOML that reads back the same. A value that came from
 * ${NAME} is printed as it stood, ${NAME} and all, so secrets show their name, never themselves. */
void config_print(const struct config *config, FILE *to);

/* Calls fn with each key of the schema as documented: "server.listen", "pages.*.parts.*.need". The
 * default is as TOML would have it ("\"10s\""), "" when the key is required. */
void config_each_key(void (*fn)(const char *key, const char *type, const char *default_text,
                                void *arg),
                     void *arg);

/* "250ms", "1.5s", "2m", "1h", "7d" -> milliseconds; "64KiB", "10MB", "512" -> bytes. False: not
 * one. */
bool config_duration(struct str text, uint64_t *ms_r);
bool config_size(struct str text, uint64_t *bytes_r);
/* What the NAME of [pages.NAME] may be: letters, digits, - and _, the first a letter or _, at most
 * 64 bytes. */
bool config_name(struct str text);

#endif
