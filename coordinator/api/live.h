/* SPDX-License-Identifier: Apache-2.0
 *
 * live: GET /v1/stream, all that one tab of a dashboard shows, through one connection.
 *
 *   hello     who answers, and the newest event's number; first
 *   cluster   figures, and workers (admins): all at once, then those that changed   ≤ every 2 s
 *   jobs      rows that changed; none at once: a page reads its list               ≤ every 1 s
 *   event     each, with its number as id, from ?after=N or Last-Event-ID on; else only new ones
 *   gap       events that retention has cut
 *   metric    new points of each ?job=, and with ?logs=true log: its new lines
 *
 * What one client has not taken yet is at most one chunk of LIVE_BYTES_MAX: the next is made when
 * it has left, of what is new then. So a slow client costs nothing to others, and misses no event
 * and no last state. Rows are those of the caller's tenant; a token that ends, ends its streams
 * with the next event or beat.
 */
#ifndef TAILOR_COORDINATOR_API_LIVE_H
#define TAILOR_COORDINATOR_API_LIVE_H

#include "coordinator/api/exchange.h"

struct lives;

struct lives *lives_create(struct api *api);
void lives_free(struct lives *lives);

#endif
