/* Gives each kept input of a fuzz target to it once, as a unit test: what was found once stays
 * found, with whatever sanitizers the tests are built with. Which target's, the program's name
 * says.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *bytes = malloc(1 << 20);
    size_t n = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    /* of exactly that size, so that a byte too far is seen */
    uint8_t *exact = malloc(n != 0 ? n : 1);
    memcpy(exact, bytes, n);
    free(bytes);
    fprintf(stderr, "%s\n", path); /* shown when it ends here */
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
}

static void test_the_kept_inputs(void **state)
{
    (void)state;
    unsigned count = 0;
    char folder[256];
    snprintf(folder, sizeof(folder), "tests/fuzz/corpus/%s",
             program_invocation_short_name + strlen("corpus_"));
    DIR *corpus = opendir(folder);
    if (corpus == NULL)
        fail_msg("a fuzz target without kept inputs: %s", folder);
    for (struct dirent *entry; (entry = readdir(corpus)) != NULL;) {
        char path[512];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        replay(path);
        count++;
    }
    closedir(corpus);
    assert_true(count > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_kept_inputs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
