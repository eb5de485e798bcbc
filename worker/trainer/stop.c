/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/trainer/stop.h"

#include <signal.h>

static volatile sig_atomic_t requested;

static void on_signal(int signal_number)
{
    (void)signal_number;
    requested = 1;
}

void stop_watch(bool heeds)
{
    struct sigaction action = {.sa_handler = heeds ? on_signal : SIG_IGN};
    requested = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool stop_requested(void)
{
    return requested != 0;
}
