/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor completion: scripts for bash, zsh and fish, made from the commands' constants and the
 * spec's table.
 *
 * They are static: completing a word starts no process. Rejected: `complete -C tailor`, which
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
          "    -o|--output) words='table wide json jsonl csv yaml name'; options='' ;;\n"
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
    for (int stage = SPEC_STAGE_LM; stage <= SPEC_STAGE_SERVE; stage++) {
        printf(" %s", spec_choice_name("stage", stage));
    }
    fputs("\" ;;\n"
          "    -s|--set) COMPREPLY=($(compgen -S = -W \"$fields\" -- \"$current\"))\n"
          "        compopt -o nospace; return ;;\n"
          "    esac\n",
          stdout);
}

static void print_bash(const struct cli *cli)
{
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
    print_words(cli);
    print_options(cli);
    print_values();
    fputs("    case \"$current\" in\n"
          "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$current\")) ;;\n"
          "    *) COMPREPLY=($(compgen -W \"$words\" -- \"$current\")) ;;\n"
          "    esac\n"
          "}\n"
          "complete -o default -F _tailor tailor\n",
          stdout);
}

/* ---- words with their help, for zsh and fish ---- */
/* A text inside single quotes: zsh and fish both leave them for one that is escaped. */
static void put_quoted(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'') {
            fputs("'\\''", stdout);
        } else {
            putchar(*text);
        }
    }
    putchar('\'');
}

/* What a noun is for: its own summary, or its verbs. */
static void put_noun_help(const struct cli *cli, int index)
{
    if (cli->commands[index]->verb) {
        verbs_of(cli, cli->commands[index]->noun);
        putchar('\'');
    } else {
        put_quoted(cli->commands[index]->summary);
    }
}

static void print_zsh_verbs(const struct cli *cli, int first)
{
    printf("    3\\ %s) items=(", cli->commands[first]->noun);
    for (int i = first; i < cli->count; i++) {
        if (strcmp(cli->commands[i]->noun, cli->commands[first]->noun) == 0) {
            printf(" '%s:", cli->commands[i]->verb);
            put_quoted(cli->commands[i]->summary);
        }
    }
    fputs(") ;;\n", stdout);
}

static void print_zsh_options(const struct command *command)
{
    struct option_row rows[OPTION_ROWS_MAX];
    size_t count = command_rows(command, rows);
    printf("        %s\\ %s) items=('--help:explain the command'", command->noun,
           command->verb ? command->verb : "*");
    for (size_t i = 0; i < count; i++) {
        printf(" '--%s:", rows[i].name);
        put_quoted(rows[i].help);
    }
    fputs(") ;;\n", stdout);
}

static void print_zsh(const struct cli *cli)
{
    fputs("#compdef tailor\n"
          "# zsh completion of tailor: source <(tailor completion zsh)\n"
          "_tailor()\n{\n    local -a items\n    case \"$CURRENT $words[2]\" in\n"
          "    2\\ *) items=(",
          stdout);
    for (int i = 0; i < cli->count; i++) {
        if (first_of_noun(cli, i)) {
            printf(" '%s:", cli->commands[i]->noun);
            put_noun_help(cli, i);
        }
    }
    fputs(") ;;\n", stdout);
    for (int i = 0; i < cli->count; i++) {
        if (first_of_noun(cli, i) && cli->commands[i]->verb) {
            print_zsh_verbs(cli, i);
        }
    }
    fputs("    esac\n    if [[ $words[CURRENT] == -* ]]; then\n"
          "        case \"$words[2] $words[3]\" in\n",
          stdout);
    for (int i = 0; i < cli->count; i++) {
        print_zsh_options(cli->commands[i]);
    }
    fputs("        esac\n    fi\n"
          "    if (( $#items )); then _describe tailor items; else _files; fi\n}\n"
          "compdef _tailor tailor\n",
          stdout);
}

static void print_fish_options(const struct command *command)
{
    struct option_row rows[OPTION_ROWS_MAX];
    size_t count = command_rows(command, rows);
    for (size_t i = 0; i < count; i++) {
        printf("complete -c tailor -n '__fish_seen_subcommand_from %s%s%s' -l %s", command->noun,
               command->verb ? "; and __fish_seen_subcommand_from " : "",
               command->verb ? command->verb : "", rows[i].name);
        if (rows[i].letter) {
            printf(" -s %c", rows[i].letter);
        }
        printf("%s -d '", rows[i].placeholder ? " -r" : "");
        put_quoted(rows[i].help);
        putchar('\n');
    }
}

static void print_fish(const struct cli *cli)
{
    fputs("# fish completion of tailor: tailor completion fish | source\n", stdout);
    for (int i = 0; i < cli->count; i++) {
        const struct command *command = cli->commands[i];
        if (first_of_noun(cli, i)) {
            printf("complete -c tailor -f -n __fish_use_subcommand -a %s -d '", command->noun);
            put_noun_help(cli, i);
            putchar('\n');
        }
        if (command->verb) {
            printf("complete -c tailor -f -n '__fish_seen_subcommand_from %s; and test (count "
                   "(commandline -opc)) -eq 2' -a %s -d '",
                   command->noun, command->verb);
            put_quoted(command->summary);
            putchar('\n');
        }
        print_fish_options(command);
    }
}

static enum status run(const struct call *call, struct error *error)
{
    static const struct {
        const char *shell;
        void (*print)(const struct cli *cli);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++) {
        if (strcmp(call->arguments[0], shells[i].shell) == 0) {
            shells[i].print(call->cli);
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_USAGE,
                     "completion is there for bash, zsh and fish: tailor completion bash");
}

const struct command cmd_completion = {.noun = "completion",
                                       .summary = "Print a completion script for the shell",
                                       .example = "source <(tailor completion bash)",
                                       .arguments = {{.placeholder = "bash|zsh|fish"}},
                                       .run = run};
