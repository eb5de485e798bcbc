/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_record: admitted data by tenant, name and version; and bases, which are the cluster's.
 */
#ifndef TAILOR_STORAGE_RECORDS_DATASET_RECORD_H
#define TAILOR_STORAGE_RECORDS_DATASET_RECORD_H

#include "proto/api.pb-c.h"
#include "storage/records/records.h"

struct arena;

/* The next version of tenant/name, in the state that `dataset` has. */
enum status dataset_record_insert(struct records *records, const Api__Dataset *dataset,
                                  int64_t *version_out, struct error *error);
/* State, groups, message, report and job of tenant/name@version. */
enum status dataset_record_update(struct records *records, const Api__Dataset *dataset,
                                  struct error *error);
/* The verdict (state, groups, message, report) of the job `dataset->job_id` on the dataset that it
 * reads, if that is being admitted; nothing else. */
enum status dataset_record_judge(struct records *records, const Api__Dataset *dataset,
                                 struct error *error);
/* version 0: the newest. `need`: as in model_record.h. */
enum status dataset_record_get(struct records *records, struct scope scope, Api__ShareRight need,
                               const char *tenant, const char *name, int64_t version,
                               struct arena *arena, Api__Dataset **dataset_out,
                               struct error *error);
/* The newest version of each, by name. */
enum status dataset_record_list(struct records *records, struct scope scope, const char *tenant,
                                int64_t after, int64_t limit, struct arena *arena,
                                Api__DatasetList *list, struct error *error);
/* All versions and shares; STATUS_CONFLICT with the list while an active job reads it. */
enum status dataset_record_remove(struct records *records, struct scope scope, const char *tenant,
                                  const char *name, struct arena *arena, Api__ReferrerList *list,
                                  struct error *error);

/* A base that was rejected gives its name away. */
enum status base_record_insert(struct records *records, const Api__Base *base, int64_t *id_out,
                               struct error *error);
enum status base_record_get(struct records *records, const char *name, struct arena *arena,
                            Api__Base **base_out, struct error *error);
enum status base_record_list(struct records *records, struct arena *arena, Api__BaseList *list,
                             struct error *error);
/* Keeps the blob that a base is made of until base_record_judge. */
enum status base_record_keep_source(struct records *records, const char *name, const char *tenant,
                                    const char *digest, struct error *error);
/* What became of the base that the job `base->job_id` makes (state, manifest, bytes, message), if
 * it is being made; nothing else. */
enum status base_record_judge(struct records *records, const Api__Base *base, struct error *error);
/* STATUS_CONFLICT with the list while an active job or a model refers to it. */
enum status base_record_remove(struct records *records, const char *name, struct arena *arena,
                               Api__ReferrerList *list, struct error *error);

#endif
