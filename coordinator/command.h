/* SPDX-License-Identifier: Apache-2.0
 *
 * command: the cluster's commands as messages: made on the loop, completed from the records, sent
 * behind the commit. Private to change.c and the report handlers.
 */
#ifndef TAILOR_COORDINATOR_COMMAND_H
#define TAILOR_COORDINATOR_COMMAND_H

#include "coordinator/state.h"

struct command_list;

/* Copies cluster->commands with all that memory knows of them. */
struct command_list *commands_take(struct coordinator *coordinator, struct arena *arena);
/* On the database thread: specs, checkpoints, manifests. What cannot be read is noted. */
enum status commands_read(struct records *records, struct command_list *commands,
                          struct error *error);
/* On the loop. An attempt whose rows could not be read fails. */
void commands_send(struct coordinator *coordinator, struct command_list *commands);

#endif
