/* Any bytes as what a client says of what it has, takes, brings and where it comes from: lists of
 * entity tags, dates, codings, an Origin, digests, a file's name. */
#include <stdlib.h>
#include "files/digest_fields.h"
#include "http/conditional.h"
#include "http/http_internal.h"
#include "middleware/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_dates(struct str value)
{
    time_t time, again;
    char text[HTTP_DATE_LENGTH + 1];
    if (!http_date_parse(value, &time))
        return;
    http_date_format(time, text);
    gw_assert(http_date_parse(str_from(text), &again) && again == time);
}

static void check_conditions(struct str value)
{
    const struct str etag = STR("\"a-1\"");
    const struct preconditions all = {value, value, value, value};
    int status = preconditions_evaluate(&all, etag, 1000000000);
    gw_assert(status == 200 || status == 304 || status == 412);
    /* what matches strongly matches weakly */
    gw_assert(!etag_list_has(value, etag, true) || etag_list_has(value, etag, false));
    struct codings codings = accepted_codings(value);
    gw_assert(codings.count <= CODINGS);
}

static void check_origin(struct str value)
{
    struct cors_origin origin, wild;
    gw_assert(cors_origin_parse(STR("https://*.shop.example"), &wild) == NULL);
    if (cors_origin_has(&wild, value)) {
        gw_assert(value.n > 21 && memcmp(value.p, "https://", 8) == 0);
        gw_assert(memcmp(value.p + value.n - 13, ".shop.example", 13) == 0);
        for (size_t i = 8; i < value.n; i++) /* nothing that would end the host's name */
            gw_assert(memchr("/@?#\\ \r\n", value.p[i], 8) == NULL);
    }
    if (cors_origin_parse(value, &origin) == NULL && !origin.wild)
        gw_assert(cors_origin_has(&origin, value));
}

static void check_name(struct str value)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct str header = http_disposition(&pool, DISPOSITION_ATTACHMENT, value);
    for (size_t i = 0; i < header.n; i++) /* one line, and no folder */
        gw_assert(header.p[i] >= ' ' && header.p[i] <= '~' && header.p[i] != '/');
    h2o_mem_clear_pool(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size != 0 ? size : 1);
    struct digest_fields digests = {.has_sha256 = false};
    memcpy(exact, data, size);
    struct str value = {exact, size};
    check_dates(value);
    check_conditions(value);
    check_origin(value);
    check_name(value);
    digest_fields_read(&digests, value);
    free(exact);
    return 0;
}
