/* Any bytes as the header fields of tus: what is taken keeps its promises (a number below 2^63, a
 * digest of its algorithm's length, a name in UTF-8 without a path), and a name that is printed
 * reads back the same. */
#include "files/tus_headers.h"

#include <stdlib.h>
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(h2o_mem_pool_t *pool, struct str name, size_t size)
{
    struct str again;
    gw_assert(utf8_valid(name) && name.n <= 3 * size);
    for (size_t i = 0; i < name.n; i++)
        gw_assert(name.p[i] != '/' && name.p[i] != '\\');
    struct str printed = tus_print_metadata(pool, name);
    if (printed.n <= TUS_METADATA_MAX)
        gw_assert(tus_parse_metadata(pool, printed, &again) == TUS_PARSED && str_eq(again, name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    char *exact = malloc(size != 0 ? size : 1);
    memcpy(exact, data, size);
    struct str text = {exact, size}, name;
    uint64_t number;
    struct tus_checksum checksum;
    if (tus_parse_number(text, &number))
        gw_assert(number <= INT64_MAX);
    if (tus_parse_checksum(text, &checksum) == TUS_PARSED)
        gw_assert(checksum.n == digest_size(checksum.kind));
    if (tus_parse_metadata(&pool, text, &name) == TUS_PARSED)
        check_name(&pool, name, size);
    free(exact);
    h2o_mem_clear_pool(&pool);
    return 0;
}
