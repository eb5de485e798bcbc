/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor completion: a bash script made from the commands' constants and the spec's table.
 *
 * The script is static: completing a word starts no process. Rejected: `complete -C tailor`, which
 * would run the program at every TAB.
 */
#include <string.h>

#include "client/commands.h"
#include "proto/spec.h"

static void verbs_of(const struct cli *cli, const char *noun)
{
    for (int i = 0; i < cli->count; i++) {
        if (strcmp(cli->commands[i]->noun, noun) == 0 && cli->commands[i]->verb) {
            printf(" %s", cli->commands[i]->verb);
        }
    }
}

static bool first_of_noun(const struct cli *cli, int index)
{
    for (int i = 0; i < index; i++) {
        if (strcmp(cli->commands[i]->noun, cli->commands[index]->noun) == 0) {
            return false;
        }
    }
    return true;
}

static void print_words(const struct cli *cli)
{
    fputs("    case \"$COMP_CWORD ${COMP_WORDS[1]}\" in\n    1\\ *) words='help", stdout);
    for (int i = 0; i < cli->count; i++) {
        if (first_of_noun(cli, i)) {
            printf(" %s", cli->commands[i]->noun);
        }
    }
    fputs("' ;;\n", stdout);
    for (int i = 0; i < cli->count; i++) {
        if (first_of_noun(cli, i) && cli->commands[i]->verb) {
            printf("    2\\ %s) words='", cli->commands[i]->noun);
            verbs_of(cli, cli->commands[i]->noun);
            fputs("' ;;\n", stdout);
        }
    }
    fputs("    esac\n", stdout);
}

static void print_options(const struct cli *cli)
{
    fputs("    case \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n", stdout);
    for (int i = 0; i < cli->count; i++) {
        const struct command *command = cli->commands[i];
        struct option_row rows[OPTION_ROWS_MAX];
        size_t count = command_rows(command, rows);
        printf("    %s\\ %s) options='--help", command->noun, command->verb ? command->verb : "*");
        for (size_t k = 0; k < count; k++) {
            printf(" --%s", rows[k].name);
        }
        fputs("' ;;\n", stdout);
    }
    fputs("    esac\n", stdout);
}

static void print_values(void)
{
    static const char *const choices[][2] = {{"--template", "model.template"},
                                             {"--overlong", "model.overlong"},
                                             {"--pooling", "model.pooling"},
                                             {"--dtype", "train.dtype"}};
    fputs("    case \"$previous\" in\n"
          "    -o|--output) words='table json jsonl csv name'; options='' ;;\n"
          "    --format) words='hf peft'; options='' ;;\n",
          stdout);
    for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        printf("    %s) words='", choices[i][0]);
        for (int value = 1; value <= spec_choice_count(choices[i][1]); value++) {
            printf(" %s", spec_choice_name(choices[i][1], value));
        }
        fputs("'; options='' ;;\n", stdout);
    }
    fputs("    explain) words=\"$fields\" ;;\n    init|run) words=\"$words", stdout);
    for (int stage = SPEC_STAGE_LM; stage <= SPEC_STAGE_SCORE; stage++) {
        printf(" %s", spec_choice_name("stage", stage));
    }
    fputs("\" ;;\n"
          "    -s|--set) COMPREPLY=($(compgen -S = -W \"$fields\" -- \"$current\"))\n"
          "        compopt -o nospace; return ;;\n"
          "    esac\n",
          stdout);
}

static enum status run(const struct call *call, struct error *error)
{
    if (strcmp(call->arguments[0], "bash") != 0) {
        return error_set(error, STATUS_USAGE,
                         "completion is there for bash: tailor completion bash");
    }
    fputs(
        "# bash completion of tailor: source <(tailor completion bash)\n"
        "_tailor()\n"
        "{\n"
        "    local current=\"${COMP_WORDS[COMP_CWORD]}\" previous=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
        "    local words='' options='' fields='",
        stdout);
    for (int i = 0; spec_field_name(i); i++) {
        printf(" %s", spec_field_name(i));
    }
    fputs("'\n", stdout);
    print_words(call->cli);
    print_options(call->cli);
    print_values();
    fputs("    case \"$current\" in\n"
          "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$current\")) ;;\n"
          "    *) COMPREPLY=($(compgen -W \"$words\" -- \"$current\")) ;;\n"
          "    esac\n"
          "}\n"
          "complete -o default -F _tailor tailor\n",
          stdout);
    return STATUS_OK;
}

const struct command cmd_completion = {.noun = "completion",
                                       .summary = "Print a completion script for the shell",
                                       .example = "source <(tailor completion bash)",
                                       .arguments = {{.placeholder = "bash"}},
                                       .run = run};
