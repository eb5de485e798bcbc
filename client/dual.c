/* SPDX-License-Identifier: Apache-2.0
 */
#include "client/dual.h"

enum status dual_run(const struct call *call, const struct command *command, bool of_service,
                     struct error *error)
{
    const struct dual_options *options = call->options;
    struct call side = *call;
    struct remote_options remote = options->remote;
    side.command = command;
    if (of_service) {
        remote.globals = *call->globals;
        side.options = &remote;
    }
    return command->run(&side, error);
}
