/* SPDX-License-Identifier: Apache-2.0
 *
 * command: a command of the client is one constant; main.c lists them all.
 *
 * From a command's constant come the parsing of its options and arguments, its help, and its bash
 * completion. A command that works on tensors has no code here: it names the verb of
 * tailor-trainer that its checked options are passed on to (offline.h).
 *
 * A placeholder says what a value must be, in options as in arguments: FILE… is a file that exists,
 * FILE|- also standard input; DIR, MODEL, RUN, A and B are directories that exist; everything else
 * is a text.
 */
#ifndef TAILOR_CLIENT_COMMAND_H
#define TAILOR_CLIENT_COMMAND_H

#include <stdbool.h>
#include <stdio.h>

#include "lib/option.h"
#include "lib/status.h"
#include "lib/table.h"

enum { ARGUMENTS_MAX = 3 };

/* Options that every command takes. The first member of every command's options. */
struct globals {
    const char *output; /* -o: NULL for the command's own default */
    bool quiet, no_color;
};

struct argument {
    const char *placeholder; /* NULL behind the last */
    bool optional;
};

struct call;
struct remote;

struct command {
    const char *noun, *verb; /* `tailor run` has no verb: NULL */
    const char *summary;     /* one line */
    const char *details;     /* more lines for -h, or NULL */
    const char *example;     /* what to type, without the prompt */
    struct argument arguments[ARGUMENTS_MAX + 1];
    const struct option_row *options; /* beside the global ones */
    size_t option_count;
    size_t options_size;         /* of the struct that `options` fills */
    const char *required;        /* an option that must be given, or NULL */
    const char *trainer_verb;    /* for offline_run; else NULL */
    const struct remote *remote; /* for remote_run; else NULL */
    enum status (*run)(const struct call *call, struct error *error);
};

/* The two members that list the options. */
#define OPTION_ROWS(rows) .options = (rows), .option_count = sizeof(rows) / sizeof((rows)[0])

/* Everything that the program knows. */
struct cli {
    const struct command *const *commands;
    int count;
};

/* One parsed command line. */
struct call {
    const struct cli *cli;
    const struct command *command;
    const struct globals *globals;
    const void *options; /* the command's own struct, which begins with the globals */
    const char *arguments[ARGUMENTS_MAX];
    int argument_count;
};

/* Runs argv[1 …] and returns the exit code; errors are printed as one sentence. */
int cli_main(const struct cli *cli, int argc, const char *const *argv);

/* The rows of a command's own options and the global ones; returns how many (at most
 * OPTION_ROWS_MAX). */
enum { OPTION_ROWS_MAX = 48 };
size_t command_rows(const struct command *command, struct option_row rows[OPTION_ROWS_MAX]);

/* "tailor job rows" */
void command_name(const struct command *command, char out[64]);

/* -o, or the command's default. */
enum status call_format(const struct call *call, enum table_format fallback,
                        enum table_format *format_out, struct error *error);

/* help.c */
void help_program(const struct cli *cli, FILE *out);
void help_noun(const struct cli *cli, const char *noun, FILE *out);
void help_command(const struct command *command, FILE *out);

#endif
