/* SPDX-License-Identifier: Apache-2.0
 *
 * One thread and no handler: signals are blocked and taken by sigtimedwait, so nothing races.
 *
 * Who failed first is not who ended first: a rank that only lost the others ends with the exit code
 * of STATUS_COMMUNICATION, and is never the cause.
 */
#include "client/gang.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "proto/rendezvous.h"

enum { TAIL_BYTES = 2048 };

struct rank {
    pid_t pid;   /* 0: not running */
    int printed; /* a file in memory; −1: the terminal */
};

struct gang {
    int32_t ranks;
    struct rank rank[RENDEZVOUS_RANKS_MAX];
    int32_t cause;     /* the rank that failed first; −1: none yet */
    int cause_status;  /* as waitpid gave it */
    bool failed;       /* any rank ended with something else than 0 */
    bool killing;      /* what ends now ends by us */
    int stop_signals;  /* taken so far */
    double kill_after; /* monotonic seconds, once failed */
};

/* ---- where the ranks meet -------------------------------------------------------------------- */

static enum status random_hex(struct arena *arena, size_t bytes, const char **hex_out,
                              struct error *error)
{
    uint8_t value[RENDEZVOUS_SECRET_BYTES];
    CHECK(bytes <= sizeof(value));
    if (getrandom(value, bytes, 0) != (ssize_t)bytes) {
        return error_set(error, STATUS_IO, "no random bytes: %s", strerror(errno));
    }
    char *hex = arena_alloc(arena, 2 * bytes + 1);
    for (size_t i = 0; i < bytes; i++) {
        snprintf(hex + 2 * i, 3, "%02x", value[i]);
    }
    *hex_out = hex;
    return STATUS_OK;
}

/* A port that is free now; the socket keeps it from being given twice. */
static enum status port_reserve(int *socket_out, int *port_out, struct error *error)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        enum status status =
            error_set(error, STATUS_IO, "no port of 127.0.0.1 is free: %s", strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return status;
    }
    *socket_out = fd;
    *port_out = ntohs(address.sin_port);
    return STATUS_OK;
}

/* "127.0.0.1:40001,127.0.0.1:40002" */
static enum status endpoints_reserve(struct arena *arena, int32_t ranks, const char **list_out,
                                     struct error *error)
{
    int sockets[RENDEZVOUS_RANKS_MAX];
    const char *list = "";
    enum status status = STATUS_OK;
    int32_t count = 0;
    for (int port; count < ranks; count++) {
        status = port_reserve(&sockets[count], &port, error);
        if (status != STATUS_OK) {
            break;
        }
        list = arena_printf(arena, "%s%s127.0.0.1:%d", list, count > 0 ? "," : "", port);
    }
    for (int32_t i = 0; i < count; i++) {
        close(sockets[i]);
    }
    *list_out = list;
    return status;
}

static enum status rendezvous_choose(struct arena *arena, int32_t ranks, bool tcp,
                                     const char **rendezvous_out, struct error *error)
{
    const char *secret;
    TRY(random_hex(arena, RENDEZVOUS_SECRET_BYTES, &secret, error));
    setenv(RENDEZVOUS_SECRET_VARIABLE, secret, 1); /* the ranks inherit it */
    if (tcp) {
        return endpoints_reserve(arena, ranks, rendezvous_out, error);
    }
    return random_hex(arena, 8, rendezvous_out, error);
}

/* ---- starting -------------------------------------------------------------------------------- */

static sigset_t watched_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    return set;
}

/* In the child of rank r: of the GPUs that are seen here it sees the r-th alone; behind the last
 * none, and says so. */
static void see_one_gpu(int32_t r)
{
    enum { NAME_BYTES = 128 };
    char name[NAME_BYTES] = "";
    const char *seen = getenv("CUDA_VISIBLE_DEVICES");
    if (seen == NULL) {
        snprintf(name, sizeof(name), "%d", r);
    } else {
        for (; r > 0 && *seen != '\0'; r--) {
            seen += strcspn(seen, ",");
            seen += *seen == ',';
        }
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(seen, ","), seen);
    }
    setenv("CUDA_VISIBLE_DEVICES", name, 1);
}

/* In the child; never returns. */
static _Noreturn void become_rank(pid_t parent, int printed, const char *const *words)
{
    sigset_t watched = watched_signals();
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1); /* it died before the line above */
    }
    if (printed >= 0 && (dup2(printed, STDOUT_FILENO) < 0 || dup2(printed, STDERR_FILENO) < 0)) {
        _exit(1);
    }
    sigprocmask(SIG_UNBLOCK, &watched, NULL);
    signal(SIGTTOU, SIG_IGN); /* in the background of its terminal rank 0 may still write there */
    execv(words[0], (char *const *)words);
    dprintf(STDERR_FILENO, "tailor: cannot start %s: %s\n", words[0], strerror(errno));
    _exit(1);
}

static enum status rank_start(struct gang *gang, int32_t r, struct arena *arena,
                              const char *program, const struct trainer *trainer,
                              struct error *error)
{
    struct trainer *own = arena_new(arena, struct trainer);
    *own = *trainer;
    trainer_add(own, "--rank");
    trainer_add(own, arena_printf(arena, "%d", r));
    struct rank *rank = &gang->rank[r];
    const char *const *words = trainer_command(arena, own, program);
    rank->printed = r == 0 ? -1 : memfd_create("tailor-rank", MFD_CLOEXEC);
    if (r > 0 && rank->printed < 0) {
        return error_set(error, STATUS_IO, "no file in memory: %s", strerror(errno));
    }
    pid_t self = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        return error_set(error, STATUS_IO, "cannot start rank %d: %s", r, strerror(errno));
    }
    if (pid == 0) {
        if (trainer->cuda) {
            see_one_gpu(r);
        }
        become_rank(self, rank->printed, words);
    }
    setpgid(pid, pid); /* also here: a signal sent below must find the group */
    rank->pid = pid;
    return STATUS_OK;
}

/* ---- watching -------------------------------------------------------------------------------- */

static void signal_all(const struct gang *gang, int number)
{
    for (int32_t r = 0; r < gang->ranks; r++) {
        if (gang->rank[r].pid > 0) {
            kill(-gang->rank[r].pid, number);
        }
    }
}

static void kill_all(struct gang *gang)
{
    gang->killing = true;
    signal_all(gang, SIGKILL);
}

static bool is_cause(int status)
{
    return WIFSIGNALED(status) || (WEXITSTATUS(status) != 0 &&
                                   WEXITSTATUS(status) != status_exit_code(STATUS_COMMUNICATION));
}

static void rank_ended(struct gang *gang, pid_t pid, int status)
{
    int32_t r = 0;
    while (r < gang->ranks && gang->rank[r].pid != pid) {
        r++;
    }
    if (r == gang->ranks) {
        return;
    }
    gang->rank[r].pid = 0;
    if (gang->killing || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        return;
    }
    if (!gang->failed) {
        gang->failed = true;
        gang->kill_after = monotonic_s() + GANG_GRACE_S;
    }
    if (gang->cause < 0 && is_cause(status)) {
        gang->cause = r;
        gang->cause_status = status;
    }
}

static void reap(struct gang *gang)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        rank_ended(gang, pid, status);
    }
}

static bool any_running(const struct gang *gang)
{
    for (int32_t r = 0; r < gang->ranks; r++) {
        if (gang->rank[r].pid > 0) {
            return true;
        }
    }
    return false;
}

static void watch(struct gang *gang)
{
    const sigset_t watched = watched_signals();
    const struct timespec a_while = {.tv_nsec = 200 * 1000 * 1000};
    for (reap(gang); any_running(gang); reap(gang)) {
        int number = sigtimedwait(&watched, NULL, &a_while);
        if (number > 0 && number != SIGCHLD) {
            if (gang->stop_signals++ > 0 || gang->rank[0].pid == 0) {
                kill_all(gang);
            } else {
                kill(-gang->rank[0].pid, SIGTERM);
            }
        }
        if (gang->failed && !gang->killing && monotonic_s() >= gang->kill_after) {
            kill_all(gang);
        }
    }
}

/* ---- afterwards ------------------------------------------------------------------------------ */

/* The end of what a rank printed, each line with its number. */
static void show_printed(const struct gang *gang, int32_t r)
{
    char text[TAIL_BYTES + 1];
    int fd = gang->rank[r].printed;
    off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    off_t begin = size > TAIL_BYTES ? size - TAIL_BYTES : 0;
    ssize_t length = fd >= 0 ? pread(fd, text, TAIL_BYTES, begin) : 0;
    text[length > 0 ? length : 0] = '\0';
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] != '\0') {
            fprintf(stderr, "rank %d: %s\n", r, line);
        }
    }
}

static int exit_code(const struct gang *gang)
{
    if (gang->cause >= 0) {
        show_printed(gang, gang->cause);
        if (WIFSIGNALED(gang->cause_status)) {
            int number = WTERMSIG(gang->cause_status);
            fprintf(stderr,
                    "tailor: rank %d was ended by signal %d (%s), and with it the run; go on with "
                    "--resume\n",
                    gang->cause, number, strsignal(number));
            return 1;
        }
        return WEXITSTATUS(gang->cause_status);
    }
    return gang->stop_signals > 0 && gang->killing ? 8 : gang->failed;
}

enum status gang_exec(const struct trainer *trainer, int32_t ranks, bool tcp, struct error *error)
{
    CHECK(ranks >= 1 && ranks <= RENDEZVOUS_RANKS_MAX);
    struct arena arena = {0};
    struct gang gang = {.ranks = ranks, .cause = -1};
    struct trainer *common = arena_new(&arena, struct trainer);
    const char *program, *rendezvous;
    TRY(trainer_program(&arena, trainer, &program, error));
    TRY(rendezvous_choose(&arena, ranks, tcp, &rendezvous, error));
    *common = *trainer;
    const char *const words[] = {"--ranks",      arena_printf(&arena, "%d", ranks),
                                 "--comm",       tcp ? "tcp" : "shm",
                                 "--rendezvous", rendezvous};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        trainer_add(common, words[i]);
    }
    const sigset_t watched = watched_signals();
    sigprocmask(SIG_BLOCK, &watched, NULL);
    fflush(stdout);
    enum status status = STATUS_OK;
    for (int32_t r = 0; r < ranks && status == STATUS_OK; r++) {
        status = rank_start(&gang, r, &arena, program, common, error);
    }
    if (status != STATUS_OK) {
        kill_all(&gang);
    }
    watch(&gang);
    arena_release(&arena);
    if (status != STATUS_OK) {
        return status;
    }
    exit(exit_code(&gang));
}
