/* `gateway version`: what runs here, and on which libraries. Those that tell their version at run
 * time are asked, since a container may bring another one than the build saw. */
#include "commands/commands.h"

#include <curl/curl.h>
#include <h2o/version.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <zlib.h>

static const char usage[] = "Usage: gateway version\n"
                            "\n"
                            "Prints the gateway's version and those of the libraries it runs on.\n";

const char gateway_version[] = GW_VERSION;

int command_version(int argc, char **argv)
{
    int code;

    if (!command_arguments(argc, argv, &(struct command_line){.usage = usage}, &code))
        return code;
    printf("gateway %s\n", gateway_version);
    printf("h2o     %s\n", H2O_VERSION); /* the library doesn't tell; its soname pins this one */
    printf("curl    %s\n", curl_version_info(CURLVERSION_NOW)->version);
    printf("openssl %s\n", OpenSSL_version(OPENSSL_VERSION_STRING));
    printf("zlib    %s\n", zlibVersion());
    return COMMAND_DONE;
}
