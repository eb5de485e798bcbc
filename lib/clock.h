/* SPDX-License-Identifier: Apache-2.0
 *
 * clock: how much time has passed, whatever people do to the host's date. For pure code time is an
 * argument; these are for its callers.
 */
#ifndef TAILOR_LIB_CLOCK_H
#define TAILOR_LIB_CLOCK_H

#include <stdint.h>

double monotonic_s(void);
int64_t monotonic_ms(void);

#endif
