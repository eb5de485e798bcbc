/* SPDX-License-Identifier: Apache-2.0
 *
 * retention: what goes by itself. Events of jobs that are over, after options.keep_events_ms;
 * blobs that nothing refers to and that are older than options.gc_grace_ms, every
 * options.gc_every_ms, and at once when the store has become full; what an export left is one of
 * them after a week. Loop thread.
 */
#ifndef TAILOR_COORDINATOR_RETENTION_H
#define TAILOR_COORDINATOR_RETENTION_H

struct coordinator;
struct retention;

struct retention *retention_start(struct coordinator *coordinator);
void retention_stop(struct retention *retention); /* NULL: nothing */
/* The store is full: what is garbage goes now. Nothing where options.gc_every_ms is 0. */
void retention_make_room(struct coordinator *coordinator);

#endif
