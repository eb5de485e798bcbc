/* SPDX-License-Identifier: Apache-2.0
 *
 * trainer: found beside the running `tailor` first, so a build tree and an installation never mix.
 */
#include "client/trainer.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/file.h"

static const char *program_name(bool cuda)
{
    return cuda ? "tailor-trainer-cuda" : "tailor-trainer";
}

void trainer_add(struct trainer *trainer, const char *word)
{
    CHECK(trainer->count < TRAINER_WORDS_MAX); /* 256 arguments and 256 of each list at most */
    trainer->words[trainer->count++] = word;
}

static const char *executable_in(struct arena *arena, const char *dir, size_t length,
                                 const char *name)
{
    const char *path = length == 0 ? name : arena_printf(arena, "%.*s/%s", (int)length, dir, name);
    return file_size(path) >= 0 && access(path, X_OK) == 0 ? path : NULL;
}

const char *trainer_find(struct arena *arena, bool cuda)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length > 0) {
        self[length] = '\0';
        size_t dir = (size_t)(path_base(self) - self);
        const char *path = executable_in(arena, self, dir > 1 ? dir - 1 : dir, program_name(cuda));
        if (path) {
            return path;
        }
    }
    const char *at = getenv("PATH");
    while (at && *at) {
        size_t part = strcspn(at, ":");
        const char *path = executable_in(arena, at, part, program_name(cuda));
        if (path) {
            return path;
        }
        at += part + (at[part] == ':');
    }
    return NULL;
}

enum status trainer_program(struct arena *arena, const struct trainer *trainer,
                            const char **program_out, struct error *error)
{
    const char *program = trainer_find(arena, trainer->cuda);
    if (!program) {
        return error_set(error, STATUS_NOT_FOUND,
                         "%s is neither beside tailor nor in PATH: install both programs together",
                         program_name(trainer->cuda));
    }
    *program_out = program;
    return STATUS_OK;
}

const char *const *trainer_command(struct arena *arena, const struct trainer *trainer,
                                   const char *program)
{
    const char **words = arena_array(arena, const char *, trainer->count + 2);
    words[0] = program;
    for (int i = 0; i < trainer->count; i++) {
        words[i + 1] = trainer->words[i];
    }
    return words;
}

enum status trainer_run(const struct trainer *trainer, struct error *error)
{
    int end = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct error cause;
        trainer_exec(trainer, &cause);
        fprintf(stderr, "tailor: %s\n", cause.text);
        _exit(1);
    }
    if (pid < 0 || waitpid(pid, &end, 0) != pid) {
        return error_set(error, STATUS_IO, "cannot start %s: %s", program_name(trainer->cuda),
                         strerror(errno));
    }
    return WIFEXITED(end) && WEXITSTATUS(end) == 0
               ? STATUS_OK
               : error_set(error, STATUS_FAILED, "%s did not succeed", trainer->words[0]);
}

enum status trainer_exec(const struct trainer *trainer, struct error *error)
{
    struct arena arena = {0};
    const char *program;
    enum status status = trainer_program(&arena, trainer, &program, error);
    if (status == STATUS_OK) {
        fflush(stdout);
        execv(program, (char *const *)trainer_command(&arena, trainer, program));
        status = error_set(error, STATUS_FAILED, "cannot start %s: %s", program, strerror(errno));
    }
    arena_release(&arena);
    return status;
}
