/* Files that are part of the program: pages and their styles, written as the files that they are.
 * The assembler finds them from the folder that make runs in. At file scope:
 *     EMBED(upload_page_html, "files/upload_page.html");
 * then EMBEDDED(upload_page_html) is its bytes. */
#ifndef GW_BASE_EMBED_H
#define GW_BASE_EMBED_H

#include "base/base.h"

#define EMBED(name, file)                                                                   \
    __asm__(".pushsection .rodata\n" #name ":\n.incbin \"" file "\"\n1:\n.balign 8\n" #name \
            "_size:\n.quad 1b - " #name "\n.popsection\n");                                 \
    extern const char name[] __attribute__((visibility("hidden")));                         \
    extern const uint64_t name##_size __attribute__((visibility("hidden")))

#define EMBEDDED(name) ((struct str){name, (size_t)name##_size})

#endif
