/* SPDX-License-Identifier: Apache-2.0
 *
 * command: from words to a call. Order: command, options, arguments, and that what must exist does;
 * a command's code never sees a line that its constant forbids.
 */
#include "client/command.h"

#include <string.h>

#include "client/path.h"
#include "lib/arena.h"
#include "lib/check.h"
#include "lib/text.h"

static const struct option_row global_rows[] = {
    {"output", 'o', OPTION_STRING, offsetof(struct globals, output), "FORMAT",
     "table, wide, json, jsonl, csv, yaml or name"},
    {"quiet", 'q', OPTION_FLAG, offsetof(struct globals, quiet), NULL, "no progress, no hints"},
    {"no-color", 0, OPTION_FLAG, offsetof(struct globals, no_color), NULL, "plain text"},
};
enum { GLOBAL_ROWS = sizeof(global_rows) / sizeof(global_rows[0]) };

size_t command_rows(const struct command *command, struct option_row rows[OPTION_ROWS_MAX])
{
    CHECK(command->option_count + GLOBAL_ROWS <= OPTION_ROWS_MAX);
    size_t count = 0;
    for (size_t i = 0; i < command->option_count; i++) {
        rows[count++] = command->options[i];
    }
    for (size_t i = 0; i < GLOBAL_ROWS; i++) {
        rows[count++] = global_rows[i];
    }
    return count;
}

void command_name(const struct command *command, char out[64])
{
    snprintf(out, 64, "tailor %s%s%s", command->noun, command->verb ? " " : "",
             command->verb ? command->verb : "");
}

enum status call_format(const struct call *call, enum table_format fallback,
                        enum table_format *format_out, struct error *error)
{
    *format_out = fallback;
    return call->globals->output ? table_format_parse(call->globals->output, format_out, error)
                                 : STATUS_OK;
}

/* ---- options and arguments ---- */
/* Options with a path that must exist, and the one that must be given. */
static enum status check_options(const struct command *command, const char *options,
                                 struct error *error)
{
    for (size_t i = 0; i < command->option_count; i++) {
        const struct option_row *row = &command->options[i];
        const struct option_list *list = (const void *)(options + row->offset);
        const char *text = NULL;
        bool given = false;
        if (row->type == OPTION_STRING) {
            memcpy(&text, options + row->offset, sizeof(text));
            given = text != NULL;
        } else if (row->type == OPTION_LIST) {
            given = list->count > 0;
        }
        if (!given && command->required && strcmp(row->name, command->required) == 0) {
            char name[64];
            command_name(command, name);
            return error_set(error, STATUS_USAGE, "--%s %s is missing: see %s -h", row->name,
                             row->placeholder, name);
        }
        if (text) {
            TRY(path_check(row->placeholder, text, error));
        }
        for (int k = 0; row->type == OPTION_LIST && k < list->count; k++) {
            TRY(path_check(row->placeholder, list->items[k], error));
        }
    }
    return STATUS_OK;
}

static enum status take_arguments(const struct command *command, const struct option_list *given,
                                  struct call *call, struct error *error)
{
    char name[64];
    command_name(command, name);
    int most = 0;
    int least = 0;
    for (; command->arguments[most].placeholder; most++) {
        least += !command->arguments[most].optional;
    }
    if (given->count < least) {
        return error_set(error, STATUS_USAGE, "%s is missing: see %s -h",
                         command->arguments[given->count].placeholder, name);
    }
    if (given->count > most) {
        return error_set(error, STATUS_USAGE, "'%s' is one argument too many: see %s -h",
                         given->items[most], name);
    }
    for (int i = 0; i < given->count; i++) {
        TRY(path_check(command->arguments[i].placeholder, given->items[i], error));
        call->arguments[i] = given->items[i];
    }
    call->argument_count = given->count;
    return STATUS_OK;
}

static enum status command_run(const struct cli *cli, const struct command *command, int argc,
                               const char *const *argv, struct error *error)
{
    struct option_row rows[OPTION_ROWS_MAX];
    size_t count = command_rows(command, rows);
    size_t size = command->options_size > 0 ? command->options_size : sizeof(struct globals);
    struct option_list *positional = mem_alloc(sizeof(*positional));
    char *options = mem_alloc(size);
    struct call call = {.cli = cli,
                        .command = command,
                        .globals = (const struct globals *)(const void *)options,
                        .options = options};
    enum table_format format;
    enum status status = option_parse(rows, count, argc, argv, options, positional, error);
    if (status == STATUS_CANCELLED) {
        help_command(command, stdout);
        status = STATUS_OK;
    } else if (status == STATUS_OK && (status = check_options(command, options, error)) == 0 &&
               (status = call_format(&call, TABLE_FORMAT_TABLE, &format, error)) == 0 &&
               (status = take_arguments(command, positional, &call, error)) == 0) {
        status = command->run(&call, error);
    }
    mem_free(positional);
    mem_free(options);
    return status;
}

/* ---- which command ---- */
static bool is_help(const char *word)
{
    return strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "help") == 0;
}

/* The command of a noun and a verb (NULL: without one). */
static const struct command *find(const struct cli *cli, const char *noun, const char *verb)
{
    for (int i = 0; i < cli->count; i++) {
        const struct command *command = cli->commands[i];
        bool same_verb =
            verb && command->verb ? strcmp(command->verb, verb) == 0 : verb == command->verb;
        if (strcmp(command->noun, noun) == 0 && same_verb) {
            return command;
        }
    }
    return NULL;
}

static bool is_noun(const struct cli *cli, const char *noun)
{
    for (int i = 0; i < cli->count; i++) {
        if (strcmp(cli->commands[i]->noun, noun) == 0) {
            return true;
        }
    }
    return false;
}

/* `noun` NULL: the word should have been a noun; else a verb of it. */
static enum status unknown_word(const struct cli *cli, const char *noun, const char *word,
                                struct error *error)
{
    const char **names = mem_alloc(sizeof(*names) * (size_t)cli->count);
    size_t count = 0;
    for (int i = 0; i < cli->count; i++) {
        const struct command *command = cli->commands[i];
        if (!noun) {
            names[count++] = command->noun;
        } else if (strcmp(command->noun, noun) == 0) {
            names[count++] = command->verb;
        }
    }
    const char *near = nearest_name(word, names, count);
    const char *space = noun ? " " : "";
    noun = noun ? noun : "";
    enum status status =
        near ? error_set(error, STATUS_USAGE,
                         "there is no command 'tailor %s%s%s': did you mean tailor %s%s%s?", noun,
                         space, word, noun, space, near)
             : error_set(error, STATUS_USAGE,
                         "there is no command 'tailor %s%s%s': see tailor %s%s-h", noun, space,
                         word, noun, space);
    mem_free(names);
    return status;
}

/* `tailor help [NOUN [VERB]]`; words[0] is behind the "help". */
static enum status help(const struct cli *cli, int count, const char *const *words,
                        struct error *error)
{
    if (count == 0) {
        help_program(cli, stdout);
        return STATUS_OK;
    }
    const struct command *command = find(cli, words[0], count > 1 ? words[1] : NULL);
    if (command) {
        help_command(command, stdout);
    } else if (count == 1 && is_noun(cli, words[0])) {
        help_noun(cli, words[0], stdout);
    } else {
        return unknown_word(cli, is_noun(cli, words[0]) ? words[0] : NULL,
                            count > 1 && is_noun(cli, words[0]) ? words[1] : words[0], error);
    }
    return STATUS_OK;
}

static enum status dispatch(const struct cli *cli, int argc, const char *const *argv,
                            struct error *error)
{
    if (argc < 2 || is_help(argv[1])) {
        return help(cli, argc < 2 ? 0 : argc - 2, argv + 2, error);
    }
    const char *noun = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
    if (noun[0] == '-') {
        return error_set(error, STATUS_USAGE,
                         "%s comes before the command: write it behind, as in "
                         "tailor explain %s",
                         noun, noun);
    }
    const struct command *command = find(cli, noun, NULL);
    if (command) {
        return command_run(cli, command, argc - 2, argv + 2, error);
    }
    if (!is_noun(cli, noun)) {
        return unknown_word(cli, NULL, noun, error);
    }
    if (argc < 3 || is_help(argv[2])) {
        help_noun(cli, noun, stdout);
        return STATUS_OK;
    }
    command = find(cli, noun, argv[2]);
    if (!command) {
        return unknown_word(cli, noun, argv[2], error);
    }
    return command_run(cli, command, argc - 3, argv + 3, error);
}

int cli_main(const struct cli *cli, int argc, const char *const *argv)
{
    struct error error = {0};
    enum status status = dispatch(cli, argc, argv, &error);
    if (status == STATUS_OK && (fflush(stdout) != 0 || ferror(stdout))) {
        status = error_set(&error, STATUS_IO, "cannot write to standard output");
    }
    if (status != STATUS_OK) {
        fprintf(stderr, "tailor: %s\n", error.text);
    }
    return status_exit_code(status);
}
