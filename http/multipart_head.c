/* What the head of a form's part says, in whatever way a client said it.
 *
 * RFC 7578 leaves open how a quote or a line end is written inside a quoted name. Browsers write
 * %22, %0D and %0A and nothing else so (not even '%'), and leave backslashes alone; older browsers
 * and curl --form-escape put backslashes before quotes and backslashes. All of it is read the same:
 * these three escapes, and a backslash before a quote or a backslash. What can't be told apart is a
 * name that holds such an escape as text.
 *
 * Whatever would let two readers see different forms (a field or a parameter twice, a bare CR) is
 * refused. */
#include "base/text.h"
#include "http/multipart_internal.h"

struct parameter {
    struct str name, value; /* between its quotes */
    bool quoted;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void skip(struct str *rest, size_t n)
{
    rest->p += n;
    rest->n -= n;
}

static void skip_blanks(struct str *rest)
{
    while (rest->n != 0 && is_blank(*rest->p))
        skip(rest, 1);
}

static struct str take_until(struct str *rest, char separator)
{
    if (rest->n == 0)
        return *rest; /* of nowhere, perhaps */
    const char *at = memchr(rest->p, separator, rest->n);
    struct str taken = {rest->p, at != NULL ? (size_t)(at - rest->p) : rest->n};
    skip(rest, taken.n);
    return taken;
}

/* Length of the quoted text at the front, with its quotes; 0 when it has no end. */
static size_t quoted_length(struct str rest)
{
    size_t at = 1;
    while (at < rest.n && rest.p[at] != '"') {
        bool escape = rest.p[at] == '\\' && at + 1 < rest.n &&
                      (rest.p[at + 1] == '"' || rest.p[at + 1] == '\\');
        at += escape ? 2 : 1;
    }
    if (at < rest.n)
        return at + 1;
    /* A browser's name whose last character is a backslash. */
    return rest.n > 1 && rest.p[rest.n - 1] == '"' ? rest.n : 0;
}

/* Takes the next `; name=value`. 1: taken, 0: there is none, -1: malformed. */
static int next_parameter(struct str *rest, struct parameter *parameter_r)
{
    do {
        skip_blanks(rest);
        if (rest->n == 0)
            return 0;
        if (*rest->p != ';')
            return -1;
        skip(rest, 1);
        skip_blanks(rest);
    } while (rest->n == 0 || *rest->p == ';');

    size_t n = 0;
    while (n < rest->n && is_token_char(rest->p[n]))
        n++;
    parameter_r->name = (struct str){rest->p, n};
    skip(rest, n);
    skip_blanks(rest);
    if (n == 0 || rest->n == 0 || *rest->p != '=')
        return -1;
    skip(rest, 1);
    skip_blanks(rest);
    parameter_r->quoted = rest->n != 0 && *rest->p == '"';
    if (!parameter_r->quoted) {
        parameter_r->value = trimmed(take_until(rest, ';'));
        return 1;
    }
    n = quoted_length(*rest);
    if (n == 0)
        return -1;
    parameter_r->value = (struct str){rest->p + 1, n - 2};
    skip(rest, n);
    return 1;
}

/* RFC 2046 section 5.1.1: bchars. Outside of quotes most of them are not allowed, and sent. */
static bool is_boundary(struct str text)
{
    if (text.n == 0 || text.n > MULTIPART_BOUNDARY_MAX || text.p[text.n - 1] == ' ')
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '\0' ||
            (!is_letter_or_digit(text.p[i]) && strchr("'()+_,-./:=? ", text.p[i]) == NULL))
            return false;
    return true;
}

bool multipart_boundary(struct str content_type, struct str *boundary_r)
{
    struct parameter parameter;
    struct str rest = content_type, boundary = {NULL, 0};
    int found;
    if (!str_caseeq(trimmed(take_until(&rest, ';')), STR("multipart/form-data")))
        return false;
    while ((found = next_parameter(&rest, &parameter)) > 0) {
        if (!str_caseeq(parameter.name, STR("boundary")))
            continue;
        if (boundary.p != NULL || !is_boundary(parameter.value))
            return false;
        boundary = parameter.value;
    }
    *boundary_r = boundary;
    return found == 0 && boundary.p != NULL;
}

/* -- names ------------------------------------------------------------------------------------- */

enum { ESCAPES = 1, PATH = 2, LATIN1 = 4 };

/* One character of a name, as UTF-8 in character_r; returns how many bytes of text it took. */
static size_t read_character(struct str text, unsigned how, char character_r[4], size_t *n_r)
{
    const char *p = text.p, *end = text.p + text.n;
    size_t n = 1;
    *n_r = 1;
    character_r[0] = *p;
    if ((how & ESCAPES) != 0 && *p == '\\' && text.n > 1 && (p[1] == '"' || p[1] == '\\')) {
        character_r[0] = p[1];
        return 2;
    }
    if ((how & ESCAPES) != 0 && *p == '%') {
        int byte = percent_byte(p, end);
        if (byte == '"' || byte == '\r' || byte == '\n') {
            character_r[0] = (char)byte;
            return 3;
        }
    }
    if ((how & LATIN1) != 0 && (unsigned char)*p >= 0x80) {
        character_r[0] = (char)(0xc0 | (unsigned char)*p >> 6);
        character_r[1] = (char)(0x80 | (*p & 0x3f));
        *n_r = 2;
    } else if (*p == '\0' || (n = utf8_length(p, end)) == 0) {
        memcpy(character_r, "\xef\xbf\xbd", 3);
        *n_r = 3;
        n = 1;
    } else {
        memcpy(character_r, p, n);
        *n_r = n;
    }
    return n;
}

/* False: too long. */
static bool decode_name(struct str text, unsigned how, char *to, struct str *name_r)
{
    size_t n = 0;
    while (text.n != 0) {
        char character[4];
        size_t character_n;
        skip(&text, read_character(text, how, character, &character_n));
        if ((how & PATH) != 0 && (character[0] == '/' || character[0] == '\\')) {
            n = 0;
            continue;
        }
        if (n + character_n > MULTIPART_NAME_MAX)
            return false;
        memcpy(to + n, character, character_n);
        n += character_n;
    }
    *name_r = (struct str){to, n};
    return true;
}

/* charset'language'value (RFC 8187 section 3.2); the value is decoded where it stands. False: to be
 * ignored. */
static bool read_extended(struct multipart *multipart, struct str *value, unsigned *how_r)
{
    struct str rest = *value;
    struct str charset = take_until(&rest, '\'');
    if (rest.n == 0)
        return false;
    skip(&rest, 1);
    take_until(&rest, '\'');
    if (rest.n == 0)
        return false;
    skip(&rest, 1);
    bool latin1 = str_caseeq(charset, STR("iso-8859-1"));
    if (!latin1 && !str_caseeq(charset, STR("utf-8")))
        return false;

    size_t n = 0;
    char *to = multipart->head + (rest.p - multipart->head);
    value->p = to;
    while (rest.n != 0) {
        int byte = *rest.p == '%' ? percent_byte(rest.p, rest.p + rest.n) : *rest.p;
        if (*rest.p == '%' && byte < 0)
            return false;
        skip(&rest, *rest.p == '%' ? 3 : 1);
        to[n++] = (char)byte;
    }
    value->n = n;
    *how_r = latin1 ? LATIN1 : 0;
    return true;
}

static const char *read_disposition(struct multipart *multipart, struct str value)
{
    struct multipart_part *part = &multipart->part;
    struct parameter parameter, name = {0}, filename = {0}, extended = {0};
    struct parameter *known;
    int found;
    if (!str_caseeq(trimmed(take_until(&value, ';')), STR("form-data")))
        return "a part's Content-Disposition is not form-data";
    while ((found = next_parameter(&value, &parameter)) > 0) {
        if (str_caseeq(parameter.name, STR("name")))
            known = &name;
        else if (str_caseeq(parameter.name, STR("filename")))
            known = &filename;
        else if (str_caseeq(parameter.name, STR("filename*")))
            known = &extended;
        else
            continue;
        if (known->name.p != NULL)
            return "a part has a name twice";
        *known = parameter;
    }
    if (found < 0)
        return "a part's Content-Disposition is malformed";
    if (name.name.p == NULL)
        return "a part has no name";

    unsigned how = filename.quoted ? ESCAPES : 0;
    part->is_file = filename.name.p != NULL || extended.name.p != NULL;
    if (extended.name.p != NULL && read_extended(multipart, &extended.value, &how))
        filename = extended;
    if (!decode_name(name.value, name.quoted ? ESCAPES : 0, multipart->names[0], &part->name) ||
        !decode_name(filename.value, how | PATH, multipart->names[1], &part->filename))
        return "a name in the form is too long";
    return NULL;
}

/* -- fields ------------------------------------------------------------------------------------ */

/* A line that begins with a blank goes on with the one before (RFC 5322 section 2.2.3). */
static void unfold(struct multipart *multipart)
{
    char *head = multipart->head;
    for (size_t i = 1; i + 1 < multipart->head_n; i++)
        if (head[i] == '\n' && is_blank(head[i + 1]))
            memset(head + i - 1, ' ', 3);
}

/* Takes a line without its end; false at the empty one. */
static bool next_line(struct str *head, struct str *line_r)
{
    *line_r = take_until(head, '\n');
    skip(head, 1);
    line_r->n--;
    return line_r->n != 0;
}

const char *multipart_head(struct multipart *multipart)
{
    struct str disposition = {NULL, 0}, type = {NULL, 0}, encoding = {NULL, 0}, line;
    const struct {
        struct str name;
        struct str *value;
    } fields[] = {{STR("Content-Disposition"), &disposition},
                  {STR("Content-Type"), &type},
                  {STR("Content-Transfer-Encoding"), &encoding}};

    multipart->part = (struct multipart_part){0};
    unfold(multipart);
    for (struct str head = {multipart->head, multipart->head_n}; next_line(&head, &line);) {
        struct str name = take_until(&line, ':');
        if (line.n == 0 || !is_token(name) || memchr(line.p, '\r', line.n) != NULL)
            return "a field in the head of a part is malformed";
        skip(&line, 1);
        for (size_t i = 0; i < COUNT(fields); i++)
            if (str_caseeq(name, fields[i].name)) {
                if (fields[i].value->p != NULL)
                    return "a field in the head of a part is there twice";
                *fields[i].value = trimmed(line);
            }
    }
    if (disposition.p == NULL)
        return "a part has no Content-Disposition";
    const char *error = read_disposition(multipart, disposition);
    if (error != NULL)
        return error;
    if (has_control(type))
        return "a part's Content-Type is malformed";
    if (encoding.p != NULL && !str_caseeq(encoding, STR("binary")) &&
        !str_caseeq(encoding, STR("8bit")) && !str_caseeq(encoding, STR("7bit")))
        return "a part's Content-Transfer-Encoding is neither binary, 8bit nor 7bit";
    multipart->part.type = type;
    if (!multipart->part.is_file &&
        str_caseeq(trimmed(take_until(&type, ';')), STR("multipart/mixed")))
        return "a part is a multipart/mixed of its own: send each file as a part of the form";
    return NULL;
}
