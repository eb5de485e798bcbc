/* SPDX-License-Identifier: Apache-2.0
 *
 * stop: SIGINT and SIGTERM as a wish that long work looks at between its parts.
 */
#ifndef TAILOR_WORKER_TRAINER_STOP_H
#define TAILOR_WORKER_TRAINER_STOP_H

#include <stdbool.h>

/* From now on the signals are a wish; `heeds` false: they are ignored, since another rank hears
 * them. */
void stop_watch(bool heeds);
bool stop_requested(void);

#endif
