/* Damaged and hostile template files: told, never a crash, whatever libqpdf makes of them. Each
 * case is seeded, so it repeats. */
#include "pdf_fixture.h"

static uint32_t random_state;

static uint32_t next_random(void)
{
    random_state = random_state * 1664525 + 1013904223;
    return random_state >> 8;
}

static const char *const spices[] = {
    "%name%",
    "(%name",
    "<2",
    ">>",
    "<<",
    "[",
    "]",
    "endobj",
    "endstream",
    "stream\n",
    "0 0 R",
    "3 0 R",
    "6 0 R",
    "/Parent",
    "/Resources",
    "/Length 999999",
    "-1",
    "99999999999999999999",
    "/Contents [4 0 R 4 0 R]",
    "/Subtype /Type3",
    "/Widths [-5 1e9 null]",
    "\xff\xfe",
    "\\",
    "ID",
};

static size_t mutate(char *bytes, size_t n, size_t room)
{
    for (uint32_t left = 1 + next_random() % 4; left > 0 && n > 16; left--) {
        size_t at = next_random() % n, length = 1 + next_random() % 40;
        const char *spice = spices[next_random() % COUNT(spices)];
        if (at + length > n)
            length = n - at;
        switch (next_random() % 4) {
        case 0:
            bytes[at] = (char)next_random();
            break;
        case 1: /* what follows moves: the table is wrong now */
            memmove(bytes + at, bytes + at + length, n - at - length);
            n -= length;
            break;
        case 2:
            if (at + strlen(spice) <= n)
                memcpy(bytes + at, spice, strlen(spice));
            break;
        default:
            if (n + strlen(spice) <= room) {
                memmove(bytes + at + strlen(spice), bytes + at, n - at);
                memcpy(bytes + at, spice, strlen(spice));
                n += strlen(spice);
            }
        }
    }
    return n;
}

static void add_odd_things(struct file *file)
{
    static const char form[] = "BT /F2 9 Tf (%course%) Tj ET /X Do";
    add_stream(file,
               "/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 6 0 R "
               ">> /Font << /F2 7 0 R >> >>",
               form, sizeof(form) - 1); /* 6, which draws itself */
    add(file, "<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H /DescendantFonts "
              "[8 0 R] /ToUnicode 9 0 R >>"); /* 7 */
    add(file, "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /X /W [1 [500 600] 3 9 700] "
              "/FontDescriptor 10 0 R >>"); /* 8 */
    static const char cmap[] = "1 beginbfrange <0000> <FFFF> <0020> endbfrange";
    add_stream(file, "", cmap, sizeof(cmap) - 1);                                    /* 9 */
    add(file, "<< /Type /FontDescriptor /FontName /X /Flags 4 /FontFile2 9 0 R >>"); /* 10 */
    add(file, "<< /Type /Font /Subtype /Type3 /FontMatrix [1 0 0 1 0 0] /FontBBox [0 0 1 1] "
              "/Encoding << /Differences [37 /percent /A 65 /uni0042 300 /C] >> /CharProcs << "
              "/percent 6 0 R >> /FirstChar 0 /Widths [] >>"); /* 11 */
}

static void test_mutated_templates_are_told_or_filled_in(void **state)
{
    enum { ROUNDS = 300, ROOM = 1 << 20 };
    static const char content[] =
        "q /F1 9 Tf BT (%name%) Tj [(%co)-3(urse%)] TJ 1 2 (%serial%) \" ET Q BT /F2 9 Tf "
        "<00050006> Tj "
        "/F3 9 Tf (%AB) Tj ET /X Do BI /W 1 /H 1 ID x EI /S << /ActualText (%name%) >> BDC EMC";
    char *bytes = malloc(ROOM), *copy = malloc(ROOM);
    size_t loaded = 0, refused = 0;
    struct buf pdf;
    (void)state;

    write_document(
        "t.pdf", &(struct document){.content = content,
                                    .fonts = HELVETICA " /F2 7 0 R /F3 11 0 R",
                                    .resources = "/XObject << /X 6 0 R >>",
                                    .info = "/Title (of %name%) /Author (x)",
                                    .page = "/Annots [<< /Subtype /Link /A << /URI (%verify_url%) "
                                            ">> /AP << /N << /On 6 0 R >> >> >>]",
                                    .more = add_odd_things});
    FILE *from = fopen(in_folder("t.pdf"), "r");
    assert_non_null(from);
    size_t n = fread(bytes, 1, ROOM, from);
    fclose(from);
    buf_init(&pdf, 64 << 20);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        char *messages;
        random_state = round * 7919;
        memcpy(copy, bytes, n);
        size_t length = round == 0 ? n : mutate(copy, n, ROOM);
        write_file("m.pdf", copy, length);
        alarm(20); /* a file that keeps it busy is a fault too */
        struct pdf_template *template = load("m.pdf", &messages);
        if (template != NULL) {
            struct field_value fields[5];
            struct draw_problem problem;
            struct drawing drawing =
                drawing_of(&(struct values){.name = "Ada (1)", .course = "x"}, fields);
            buf_clear(&pdf);
            enum draw_result result = pdf_template_draw(template, &drawing, &pdf, &problem);
            assert_true(result == DRAW_OK || result == DRAW_CANT_SHOW);
            loaded++;
        } else {
            assert_contains(messages, "error: m.pdf: ");
            refused++;
        }
        free(messages);
        pdf_template_destroy(&template);
    }
    alarm(0);
    assert_true(loaded > ROUNDS / 10 && refused > 10); /* the mutations reach both */
    buf_fini(&pdf);
    free(bytes);
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutated_templates_are_told_or_filled_in),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
