/* A content stream (ISO 32000-1 section 7.8.2) -> the text that it shows -> pieces with holes where
 * placeholders stood.
 *
 * What reads "%name%" on the page may be a string, strings with kerning between them, glyph numbers
 * in hexadecimal, or several operators, for writers split text where they like. So all text of the
 * stream is first laid out as one line of characters, each knowing where it came from;
 * placeholders are found there; then the operators that have a part of one are written anew and
 * everything else stays as it is, byte for byte. */
#include "base/buf.h"
#include "certificates/pdf_font.h"
#include "certificates/pdf_lexer.h"

enum { MAX_SAVED = 64 }; /* of q; deeper ones are counted and not restored */

struct text_state {
    struct pdf_font *font;
    double size, char_space, word_space;
    int mode; /* Tr; 3 = invisible */
};

struct element { /* of a TJ array: a number, or a string as its characters */
    struct str number;
    size_t first, end; /* characters */
};

/* An operator that shows text, or one (BDC, DP) with a text string in its properties. */
struct show {
    struct str operands;     /* from the first one to the operator's end */
    struct str spacing[2];   /* aw and ac of the operator " */
    char how;                /* 'T' Tj, 'A' TJ, '\'', '"', 'P' properties */
    struct text_state state; /* when it shows */
    size_t first_element, element_end, first, end;
};

struct character {
    uint16_t code;
    uint8_t more; /* not the code's first character: a ligature's */
    uint32_t show;
};

struct found {
    size_t first, last; /* characters: of the two "%" */
    struct pdf_hole hole;
};

struct content {
    struct pdf_loading *loading;
    struct str text;
    struct show *shows;
    struct element *elements;
    uint32_t *line; /* the characters, 0 = a code that means nothing */
    struct character *characters;
    struct found *found;
    size_t show_count, show_capacity, element_count, element_capacity, line_count, line_capacity,
        character_capacity, found_count, found_capacity;
};

#define PUSH(content, list, count, capacity)                                                     \
    (((content)->list = pdf_grow((content)->loading->scratch, (content)->list, (content)->count, \
                                 &(content)->capacity, sizeof(*(content)->list))),               \
     &(content)->list[(content)->count++])

/* -- the stream's operators ----------------------------------------------------------------------
 */

struct operand {
    enum pdf_token_kind kind;
    struct str token;
};
struct operands {
    struct operand *list;
    size_t count, capacity;
};

static void add_character(struct content *content, uint32_t c, uint32_t code, bool more)
{
    content->characters =
        pdf_grow(content->loading->scratch, content->characters, content->line_count,
                 &content->character_capacity, sizeof(*content->characters));
    content->characters[content->line_count] = (struct character){
        .code = (uint16_t)code, .more = more, .show = (uint32_t)content->show_count - 1};
    *PUSH(content, line, line_count, line_capacity) = c;
}

static void add_string(struct content *content, const struct pdf_font *font, struct str token)
{
    uint8_t *bytes = h2o_mem_alloc_pool(content->loading->scratch, token.n + 1);
    size_t n = pdf_string_read(token, bytes), step = font->composite ? 2 : 1;

    for (size_t i = 0; i + step <= n; i += step) {
        uint32_t code = font->composite ? (uint32_t)(bytes[i] << 8 | bytes[i + 1]) : bytes[i];
        const struct pdf_chars *chars = &font->chars[code];
        add_character(content, chars->c[0], code, false);
        for (size_t k = 1; k < PDF_CODE_CHARS && chars->c[k] != 0; k++)
            add_character(content, chars->c[k], code, true);
    }
}

static void add_show(struct content *content, const struct operands *operands, struct str operator,
                     struct text_state state, char how)
{
    size_t first = 0, count = operands->count;

    if (how == 'T' || how == '\'')
        first = count - 1;
    else if (how == '"')
        first = count - 3;
    else /* the array's beginning: there is none in it */
        for (first = count - 1; first > 0 && operands->list[first].kind != PDF_OPEN;)
            first--;
    const struct operand *list = operands->list + first;
    const char *from = list[0].token.p;
    struct show *show = PUSH(content, shows, show_count, show_capacity);

    *show = (struct show){.operands = {from, (size_t)(operator.p + operator.n - from)},
                          .how = how,
                          .state = state,
                          .first_element = content->element_count,
                          .first = content->line_count};
    if (how == '"')
        for (size_t i = 0; i < 2; i++)
            show->spacing[i] = list[i].token;
    for (size_t i = how == '"' ? 2 : 0; i < count - first; i++) {
        if (list[i].kind != PDF_STRING && list[i].kind != PDF_NUMBER)
            continue;
        struct element *element = PUSH(content, elements, element_count, element_capacity);
        *element = (struct element){.first = content->line_count};
        if (list[i].kind == PDF_STRING)
            add_string(content, state.font, list[i].token);
        else
            element->number = list[i].token;
        element->end = content->line_count;
    }
    show->element_end = content->element_count;
    show->end = content->line_count;
}

static bool operands_are(const struct operands *operands, const char *kinds)
{
    size_t n = strlen(kinds);
    if (operands->count < n)
        return false;
    const struct operand *list = operands->list + operands->count - n;
    for (size_t i = 0; i < n; i++) {
        enum pdf_token_kind kind = kinds[i] == 's'   ? PDF_STRING
                                   : kinds[i] == 'n' ? PDF_NUMBER
                                   : kinds[i] == ']' ? PDF_CLOSE
                                                     : PDF_NAME;
        if (list[i].kind != kind)
            return false;
    }
    return true;
}

static double number(const struct operands *operands)
{
    return operands_are(operands, "n") ? pdf_number_read(operands->list[operands->count - 1].token)
                                       : 0;
}

static void set_font(struct content *content, qpdf_oh resources, const struct operands *operands,
                     struct text_state *state)
{
    char name[256];
    if (!operands_are(operands, "/n"))
        return;
    struct str token = operands->list[operands->count - 2].token;
    state->font = token.n > sizeof(name)
                      ? NULL
                      : pdf_font_get(content->loading, resources, pdf_name_read(token, name));
    if (state->font != NULL && state->font->chars == NULL)
        state->font = NULL;
    state->size = number(operands);
}

static void show_text(struct content *content, const struct operands *operands, struct str word,
                      struct text_state *state)
{
    char how = word.n == 1 ? word.p[0] : word.p[1] == 'J' ? 'A' : 'T';
    if (how == '"' && operands_are(operands, "nns")) {
        state->word_space = pdf_number_read(operands->list[operands->count - 3].token);
        state->char_space = pdf_number_read(operands->list[operands->count - 2].token);
    }
    const char *kinds = how == 'A' ? "]" : how == '"' ? "nns" : "s";
    if (state->font != NULL && operands_are(operands, kinds))
        add_show(content, operands, word, *state, how);
}

static void show_properties(struct content *content, const struct operands *operands)
{
    for (size_t i = 0; i < operands->count; i++)
        if (operands->list[i].kind == PDF_STRING)
            *PUSH(content, shows, show_count, show_capacity) =
                (struct show){.operands = operands->list[i].token,
                              .how = 'P',
                              .first_element = content->element_count,
                              .element_end = content->element_count,
                              .first = content->line_count,
                              .end = content->line_count};
}

static void read_operators(struct content *content, qpdf_oh resources)
{
    struct pdf_lexer lexer = {.text = content->text};
    struct text_state state = {0}, saved[MAX_SAVED];
    struct operands operands = {NULL, 0, 0};
    size_t depth = 0;
    struct str token;
    enum pdf_token_kind kind;

    while ((kind = pdf_next(&lexer, &token)) != PDF_END) {
        if (kind != PDF_WORD) {
            operands.list = pdf_grow(content->loading->scratch, operands.list, operands.count,
                                     &operands.capacity, sizeof(*operands.list));
            operands.list[operands.count++] = (struct operand){kind, token};
            continue;
        }
        if (str_eq(token, STR("Tj")) || str_eq(token, STR("TJ")) || str_eq(token, STR("'")) ||
            str_eq(token, STR("\""))) {
            show_text(content, &operands, token, &state);
        } else if (str_eq(token, STR("Tf"))) {
            set_font(content, resources, &operands, &state);
        } else if (str_eq(token, STR("Tc"))) {
            state.char_space = number(&operands);
        } else if (str_eq(token, STR("Tw"))) {
            state.word_space = number(&operands);
        } else if (str_eq(token, STR("Tr"))) {
            state.mode = (int)number(&operands);
        } else if (str_eq(token, STR("q"))) {
            if (depth < MAX_SAVED)
                saved[depth] = state;
            depth++;
        } else if (str_eq(token, STR("Q"))) {
            if (depth > 0 && --depth < MAX_SAVED)
                state = saved[depth];
        } else if (str_eq(token, STR("BDC")) || str_eq(token, STR("DP"))) {
            show_properties(content, &operands);
        } else if (str_eq(token, STR("ID"))) {
            pdf_skip_image(&lexer);
        }
        if (!str_eq(token, STR("true")) && !str_eq(token, STR("false")) &&
            !str_eq(token, STR("null")))
            operands.count = 0;
    }
}

/* -- placeholders --------------------------------------------------------------------------------
 */

static int64_t in_millionths(double space, double size)
{
    double value = size != 0 ? space * 1e6 / size : 0;
    return value > 1e9 ? (int64_t)1e9 : value < -1e9 ? (int64_t)-1e9 : (int64_t)value;
}

/* How wide the placeholder itself is, kerning and spacing included. */
static int64_t width_of(const struct content *content, const struct found *found)
{
    const struct show *show = &content->shows[content->characters[found->first].show];
    const struct pdf_font *font = show->state.font;
    int64_t width = 0;

    for (size_t i = found->first; i <= found->last; i++) {
        if (content->characters[i].more)
            continue;
        uint16_t code = content->characters[i].code;
        width += (int64_t)font->widths[code] * 1000 + found->hole.char_space;
        if (!font->composite && code == ' ')
            width += found->hole.word_space;
    }
    for (size_t i = show->first_element; i < show->element_end; i++) {
        const struct element *element = &content->elements[i];
        if (element->number.n != 0 && element->first > found->first &&
            element->first <= found->last)
            width -= (int64_t)(pdf_number_read(element->number) * 1000);
    }
    return width;
}

static void align(struct content *content, struct found *found, const struct pdf_spelling *spelling)
{
    const struct show *show = &content->shows[content->characters[found->first].show];
    const struct text_state *state = &show->state;
    int name_length = (int)spelling->name_length;

    if (spelling->align == PDF_ALIGN_LEFT)
        return;
    if (content->characters[found->last].show != content->characters[found->first].show)
        pdf_error(content->loading,
                  "%s: \"%%%.*s%%\" can't be aligned: its text is split over several operators",
                  content->loading->where, name_length, spelling->name);
    else if (!state->font->has_widths || state->font->type3 || state->size == 0)
        pdf_error(content->loading,
                  "%s: \"%%%.*s%%\" can't be aligned: its font %.*s tells no widths; embed it",
                  content->loading->where, name_length, spelling->name, (int)state->font->name.n,
                  state->font->name.p);
    found->hole.kind = PDF_HOLE_ALIGNED;
    found->hole.align = (uint8_t)spelling->align;
    found->hole.char_space = in_millionths(state->char_space, state->size);
    found->hole.word_space = in_millionths(state->word_space, state->size);
    found->hole.width = width_of(content, found);
}

static void find(struct content *content)
{
    struct pdf_loading *loading = content->loading;

    for (size_t i = 0; i < content->line_count; i++) {
        struct pdf_spelling spelling;
        size_t length = pdf_spelling_read(content->line + i, content->line_count - i, &spelling);
        if (length == 0)
            continue;
        const struct show *show = &content->shows[content->characters[i].show];
        struct pdf_font *font = show->state.font;
        int field = pdf_spelling_field(loading, &spelling);
        if (field < 0) {
            if (content->characters[i + length - 1].show == content->characters[i].show)
                pdf_unknown_field(loading, &spelling);
            continue;
        }
        for (size_t k = i; k < i + length; k++)
            if (content->shows[content->characters[k].show].state.font != font) {
                pdf_error(loading, "%s: \"%%%s%%\" is set in two fonts", loading->where,
                          spelling.name);
                break;
            }
        if (show->state.mode == 3)
            pdf_warning(loading, "%s: \"%%%s%%\" is invisible text", loading->where, spelling.name);
        pdf_font_judge(loading, font);
        pdf_add_placeholder(loading, field, font);
        struct found *found = PUSH(content, found, found_count, found_capacity);
        *found = (struct found){
            .first = i,
            .last = i + length - 1,
            .hole = {.kind = PDF_HOLE_GLYPHS, .field = (uint16_t)field, .font = font}};
        align(content, found, &spelling);
        i += length - 1;
    }
}

/* -- written anew --------------------------------------------------------------------------------
 */

struct rewrite {
    struct content *content;
    struct buf bytes;
    struct pdf_pieces *pieces;
    size_t found; /* the next one */
    bool open;    /* inside of a string */
};

static void append(struct rewrite *rewrite, struct str text)
{
    (void)buf_append(&rewrite->bytes, text.p, text.n);
}

static void set_open(struct rewrite *rewrite, const struct pdf_font *font, bool open)
{
    if (rewrite->open == open)
        return;
    rewrite->open = open;
    (void)buf_append(&rewrite->bytes,
                     open ? (font->composite ? "<" : "(") : (font->composite ? ">" : ")"), 1);
}

static void rewrite_characters(struct rewrite *rewrite, const struct pdf_font *font, size_t first,
                               size_t end)
{
    const struct content *content = rewrite->content;

    for (size_t i = first; i < end; i++) {
        const struct found *found =
            rewrite->found < content->found_count ? &content->found[rewrite->found] : NULL;
        if (found == NULL || i < found->first) {
            if (content->characters[i].more)
                continue;
            struct pdf_drawn drawn = pdf_font_code(font, content->characters[i].code);
            set_open(rewrite, font, true);
            append(rewrite, (struct str){drawn.bytes, drawn.n});
            continue;
        }
        if (i == found->first) {
            set_open(rewrite, font, found->hole.kind == PDF_HOLE_GLYPHS);
            pdf_cut(content->loading, &rewrite->bytes, found->hole, rewrite->pieces);
        }
        if (i == found->last)
            rewrite->found++;
    }
}

static void rewrite_show(struct rewrite *rewrite, const struct show *show)
{
    const struct content *content = rewrite->content;
    const struct pdf_font *font = show->state.font;

    if (show->how == '"') {
        append(rewrite, show->spacing[0]);
        append(rewrite, STR(" Tw "));
        append(rewrite, show->spacing[1]);
        append(rewrite, STR(" Tc "));
    }
    append(rewrite, show->how == '"' || show->how == '\'' ? STR("T* [") : STR("["));
    for (size_t i = show->first_element; i < show->element_end; i++) {
        const struct element *element = &content->elements[i];
        if (element->number.n == 0) {
            rewrite_characters(rewrite, font, element->first, element->end);
            continue;
        }
        if (rewrite->found < content->found_count &&
            element->first > content->found[rewrite->found].first)
            continue; /* kerning inside of a placeholder */
        set_open(rewrite, font, false);
        append(rewrite, element->number);
        append(rewrite, STR(" "));
    }
    set_open(rewrite, font, false);
    append(rewrite, STR("] TJ"));
}

static void rewrite_all(struct content *content, struct pdf_pieces *pieces)
{
    struct rewrite rewrite = {.content = content, .pieces = pieces};
    struct str text = content->text;
    size_t copied = 0;

    buf_init(&rewrite.bytes, SIZE_MAX / 2);
    for (size_t i = 0; i < content->show_count; i++) {
        const struct show *show = &content->shows[i];
        size_t at = (size_t)(show->operands.p - text.p), before = rewrite.bytes.n;
        const struct found *found =
            rewrite.found < content->found_count ? &content->found[rewrite.found] : NULL;
        bool touched = found != NULL && found->first < show->end && found->last >= show->first;
        if (show->how != 'P' && !touched)
            continue;
        append(&rewrite, (struct str){text.p + copied, at - copied});
        if (show->how != 'P') {
            rewrite_show(&rewrite, show);
        } else if (!pdf_text_pieces(content->loading, show->operands, false, false, &rewrite.bytes,
                                    pieces)) {
            rewrite.bytes.n = before;
            continue;
        }
        copied = at + show->operands.n;
    }
    append(&rewrite, (struct str){text.p + copied, text.n - copied});
    pdf_cut(content->loading, &rewrite.bytes, (struct pdf_hole){.kind = PDF_HOLE_NONE}, pieces);
    buf_fini(&rewrite.bytes);
}

bool pdf_content_read(struct pdf_loading *loading, struct str text, qpdf_oh resources,
                      struct pdf_pieces *pieces_r)
{
    struct content content = {.loading = loading, .text = text};

    *pieces_r = (struct pdf_pieces){NULL, 0, 0};
    read_operators(&content, resources);
    find(&content);
    rewrite_all(&content, pieces_r);
    return pieces_r->count > 1;
}
