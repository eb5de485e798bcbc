/* SPDX-License-Identifier: Apache-2.0
 *
 * help: what -h says, made from the commands' constants. Brief on purpose: usage, one sentence, the
 * options, one example to copy.
 */
#include <string.h>

#include "client/command.h"

static void print_usage(const struct command *command, FILE *out)
{
    fprintf(out, "%s%s%s", command->noun, command->verb ? " " : "",
            command->verb ? command->verb : "");
    for (const struct argument *argument = command->arguments; argument->placeholder; argument++) {
        fprintf(out, argument->optional ? " [%s]" : " %s", argument->placeholder);
    }
}

static int usage_width(const struct command *command)
{
    size_t width = strlen(command->noun) + (command->verb ? 1 + strlen(command->verb) : 0);
    for (const struct argument *argument = command->arguments; argument->placeholder; argument++) {
        width += strlen(argument->placeholder) + (argument->optional ? 3 : 1);
    }
    return (int)width;
}

/* Lines of the commands of a noun (NULL: all, with a blank line between nouns). */
static void print_commands(const struct cli *cli, const char *noun, FILE *out)
{
    int widest = 0;
    for (int i = 0; i < cli->count; i++) {
        int width = usage_width(cli->commands[i]);
        widest = width > widest ? width : widest;
    }
    for (int i = 0; i < cli->count; i++) {
        const struct command *command = cli->commands[i];
        if (noun && strcmp(command->noun, noun) != 0) {
            continue;
        }
        fputs("  ", out);
        print_usage(command, out);
        fprintf(out, "%*s  %s\n", widest - usage_width(command), "", command->summary);
    }
}

void help_program(const struct cli *cli, FILE *out)
{
    fputs(
        "tailor fits a reward model to each customer: a general one first, then one small one per "
        "tenant.\n\n",
        out);
    print_commands(cli, NULL, out);
    fputs(
        "\n  -h behind any command explains it, with an example.\n"
        "\nTo begin:  tailor doctor\n"
        "           tailor run general --from ./Qwen2.5-0.5B --train prefs.jsonl --out general/\n",
        out);
}

void help_noun(const struct cli *cli, const char *noun, FILE *out)
{
    print_commands(cli, noun, out);
    fprintf(out, "\n  tailor %s VERB -h explains one, with an example.\n", noun);
}

void help_command(const struct command *command, FILE *out)
{
    struct option_row rows[OPTION_ROWS_MAX];
    size_t count = command_rows(command, rows);
    fputs("usage: tailor ", out);
    print_usage(command, out);
    fprintf(out, "%s\n\n%s.\n", command->option_count > 0 ? " [options]" : "", command->summary);
    if (command->details) {
        fprintf(out, "%s\n", command->details);
    }
    fputc('\n', out);
    option_print_help(out, rows, count);
    fprintf(out, "\nexample: %s\n", command->example);
}
