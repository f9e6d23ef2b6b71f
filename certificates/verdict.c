/* The words are for people who hold a certificate in their hands and want to know whether to
 * believe it; each says what is certain, and what follows from it. */
#include "certificates/verdict.h"

enum file_state file_state_of(const struct file_findings *findings)
{
    if (findings->whole_known)
        return FILE_UNALTERED;
    if (findings->signature == SIGNATURE_GOOD)
        return findings->to_the_end ? FILE_UNALTERED : FILE_EXTENDED;
    if (findings->front_known) /* signed by a key that isn't ours any more */
        return FILE_EXTENDED;
    if (findings->signature == SIGNATURE_ALTERED)
        return FILE_ALTERED;
    return findings->signature == SIGNATURE_BROKEN ? FILE_FORGED : FILE_UNKNOWN;
}

const char *file_state_name(enum file_state state)
{
    static const char *const names[] = {
        [FILE_NONE] = "none",       [FILE_UNKNOWN] = "unknown",   [FILE_FORGED] = "forged",
        [FILE_ALTERED] = "altered", [FILE_EXTENDED] = "extended", [FILE_UNALTERED] = "unaltered"};
    return names[state];
}

enum standing standing_of(const struct certificate_record *record)
{
    if (record == NULL)
        return STANDING_UNKNOWN;
    switch (record->status) {
    case CERTIFICATE_VALID:
        return STANDING_VALID;
    case CERTIFICATE_REVOKED:
        return STANDING_REVOKED;
    case CERTIFICATE_SUPERSEDED:
        break;
    }
    return STANDING_SUPERSEDED;
}

const char *standing_name(enum standing standing)
{
    static const char *const names[] = {[STANDING_VALID] = "valid",
                                        [STANDING_REVOKED] = "revoked",
                                        [STANDING_SUPERSEDED] = "superseded",
                                        [STANDING_UNKNOWN] = "unknown"};
    return names[standing];
}

bool status_named(struct str name, enum certificate_status *status_r)
{
    static const enum certificate_status all[] = {CERTIFICATE_VALID, CERTIFICATE_REVOKED,
                                                  CERTIFICATE_SUPERSEDED};
    for (size_t i = 0; i < COUNT(all); i++) {
        const struct certificate_record record = {.status = all[i]};
        if (str_eq(name, str_from(standing_name(standing_of(&record))))) {
            *status_r = all[i];
            return true;
        }
    }
    return false;
}

#define ADDED                                                                   \
    "Something was added to the file after it was issued, so what you see may " \
    "not be what was issued. "
#define ALTERED                                                                 \
    "It carries our signature, but its content is not what was signed: do not " \
    "believe what it says. "

static const struct verdict verdicts[][4] = {
    [FILE_NONE] =
        {[STANDING_VALID] = {"good", "This certificate is valid",
                             "It was issued here and holds. Compare it with the one that you were "
                             "shown, or check the file itself below."},
         [STANDING_REVOKED] = {"bad", "This certificate was revoked",
                               "It was issued here, but does not hold any more."},
         [STANDING_SUPERSEDED] = {"care", "This certificate was replaced",
                                  "It was issued here, but another one has taken its place."},
         [STANDING_UNKNOWN] = {"bad", "There is no such certificate",
                               "Nothing was issued here with this serial. Was it typed right?"}},
    [FILE_UNKNOWN] = {[STANDING_UNKNOWN] =
                          {"bad", "This file is not one of ours",
                           "It is not a file that was issued here, and carries no signature of "
                           "ours. A certificate that was printed, scanned or saved anew is another "
                           "file, too: ask for the original, or look it up by its serial."}},
    [FILE_FORGED] = {[STANDING_UNKNOWN] =
                         {"bad", "This file's signature is not ours",
                          "It claims to be signed by us, but our key did not make that signature: "
                          "it is forged or damaged."}},
    [FILE_ALTERED] = {[STANDING_VALID] = {"bad", "This file was altered",
                                          ALTERED "The certificate that it was made of is valid."},
                      [STANDING_REVOKED] = {"bad", "This file was altered",
                                            ALTERED
                                            "The certificate that it was made of was revoked."},
                      [STANDING_SUPERSEDED] = {"bad", "This file was altered",
                                               ALTERED
                                               "The certificate that it was made of was replaced."},
                      [STANDING_UNKNOWN] = {"bad", "This file was altered", ALTERED}},
    [FILE_EXTENDED] =
        {[STANDING_VALID] = {"care", "Something was added to this certificate",
                             ADDED "The certificate as it was issued is valid."},
         [STANDING_REVOKED] = {"bad", "This certificate was revoked",
                               ADDED "The certificate as it was issued does not hold any more."},
         [STANDING_SUPERSEDED] = {"care", "This certificate was replaced",
                                  ADDED
                                  "Another one has taken the place of the one that was issued."},
         [STANDING_UNKNOWN] = {"care", "Something was added to this file",
                               ADDED "We signed it once, but the register does not have it."}},
    [FILE_UNALTERED] =
        {[STANDING_VALID] = {"good", "This certificate is genuine and valid",
                             "The file is as it was issued, and the certificate holds."},
         [STANDING_REVOKED] = {"bad", "This certificate was revoked",
                               "The file is as it was issued, but the certificate does not hold "
                               "any more."},
         [STANDING_SUPERSEDED] = {"care", "This certificate was replaced",
                                  "The file is as it was issued, but another certificate has taken "
                                  "its place."},
         [STANDING_UNKNOWN] = {"care", "This file carries our signature",
                               "It is as we signed it, but the register does not have it: nobody "
                               "can say whether it still holds."}},
};

struct verdict verdict_of(enum file_state file, enum standing standing)
{
    /* What isn't ours has no standing, whatever was looked up. */
    if (file == FILE_UNKNOWN || file == FILE_FORGED)
        standing = STANDING_UNKNOWN;
    return verdicts[file][standing];
}
