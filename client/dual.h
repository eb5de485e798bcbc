/* SPDX-License-Identifier: Apache-2.0
 *
 * dual: commands whose argument is a thing of this machine or one of the service (`tailor job rows
 * support/` and `tailor job rows j-17`).
 *
 * Such a command shows the options of both; dual_run() goes on as one of them, a command with its
 * own rows only, so an option of the other side is not passed on.
 */
#ifndef TAILOR_CLIENT_DUAL_H
#define TAILOR_CLIENT_DUAL_H

#include "client/offline.h"
#include "client/remote.h"

struct dual_options {
    struct offline_options offline; /* first: it begins with the globals */
    struct remote_options remote;
};

#define DUAL_ROW(name, letter, type, member, placeholder, help)                                    \
    {                                                                                              \
        name, letter, type,                                                                        \
            offsetof(struct dual_options, remote) + offsetof(struct remote_options, member),       \
            placeholder, help                                                                      \
    }
/* Whose jobs. */
#define DUAL_SERVICE_ROWS                                                                          \
    DUAL_ROW("server", 0, OPTION_STRING, server, "URL", "of the service: the coordinator"),        \
        DUAL_ROW("profile", 0, OPTION_STRING, profile, "NAME", "of the service: whose token"),     \
        DUAL_ROW("ca", 0, OPTION_STRING, ca, "FILE",                                               \
                 "of the service: PEM file to check its certificate with")
#define DUAL_ROWS                                                                                  \
    DUAL_SERVICE_ROWS, DUAL_ROW("tenant", 0, OPTION_STRING, tenant, "NAME", "of the service: whose")

/* `command` is the one of the two sides; its options lie in `options`, its own struct. */
enum status dual_run(const struct call *call, const struct command *command, bool of_service,
                     struct error *error);

/* For the trainer's commands that read the directory of a run: a job's files are fetched first. */
enum status dual_run_files(const struct call *call, struct error *error);
/* The directory of a run or of a job. */
enum status dual_dir(struct arena *arena, const struct call *call, const char *text,
                     const char **dir_out, struct error *error);
/* The sentence about what is neither; STATUS_NOT_FOUND. */
enum status dual_neither(const char *text, struct error *error);

#endif
