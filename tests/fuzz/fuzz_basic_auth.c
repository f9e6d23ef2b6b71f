/* Any bytes as `Authorization: Basic` and as a hash of a password: what is taken holds what it
 * says, within its bounds. */
#include "crypto/crypto.h"
#include "middleware/basic_auth.h"
#include "base/text.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size != 0 ? size : 1), *text = malloc(BASIC_TEXT_MAX);
    struct str name, password;
    memcpy(exact, data, size);
    struct str field = {exact, size};
    if (basic_credentials(field, text, &name, &password)) {
        gw_assert(memchr(name.p, ':', name.n) == NULL && name.p[name.n] == ':');
        gw_assert(password.n <= BASIC_PASSWORD_MAX);
        gw_assert(!has_control(name) && !has_control(password));
    }
    if (password_hash_wrong(field) == NULL)
        gw_assert(exact[0] == '$' && size >= 3 + 1 + 43 && size <= 3 + 15 + 17 + 86);
    free(exact);
    free(text);
    return 0;
}
