/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor cluster restore: a coordinator's directory out of a backup. tailord does it, which knows
 * what is in them; no service is needed, and none may run on the directory.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/commands.h"
#include "client/daemon.h"
#include "client/path.h"

static enum status restore_in(struct arena *arena, const struct call *call, struct error *error)
{
    char program[PATH_MAX];
    const char *backup, *data;
    TRY(path_absolute(arena, call->arguments[0], &backup, error));
    TRY(path_absolute(arena, call->arguments[1], &data, error));
    TRY(daemon_program("tailord", program, error));
    fflush(NULL);
    execl(program, program, "--restore", backup, "--data", data, (char *)NULL);
    return error_set(error, STATUS_FAILED, "cannot start %s: %s", program, strerror(errno));
}

static enum status restore_run(const struct call *call, struct error *error)
{
    struct arena arena = {0};
    enum status status = restore_in(&arena, call, error);
    arena_release(&arena);
    return status;
}

const struct command cmd_cluster_restore = {
    .noun = "cluster",
    .verb = "restore",
    .summary = "Fill an empty coordinator's directory from a backup",
    .details =
        "Every blob is compared with its digest and the records are checked through. DATA is what\n"
        "tailord gets as --data; of tailor up it is the directory d in its own.\n"
        "Jobs that were live in the backup are queued again, from their newest checkpoint.",
    .example = "tailor cluster restore /mnt/backup-1790000000000 ~/.local/share/tailor/d",
    .arguments = {{.placeholder = "DIR"}, {.placeholder = "DATA"}},
    .run = restore_run};
