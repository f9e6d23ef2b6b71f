/* The table of what a configuration file may say. Private to config/.
 *
 * load.c walks a file by it, print.c prints by it, config_each_key() lists it: a key that stands
 * here is read, checked, defaulted, printed and documented, and nothing else is. */
#ifndef GW_CONFIG_SCHEMA_H
#define GW_CONFIG_SCHEMA_H

#include "base/base.h"

enum value_type {
    VALUE_BOOL,     /* bool */
    VALUE_COUNT,    /* uint32_t */
    VALUE_DURATION, /* uint64_t, milliseconds */
    VALUE_SIZE,     /* uint64_t, bytes */
    VALUE_STRING,   /* struct str */
    VALUE_STRINGS,  /* struct config_strings */
    VALUE_WORD,     /* uint8_t: the index in words */
    VALUE_JSON      /* struct str, JSON: any TOML value; a string holds JSON already, "" = none */
};

/* What a string, or each of an array, must be beside a string. */
enum value_rule {
    RULE_NOT_EMPTY = 1,
    RULE_PATH = 2,      /* a file's path, made absolute; words are left alone */
    RULE_UNIX_PATH = 4, /* what follows "unix:" is a path, made absolute, short enough to bind */
    RULE_URL = 8,       /* may carry a password, but not a literal one */
    RULE_OWN_NAME = 16, /* empty means the name of its table */
    RULE_SECRET = 32,   /* nothing of it may stand in the file */
    RULE_DIGEST = 64,   /* "sha256:" and 64 hexadecimal digits */
    RULE_MEDIA = 128,   /* a media type, or all of one kind: "image/png", "image/" and a star */
    RULE_LONG = 256     /* too long to be guessed, or empty */
};

struct schema_key {
    const char *name;
    enum value_type type;
    unsigned rules;           /* enum value_rule, or'd */
    size_t offset;            /* of the field in the section's struct */
    const char *fallback;     /* as TOML; NULL: the key is required */
    uint64_t min, max;        /* of numbers, durations (ms), sizes (bytes) */
    const char *const *words; /* VALUE_WORD: all there are, NULL-ended; RULE_PATH: exceptions */
    const char *doc;          /* one line, printed beside the key */
};

enum section_shape {
    SECTION_TABLE, /* [server] */
    SECTION_NAMED, /* [upstreams.NAME]: an array of structs, the first field their name */
    SECTION_PAIRS  /* [upstreams.NAME.set_headers]: struct config_pairs, names the user's */
};

enum pairs_kind {
    PAIRS_HEADERS, /* names know no case; what by custom is a secret may not stand in the file */
    PAIRS_SECRETS, /* no value may */
    PAIRS_PLAIN
};

struct schema_section {
    const char *path; /* "upstreams.*.tls" */
    const char *name; /* "tls": its key in the section above */
    enum section_shape shape;
    const struct schema_key *keys;
    size_t key_count;
    const struct schema_section *sections;
    size_t section_count;
    size_t offset;       /* in the struct above: of the struct, the array's pointer, or the pairs */
    size_t count_offset; /* SECTION_NAMED: of the array's length */
    size_t size;         /* SECTION_NAMED: of one struct */
    enum pairs_kind pairs; /* SECTION_PAIRS */
    bool expanded; /* PAIRS_HEADERS: a {variable} in a value is filled in at each request, so that
                      it is no secret of the file's */
    const char *const *reserved; /* SECTION_NAMED: names that may not be used, NULL-ended or NULL */
};

extern const struct schema_section schema_root;

#endif
