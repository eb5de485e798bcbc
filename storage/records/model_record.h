/* SPDX-License-Identifier: Apache-2.0
 *
 * model_record: models, their versions, and the aliases that point at them.
 *
 * A version never changes. An alias moves, and each move is kept. A thing of another tenant is
 * visible as far as a share goes: `need` is the right that the asker needs (to list and show: READ;
 * to train from: USE).
 */
#ifndef TAILOR_STORAGE_RECORDS_MODEL_RECORD_H
#define TAILOR_STORAGE_RECORDS_MODEL_RECORD_H

#include "proto/api.pb-c.h"
#include "proto/ident.h"
#include "storage/records/records.h"

struct arena;

/* The next version of tenant/model, whose manifest is a blob of the tenant; the model is made when
 * it is the first. STATUS_NOT_FOUND: the manifest is not in the store. */
enum status model_record_add_version(struct records *records, const Api__ModelVersion *version,
                                     int64_t *version_out, struct error *error);
/* reference: tenant, name, and a version or an alias; neither: the newest. */
enum status model_record_version(struct records *records, struct scope scope, Api__ShareRight need,
                                 const struct reference *reference, struct arena *arena,
                                 Api__ModelVersion **version_out, struct error *error);
/* The newest first. */
enum status model_record_versions(struct records *records, struct scope scope, const char *tenant,
                                  const char *name, int64_t after, int64_t limit,
                                  struct arena *arena, Api__ModelVersionList *list,
                                  struct error *error);
/* Versions of all models, of `tenant` (NULL: of each), in the order in which they were added;
 * list->next is set when there may be more. */
enum status model_record_all(struct records *records, struct scope scope, const char *tenant,
                             int64_t after, int64_t limit, struct arena *arena,
                             Api__ModelVersionList *list, struct error *error);
/* Models whose newest version a job made from the parent "tenant/name@version", that version. */
enum status model_record_children(struct records *records, struct scope scope, const char *parent,
                                  int64_t limit, struct arena *arena, Api__ModelVersionList *list,
                                  struct error *error);
/* With its aliases. */
enum status model_record_get(struct records *records, struct scope scope, const char *tenant,
                             const char *name, struct arena *arena, Api__Model **model_out,
                             struct error *error);
enum status model_record_list(struct records *records, struct scope scope, const char *tenant,
                              int64_t after, int64_t limit, struct arena *arena,
                              Api__ModelList *list, struct error *error);
/* Points alias->name at alias->version. */
enum status model_record_move_alias(struct records *records, struct scope scope, const char *tenant,
                                    const char *name, const Api__Alias *alias, struct error *error);
enum status model_record_history(struct records *records, struct scope scope, const char *tenant,
                                 const char *name, struct arena *arena, Api__AliasMoveList *list,
                                 struct error *error);
/* Removes the model, its versions, aliases and shares. While something refers to it (an active
 * job, another model's parent): STATUS_CONFLICT with the list. */
enum status model_record_remove(struct records *records, struct scope scope, const char *tenant,
                                const char *name, struct arena *arena, Api__ReferrerList *list,
                                struct error *error);

#endif
