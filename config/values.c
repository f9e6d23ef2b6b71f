/* Durations and sizes: text with a unit, to and from a number. */
#include "config/config_internal.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: printing takes the first that divides. Reading takes them in any order. */
static const struct unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
static const struct unit size_units[] = {
    {"TiB", (uint64_t)1 << 40},
    {"TB", 1000000000000},
    {"GiB", (uint64_t)1 << 30},
    {"GB", 1000000000},
    {"MiB", 1 << 20},
    {"MB", 1000000},
    {"KiB", 1 << 10},
    {"kB", 1000},
    {"B", 1},
    {"", 1},
};

/* digits [ "." digits ] unit, exactly: what doesn't come to a whole number is refused. */
static bool read_with_unit(struct str text, const struct unit *units, size_t unit_count,
                           uint64_t *value_r)
{
    uint64_t digits = 0, scale = 1;
    size_t i = 0, first = 0;
    bool fraction = false;
    for (; i < text.n; i++) {
        if (text.p[i] == '.' && !fraction && i != 0) {
            fraction = true;
            first = i + 1;
            continue;
        }
        if (!is_digit(text.p[i]))
            break;
        if (__builtin_mul_overflow(digits, 10, &digits) ||
            __builtin_add_overflow(digits, (uint64_t)(text.p[i] - '0'), &digits) ||
            (fraction && __builtin_mul_overflow(scale, 10, &scale)))
            return false;
    }
    if (i == first)
        return false;
    struct str name = {text.p + i, text.n - i};
    for (size_t u = 0; u < unit_count; u++) {
        uint64_t product;
        if (!str_eq(name, str_from(units[u].name)))
            continue;
        if (__builtin_mul_overflow(digits, units[u].factor, &product) || product % scale != 0)
            return false;
        *value_r = product / scale;
        return true;
    }
    return false;
}

static void print_with_unit(uint64_t value, const struct unit *units, char *text_r)
{
    while (value % units->factor != 0)
        units++;
    snprintf(text_r, CONFIG_NUMBER_TEXT, "%" PRIu64 "%s", value / units->factor, units->name);
}

bool config_duration(struct str text, uint64_t *ms_r)
{
    return read_with_unit(text, duration_units, COUNT(duration_units), ms_r);
}

bool config_size(struct str text, uint64_t *bytes_r)
{
    return read_with_unit(text, size_units, COUNT(size_units), bytes_r);
}

void config_duration_text(uint64_t ms, char text_r[CONFIG_NUMBER_TEXT])
{
    print_with_unit(ms, ms == 0 ? &duration_units[3] : duration_units, text_r);
}

void config_size_text(uint64_t bytes, char text_r[CONFIG_NUMBER_TEXT])
{
    print_with_unit(bytes, bytes == 0 ? &size_units[COUNT(size_units) - 2] : size_units, text_r);
}
