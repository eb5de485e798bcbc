/* SPDX-License-Identifier: Apache-2.0
 *
 * failpoint: counts, actions, a spec that changes while a program runs.
 */
#include "lib/failpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/file.h"
#include "tests/test.h"

/* Which of the next ten passages fail, as a row of '.' and 'x'. */
static const char *passages(const char *name)
{
    static char row[11];
    for (int i = 0; i < 10; i++)
        row[i] = failpoint_fails(name) ? 'x' : '.';
    return row;
}

TEST(a_failpoint_fires_at_its_count_or_from_there_on)
{
    unsetenv("TAILOR_FAIL");
    EXPECT_STR("..........", passages("blob_rename"));
    setenv("TAILOR_FAIL", "blob_rename:3:error", 1);
    EXPECT_STR("..........", passages("blob_write"));
    EXPECT_STR("..x.......", passages("blob_rename"));
    setenv("TAILOR_FAIL", "blob_rename:8+", 1);
    EXPECT_STR(".......xxx", passages("blob_rename"));
    unsetenv("TAILOR_FAIL");
}

TEST(the_action_chooses_the_error)
{
    setenv("TAILOR_FAIL", "blob_write:1", 1);
    errno = 0;
    EXPECT(failpoint_fails("blob_write"));
    EXPECT_I64(EIO, errno);
    setenv("TAILOR_FAIL", "blob_write:1:full", 1);
    EXPECT(failpoint_fails("blob_write"));
    EXPECT_I64(ENOSPC, errno);
    unsetenv("TAILOR_FAIL");
}

/* The wait status of a child that passes `name` once under the spec, and is sent on if it stops. */
static int child(const char *spec, const char *name)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("TAILOR_FAIL", spec, 1);
        fclose(stderr);
        _exit(failpoint_fails(name) ? 7 : 0);
    }
    EXPECT_I64(pid, waitpid(pid, &status, WUNTRACED));
    if (!WIFSTOPPED(status))
        return status;
    kill(pid, SIGCONT);
    EXPECT_I64(pid, waitpid(pid, &status, 0));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? SIGSTOP : -1;
}

TEST(a_failpoint_kills_or_stops_the_process)
{
    EXPECT_I64(SIGKILL, WTERMSIG(child("blob_write:1:kill", "blob_write")));
    EXPECT_I64(SIGSTOP, child("blob_write:1:stop", "blob_write"));
    EXPECT_I64(0, child("blob_write:2:kill", "blob_write"));
}

TEST(a_name_or_a_spec_that_is_none_ends_the_process)
{
    static const char *const bad[] = {"blob_wirte:1", "blob_write",       "blob_write:0",
                                      "blob_write:",  "blob_write:1:kil", "blob_write:x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        EXPECT_I64(SIGABRT, WTERMSIG(child(bad[i], "blob_write")));
    EXPECT_I64(SIGABRT, WTERMSIG(child("blob_write:1", "no_such_place")));
}

TEST(a_file_arms_and_disarms_a_running_program)
{
    char path[] = "/tmp/failpoint_test.XXXXXX", spec[64];
    int fd = mkstemp(path);
    REQUIRE(fd >= 0);
    close(fd);
    snprintf(spec, sizeof(spec), "@%s", path);
    setenv("TAILOR_FAIL", spec, 1);
    EXPECT_STR("..........", passages("file_fsync"));
    REQUIRE(write(fd = open(path, O_WRONLY), "blob_rename:2+\n", 15) == 15);
    close(fd);
    EXPECT_STR(".xxxxxxxxx", passages("blob_rename"));
    unlink(path);
    EXPECT_STR("..........", passages("blob_rename"));
    unsetenv("TAILOR_FAIL");
}

TEST_MAIN()
