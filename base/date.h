/* Dates as HTTP has them. Any thread, whatever the locale. */
#ifndef GW_BASE_DATE_H
#define GW_BASE_DATE_H

#include "base/base.h"

/* Any of the three forms of RFC 9110 section 5.6.7, to the letter and nothing around it; seconds
 * since 1970. now_s: for a year of two digits, which is never more than 50 years ahead. False: it
 * isn't a date, *date_s_r is as it was. */
bool date_read(struct str text, int64_t now_s, int64_t *date_s_r);

#endif
