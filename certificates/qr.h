/* A QR code (ISO/IEC 18004) as an outline to be filled: vector, so that it stays sharp on paper,
 * and one shape, so that no viewer draws hairlines between its modules. Any thread. */
#ifndef GW_CERTIFICATES_QR_H
#define GW_CERTIFICATES_QR_H

#include <h2o/memory.h>
#include "base/base.h"

struct qr {
    struct str path; /* SVG path data in modules, from the quiet zone's corner; fill rule nonzero */
    unsigned size;   /* modules a side, the quiet zone of 4 included */
};
/* Error correction level M: readable with 15% of it covered. The path lives in the pool. False when
 * the text is empty or longer than a QR code can hold (2,331 bytes). */
bool qr_outline(struct str text, h2o_mem_pool_t *pool, struct qr *qr_r);

#endif
