/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor: see doctor.h. Rejected: asking the workers; the coordinator refuses those of another
 * version at their hello.
 */
#include "client/doctor.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/daemon.h"
#include "lib/text.h"

enum { SKEW_LOOK_MS = 1000, SKEW_BAD_MS = 5000, ANSWER_S = 5 };

/* ---- programs -------------------------------------------------------------------------------- */

/* The first line that `program word` prints, without its own name; "" when it prints nothing.
 * False: its exit code is not 0. */
static bool first_line_of(const char *program, const char *word, char *out, size_t size)
{
    enum { LINE_BYTES = 512 };
    int pair[2], end = -1;
    out[0] = '\0';
    if (pipe(pair) != 0) {
        return false;
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pair[1], STDOUT_FILENO);
        dup2(pair[1], STDERR_FILENO);
        close(pair[0]);
        close(pair[1]);
        execl(program, program, word, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    char line[LINE_BYTES];
    ssize_t length = pid > 0 ? read(pair[0], line, sizeof(line) - 1) : 0;
    close(pair[0]);
    if (pid > 0) {
        waitpid(pid, &end, 0);
    }
    line[length > 0 ? length : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    const char *space = strchr(line, ' ');
    text_clean(space ? space + 1 : "", out, size);
    return WIFEXITED(end) && WEXITSTATUS(end) == 0;
}

void doctor_programs(struct exam *exam)
{
    static const char *const names[] = {"tailord", "tailor-worker"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[PATH_MAX], version[64];
        struct error ignored;
        if (daemon_program(names[i], path, &ignored) != STATUS_OK) {
            exam_report(exam, names[i], "not found", "ok; only tailor up needs it, beside tailor");
            continue;
        }
        first_line_of(path, "--version", version, sizeof(version));
        exam_report(exam, names[i], version[0] ? version : "does not say its version",
                    strcmp(version, TAILOR_VERSION) == 0
                        ? "ok"
                        : "bad: not of tailor's version; install them together");
    }
}

/* ---- GPUs ------------------------------------------------------------------------------------ */

void doctor_gpus(struct exam *exam, const struct gpus_found *found)
{
    char value[128], said[256];
    struct buf verdict = {0};
    if (found->driver[0] == '\0') {
        exam_report(exam, "gpu", found->card ? "a card without a driver" : "none",
                    found->card ? "look: no driver; install NVIDIA's for resources.device: cuda"
                                : "ok; jobs run on the cores");
        return;
    }
    snprintf(value, sizeof(value), "%d seen by driver %s", found->count, found->driver);
    if (found->count == 0) {
        buf_append_string(&verdict, "look: the driver sees no GPU; nvidia-smi and dmesg say more");
    } else if (found->trainer == NULL) {
        buf_append_string(&verdict,
                          "look: tailor-trainer-cuda is not there, so they will not be used");
    } else if (first_line_of(found->trainer, "device", said, sizeof(said))) {
        buf_printf(&verdict, "ok; %s", said);
    } else { /* of a driver that is too old too: CUDA's own words */
        buf_printf(&verdict, "look: %s", said[0] ? said : "tailor-trainer-cuda does not start");
    }
    exam_report(exam, "gpu", value, verdict.data);
    buf_release(&verdict);
}

/* ---- the coordinator ------------------------------------------------------------------------- */

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Its clock is somewhere between the two looks at ours. */
static void compare_clocks(struct exam *exam, int64_t before_ms, int64_t theirs_ms,
                           int64_t after_ms)
{
    char value[64];
    int64_t apart_ms = theirs_ms < before_ms  ? before_ms - theirs_ms
                       : theirs_ms > after_ms ? theirs_ms - after_ms
                                              : 0;
    snprintf(value, sizeof(value), "%.1f s apart", (double)apart_ms / 1000);
    exam_report(exam, "its clock", value,
                apart_ms > SKEW_BAD_MS ? "bad: one of the two clocks is wrong; set both by ntp"
                : apart_ms > SKEW_LOOK_MS
                    ? "look: times of logs and tokens will not agree; set both by ntp"
                    : "ok");
}

static void examine(struct exam *exam, const struct service *service, bool asked_for)
{
    struct error cause;
    json_t *reply;
    int64_t before_ms = wall_ms();
    enum status status =
        service_call(service, ROUTE_READYZ, service_request(service, ROUTE_READYZ), &reply, &cause);
    if (status == STATUS_COMMUNICATION && !asked_for && strstr(cause.text, "no coordinator")) {
        exam_report(exam, "coordinator", service->profile.server, "ok; none answers there");
        return;
    }
    if (status != STATUS_OK) {
        struct buf verdict = {0};
        buf_printf(&verdict, "bad: %s", cause.text);
        exam_report(exam, "coordinator", service->profile.server, verdict.data);
        buf_release(&verdict);
        return;
    }
    const char *version = remote_text(reply, "version");
    exam_report(exam, "coordinator", service->profile.server, "ok");
    exam_report(exam, "its version", version[0] ? version : "not said",
                strcmp(version, TAILOR_VERSION) == 0
                    ? "ok"
                    : "bad: not of tailor's version; upgrade the older of the two");
    compare_clocks(exam, before_ms, json_integer_value(json_object_get(reply, "time_ms")),
                   wall_ms());
    json_decref(reply);
}

void doctor_coordinator(struct exam *exam, const struct call *call)
{
    const struct remote_options *options = call->options;
    struct arena arena = {0};
    struct service service;
    struct error cause;
    if (remote_open(&arena, call, &service, &cause) == STATUS_OK) {
        service.timeout_s = ANSWER_S;
        examine(exam, &service, options->server != NULL);
    } else {
        struct buf verdict = {0};
        buf_printf(&verdict, "bad: %s", cause.text);
        exam_report(exam, "profile", "cannot be read", verdict.data);
        buf_release(&verdict);
    }
    arena_release(&arena);
}
