/* What loops count: each metric's name, its type, what it says, its labels. */
#include "observe/metrics_internal.h"

/* OpenTelemetry's for requests' durations. */
static const uint64_t request_us[] = {5000,   10000,  25000,   50000,   75000,   100000,  250000,
                                      500000, 750000, 1000000, 2500000, 5000000, 7500000, 10000000};
static const char *const request_text[] = {"0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25",
                                           "0.5",   "0.75", "1",     "2.5",  "5",     "7.5", "10"};
static const struct metric_bounds request_bounds = {request_us, request_text, COUNT(request_us),
                                                    true};

static const uint64_t turn_us[] = {500,   1000,  2500,   5000,   10000,
                                   25000, 50000, 100000, 250000, 1000000};
static const char *const turn_text[] = {"0.0005", "0.001", "0.0025", "0.005", "0.01",
                                        "0.025",  "0.05",  "0.1",    "0.25",  "1"};
static const struct metric_bounds turn_bounds = {turn_us, turn_text, COUNT(turn_us), true};

const struct metric_kind metric_kinds[METRICS] = {
    [METRIC_REQUESTS] = {"http_server_request_duration_seconds",
                         METRIC_HISTOGRAM,
                         "From a request's head to the last byte of its answer.",
                         {"http_request_method", "url_scheme", "http_response_status_code",
                          "http_route", "network_protocol_version", "error_type"},
                         &request_bounds},
    [METRIC_ACTIVE_REQUESTS] = {"http_server_active_requests",
                                METRIC_GAUGE,
                                "Requests that are being served.",
                                {"http_request_method", "url_scheme"},
                                NULL},
    [METRIC_PARTS] = {"gw_part_duration_seconds",
                      METRIC_HISTOGRAM,
                      "From a page's start to the end of one of its parts.",
                      {"page", "part", "state"},
                      &request_bounds},
    [METRIC_PAGES] = {"gw_page_completed_total",
                      METRIC_COUNTER,
                      "Pages sent, by whether all of their parts were there.",
                      {"page", "completed"},
                      NULL},
    [METRIC_CLIENT_REQUESTS] = {"http_client_request_duration_seconds",
                                METRIC_HISTOGRAM,
                                "One attempt to ask an upstream, without its wait for a slot.",
                                {"http_request_method", "server_address", "server_port",
                                 "http_response_status_code", "error_type", "upstream"},
                                &request_bounds},
    [METRIC_QUEUE] = {"gw_upstream_queue_seconds",
                      METRIC_HISTOGRAM,
                      "How long those waited for a slot that had to.",
                      {"upstream"},
                      &request_bounds},
    [METRIC_RETRIES] = {"gw_retries_total",
                        METRIC_COUNTER,
                        "Attempts that were made again, by what the one before came to.",
                        {"upstream", "reason"},
                        NULL},
    [METRIC_RETRIES_DENIED] = {"gw_retries_denied_total",
                               METRIC_COUNTER,
                               "Retries that weren't made for want of budget.",
                               {"upstream"},
                               NULL},
    [METRIC_HEDGES] = {"gw_hedges_total",
                       METRIC_COUNTER,
                       "Second attempts beside a slow first one, by which of them answered.",
                       {"upstream", "winner"},
                       NULL},
    [METRIC_LOOP_LAG] = {"gw_loop_lag_seconds",
                         METRIC_HISTOGRAM,
                         "Turns of a loop: for so long it could see nothing new.",
                         {"loop"},
                         &turn_bounds},
};
