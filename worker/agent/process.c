/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/agent/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/check.h"
#include "proto/rendezvous.h"

static const int WATCHED[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};

/* In the child; never returns. */
static _Noreturn void become(const struct process_options *options, pid_t parent, int printed,
                             int reports, int requests)
{
    int input = requests >= 0 ? requests : open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1); /* it died before the line above */
    for (size_t i = 0; i < sizeof(WATCHED) / sizeof(WATCHED[0]); i++)
        signal(WATCHED[i], SIG_DFL);
    if (options->cpus != NULL)
        sched_setaffinity(0, sizeof(*options->cpus), options->cpus);
    if (options->secret != NULL)
        setenv(RENDEZVOUS_SECRET_VARIABLE, options->secret, 1);
    if (options->gpu != NULL)
        setenv("CUDA_VISIBLE_DEVICES", options->gpu, 1);
    setenv("TAILOR_CACHE", options->cache, 1);
    if (dup2(input, STDIN_FILENO) < 0 || dup2(printed, STDOUT_FILENO) < 0 ||
        dup2(printed, STDERR_FILENO) < 0 || dup2(reports, PROCESS_REPORT_FD) < 0 ||
        chdir(options->dir) != 0) {
        dprintf(STDERR_FILENO, "%s: %s\n", options->dir, strerror(errno));
        _exit(1);
    }
    execv(options->words[0], (char *const *)options->words);
    dprintf(STDERR_FILENO, "cannot start %s: %s\n", options->words[0], strerror(errno));
    _exit(1);
}

/* The ends that the child gets lie above the numbers that it gives them. */
static bool pipe_make(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    int high = fcntl(ends[1], F_DUPFD_CLOEXEC, 16);
    close(ends[1]);
    ends[1] = high;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return high >= 0;
}

/* The other way round: the child reads, we write. */
static bool request_pipe_make(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    int high = fcntl(ends[0], F_DUPFD_CLOEXEC, 16);
    close(ends[0]);
    ends[0] = high;
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    return high >= 0;
}

enum status process_start(const struct process_options *options, struct process *process_out,
                          struct error *error)
{
    int printed[2] = {-1, -1}, reports[2] = {-1, -1}, requests[2] = {-1, -1};
    pid_t self = getpid(), pid = -1;
    if (pipe_make(printed) && pipe_make(reports) &&
        (!options->asked || request_pipe_make(requests)))
        pid = fork();
    if (pid == 0)
        become(options, self, printed[1], reports[1], requests[0]);
    int saved = errno;
    if (requests[0] >= 0)
        close(requests[0]);
    if (printed[1] >= 0)
        close(printed[1]);
    if (reports[1] >= 0)
        close(reports[1]);
    *process_out = (struct process){
        .pid = pid, .printed = printed[0], .reports = reports[0], .requests = requests[1]};
    if (pid < 0) {
        process_out->pid = 0;
        process_close(process_out);
        return error_set(error, STATUS_IO, "cannot start a trainer: %s", strerror(saved));
    }
    setpgid(pid, pid); /* also here: a signal sent below must find the group */
    return STATUS_OK;
}

void process_signal(const struct process *process, int number)
{
    if (process->pid > 0)
        kill(-process->pid, number);
}

bool process_reap(struct process *process)
{
    if (process->pid == 0)
        return true;
    if (waitpid(process->pid, &process->wait_status, WNOHANG) != process->pid)
        return false;
    kill(-process->pid, SIGKILL); /* what it may have started */
    process->pid = 0;
    return true;
}

ssize_t process_read(int *fd, char *block, size_t size)
{
    if (*fd < 0)
        return -1;
    ssize_t got = read(*fd, block, size);
    if (got > 0)
        return got;
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    close(*fd);
    *fd = -1;
    return -1;
}

void process_close(struct process *process)
{
    if (process->printed >= 0)
        close(process->printed);
    if (process->reports >= 0)
        close(process->reports);
    if (process->requests >= 0)
        close(process->requests);
    process->printed = process->reports = process->requests = -1;
}
