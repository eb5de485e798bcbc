/* SPDX-License-Identifier: Apache-2.0
 *
 * trainer: how the client becomes tailor-trainer. exec, not spawn: signals, exit code, terminal and
 * standard input are then the trainer's own, and nothing has to be relayed. (Several ranks:
 * gang.h.)
 */
#ifndef TAILOR_CLIENT_TRAINER_H
#define TAILOR_CLIENT_TRAINER_H

#include <stdbool.h>

#include "lib/arena.h"
#include "lib/status.h"

enum { TRAINER_WORDS_MAX = 1024 };

/* The trainer's command line; words are borrowed. */
struct trainer {
    bool cuda;                                /* tailor-trainer-cuda */
    const char *words[TRAINER_WORDS_MAX + 1]; /* words[0] is the verb */
    int count;
};

void trainer_add(struct trainer *trainer, const char *word);
/* The program: beside this one, else in PATH; NULL if it is in neither. */
const char *trainer_find(struct arena *arena, bool cuda);
/* The same, where it is needed: STATUS_NOT_FOUND. */
enum status trainer_program(struct arena *arena, const struct trainer *trainer,
                            const char **program_out, struct error *error);
/* What execv takes: the program, the words, NULL. */
const char *const *trainer_command(struct arena *arena, const struct trainer *trainer,
                                   const char *program);
/* Runs it to its end, where there is more to do behind it. STATUS_FAILED: it has said why. */
enum status trainer_run(const struct trainer *trainer, struct error *error);
/* Does not return when it succeeds. */
enum status trainer_exec(const struct trainer *trainer, struct error *error);

#endif
