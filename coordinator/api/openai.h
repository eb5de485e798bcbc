/* SPDX-License-Identifier: Apache-2.0
 *
 * openai: what the two halves of the alias of OpenAI's API share. Programs that upload preference
 * data and start fine-tuning there need another base URL here and nothing else; what they get is a
 * reward model. Everything is the caller's tenant's: a token of no tenant is refused.
 */
#ifndef TAILOR_COORDINATOR_API_OPENAI_H
#define TAILOR_COORDINATOR_API_OPENAI_H

#include "coordinator/api/exchange.h"

#define OPENAI_FILE_PREFIX  "file-"
#define OPENAI_JOB_PREFIX   "ftjob-"
#define OPENAI_EVENT_PREFIX "ftevent-"
#define OPENAI_PURPOSE      "fine-tune"

/* The dataset's name of a file's id; `field` is named in the error. STATUS_NOT_FOUND. */
enum status openai_file_name(struct exchange *exchange, const char *id, const char *field,
                             const char **name_out, struct error *error);
/* Appends to a list's `data`. */
void openai_list_add(struct arena *arena, ProtobufCMessage *list, void *message);

#endif
