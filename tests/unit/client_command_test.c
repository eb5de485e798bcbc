/* SPDX-License-Identifier: Apache-2.0
 *
 * the command line: from words to a command, what each mistake is told, and the exit codes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/commands.h"
#include "client/doctor.h"
#include "client/offline.h"
#include "lib/arena.h"
#include "lib/table.h"
#include "tests/test.h"

/* ---- a small program of our own ---- */
struct greet_options {
    struct globals globals;
    const char *word;
};

static enum status greet_run(const struct call *call, struct error *error)
{
    const struct greet_options *options = call->options;
    if (strcmp(call->arguments[0], "nobody") == 0) {
        return error_set(error, STATUS_DENIED, "nobody is not greeted");
    }
    printf("%s %s%s\n", options->word, call->arguments[0], call->globals->quiet ? "" : "!");
    return STATUS_OK;
}

static const struct option_row greet_rows[] = {
    {"word", 'w', OPTION_STRING, offsetof(struct greet_options, word), "WORD", "the greeting"},
};

static const struct command greet = {
    .noun = "person",
    .verb = "greet",
    .summary = "Greet somebody",
    .example = "tailor person greet Ada --word hello",
    .arguments = {{.placeholder = "NAME"}, {.placeholder = "FILE|-", .optional = true}},
    OPTION_ROWS(greet_rows),
    .options_size = sizeof(struct greet_options),
    .required = "word",
    .run = greet_run};

static const struct command *const commands[] = {&greet,        &cmd_explain,     &cmd_job_init,
                                                 &cmd_job_diff, &cmd_version,     &cmd_evaluate,
                                                 &cmd_doctor,   &cmd_model_export};
static const struct cli cli = {commands, sizeof(commands) / sizeof(commands[0])};

/* Runs a command line of at most 7 words; what it printed (both streams) goes to `said`. */
struct outcome {
    int code;
    char said[32768];
};

static struct outcome *run_line(const char *const *words)
{
    static struct outcome outcome;
    int argc = 0;
    while (words[argc]) {
        argc++;
    }
    FILE *file = tmpfile();
    fflush(stdout);
    int saved[2] = {dup(1), dup(2)};
    dup2(fileno(file), 1);
    dup2(fileno(file), 2);
    outcome.code = cli_main(&cli, argc, words);
    fflush(stdout);
    dup2(saved[0], 1);
    dup2(saved[1], 2);
    close(saved[0]);
    close(saved[1]);
    rewind(file);
    size_t length = fread(outcome.said, 1, sizeof(outcome.said) - 1, file);
    outcome.said[length] = '\0';
    fclose(file);
    return &outcome;
}

#define RUN(...) run_line((const char *const[]){"tailor", __VA_ARGS__, NULL})

static void expect_line(const struct outcome *outcome, int code, const char *said)
{
    EXPECT_I64(code, outcome->code);
    EXPECT_STR(said, outcome->said);
}

TEST(a_command_gets_its_options_and_arguments)
{
    expect_line(RUN("person", "greet", "Ada", "--word", "hello"), 0, "hello Ada!\n");
    expect_line(RUN("person", "greet", "-wbye", "-q", "Ada"), 0, "bye Ada\n");
    expect_line(RUN("person", "greet", "-w", "hi", "--", "-q"), 0, "hi -q!\n");
    expect_line(RUN("person", "greet", "Ada", "-", "-wx"), 0, "x Ada!\n");
    expect_line(RUN("--version"), 0, "tailor " TAILOR_VERSION "\n");
}

TEST(a_mistake_is_one_sentence_and_exit_code_2)
{
    expect_line(RUN("persn"), 2,
                "tailor: there is no command 'tailor persn': did you mean tailor person?\n");
    expect_line(RUN("person", "great"), 2,
                "tailor: there is no command 'tailor person great': did you mean tailor person "
                "greet?\n");
    expect_line(RUN("zzz"), 2, "tailor: there is no command 'tailor zzz': see tailor -h\n");
    expect_line(RUN("person", "greet", "-wx"), 2,
                "tailor: NAME is missing: see tailor person greet -h\n");
    expect_line(RUN("person", "greet", "Ada"), 2,
                "tailor: --word WORD is missing: see tailor person greet -h\n");
    expect_line(RUN("person", "greet", "Ada", "-wx", "-", "c"), 2,
                "tailor: 'c' is one argument too many: see tailor person greet -h\n");
    expect_line(RUN("person", "greet", "Ada", "--wrd", "x"), 2,
                "tailor: unknown option --wrd: did you mean --word?\n");
    expect_line(
        RUN("person", "greet", "Ada", "-wx", "-o", "tabel"), 2,
        "tailor: unknown output format 'tabel': use table, wide, json, jsonl, csv, yaml or name\n");
    expect_line(RUN("-o", "json", "explain"), 2,
                "tailor: -o comes before the command: write it behind, as in tailor explain -o\n");
}

TEST(a_status_becomes_its_exit_code)
{
    expect_line(RUN("person", "greet", "nobody", "-wx"), 4, "tailor: nobody is not greeted\n");
    expect_line(RUN("person", "greet", "Ada", "/nonexistent", "-wx"), 3,
                "tailor: /nonexistent: no such file or directory\n");
    expect_line(RUN("explain", "train.sede"), 3,
                "tailor: no field is called train.sede: did you mean train.seed?\n");
    expect_line(RUN("job", "diff", "/tmp", "/tmp"), 3,
                "tailor: /tmp holds no run: there is no spec.json in it\n");
}

TEST(help_is_made_from_the_constant)
{
    expect_line(RUN("person", "greet", "-h"), 0,
                "usage: tailor person greet NAME [FILE|-] [options]\n\n"
                "Greet somebody.\n\n"
                "  -w, --word WORD      the greeting\n"
                "  -o, --output FORMAT  table, wide, json, jsonl, csv, yaml or name\n"
                "  -q, --quiet          no progress, no hints\n"
                "      --no-color       plain text\n"
                "  -h, --help           print this help\n\n"
                "example: tailor person greet Ada --word hello\n");
    EXPECT_CONTAINS("  person greet NAME [FILE|-]  Greet somebody\n", RUN("-h")->said);
    EXPECT_CONTAINS("  job init STAGE", RUN("job")->said);
    EXPECT_CONTAINS("usage: tailor explain", RUN("help", "explain")->said);
    EXPECT_CONTAINS("usage: tailor job init", RUN("help", "job", "init")->said);
    EXPECT_I64(2, RUN("help", "job", "inti")->code);
}

TEST(options_that_mean_a_field_are_checked_as_that_field)
{
    expect_line(
        RUN("evaluate", "/tmp", "-d", "/proc/version", "--template", "chatm"), 2,
        "tailor: --template: model.template is chatm: it must be one of auto, dsp, plain, "
        "chatml, llama3, llama2, mistral, qwen2.5, zephyr, prefixes; did you mean chatml?\n");
    expect_line(RUN("evaluate", "/tmp", "-d", "/proc/version", "--threads", "0"), 2,
                "tailor: --threads is 0: it must be a whole number from 1 to 256\n");
    expect_line(RUN("evaluate", "/tmp", "-d", "/proc/version", "--column", "prompt"), 2,
                "tailor: --column prompt: write OURS=THEIRS, as in prompt=question\n");
    expect_line(RUN("evaluate", "/proc/version", "-d", "/tmp"), 2,
                "tailor: /tmp is a directory: name a file in it\n");
    expect_line(RUN("model", "export", "/tmp", "out", "--format", "onnx"), 2,
                "tailor: --format is onnx: it must be hf or peft\n");
    expect_line(RUN("model", "export", "/tmp", "out", "--format", "peft", "--merge"), 2,
                "tailor: --merge folds the adapter into the weights, which leaves nothing for "
                "--format peft: leave one of them out\n");
}

TEST(doctor_says_a_verdict_for_every_check)
{
    struct outcome *outcome = RUN("doctor", "-o", "csv");
    EXPECT(outcome->code == 0 || outcome->code == 1); /* 1: no trainer beside this test */
    EXPECT_CONTAINS("check,value,verdict\n", outcome->said);
    static const char *const checks[] = {"\ncores,", "\ninstructions,", "\nmemory,", "\ndisk here,",
                                         "\nclock,"};
    for (int i = 0; i < 5; i++) {
        EXPECT_CONTAINS(checks[i], outcome->said);
    }
}

/* ---- what doctor says of GPUs ------------------------------------------------------------------
 */

/* One line, of a tailor-trainer-cuda that answers `answer` and ends with `code`; NULL: there is
 * none.
 */
static void expect_gpus(const char *expected, struct gpus_found found, const char *answer, int code)
{
    char path[] = "/tmp/tailor-trainer-XXXXXX", *line = NULL;
    size_t size = 0;
    if (answer != NULL) {
        int fd = mkstemp(path);
        dprintf(fd, "#!/bin/sh\n[ \"$1\" = device ] && echo 'trainer: %s' >&%d\nexit %d\n", answer,
                code == 0 ? 1 : 2, code);
        EXPECT(fchmod(fd, 0700) == 0 && close(fd) == 0);
        found.trainer = path;
    }
    struct exam exam = {.table = table_create("check", "value", "verdict")};
    doctor_gpus(&exam, &found);
    FILE *out = open_memstream(&line, &size);
    table_print(exam.table, TABLE_FORMAT_CSV, out);
    fclose(out);
    EXPECT_STR(expected, strchr(line, '\n') + 1);
    EXPECT_I64(0, exam.bad); /* a machine without a GPU is no fault */
    free(line);
    table_free(exam.table);
    unlink(path);
}

TEST(doctor_says_plainly_what_keeps_gpus_from_being_used)
{
    const struct gpus_found two = {.driver = "470.82.01", .card = true, .count = 2};
    const struct gpus_found no_driver = {.driver = "", .card = true};
    const struct gpus_found nothing = {.driver = ""};
    const struct gpus_found lost = {.driver = "580.1", .card = true};
    expect_gpus("gpu,none,ok; jobs run on the cores\n", nothing, NULL, 0);
    expect_gpus("gpu,a card without a driver,look: no driver; install NVIDIA's for "
                "resources.device: cuda\n",
                no_driver, NULL, 0);
    expect_gpus("gpu,0 seen by driver 580.1,look: the driver sees no GPU; nvidia-smi and dmesg say "
                "more\n",
                lost, "x", 0);
    expect_gpus("gpu,2 seen by driver 470.82.01,\"look: tailor-trainer-cuda is not there, so they "
                "will not be used\"\n",
                two, NULL, 0);
    expect_gpus("gpu,2 seen by driver 470.82.01,look: the driver is too old\n", two,
                "the driver is too old", 1);
    expect_gpus("gpu,2 seen by driver 470.82.01,ok; NVIDIA H100 free\n", two, "NVIDIA H100 free",
                0);
}

TEST_MAIN()
