/* What is said about a certificate, from what was found out about it: pure, so that every case can
 * be read off a table. */
#ifndef GW_CERTIFICATES_VERDICT_H
#define GW_CERTIFICATES_VERDICT_H

#include "base/base.h"
#include "stores/stores.h"

/* Our signature in a file, the best of them when there are several. */
enum signature_found {
    SIGNATURE_NONE,    /* none that names our certificate */
    SIGNATURE_BROKEN,  /* names our certificate, but our key didn't make it */
    SIGNATURE_ALTERED, /* ours, of other content */
    SIGNATURE_GOOD
};

struct file_findings {
    bool whole_known; /* the digest of the whole file is in the register */
    bool front_known; /* that of its front, up to the end of a signature */
    enum signature_found signature;
    bool to_the_end; /* SIGNATURE_GOOD: nothing comes after what it covers */
};

enum file_state {
    FILE_NONE,     /* no file was sent: somebody asks for a serial */
    FILE_UNKNOWN,  /* not ours, as far as can be told */
    FILE_FORGED,   /* its signature names our certificate, and isn't our key's */
    FILE_ALTERED,  /* we signed something else */
    FILE_EXTENDED, /* ours, and something was added to it later */
    FILE_UNALTERED
};
enum file_state file_state_of(const struct file_findings *findings);
/* "unaltered" */
const char *file_state_name(enum file_state state);

/* Its status by the register. */
enum standing { STANDING_VALID, STANDING_REVOKED, STANDING_SUPERSEDED, STANDING_UNKNOWN };
enum standing standing_of(const struct certificate_record *record); /* NULL: unknown */
const char *standing_name(enum standing standing);
/* The status of a record that a name stands for. False: none does. */
bool status_named(struct str name, enum certificate_status *status_r);

struct verdict {
    const char *tone; /* "good", "care" or "bad" */
    const char *headline, *explanation;
};
struct verdict verdict_of(enum file_state file, enum standing standing);

#endif
