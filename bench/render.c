/* How fast a page is rendered: microseconds a page of about 3.5 KB with two lists of eight items,
 * from the tapes of two answers under a built root, as pages/ does it; then the same as a partial
 * indented by two blanks, and escaping alone.
 *
 * Sixteen different pairs of answers take turns, so that no branch predictor learns one by heart.
 * Each page's pool is cleared, as a request's is. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "base/buf.h"
#include "render/render.h"

enum { ANSWERS = 16, ITEMS = 8, ROUND = 256, MAX_DEPTH = 64 };

static const char page_template[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<title>{{page.name}} - {{promo.banner.title}}</title>\n"
    "<link rel=\"stylesheet\" href=\"/static/site.css\">\n</head>\n<body>\n"
    "<header><a href=\"/\">Shop</a> <span class=\"who\">{{request.id}}</span></header>\n"
    "{{#promo}}\n<section class=\"promo\">\n"
    "  <a href=\"{{banner.link}}\"><img src=\"{{banner.image}}\" alt=\"\"></a>\n"
    "  <h1>{{banner.title}}</h1>\n  <ul>\n"
    "  {{#offers}}\n  <li><a href=\"{{link}}\">{{title}}</a> <b>{{percent}}%</b></li>\n"
    "  {{/offers}}\n  </ul>\n</section>\n{{/promo}}\n"
    "{{^promo}}<p class=\"none\">No offers today.</p>{{/promo}}\n"
    "<section class=\"grid\">\n{{#recco.items}}\n"
    "<article class=\"card\" id=\"p{{id}}\">\n  <a href=\"{{url}}\">\n"
    "    <img src=\"{{image}}\" width=\"320\" height=\"240\" loading=\"lazy\" alt=\"{{name}}\">\n"
    "    <h2>{{name}}</h2></a>\n"
    "  <p class=\"price\">{{price}} {{currency}}</p>\n"
    "  {{#sale}}<p class=\"sale\">now {{sale.percent}}% off</p>{{/sale}}\n"
    "</article>\n{{/recco.items}}\n</section>\n"
    "{{^parts.recco.is.ok}}<p>Recommendations are "
    "{{parts.recco.state}}.</p>{{/parts.recco.is.ok}}\n"
    "<footer>{{request.host}}{{request.path}}</footer>\n</body>\n</html>\n";

struct answers {
    struct buf promo, recco;
    struct json_doc promo_doc, recco_doc;
};

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)(random_state >> 8) * n) >> 24);
}

static void append_words(struct buf *buf, unsigned count)
{
    static const char *const words[] = {"red",        "walnut",  "chair",      "with",
                                        "a",          "brass",   "handle",     "for",
                                        "the",        "desk",    "outdoor",    "lamp",
                                        "caf\\u00e9", "D&amp;D", "5\\\" wide", "Bang & Olufsen"};
    for (unsigned i = 0; i < count; i++)
        buf_printf(buf, "%s%s", i == 0 ? "" : " ",
                   words[random_below(random_below(8) == 0 ? COUNT(words) : 12)]);
}

static void make_answers(struct answers *a)
{
    buf_init(&a->promo, 1024 * 1024);
    buf_init(&a->recco, 1024 * 1024);
    buf_printf(&a->promo, "{\"banner\":{\"title\":\"");
    append_words(&a->promo, 4);
    buf_printf(&a->promo, "\",\"link\":\"/sale?from=home&to=all\",\"image\":\"/img/banner.webp\"},"
                          "\"offers\":[");
    for (unsigned i = 0; i < ITEMS; i++) {
        buf_printf(&a->promo, "%s{\"id\":%u,\"title\":\"", i == 0 ? "" : ",", random_below(100000));
        append_words(&a->promo, 2 + random_below(3));
        buf_printf(&a->promo, "\",\"link\":\"/offer/%u\",\"percent\":%u,\"ends\":\"2026-12-24\"}",
                   random_below(100000), random_below(70));
    }
    buf_printf(&a->promo, "],\"total\":%u}", random_below(100));
    buf_printf(&a->recco, "{\"user\":%u,\"items\":[", random_below(100000));
    for (unsigned i = 0; i < ITEMS; i++) {
        unsigned id = random_below(1000000);
        buf_printf(&a->recco, "%s{\"id\":%u,\"name\":\"", i == 0 ? "" : ",", id);
        append_words(&a->recco, 2 + random_below(4));
        buf_printf(&a->recco,
                   "\",\"url\":\"/product/%u\",\"image\":\"/img/%u.webp\",\"price\":%u.%02u,"
                   "\"currency\":\"EUR\",\"stock\":%u%s}",
                   id, id, random_below(2000), random_below(100), random_below(300),
                   random_below(3) == 0 ? ",\"sale\":{\"percent\":20}" : "");
    }
    buf_printf(&a->recco, "]}");
    json_doc_init(&a->promo_doc);
    json_doc_init(&a->recco_doc);
    gw_assert(json_parse(&a->promo_doc, a->promo.p, a->promo.n, MAX_DEPTH, NULL) == JSON_OK);
    gw_assert(json_parse(&a->recco_doc, a->recco.p, a->recco.n, MAX_DEPTH, NULL) == JSON_OK);
}

/* Of this thread: others on the machine don't count. */
static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static struct json_value object_of(h2o_mem_pool_t *pool, const char *const keys[],
                                   const struct json_value values[], size_t count)
{
    struct json_object *object = json_object_create(pool, count);
    for (size_t i = 0; i < count; i++)
        json_object_set(pool, object, str_from(keys[i]), values[i]);
    return json_from_object(object);
}
#define OBJECT(pool, keys, values) object_of(pool, keys, values, COUNT(values))

static struct json_value make_root(h2o_mem_pool_t *pool, const struct answers *a)
{
    static const struct str text[] = {
        {"/", 1}, {"shop.example", 12}, {"01HZX3", 6}, {"home", 4}, {"ok", 2}};
    struct json_value request[] = {json_from_text(&text[0]), json_from_text(&text[1]),
                                   json_from_text(&text[2])};
    struct json_value page[] = {json_from_text(&text[3]), json_from_bool(true)};
    struct json_value is[] = {json_from_bool(true)};
    struct json_value state[] = {json_from_text(&text[4]),
                                 OBJECT(pool, ((const char *const[]){"ok"}), is)};
    struct json_value part = OBJECT(pool, ((const char *const[]){"state", "is"}), state);
    struct json_value parts[] = {part, part};
    struct json_value root[] = {
        json_root(&a->promo_doc), json_root(&a->recco_doc),
        OBJECT(pool, ((const char *const[]){"path", "host", "id"}), request),
        OBJECT(pool, ((const char *const[]){"name", "complete"}), page),
        OBJECT(pool, ((const char *const[]){"promo", "recco"}), parts)};
    return OBJECT(pool, ((const char *const[]){"promo", "recco", "request", "page", "parts"}),
                  root);
}

static void measure(const char *what, const struct template *template,
                    const struct answers answers[ANSWERS])
{
    h2o_mem_pool_t roots, pool;
    struct json_value root[ANSWERS];
    double taken, best = 1e9, before = cpu_us();
    uint64_t pages = 0, bytes = 0;

    h2o_mem_init_pool(&roots);
    h2o_mem_init_pool(&pool);
    for (int i = 0; i < ANSWERS; i++)
        root[i] = make_root(&roots, &answers[i]);
    do {
        double round = cpu_us();
        for (int i = 0; i < ROUND; i++) {
            struct out out;
            out_init(&out, &pool, 4096);
            gw_assert(template_render(template, root[i % ANSWERS], &pool, &out));
            bytes += out_size(&out);
            pages++;
            h2o_mem_clear_pool(&pool);
        }
        taken = cpu_us() - before;
        round = cpu_us() - round;
        best = round < best ? round : best;
    } while (taken < 1e6);
    printf("%-16s %5.2f us a page of %.0f bytes (best round %.2f)\n", what, taken / (double)pages,
           (double)bytes / (double)pages, best / ROUND);
    h2o_mem_clear_pool(&roots);
}

static void measure_escaping(struct template_set *set, struct diag *diag)
{
    static char text[20000];
    struct str value = {text, sizeof(text)};
    struct template *template = template_compile(set, "value", STR("{{.}}"), NULL, NULL, diag);
    h2o_mem_pool_t pool;
    double taken, before = cpu_us();
    uint64_t bytes = 0;

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = random_below(80) == 0 ? "&<>\"'"[random_below(5)] : (char)('a' + i % 26);
    h2o_mem_init_pool(&pool);
    do {
        struct out out;
        out_init(&out, &pool, 2 * sizeof(text));
        gw_assert(template_render(template, json_from_text(&value), &pool, &out));
        bytes += sizeof(text);
        h2o_mem_clear_pool(&pool);
        taken = cpu_us() - before;
    } while (taken < 1e6);
    printf("%-16s %5.0f MB/s\n", "escaping", (double)bytes / taken);
}

static bool find_partial(void *arg, struct str name, struct str *text_r)
{
    (void)arg;
    *text_r = str_from(page_template);
    return str_eq(name, STR("page"));
}

int main(void)
{
    static struct answers answers[ANSWERS];
    struct template_set *set = template_set_create(NULL);
    struct diag *diag = diag_create();

    for (int i = 0; i < ANSWERS; i++)
        make_answers(&answers[i]);
    measure("page", template_compile(set, "page", str_from(page_template), NULL, NULL, diag),
            answers);
    measure("page, indented",
            template_compile(set, "indented", STR("  {{>page}}\n"), find_partial, NULL, diag),
            answers);
    measure_escaping(set, diag);
    template_set_destroy(&set);
    diag_destroy(&diag);
    for (int i = 0; i < ANSWERS; i++) {
        json_doc_fini(&answers[i].promo_doc);
        json_doc_fini(&answers[i].recco_doc);
        buf_fini(&answers[i].promo);
        buf_fini(&answers[i].recco);
    }
    return 0;
}
