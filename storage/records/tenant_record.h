/* SPDX-License-Identifier: Apache-2.0
 *
 * tenant_record: tenants with their quotas, tokens, shares, and what each used.
 */
#ifndef TAILOR_STORAGE_RECORDS_TENANT_RECORD_H
#define TAILOR_STORAGE_RECORDS_TENANT_RECORD_H

#include "proto/api.pb-c.h"
#include "storage/records/records.h"

struct arena;

enum status tenant_record_insert(struct records *records, const Api__Tenant *tenant,
                                 int64_t *id_out, struct error *error);
/* Quotas, weight and title; what is not set in `tenant` becomes none. */
enum status tenant_record_update(struct records *records, const Api__Tenant *tenant,
                                 struct error *error);
enum status tenant_record_get(struct records *records, struct scope scope, const char *name,
                              struct arena *arena, Api__Tenant **tenant_out, struct error *error);
enum status tenant_record_list(struct records *records, struct arena *arena, Api__TenantList *list,
                               struct error *error);

/* ---- tokens: a secret is known by its SHA-256 alone ---- */
enum status token_record_insert(struct records *records, const Api__Token *token,
                                const char *secret_digest, int64_t *id_out, struct error *error);
/* Whose secret this is: STATUS_DENIED for one that is unknown, expired or revoked, without saying
 * which. */
enum status token_record_find(struct records *records, const char *secret_digest, int64_t now_ms,
                              struct arena *arena, Api__Token **token_out, struct error *error);
/* A new secret; the old one is taken until `old_until_ms`. */
enum status token_record_rotate(struct records *records, struct scope scope, int64_t id,
                                const char *secret_digest, int64_t old_until_ms,
                                struct error *error);
enum status token_record_revoke(struct records *records, struct scope scope, int64_t id,
                                int64_t now_ms, struct error *error);
enum status token_record_list(struct records *records, struct scope scope, struct arena *arena,
                              Api__TokenList *list, struct error *error);

/* ---- shares ---- */
enum status share_record_put(struct records *records, const Api__Share *share,
                             struct error *error); /* replaces one of the same object and grantee */
enum status share_record_remove(struct records *records, const Api__Share *share,
                                struct error *error);
enum status share_record_list(struct records *records, struct scope scope, struct arena *arena,
                              Api__ShareList *list, struct error *error);
/* What `tenant` may do with owner's object: SHARE_RIGHT_READ for its own, else the greatest right
 * it was given, 0 for none. */
enum status share_record_right(struct records *records, const char *owner, Api__ObjectKind kind,
                               const char *name, const char *tenant, int *right_out,
                               struct error *error);

/* ---- usage: adds to the row of (begin_ms, tenant) ---- */
enum status usage_record_add(struct records *records, const Api__Usage *usage, struct error *error);
/* Sums by tenant over [since_ms, until_ms); capacity is what they add up to, idle included. A
 * tenant sees its own row. */
enum status usage_record_sum(struct records *records, struct scope scope, int64_t since_ms,
                             int64_t until_ms, struct arena *arena, Api__UsageList *list,
                             struct error *error);

#endif
