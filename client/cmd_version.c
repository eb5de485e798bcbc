/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor version.
 */
#include "client/commands.h"

static enum status run(const struct call *call, struct error *error)
{
    (void)call;
    (void)error;
    puts("tailor " TAILOR_VERSION);
    return STATUS_OK;
}

const struct command cmd_version = {
    .noun = "version", .summary = "Print the version", .example = "tailor version", .run = run};
