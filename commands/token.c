/* `gateway token`: a token for who may upload, and what the configuration keeps of it. The two go
 * to different places (one to a script's secrets, one into a file for all to see), so they are
 * printed to different ones: TOKEN=$(gateway token ci 2>>config.toml). */
#include <stdio.h>
#include "commands/commands.h"
#include "config/config.h"
#include "crypto/crypto.h"

static const char usage[] =
    "Usage: gateway token [NAME]\n"
    "\n"
    "Makes a bearer token: on stdout the token, to be kept by whoever sends it as\n"
    "\"Authorization: Bearer TOKEN\"; on stderr the section for the configuration, which\n"
    "holds its digest alone. It is stored nowhere else.\n";

enum { TOKEN_BYTES = 32 };

int command_token(int argc, char **argv)
{
    const char *name = "NAME";
    uint8_t bytes[TOKEN_BYTES], digest[32];
    char token[BASE64_LENGTH(TOKEN_BYTES) + 1], digits[65];
    int code;
    if (!command_arguments(
            argc, argv,
            &(struct command_line){.usage = usage, .operands = &name, .operands_max = 1}, &code))
        return code;
    if (!config_name(str_from(name))) {
        fputs("gateway token: a name has letters, digits, - and _, the first a letter or _, at "
              "most 64 bytes\n",
              stderr);
        return COMMAND_USAGE;
    }
    random_bytes(bytes, sizeof(bytes));
    size_t n = base64url_encode(bytes, sizeof(bytes), token);
    sha256(token, n, digest);
    hex_encode(digest, sizeof(digest), digits);
    fprintf(stderr, "[tokens.%s]\ndigest = \"sha256:%s\"\n", name, digits);
    puts(token);
    return fflush(stdout) == 0 ? COMMAND_DONE : COMMAND_FAILED;
}
