/* SPDX-License-Identifier: Apache-2.0
 *
 * worker_record: workers that ever joined, by their keys, and the queues.
 *
 * That a worker is heard is not written at each heartbeat: the registry in memory knows, and a
 * coordinator that starts gives everybody a full grace.
 */
#ifndef TAILOR_STORAGE_RECORDS_WORKER_RECORD_H
#define TAILOR_STORAGE_RECORDS_WORKER_RECORD_H

#include "proto/api.pb-c.h"
#include "storage/records/records.h"

struct arena;

/* A new worker, or a known one (by its public key) with what it now offers; labels replaced. */
enum status worker_record_put(struct records *records, const Api__Worker *worker, int64_t *id_out,
                              struct error *error);
enum status worker_record_state(struct records *records, int64_t id, Api__WorkerState state,
                                int64_t last_seen_ms, struct error *error);
enum status worker_record_get(struct records *records, int64_t id, struct arena *arena,
                              Api__Worker **worker_out, struct error *error);
enum status worker_record_list(struct records *records, struct arena *arena, Api__WorkerList *list,
                               struct error *error);
/* Its key is not taken any more; its past in attempts stays. */
enum status worker_record_forget(struct records *records, int64_t id, struct error *error);

/* Creates or changes a queue. */
enum status queue_record_put(struct records *records, const Api__Queue *queue, struct error *error);
enum status queue_record_list(struct records *records, struct arena *arena, Api__QueueList *list,
                              struct error *error);

#endif
