/* SPDX-License-Identifier: Apache-2.0
 *
 * A pipe gets a line at once for the first update and then one every PIPE_INTERVAL_S, so that a log
 * stays short however long the run is.
 */
#include "worker/trainer/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/text.h"

#define PIPE_INTERVAL_S     10.0
#define TERMINAL_INTERVAL_S 0.1

enum { BAR_WIDTH = 20 };

void progress_start(struct progress *progress, const char *what, int64_t first, int64_t total,
                    bool quiet)
{
    *progress = (struct progress){.quiet = quiet,
                                  .terminal = isatty(STDERR_FILENO) == 1,
                                  .what = what,
                                  .first = first,
                                  .total = total,
                                  .started = monotonic_s()};
}

static void print_bar(const struct progress *progress, int64_t done)
{
    int filled = progress->total > 0 ? (int)(BAR_WIDTH * done / progress->total) : BAR_WIDTH;
    for (int i = 0; i < BAR_WIDTH; i++) {
        fputs(i < filled ? "█" : "░", stderr);
    }
    fputc(' ', stderr);
}

void progress_update(struct progress *progress, int64_t done, const char *detail)
{
    double now = monotonic_s();
    double interval = progress->terminal ? TERMINAL_INTERVAL_S : PIPE_INTERVAL_S;
    bool last = done >= progress->total;
    if (progress->quiet || (progress->printed > 0 && now - progress->printed < interval && !last)) {
        return;
    }
    progress->printed = now;
    char left[16] = "";
    int64_t here = done - progress->first;
    if (here > 0 && !last) {
        format_duration((now - progress->started) / (double)here * (double)(progress->total - done),
                        left);
    }
    if (progress->terminal) {
        fputs("\r\033[K", stderr);
    }
    fprintf(stderr, "%s ", progress->what);
    if (progress->terminal) {
        print_bar(progress, done);
    }
    fprintf(stderr, "%lld/%lld%s%s", (long long)done, (long long)progress->total,
            detail[0] != '\0' ? "  " : "", detail);
    if (left[0] != '\0') {
        fprintf(stderr, "  %s left", left);
    }
    if (!progress->terminal) {
        fputc('\n', stderr);
    }
    fflush(stderr);
}

void progress_end(struct progress *progress)
{
    if (!progress->quiet && progress->terminal && progress->printed > 0) {
        fputc('\n', stderr);
    }
    progress->printed = 0;
}
