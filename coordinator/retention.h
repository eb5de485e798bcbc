/* SPDX-License-Identifier: Apache-2.0
 *
 * retention: events of jobs that are over go after options.keep_events_ms. Looked at when the
 * coordinator starts, and then often enough that none stays for half as long again, at most hourly.
 * Loop thread.
 */
#ifndef TAILOR_COORDINATOR_RETENTION_H
#define TAILOR_COORDINATOR_RETENTION_H

struct coordinator;
struct retention;

struct retention *retention_start(struct coordinator *coordinator); /* NULL: all is kept */
void retention_stop(struct retention *retention);                   /* NULL: nothing */

#endif
