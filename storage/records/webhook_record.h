/* SPDX-License-Identifier: Apache-2.0
 *
 * webhook_record: who is told of a tenant's events, and how far it was told.
 *
 * A webhook has a place in the log of events: what came up to event_number was taken by its
 * receiver, or was not asked for. The place moves in the transaction that records the answer, so a
 * crash may repeat a delivery, and loses none.
 */
#ifndef TAILOR_STORAGE_RECORDS_WEBHOOK_RECORD_H
#define TAILOR_STORAGE_RECORDS_WEBHOOK_RECORD_H

#include "proto/api.pb-c.h"
#include "storage/records/records.h"

struct arena;

/* Its place is the end of the log. STATUS_LIMIT: the tenant has WEBHOOKS_OF_TENANT_MAX. */
enum status webhook_record_insert(struct records *records, const Api__Webhook *webhook,
                                  int64_t *id_out, struct error *error);
/* One and all, without their secrets. */
enum status webhook_record_get(struct records *records, struct scope scope, int64_t id,
                               struct arena *arena, Api__Webhook **webhook_out,
                               struct error *error);
enum status webhook_record_list(struct records *records, struct scope scope, struct arena *arena,
                                Api__WebhookList *list, struct error *error);
/* The next attempt may be made at once, as if none had been in vain. */
enum status webhook_record_resume(struct records *records, struct scope scope, int64_t id,
                                  struct error *error);
enum status webhook_record_remove(struct records *records, struct scope scope, int64_t id,
                                  struct error *error);

/* ---- for who delivers ---- */
/* Those that are not stopped, with their secrets; who waits longest for an attempt comes first. */
enum status webhook_record_live(struct records *records, struct arena *arena,
                                Api__WebhookList *list, struct error *error);
/* The first event behind `after` that the webhook asks for, among the next
 * WEBHOOK_EVENTS_SCANNED; NULL: none of these. *scanned_out: there is none up to this number. */
enum status webhook_record_event(struct records *records, const Api__Webhook *webhook,
                                 int64_t after, struct arena *arena, Api__Event **event_out,
                                 int64_t *scanned_out, struct error *error);
/* What came of an attempt: all fields from event_number on. STATUS_NOT_FOUND: it was removed. */
enum status webhook_record_outcome(struct records *records, const Api__Webhook *webhook,
                                   struct error *error);

#endif
