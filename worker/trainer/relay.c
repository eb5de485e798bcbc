/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/trainer/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/json.h"
#include "lib/log.h"

static int relay_fd = -1;

/* How the world's failures are named to people. What the user can mend is never tried again. */
static const char *const CLASS[STATUS_COUNT] = {
    [STATUS_FAILED] = "internal",
    [STATUS_USAGE] = "user_config",
    [STATUS_NOT_FOUND] = "user_config",
    [STATUS_DENIED] = "storage",
    [STATUS_CONFLICT] = "user_config",
    [STATUS_FORMAT] = "user_data",
    [STATUS_UNSUPPORTED] = "user_config",
    [STATUS_LIMIT] = "user_data",
    [STATUS_IO] = "storage",
    [STATUS_MEMORY] = "out_of_memory",
    [STATUS_NUMERIC] = "numeric",
    [STATUS_CANCELLED] = "stopped",
    [STATUS_COMMUNICATION] = "communication",
    [STATUS_FULL] = "storage",
};

enum status relay_open(int fd, struct error *error)
{
    if (fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        return error_set(error, STATUS_USAGE, "--report-fd %d: %s", fd, strerror(errno));
    }
    if (fd >= 0) {
        signal(SIGPIPE, SIG_IGN);
    }
    relay_fd = fd;
    return STATUS_OK;
}

static void put(const struct buf *line)
{
    size_t done = 0;
    while (done < line->length) {
        ssize_t written = write(relay_fd, line->data + done, line->length - done);
        if (written < 0 && errno != EINTR) {
            log_warn("nobody hears the reports of this run: %s", strerror(errno));
            relay_fd = -1;
            return;
        }
        done += written > 0 ? (size_t)written : 0;
    }
}

void relay_line(const char *type, const json_t *fields)
{
    struct buf line = {0};
    if (relay_fd < 0) {
        return;
    }
    json_t *json = json_object();
    json_object_set_new(json, "type", json_string(type));
    json_object_update(json, (json_t *)fields); /* jansson knows no const here */
    json_append(&line, json);
    json_decref(json);
    buf_append_char(&line, '\n');
    if (line.length <= RELAY_LINE_MAX) {
        put(&line);
    }
    buf_release(&line);
}

void relay_running(int64_t step, int64_t steps)
{
    json_t *fields = json_object();
    json_object_set_new(fields, "step", json_integer(step));
    json_object_set_new(fields, "steps", json_integer(steps));
    relay_line("running", fields);
    json_decref(fields);
}

void relay_checkpoint(int64_t step, double seconds)
{
    json_t *fields = json_object();
    json_object_set_new(fields, "step", json_integer(step));
    json_object_set_new(fields, "seconds", json_real(seconds));
    relay_line("checkpoint", fields);
    json_decref(fields);
}

void relay_failure(enum status status, const char *message)
{
    json_t *fields = json_object();
    json_object_set_new(fields, "class", json_string(CLASS[status]));
    json_object_set_new(fields, "message", json_string(message));
    json_object_set_new(fields, "full", json_boolean(status == STATUS_FULL));
    relay_line("failure", fields);
    json_decref(fields);
}
