/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor run: a job without a service: file and options → resolved spec → RUN/spec.json → trainer.
 *
 * RUN/spec.json holds absolute paths and every value, so the run directory says by itself what was
 * done, and --resume needs nothing else. A directory that already holds a run is never overwritten.
 * Rejected: handing the options on to the trainer; then two programs would resolve a spec.
 */
#include <stdio.h>
#include <string.h>

#include "client/commands.h"
#include "client/differences.h"
#include "client/gang.h"
#include "client/offline.h"
#include "client/path.h"
#include "client/trainer.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/pool.h"
#include "proto/spec.h"

struct run_options {
    struct globals globals;
    const char *file, *from, *out, *domain, *share;
    struct option_list train, eval, enrich, set;
    const char *ranks, *comm;
    int64_t threads;
    bool plan, resume, verify_packing;
};

#define ROW(name, letter, type, member, placeholder, help)                                         \
    {                                                                                              \
        name, letter, type, offsetof(struct run_options, member), placeholder, help                \
    }

static const struct option_row rows[] = {
    ROW("file", 'f', OPTION_STRING, file, "FILE", "the spec (YAML or JSON); options win over it"),
    ROW("from", 0, OPTION_STRING, from, "DIR", "base or model to start from"),
    ROW("train", 't', OPTION_LIST, train, "FILE", "data to train on; may repeat"),
    ROW("eval", 'e', OPTION_LIST, eval, "FILE", "data to measure on; may repeat"),
    ROW("enrich", 0, OPTION_LIST, enrich, "FILE", "general data to mix in (customize); may repeat"),
    ROW("share", 0, OPTION_STRING, share, "PART", "its share of the mix; default 0.2"),
    ROW("domain", 0, OPTION_STRING, domain, "NAME", "preferred domain of --train and --eval (DSP)"),
    ROW("set", 's', OPTION_LIST, set, "KEY=VALUE", "any field of the spec; may repeat"),
    ROW("out", 0, OPTION_STRING, out, "OUT", "the run's directory; default runs/NAME"),
    ROW("plan", 'n', OPTION_FLAG, plan, NULL, "print memory ledger and steps, train nothing"),
    ROW("resume", 0, OPTION_FLAG, resume, NULL, "go on with the run in --out, to the bit"),
    ROW("threads", 0, OPTION_I64, threads, "N", "threads of a rank; default: all cores, shared"),
    ROW("ranks", 0, OPTION_STRING, ranks, "N", "processes that share each step; the same bits"),
    ROW("comm", 0, OPTION_STRING, comm, "WIRE", "between ranks: shm (default) or tcp"),
    ROW("verify-packing", 0, OPTION_FLAG, verify_packing, NULL,
        "first show that packed and padded rewards are equal"),
};

/* ---- options → overrides ---- */
struct overrides {
    struct spec_override items[4 * OPTION_LIST_MAX + 16];
    int count;
};

static void add_text(struct overrides *overrides, const char *origin, const char *key,
                     const char *value)
{
    if (value) {
        overrides->items[overrides->count++] =
            (struct spec_override){.key = key, .value = value, .origin = origin, .text = true};
    }
}

static void add_list(struct overrides *overrides, const char *origin, const char *key,
                     const struct option_list *list)
{
    for (int i = 0; i < list->count; i++) {
        add_text(overrides, origin, key, list->items[i]);
        overrides->items[overrides->count - 1].append = i > 0; /* the first replaces the file's */
    }
}

static enum status collect(struct arena *arena, const struct call *call,
                           struct overrides *overrides, struct error *error)
{
    const struct run_options *options = call->options;
    if (call->argument_count > 0) {
        enum spec_stage stage;
        TRY(spec_stage_parse(call->arguments[0], &stage, error));
        add_text(overrides, "tailor run", "stage", call->arguments[0]);
    }
    add_text(overrides, "--from", "from", options->from);
    add_list(overrides, "--train", "data.train", &options->train);
    add_list(overrides, "--eval", "data.eval", &options->eval);
    add_list(overrides, "--enrich", "data.enrich.sources", &options->enrich);
    add_text(overrides, "--share", "data.enrich.share", options->share);
    add_text(overrides, "--domain", "data.train.domain", options->domain);
    if (options->eval.count > 0) {
        add_text(overrides, "--domain", "data.eval.domain", options->domain);
    }
    add_text(overrides, "--ranks", "resources.ranks", options->ranks);
    add_text(overrides, "--out", "output.dir", options->out);
    for (int i = 0; i < options->set.count; i++) {
        TRY(spec_override_parse(arena, options->set.items[i], &overrides->items[overrides->count],
                                error));
        overrides->count++;
    }
    return STATUS_OK;
}

/* ---- paths ---- */
static enum status resolve_sources(struct arena *arena, const char *list,
                                   const struct spec_sources *sources, struct error *error)
{
    for (int i = 0; i < sources->count; i++) {
        struct spec_source *source = &sources->items[i];
        if (source->dataset) {
            const char *field = arena_printf(arena, "%s[%d]", list, i);
            TRY(path_resolve(arena, field, "FILE", source->dataset, &source->dataset, error));
        }
    }
    return STATUS_OK;
}

static enum status resolve_paths(struct arena *arena, struct spec *spec, struct error *error)
{
    const char *stage = spec_choice_name("stage", (int)spec->stage);
    const char *dir = spec->output.dir;
    TRY(path_resolve(arena, "from", "DIR", spec->from, &spec->from, error));
    TRY(resolve_sources(arena, "data.train", &spec->data.train, error));
    TRY(resolve_sources(arena, "data.eval", &spec->data.eval, error));
    TRY(resolve_sources(arena, "data.enrich.sources", &spec->data.enrich.sources, error));
    dir = dir ? dir : arena_printf(arena, "runs/%s", spec->name ? spec->name : stage);
    return path_absolute(arena, dir, &spec->output.dir, error);
}

/* ---- the run's directory ---- */
static const char *in_run(struct arena *arena, const struct spec *spec, const char *name)
{
    return arena_printf(arena, "%s/%s", spec->output.dir, name);
}

static enum status write_spec(struct arena *arena, const struct spec *spec, struct error *error)
{
    struct buf text = {0};
    spec_json(spec, &text);
    enum status status = dir_create(spec->output.dir, error);
    if (status == STATUS_OK) {
        const char *path = in_run(arena, spec, "spec.json");
        status = file_write_atomic(path, text.data, text.length, error);
    }
    buf_release(&text);
    return status;
}

/* A resumed run must be the run that was begun; how many ranks compute it and where it lies may
 * change. */
static enum status check_same(struct arena *arena, struct spec *spec, struct error *error)
{
    struct spec *begun;
    struct difference difference;
    TRY(spec_read(arena, in_run(arena, spec, "spec.json"), NULL, 0, &begun, error));
    if (spec->train.dtype == SPEC_DTYPE_AUTO) { /* the trainer has resolved it when the run began */
        spec->train.dtype = begun->train.dtype;
    }
    struct spec sides[2] = {spec_comparable(begun), spec_comparable(spec)};
    if (spec_first_difference(arena, &sides[0], &sides[1], &difference)) {
        return error_set(error, STATUS_CONFLICT,
                         "%s was begun with %s %s, not %s: resume it without changes (tailor run "
                         "--resume --out DIR), or take another --out",
                         spec->output.dir, difference.field, difference.left, difference.right);
    }
    return STATUS_OK;
}

static enum status prepare(struct arena *arena, const struct run_options *options,
                           struct spec *spec, struct error *error)
{
    bool begun = file_exists(in_run(arena, spec, "metrics.jsonl"));
    if (options->resume && file_exists(in_run(arena, spec, "spec.json"))) {
        TRY(check_same(arena, spec, error));
        return write_spec(arena, spec, error);
    }
    if (begun && !options->plan) {
        return error_set(error, STATUS_CONFLICT,
                         "%s holds a run already: go on with --resume, or take another --out",
                         spec->output.dir);
    }
    return begun ? check_same(arena, spec, error) : write_spec(arena, spec, error);
}

/* ---- the trainer ---- */
static enum status start(struct arena *arena, const struct call *call, const struct spec *spec,
                         struct error *error)
{
    const struct run_options *options = call->options;
    struct trainer *trainer = arena_new(arena, struct trainer);
    trainer->cuda = spec->resources.device == SPEC_DEVICE_CUDA;
    const char *const words[] = {"train", "--spec", in_run(arena, spec, "spec.json"), "--out",
                                 spec->output.dir};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        trainer_add(trainer, words[i]);
    }
    int ranks = (int)spec->resources.ranks, threads = (int)options->threads;
    if (threads == 0 && ranks > 1) {
        threads = cpu_count() > ranks ? cpu_count() / ranks : 1;
    }
    if (threads > 0) {
        trainer_add(trainer, "--threads");
        trainer_add(trainer, arena_printf(arena, "%d", threads));
    }
    const struct {
        bool given;
        const char *word;
    } flags[] = {{options->plan, "--plan"},
                 {options->resume, "--resume"},
                 {options->verify_packing, "--verify-packing"},
                 {options->globals.quiet, "--quiet"},
                 {options->globals.no_color, "--no-color"}};
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (flags[i].given) {
            trainer_add(trainer, flags[i].word);
        }
    }
    if (ranks > 1 && !options->plan) {
        return gang_exec(trainer, ranks, options->comm && strcmp(options->comm, "tcp") == 0, error);
    }
    trainer_add(trainer, "--ranks");
    trainer_add(trainer, arena_printf(arena, "%d", ranks));
    return trainer_exec(trainer, error);
}

/* The file to read: -f, or none; for `--resume --out DIR` alone the run's own. */
static enum status spec_file(struct arena *arena, const struct call *call, const char **file_out,
                             struct error *error)
{
    const struct run_options *options = call->options;
    *file_out = options->file;
    if (options->file || call->argument_count > 0) {
        return STATUS_OK;
    }
    if (!options->resume && options->set.count > 0) {
        return STATUS_OK; /* --set stage=… is an answer too */
    }
    if (!options->resume) {
        return error_set(error, STATUS_USAGE,
                         "what is to be run? Write a stage (tailor run general ...) or -f FILE");
    }
    if (!options->out) {
        return error_set(error, STATUS_USAGE, "--resume needs to know the run: add --out DIR");
    }
    *file_out = arena_printf(arena, "%s/spec.json", options->out);
    return file_exists(*file_out)
               ? STATUS_OK
               : error_set(error, STATUS_NOT_FOUND, "%s holds no run: there is no spec.json in it",
                           options->out);
}

static enum status run_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct run_options *options = call->options;
    struct overrides *overrides = arena_new(arena, struct overrides);
    const char *file;
    struct spec *spec;
    if (options->threads < 0 || options->threads > POOL_THREADS_MAX) {
        return error_set(error, STATUS_USAGE, "--threads must be from 1 to %d", POOL_THREADS_MAX);
    }
    if (options->comm && strcmp(options->comm, "shm") != 0 && strcmp(options->comm, "tcp") != 0) {
        return error_set(error, STATUS_USAGE, "--comm must be shm or tcp, not %s", options->comm);
    }
    TRY(collect(arena, call, overrides, error));
    TRY(spec_file(arena, call, &file, error));
    TRY(spec_read(arena, file, overrides->items, overrides->count, &spec, error));
    if (spec->stage == SPEC_STAGE_EVALUATE || spec->stage == SPEC_STAGE_SCORE ||
        spec->stage == SPEC_STAGE_ADMIT || spec->stage == SPEC_STAGE_SERVE ||
        spec->stage == SPEC_STAGE_IMPORT || spec->stage == SPEC_STAGE_EXPORT) {
        return error_set(error, STATUS_USAGE, "tailor run trains: for stage %s see tailor %s -h",
                         spec_choice_name("stage", (int)spec->stage),
                         spec->stage == SPEC_STAGE_SCORE    ? "model score"
                         : spec->stage == SPEC_STAGE_ADMIT  ? "data report"
                         : spec->stage == SPEC_STAGE_SERVE  ? "serve"
                         : spec->stage == SPEC_STAGE_IMPORT ? "base add"
                         : spec->stage == SPEC_STAGE_EXPORT ? "model export"
                                                            : "evaluate");
    }
    TRY(resolve_paths(arena, spec, error));
    TRY(prepare(arena, options, spec, error));
    return start(arena, call, spec, error);
}

static enum status run(const struct call *call, struct error *error)
{
    struct arena arena = {0};
    enum status status = run_in(&arena, call, error);
    arena_release(&arena);
    return status;
}

const struct command cmd_run = {
    .noun = "run",
    .summary = "Train a reward model on this machine, without a service",
    .details =
        "STAGE is lm, general or customize. Relative paths count from here. Every field: tailor "
        "explain.",
    .example = "tailor run customize --from ./general/model --train prefs.jsonl --eval test.jsonl "
               "\\\n             --enrich general.jsonl --set adapter.type=lora --out support/",
    .arguments = {{.placeholder = "STAGE", .optional = true}},
    OPTION_ROWS(rows),
    .options_size = sizeof(struct run_options),
    .run = run};
