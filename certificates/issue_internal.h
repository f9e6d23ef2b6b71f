/* Issuing, for the files that do it. One request's way is the table of steps in issue.c; what it
 * knows is a struct issue, which goes with the request.
 *
 * What may go on after the client has left (drawing, signing, keeping) stands in a struct
 * issue_work with memory of its own. It is counted (h2o's shared memory, on its loop only): the
 * issue holds it, and so does each job while it is under way. */
#ifndef GW_CERTIFICATES_ISSUE_INTERNAL_H
#define GW_CERTIFICATES_ISSUE_INTERNAL_H

#include <stdatomic.h>
#include "certificates/certificates.h"
#include "certificates/fields.h"
#include "certificates/form_page.h"
#include "certificates/pdf_sign.h"
#include "certificates/register.h"
#include "certificates/template.h"
#include "certificates/timestamp_text.h"
#include "certificates/verify.h"
#include "crypto/sign.h"

enum {
    ISSUE_PDF_MAX = 64 * 1024 * 1024, /* bytes of a certificate */
    ISSUE_ON_LOOP_MAX = 256 * 1024,   /* of one whose digest is made on a loop */
    ISSUE_LOOPS_MAX = 1024            /* the configuration's most workers */
};

/* A text of the configuration in which {{name}} stands for a field. */
struct words {
    const struct template *template; /* NULL: there is no {{ in it */
    struct str constant;
};
/* All that was written, in one piece, in its pool. */
struct str out_joined(struct out *out);
struct str words_print(const struct words *words, const struct field_value *values, size_t count,
                       h2o_mem_pool_t *pool);

/* One [certificates.NAME]. Immutable while the loops run, but for `stamp_logged_ms`. */
struct section {
    struct certificates *all;
    const struct config_certificate *config;
    const struct http_route *route;
    struct fields *fields; /* owned, as what follows */
    struct cert_template *template;
    struct timestamp_text *timestamp;
    struct form_page *form;
    struct http_rate *rate; /* NULL = as often as one likes */
    struct signer *signer;  /* NULL = certificates aren't signed */
    size_t *shown;          /* indices of the fields that the verify page shows */
    struct words filename, title;
    struct str dispositions[2]; /* Content-Disposition by enum config_disposition, when the file's
                                   name is always the same; else {NULL, 0} */
    struct pdf_signature signature; /* all but time and serial */
    struct upstream *authority;     /* of time stamps; NULL = none */
    struct page *parts;             /* NULL = none */
    size_t value_count;             /* fields and those that are made */
    bool heavy;                     /* drawing or signing belongs on the threads of `compute` */
    _Atomic uint64_t stamp_logged_ms;
};

struct str section_value_name(const struct section *section, size_t i);
/* Of a certificate's verify page; "" = it isn't registered. */
struct str section_verify_url(const struct section *section, struct str serial,
                              h2o_mem_pool_t *pool);
/* Whether certificates can be made of it at all: draws one of sample values, and sees whether it
 * could be signed. Errors in diag. Returns how many bytes it has, 0 = it can't be drawn. */
size_t section_try(const struct section *section, struct diag *diag);

struct certificates {
    struct certificates_needs needs;
    struct registry *registry;
    struct verify *verify;
    struct section *sections;
    size_t count;
    struct template_set *texts; /* file names and titles */
    h2o_mem_pool_t pool;        /* what sections point to */
    struct str verify_url;      /* without a slash at its end; "" = none */
    struct up_client *clients[ISSUE_LOOPS_MAX];
};

/* -- one request ------------------------------------------------------------------------------- */

enum issue_next { ISSUE_NEXT, ISSUE_WAITS, ISSUE_OVER };

struct issue {
    struct http_request *request;
    const struct section *section;
    unsigned step;
    bool inside, resumed; /* of issue_go_on() */
    bool by_link;         /* a signed link let it in */
    bool prefetch;        /* nobody has asked for it yet */
    bool must_find;       /* it is in the register already */
    bool issued;          /* it was replied with */
    unsigned rounds;      /* between finding and keeping */
    struct input input;
    struct field_value *values;
    enum config_disposition disposition;
    struct str key; /* Idempotency-Key; {NULL, 0} = none */
    struct drawing drawing;
    char serial[SERIAL_ROOM];
    int64_t when_ms;
    uint8_t sha256[32];
    struct out out;          /* the PDF, when no work was needed */
    struct issue_work *work; /* NULL: not yet, or not needed */
};

struct issue_work {
    struct issue *issue; /* NULL: the client left */
    const struct section *section;
    h2o_mem_pool_t pool;    /* of the texts below */
    struct drawing drawing; /* copied */
    struct buf pdf;
    uint8_t sha256[32], signed_sha256[32];
    enum draw_result drawn;
    uint64_t drawing_us; /* how long it took */
    struct draw_problem problem;
    struct pdf_hole hole;
    struct cms cms;
    struct timestamp_query query;
    struct up_call *call; /* the time stamp authority's, under way */
    struct str answer;    /* its */
    bool stamp_refused;   /* no time stamp, and without one nothing is issued */
    struct offload_job job;
    bool found; /* `find` holds what was issued */
    struct register_find find;
    struct certificate_record record;
    struct certificate_key key;
    struct register_add add;
};

/* Goes on with the next step, from whatever the last one waited for. */
void issue_go_on(struct issue *issue);
/* Goes back to looking into the register, as if for the first time; or on to what is left to do
 * with a certificate that is there. */
void issue_go_to_find(struct issue *issue);
void issue_go_to_keep(struct issue *issue);

/* Fills in what is made: of a serial and an instant. */
void issue_make_fields(struct issue *issue, const char *serial, int64_t when_ms);

struct issue_work *issue_work(struct issue *issue);
/* Around what goes on without the issue: begun; ended, on the loop. */
void issue_work_begin(struct issue_work *work);
void issue_work_end(struct issue_work *work);
/* For the work's job: ends what it would have done. */
void issue_work_dropped(struct offload_job *job);

/* Steps in files of their own. */
enum issue_next issue_find(struct issue *issue);  /* issue_keep.c */
enum issue_next issue_keep(struct issue *issue);  /* issue_keep.c */
enum issue_next issue_draw(struct issue *issue);  /* issue_draw.c */
enum issue_next issue_stamp(struct issue *issue); /* issue_sign.c */
enum issue_next issue_seal(struct issue *issue);  /* issue_sign.c */
enum issue_next issue_reply(struct issue *issue); /* issue_reply.c */

/* Of a work whose document is drawn, on a compute thread: signs it, or leaves a hole for a time
 * stamp to be asked for. */
bool issue_sign_here(struct issue_work *work);

/* -- refusing (issue_reply.c): all give ISSUE_OVER ----------------------------------------------
 */

enum issue_next issue_refuse(struct issue *issue, int status, const char *type, const char *title,
                             struct str detail);
enum issue_next issue_refuse_fields(struct issue *issue, const struct field_faults *faults);
enum issue_next issue_refuse_busy(struct issue *issue);
enum issue_next issue_refuse_keys(struct issue *issue);
enum issue_next issue_refuse_broken(struct issue *issue);

#endif
