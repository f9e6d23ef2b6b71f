/* How often a client may do something.
 *
 * Each client is one time: when its bucket is empty again, were nothing to follow. A request moves
 * that time on by a step, window / quota; it is refused when that would be more than `burst` steps
 * ahead. So a client may burst (up to its quota, if nothing else is said), and gets it back evenly.
 *
 * The clients stand in a table of sets of eight, as processor caches do: finding one looks at eight
 * places however many there are, and nothing grows. In a full set the one whose bucket is nearest
 * to empty makes room: forgetting it forgives it the least. Sets are found by a keyed hash, so that
 * nobody can pick addresses that push a certain client out. A lock guards every 64th set; it is
 * held for those eight places only, and two loops seldom want the same one.
 *
 * Replies tell the quota as draft-ietf-httpapi-ratelimit-headers does: q requests in w seconds; r
 * of them are left, and t seconds from now there is one more (so t is what Retry-After says). */
#include "http/rate_limit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/siphash.h"
#include "http/http_internal.h"

enum { WAYS = 8, LOCKS = 64, US_A_SECOND = 1000000 };

struct bucket {
    uint64_t client;
    uint64_t empty_us; /* in the past: as good as nobody's */
};

struct set {
    struct bucket buckets[WAYS];
};

struct lock {
    _Alignas(64) pthread_mutex_t mutex; /* a cache line each */
    uint64_t now_us;                    /* loops may look at the clock in one order and come here in
                                           another: time only goes on */
};

struct http_rate {
    struct lock locks[LOCKS];
    uint64_t key[2];
    uint64_t step_us, most_us; /* what a request costs, how much there may be */
    uint32_t quota, window_s, burst;
    char *name; /* owned, as is policy: the field's value */
    struct str policy;
    size_t set_mask;
    struct set sets[];
};

/* -- the table --------------------------------------------------------------------------------- */

bool rate_parse(struct str text, uint32_t *quota_r, uint32_t *window_s_r)
{
    uint32_t quota = 0, window_s;
    size_t i = 0;
    for (; i < text.n && is_digit(text.p[i]) && quota <= RATE_MAX_QUOTA; i++)
        quota = quota * 10 + (uint32_t)(text.p[i] - '0');
    if (quota == 0 || quota > RATE_MAX_QUOTA || text.n != i + 2 || text.p[i] != '/')
        return false;
    switch (text.p[i + 1]) {
    case 's':
        window_s = 1;
        break;
    case 'm':
        window_s = 60;
        break;
    case 'h':
        window_s = 60 * 60;
        break;
    case 'd':
        window_s = 24 * 60 * 60;
        break;
    default:
        return false;
    }
    *quota_r = quota;
    *window_s_r = window_s;
    return true;
}

struct http_rate *rate_create(uint32_t quota, uint32_t window_s, uint32_t burst, size_t clients)
{
    size_t sets = clients / WAYS;
    gw_assert(sets != 0 && (sets & (sets - 1)) == 0);
    size_t size = sizeof(struct http_rate) + sets * sizeof(struct set);
    struct http_rate *rate = aligned_alloc(_Alignof(struct http_rate), size);
    gw_assert(rate != NULL);
    memset(rate, 0, size);
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_init(&rate->locks[i].mutex, NULL);
    random_bytes(rate->key, sizeof(rate->key));
    rate->quota = quota;
    rate->window_s = window_s;
    rate->step_us = (uint64_t)window_s * US_A_SECOND / quota;
    rate->burst = burst;
    rate->most_us = rate->step_us * burst;
    rate->set_mask = sets - 1;
    return rate;
}

uint64_t rate_client(struct str address)
{
    /* As prefixes of IPv6 these are multicast, where no client comes from. */
    const uint64_t v4 = 0xff00ull << 48, nobody = 0xff01ull << 48;
    uint64_t client = 0;
    struct ip ip;
    if (!ip_parse(address, &ip))
        return nobody;
    for (size_t i = 0; i < (ip.family == AF_INET ? 4 : 8); i++)
        client = client << 8 | ip.bytes[i];
    return ip.family == AF_INET ? v4 | client : client;
}

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], unsigned rounds)
{
    while (rounds-- != 0) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

uint64_t rate_hash(const uint64_t key[2], uint64_t word)
{
    const uint64_t last = 8ull << 56; /* the input's length, and nothing more of it */
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                     key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    v[3] ^= word;
    sip_rounds(v, 2);
    v[0] ^= word;
    v[3] ^= last;
    sip_rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The client's bucket, or one that is its from now on. Under the set's lock. */
static struct bucket *bucket_of(struct set *set, uint64_t client)
{
    struct bucket *emptiest = &set->buckets[0];
    for (size_t i = 0; i < WAYS; i++) {
        struct bucket *bucket = &set->buckets[i];
        if (bucket->client == client && bucket->empty_us != 0)
            return bucket;
        if (bucket->empty_us < emptiest->empty_us)
            emptiest = bucket;
    }
    *emptiest = (struct bucket){.client = client};
    return emptiest;
}

struct rate_verdict rate_count(struct http_rate *rate, uint64_t client, uint64_t now_us)
{
    struct rate_verdict verdict = {.allowed = false};
    size_t index = (size_t)rate_hash(rate->key, client) & rate->set_mask;
    struct lock *lock = &rate->locks[index % LOCKS];
    pthread_mutex_lock(&lock->mutex);
    lock->now_us = now_us = now_us > lock->now_us ? now_us : lock->now_us;
    struct bucket *bucket = bucket_of(&rate->sets[index], client);
    uint64_t ahead_us = bucket->empty_us > now_us ? bucket->empty_us - now_us : 0;
    if (ahead_us + rate->step_us <= rate->most_us) {
        verdict.allowed = true;
        ahead_us += rate->step_us;
        bucket->empty_us = now_us + ahead_us;
    }
    pthread_mutex_unlock(&lock->mutex);

    uint64_t used = (ahead_us + rate->step_us - 1) / rate->step_us;
    verdict.remaining = used < rate->burst ? (uint32_t)(rate->burst - used) : 0;
    verdict.wait_us = ahead_us - (used - 1) * rate->step_us;
    return verdict;
}

/* -- requests ---------------------------------------------------------------------------------- */

struct http_rate *http_rate_create_policy(struct str name, struct str text, uint32_t burst,
                                          struct pos at, struct diag *diag)
{
    uint32_t quota, window_s;
    char *policy;
    if (text.n == 0)
        return NULL;
    if (!rate_parse(text, &quota, &window_s)) {
        diag_error(diag, at,
                   "\"%.*s\" is no rate; expected a number from 1 to %d and /s, /m, /h or /d, like "
                   "\"30/m\"",
                   (int)text.n, text.p, (int)RATE_MAX_QUOTA);
        return NULL;
    }
    struct http_rate *rate = rate_create(quota, window_s, burst != 0 ? burst : quota, RATE_CLIENTS);
    rate->name = strndup(name.p, name.n);
    gw_assert(rate->name != NULL);
    int n = asprintf(&policy, "\"%s\";q=%u;w=%u", rate->name, quota, window_s);
    gw_assert(n > 0);
    rate->policy = (struct str){policy, (size_t)n};
    return rate;
}

struct http_rate *http_rate_create(struct str text, struct pos at, struct diag *diag)
{
    return http_rate_create_policy(STR("default"), text, 0, at, diag);
}

void http_rate_destroy(struct http_rate **rate_p)
{
    struct http_rate *rate = *rate_p;
    *rate_p = NULL;
    if (rate == NULL)
        return;
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&rate->locks[i].mutex);
    free((char *)(uintptr_t)rate->policy.p);
    free(rate->name);
    free(rate);
}

static void refuse(struct http_rate *rate, struct http_request *request, unsigned wait_s)
{
    enum { ROOM = 96 };
    const char *window = rate->window_s == 1         ? "second"
                         : rate->window_s == 60      ? "minute"
                         : rate->window_s == 60 * 60 ? "hour"
                                                     : "day";
    char *detail = h2o_mem_alloc_pool(request->pool, ROOM);
    int n = snprintf(detail, ROOM, "%u %s %s are possible; the next one in %u %s", rate->quota,
                     rate->window_s == 60 * 60 ? "an" : "a", window, wait_s,
                     wait_s == 1 ? "second" : "seconds");
    request->flags = "RL";
    http_problem_reply(request, &(struct http_problem){.status = 429,
                                                       .type = "too-many-requests",
                                                       .title = "Too many requests",
                                                       .detail = {detail, (size_t)n},
                                                       .retry_after_s = wait_s});
}

static bool allow(struct http_rate *rate, struct http_request *request, uint64_t client)
{
    struct rate_verdict verdict = rate_count(rate, client, clock_us());
    unsigned wait_s = (unsigned)((verdict.wait_us + US_A_SECOND - 1) / US_A_SECOND);
    size_t room = strlen(rate->name) + 48;
    char *left = h2o_mem_alloc_pool(request->pool, room);
    int n = snprintf(left, room, "\"%s\";r=%u;t=%u", rate->name, verdict.remaining, wait_s);
    http_add_header(request, "ratelimit-policy", rate->policy);
    http_add_header(request, "ratelimit", (struct str){left, (size_t)n});
    if (!verdict.allowed)
        refuse(rate, request, wait_s);
    return verdict.allowed;
}

bool http_rate_allow(struct http_rate *rate, struct http_request *request)
{
    return rate == NULL || allow(rate, request, rate_client(request->client));
}

bool http_rate_allow_as(struct http_rate *rate, struct http_request *request, struct str who)
{
    return allow(rate, request, siphash(who));
}
