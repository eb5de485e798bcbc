/* SPDX-License-Identifier: Apache-2.0
 *
 * path: what people name on the command line and in a spec, when there is no service to ask.
 */
#ifndef TAILOR_CLIENT_PATH_H
#define TAILOR_CLIENT_PATH_H

#include <stdbool.h>

#include "lib/arena.h"
#include "lib/status.h"

/* Checks a value against its placeholder (command.h): what must exist does (STATUS_NOT_FOUND with
 * the nearest name of the same directory) and is of the right kind (STATUS_USAGE). */
enum status path_check(const char *placeholder, const char *path, struct error *error);

/* Does it end as files of data do? Such a name is a path, also when the file is not there. */
bool path_names_data(const char *path);

/* The absolute path, links resolved but for the last part, in the arena. A name that only a service
 * could resolve is told apart from a file that is missing. `field` is for the sentence:
 * "data.train[0].dataset". */
enum status path_resolve(struct arena *arena, const char *field, const char *placeholder,
                         const char *path, const char **path_out, struct error *error);

/* Absolute without being there yet: the present directory in front of a relative path. */
enum status path_absolute(struct arena *arena, const char *path, const char **path_out,
                          struct error *error);

#endif
