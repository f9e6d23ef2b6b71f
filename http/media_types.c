/* h2o's table, with the charset that text needs and with what is newer than the table. */
#include "http/media_types.h"

h2o_mimemap_t *media_types_create(void)
{
    static const struct {
        const char *extension, *type;
        bool compressible;
    } types[] = {
        {"css", "text/css; charset=utf-8", true},
        {"csv", "text/csv; charset=utf-8", true},
        {"htm", "text/html; charset=utf-8", true},
        {"html", "text/html; charset=utf-8", true},
        {"js", "text/javascript; charset=utf-8", true}, /* RFC 9239 */
        {"md", "text/markdown; charset=utf-8", true},
        {"mjs", "text/javascript; charset=utf-8", true},
        {"txt", "text/plain; charset=utf-8", true},
        {"vtt", "text/vtt; charset=utf-8", true},
        {"xml", "text/xml; charset=utf-8", true},
        {"avif", "image/avif", false},
        {"ico", "image/x-icon", true},
        {"json", "application/json", true},
        {"map", "application/json", true},
        {"otf", "font/otf", true},
        {"svg", "image/svg+xml", true},
        {"ttf", "font/ttf", true},
        {"wasm", "application/wasm", true},
        {"webmanifest", "application/manifest+json", true},
        {"webp", "image/webp", false},
        {"woff", "font/woff", false},
        {"woff2", "font/woff2", false},
    };
    h2o_mimemap_t *map = h2o_mimemap_create();
    for (size_t i = 0; i < COUNT(types); i++) {
        h2o_mime_attributes_t attributes = {.is_compressible = types[i].compressible};
        h2o_mimemap_define_mimetype(map, types[i].extension, types[i].type, &attributes);
    }
    return map;
}
