/* The register: what was issued is kept, found again, revoked. The one place that knows how serials
 * and codes are made; rows are stores/'s.
 *
 * A serial is 100 random bits as twenty letters and digits of Crockford's base32, by fives:
 * "8K3QF-2M7XR-V0P4N-J6T9W". The code of a certificate's fields is a keyed digest: whoever reads
 * the database can't guess names by it. */
#ifndef GW_CERTIFICATES_REGISTER_H
#define GW_CERTIFICATES_REGISTER_H

#include "base/loop.h"
#include "base/offload.h"
#include "certificates/template.h"
#include "crypto/crypto.h"
#include "stores/stores.h"

/* -- serials ----------------------------------------------------------------------------------- */

void serial_make(char serial_r[SERIAL_ROOM]);
/* Takes what people make of one: lower case, without dashes, O for 0, I and L for 1. False: not
 * one. */
bool serial_read(struct str text, char serial_r[SERIAL_ROOM]);

/* -- the register ------------------------------------------------------------------------------ */

struct registry;

/* One for the site. store and secret: NULL while a configuration is only checked. */
struct registry *registry_create(struct store *store, struct offload *reads,
                                 const struct secret *secret);
void registry_destroy(struct registry **registry);

/* The codes; any thread. Fields in the configuration's order, without serial, timestamp and
 * verify_url. */
void registry_fields_code(const struct registry *registry, struct str route,
                          const struct field_value *fields, size_t count, uint8_t code_r[32]);
/* Who sends an Idempotency-Key: user: a token's, or "" and the address counts. */
struct key_sender {
    struct str user, address;
};
/* Of a key, which is one sender's own; and of whose share it counts to, which is one for all
 * addresses that a customer has (IPv6: a /64). */
void registry_key_codes(const struct registry *registry, struct str route,
                        const struct key_sender *sender, struct str key,
                        struct certificate_key *key_r);

enum register_result {
    REGISTER_OK,
    REGISTER_ABSENT,
    REGISTER_EXISTS,
    REGISTER_KEY_REUSED, /* the Idempotency-Key was used for other fields; answer 422 */
    REGISTER_CONFLICT,   /* it can't become so; answer 409 */
    REGISTER_FULL,       /* the disk, or the route's quota; answer 507 */
    REGISTER_TOO_MANY,   /* of the client's keys hold; answer 429 */
    REGISTER_BUSY,       /* answer 503 */
    REGISTER_FAILED      /* was logged; answer 500 */
};

/* Looks for what was issued for a key or for fields, the key first: only by its key is one found
 * that was superseded. Embed it; done() runs on `loop`. False: REGISTER_BUSY, nothing was taken.
 * The record and the PDF are there with REGISTER_OK, until register_release(). */
struct register_find {
    uint8_t fields[32], key[32]; /* codes; key all zero = none */
    bool with_pdf;
    void (*done)(struct register_find *find);
    struct loop *loop;
    enum register_result result; /* OK, ABSENT, KEY_REUSED, BUSY, FAILED */
    bool by_key;                 /* the key is tied to what was found */
    struct certificate_record record;
    struct str pdf;
    struct registry *registry; /* private, as what follows */
    struct offload_job job;
};
bool register_find(struct registry *registry, struct register_find *find);
void register_release(struct register_find *find);

/* Keeps a certificate, its key, or both at once: on the disk when done() says REGISTER_OK. Embed
 * it; what it points to stays until then. */
struct register_add {
    const struct certificate_record *record; /* NULL = only the key */
    struct str pdf;
    const struct certificate_key *key; /* NULL = none */
    uint64_t quota;                    /* bytes of the route in all; 0 = no limit */
    void (*done)(struct register_add *add);
    struct loop *loop;
    enum register_result
        result;               /* OK; EXISTS, ABSENT (find it then); FULL, TOO_MANY, BUSY, FAILED */
    struct store_write write; /* private */
};
bool register_add(struct registry *registry, struct register_add *add);

/* Revokes or supersedes, and logs it; waits for the disk: not on a loop. OK, with the record as it
 * is now (free() its memory), also when it was so already; ABSENT; CONFLICT, and *why_r says why;
 * FULL, BUSY, FAILED. */
enum register_result register_change(struct store *store, const struct certificate_change *change,
                                     struct certificate_record *record_r, const char **why_r);

#endif
