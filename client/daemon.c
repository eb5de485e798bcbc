/* SPDX-License-Identifier: Apache-2.0
 *
 * daemon: see daemon.h.
 */
#include "client/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/text.h"

static void path_of(const struct daemon *daemon, const char *end, char out[PATH_MAX])
{
    CHECK(snprintf(out, PATH_MAX, "%s/%s.%s", daemon->dir, daemon->name, end) < PATH_MAX);
}

/* ---- which process --------------------------------------------------------------------------- */

/* Is it that program, with our directory among its words? */
static bool is_ours(const struct daemon *daemon, pid_t pid)
{
    char path[64], words[4096];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t length = read(fd, words, sizeof(words) - 1);
    close(fd);
    if (length <= 0) {
        return false; /* a zombie has no words */
    }
    words[length] = '\0';
    if (strcmp(path_base(words), daemon->program) != 0) {
        return false;
    }
    for (ssize_t i = 0; i < length; i += (ssize_t)strlen(words + i) + 1) {
        if (strncmp(words + i, daemon->dir, strlen(daemon->dir)) == 0) {
            return true;
        }
    }
    return false;
}

pid_t daemon_find(const struct daemon *daemon)
{
    char path[PATH_MAX];
    struct buf text = {0};
    struct error ignored;
    int64_t pid = 0;
    path_of(daemon, "pid", path);
    bool known = file_exists(path) && file_read(path, 64, &text, &ignored) == STATUS_OK &&
                 text.length > 0 && parse_i64(text.data, &pid) && pid > 1 && pid <= INT_MAX &&
                 is_ours(daemon, (pid_t)pid);
    buf_release(&text);
    return known ? (pid_t)pid : 0;
}

/* ---- start ----------------------------------------------------------------------------------- */

enum status daemon_program(const char *name, char *out, struct error *error)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    CHECK(length > 0);
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    path_join(out, PATH_MAX, self, name);
    if (access(out, X_OK) != 0) {
        return error_set(error, STATUS_NOT_FOUND, "%s is not there: install it beside tailor", out);
    }
    return STATUS_OK;
}

static void child(const char *program, const char *const *words, int input, int log)
{
    const char *all[DAEMON_WORDS_MAX + 2] = {program};
    for (int i = 0; words[i]; i++) {
        CHECK(i < DAEMON_WORDS_MAX);
        all[i + 1] = words[i];
    }
    setsid();
    dup2(input, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(program, (char *const *)all);
    _exit(127);
}

static int input_of(const char *text)
{
    int pair[2];
    if (!text) {
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    CHECK(strlen(text) <= DAEMON_INPUT_MAX && pipe2(pair, O_CLOEXEC) == 0);
    CHECK(write(pair[1], text, strlen(text)) == (ssize_t)strlen(text)); /* a pipe holds more */
    close(pair[1]);
    return pair[0];
}

enum status daemon_start(const struct daemon *daemon, const char *const *words, const char *input,
                         pid_t *pid_out, struct error *error)
{
    char program[PATH_MAX], path[PATH_MAX], text[32];
    TRY(daemon_program(daemon->program, program, error));
    path_of(daemon, "log", path);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0) {
        return error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    }
    int in = input_of(input);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        child(program, words, in, log);
    }
    int number = errno;
    close(log);
    close(in);
    if (pid < 0) {
        return error_set(error, STATUS_IO, "%s cannot be started: %s", program, strerror(number));
    }
    path_of(daemon, "pid", path);
    snprintf(text, sizeof(text), "%d", (int)pid);
    *pid_out = pid;
    return file_write_atomic(path, text, strlen(text), error);
}

static void last_line(const char *path, char *out, size_t size)
{
    struct buf text = {0};
    struct error ignored;
    out[0] = '\0';
    if (file_read(path, 64 * MIB, &text, &ignored) == STATUS_OK && text.length > 0) {
        while (text.length > 0 && text.data[text.length - 1] == '\n') {
            text.data[--text.length] = '\0';
        }
        const char *line = strrchr(text.data, '\n');
        text_clean(line ? line + 1 : text.data, out, size);
    }
    buf_release(&text);
}

enum status daemon_check(const struct daemon *daemon, pid_t pid, struct error *error)
{
    char path[PATH_MAX], line[512];
    if (waitpid(pid, NULL, WNOHANG) != pid) {
        return STATUS_OK;
    }
    path_of(daemon, "log", path);
    last_line(path, line, sizeof(line));
    return error_set(error, STATUS_FAILED, "%s ended at once: %s (all of it: %s)", daemon->name,
                     line[0] ? line : "it said nothing", path);
}

/* ---- stop ------------------------------------------------------------------------------------ */

enum status daemon_stop(const struct daemon *daemon, int patience_s, struct error *error)
{
    char path[PATH_MAX];
    pid_t pid = daemon_find(daemon);
    time_t begin = time(NULL);
    if (pid != 0 && kill(pid, SIGTERM) != 0 && errno != ESRCH) {
        return error_set(error, STATUS_DENIED, "%s (process %d) cannot be stopped: %s",
                         daemon->name, (int)pid, strerror(errno));
    }
    while (daemon_find(daemon) != 0) {
        const struct timespec pause = {.tv_nsec = 50 * 1000000L};
        if (difftime(time(NULL), begin) > patience_s) {
            return error_set(error, STATUS_FAILED, "%s (process %d) has not stopped within %d s",
                             daemon->name, (int)pid, patience_s);
        }
        nanosleep(&pause, NULL);
    }
    path_of(daemon, "pid", path);
    unlink(path);
    return STATUS_OK;
}
