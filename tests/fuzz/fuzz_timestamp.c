/* Any bytes as an authority's answer: nothing is read past their end, and a token that is taken
 * points into them. The seeds are answers to one query, which is known here: so that what libFuzzer
 * makes of them gets past the nonce and the digest, to certificates and signatures. */
#include <stdlib.h>
#include "crypto/sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* sha256("gateway"), and the nonce that stands in the seeds */
    struct timestamp_query query = {.nonce = {0x41, 2, 3, 4, 5, 6, 7, 8}};
    struct str token;
    int64_t time_s;
    const char *error = NULL;
    sha256("gateway", 7, query.digest);
    char *exact = malloc(size != 0 ? size : 1);
    gw_assert(exact != NULL);
    memcpy(exact, data, size);
    if (timestamp_take(&query, (struct str){exact, size}, &token, &time_s, &error))
        gw_assert(token.p > exact && token.p + token.n == exact + size &&
                  token.n <= TIMESTAMP_TOKEN_MAX);
    else
        gw_assert(error != NULL);
    free(exact);
    return 0;
}
