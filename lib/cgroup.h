/* SPDX-License-Identifier: Apache-2.0
 *
 * cgroup: the control groups that this process is in, of either version.
 *
 *     cgroup_visit("", "memory", take_limit, &least);   // its own group, then every ancestor
 *
 * Files that are missing or odd are no limit: a wrong guess can only make us slower.
 */
#ifndef TAILOR_LIB_CGROUP_H
#define TAILOR_LIB_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

/* `directory` holds the group's files; `second`: they are those of version 2. */
typedef void cgroup_visitor(void *argument, const char *directory, bool second);

/* Visits the groups of one controller ("cpu", "memory"), innermost first. `root` goes before /proc
 * and /sys ("" outside tests). */
void cgroup_visit(const char *root, const char *controller, cgroup_visitor *visitor,
                  void *argument);

/* The first line of directory/name, without its end; false where there is none. */
bool cgroup_line(const char *directory, const char *name, char *line, int size);
/* The number that the file begins with; false for "max". */
bool cgroup_number(const char *directory, const char *name, int64_t *out);

#endif
