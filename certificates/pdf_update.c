/* Objects go out as they are put; the table's few entries are kept in order as they come, for
 * subsections ascend. */
#include "certificates/pdf_update.h"
#include "base/text.h"
#include "crypto/crypto.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void update_init(struct update *update, const struct pdf_document *document, struct str serial,
                 size_t likely, size_t max)
{
    struct str bytes = document->bytes;
    *update = (struct update){.document = document, .serial = serial, .size = document->size};
    buf_init(&update->out, max);
    (void)buf_reserve(&update->out, likely);
    if (bytes.p[bytes.n - 1] != '\n')
        update_put(update, STR("\n"));
}

void update_fini(struct update *update)
{
    buf_fini(&update->out);
}

size_t update_at(const struct update *update)
{
    return update->document->bytes.n + update->out.n;
}

void update_fail(struct update *update, const char *error)
{
    if (!update->error)
        update->error = error;
}

void update_put(struct update *update, struct str text)
{
    if (!buf_append(&update->out, text.p, text.n))
        update_fail(update, "has no room for a signature");
}

void update_putf(struct update *update, const char *format, ...)
{
    char text[160];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    gw_assert(n >= 0 && (size_t)n < sizeof(text));
    update_put(update, (struct str){text, (size_t)n});
}

void update_begin(struct update *update, unsigned number)
{
    size_t i = update->object_count;
    gw_assert(i < UPDATE_OBJECTS);
    for (; i > 0 && update->objects[i - 1].number >= number; i--) {
        if (update->objects[i - 1].number == number)
            update_fail(update, "uses one object for two things");
        update->objects[i] = update->objects[i - 1];
    }
    update->objects[i].number = number;
    update->objects[i].at = update_at(update);
    update->object_count++;
    update_putf(update, "%u 0 obj\n", number);
}

void update_end(struct update *update)
{
    update_put(update, STR("endobj\n"));
}

void update_put_entries(struct update *update, struct str dictionary, const struct str *except,
                        size_t count)
{
    while (dictionary.n != 0) {
        struct str name = pdf_value_next(&dictionary), value = pdf_value_next(&dictionary);
        bool given = false;
        if (name.n == 0)
            break;
        if (value.n == 0 || name.p[0] != '/') {
            update_fail(update, "has a dictionary that is broken");
            break;
        }
        for (size_t i = 0; i < count; i++)
            given = given || str_eq((struct str){name.p + 1, name.n - 1}, except[i]);
        if (given)
            continue;
        update_put(update, name);
        update_put(update, STR(" "));
        update_put(update, value);
        update_put(update, STR("\n"));
    }
}

void update_put_array(struct update *update, struct str array, unsigned added)
{
    update_put(update, STR("["));
    update_put(update, array);
    update_putf(update, " %u 0 R]\n", added);
}

void update_put_text(struct update *update, struct str key, struct str text)
{
    bool plain = true;
    if (text.n == 0)
        return;
    update_put(update, key);
    for (size_t i = 0; i < text.n; i++)
        plain = plain && text.p[i] >= ' ' && text.p[i] <= '~';
    update_put(update, plain ? STR(" (") : STR(" <FEFF"));
    for (size_t i = 0, n; i < text.n; i += n) {
        if (plain) { /* up to the next character that needs a backslash, which goes before it */
            for (n = 1; i + n < text.n && !memchr("()\\", text.p[i + n], 3); n++)
                ;
            if (memchr("()\\", text.p[i], 3))
                update_put(update, STR("\\"));
            update_put(update, (struct str){text.p + i, n});
            continue;
        }
        n = utf8_length(text.p + i, text.p + text.n);
        uint32_t code = n != 0 ? utf8_decode(text.p + i, n) : 0xfffd;
        n = n != 0 ? n : 1;
        if (code > 0xffff)
            update_putf(update, "%04X%04X", 0xd800 + ((code - 0x10000) >> 10),
                        0xdc00 + (code & 0x3ff));
        else
            update_putf(update, "%04X", code);
    }
    update_put(update, plain ? STR(")\n") : STR(">\n"));
}

/* Thousandths of a point do; printf would write the locale's decimal point. */
void update_put_number(struct update *update, double number)
{
    long thousandths = lround(number * 1000), rest = labs(thousandths);
    update_putf(update, " %s%ld", thousandths < 0 ? "-" : "", rest / 1000);
    if (rest % 1000 != 0)
        update_putf(update, ".%03ld", rest % 1000);
}

/* The identifiers of the file and of this state of it, section 14.4: of what went into them. The
 * document isn't read again for it: the serial tells it from others. */
static void put_id(struct update *update)
{
    char hex[33];
    uint8_t value[DIGEST_MAX];
    struct str was = pdf_value_array(pdf_document_resolve(
        update->document, pdf_value_get(update->document->trailer, STR("ID"))));
    struct str all = was, first = pdf_value_next(&was), serial = update->serial;
    sha256(serial.p, serial.n, value);
    hex_encode(value, 16, hex);
    update_put(update, STR("/ID ["));
    if (first.n != 0)
        update_put(update, first);
    else
        update_putf(update, "<%s>", hex);
    struct digest *digest = digest_create(DIGEST_SHA256);
    digest_update(digest, value, 32);
    digest_update(digest, all.p, all.n);
    digest_update(digest, update->out.p, update->out.n);
    digest_finish(digest, value);
    digest_destroy(&digest);
    hex_encode(value, 16, hex);
    update_putf(update, " <%s>]\n", hex);
}

/* Section 7.5.4: one subsection an object, unless they follow each other. */
void update_finish(struct update *update)
{
    static const struct str ours[] = {STR("Size"), STR("Prev"), STR("ID")};
    size_t at = update_at(update);
    update_put(update, STR("xref\n"));
    for (size_t i = 0, n; i < update->object_count; i += n) {
        for (n = 1; i + n < update->object_count &&
                    update->objects[i + n].number == update->objects[i].number + n;
             n++)
            ;
        update_putf(update, "%u %zu\n", update->objects[i].number, n);
        for (size_t k = i; k < i + n; k++)
            update_putf(update, "%0*zu 00000 n \n", OFFSET_DIGITS, update->objects[k].at);
    }
    update_putf(update, "trailer\n<<\n/Size %u\n/Prev %zu\n", update->size, update->document->xref);
    update_put_entries(update, update->document->trailer, ours, COUNT(ours));
    put_id(update);
    update_putf(update, ">>\nstartxref\n%zu\n%%%%EOF\n", at);
}
