/* Serials: read aloud, typed from paper, guessed by nobody. Crockford's base32 has no I, L, O and
 * U, so that what looks alike means the same. */
#include <string.h>
#include "certificates/register.h"

enum { LETTERS = 20, GROUP = 5 };

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static char *put(char *at, size_t index, char letter)
{
    if (index != 0 && index % GROUP == 0)
        *at++ = '-';
    *at++ = letter;
    return at;
}

void serial_make(char serial_r[SERIAL_ROOM])
{
    uint8_t bytes[LETTERS];
    char *at = serial_r;
    random_bytes(bytes, sizeof(bytes));
    for (size_t i = 0; i < LETTERS; i++)
        at = put(at, i, alphabet[bytes[i] & 31]);
    *at = '\0';
}

/* The letter that is meant, NUL = none. */
static char meant(char c)
{
    if (c >= 'a' && c <= 'z')
        c = (char)(c - 'a' + 'A');
    if (c == 'O')
        c = '0';
    if (c == 'I' || c == 'L')
        c = '1';
    return c != '\0' && strchr(alphabet, c) != NULL ? c : '\0';
}

bool serial_read(struct str text, char serial_r[SERIAL_ROOM])
{
    char serial[SERIAL_ROOM], *at = serial;
    size_t letters = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '-' || text.p[i] == ' ')
            continue;
        char letter = meant(text.p[i]);
        if (letter == '\0' || letters == LETTERS)
            return false;
        at = put(at, letters++, letter);
    }
    if (letters != LETTERS)
        return false;
    *at = '\0';
    memcpy(serial_r, serial, sizeof(serial));
    return true;
}
