/* SPDX-License-Identifier: Apache-2.0
 *
 * stream: following a list as server-sent events, from any entry on.
 *
 *     id: 17
 *     event: event            one entry: event, metric or log; its JSON
 *     data: {"number":17,…}
 *
 *     event: gap              events from … to are there no more: retention has cut them
 *     data: {"from":3,"to":9}
 *
 *     event: end              the job is over and all was sent; the stream ends
 *     data: {}
 *
 * `Last-Event-ID` or ?after=N say where to go on. A reader that does not keep up is not read for:
 * the next page is asked for when the last has left, so it costs one page and no more (sse.h).
 */
#ifndef TAILOR_COORDINATOR_API_STREAM_H
#define TAILOR_COORDINATOR_API_STREAM_H

#include "coordinator/api/exchange.h"

/* The first page of the answer or, with `follow`, the stream; the exchange is the stream's then.
 * query->limit, after, rank and term are read; job 0: events of all. */
void stream_begin(struct exchange *exchange, enum watch_kind kind,
                  const struct series_query *query);

#endif
