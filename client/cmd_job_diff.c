/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor job diff: why two runs or jobs are not the same: specs, then results (data digests,
 * numerics, figures), then the first step at which their losses part.
 *
 * Rejected: a table of both curves; the first step that differs is what one asks for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/commands.h"
#include "client/differences.h"
#include "client/dual.h"
#include "lib/arena.h"
#include "lib/file.h"
#include "lib/json.h"

enum { RESULT_BYTES_MAX = 64 << 20 };

struct diff {
    struct arena *arena;
    const char *runs[2];
    struct table *table;
    int rows;
    struct error *error;
};

static void row(struct diff *diff, const char *part, const char *field, const char *left,
                const char *right)
{
    table_row(diff->table, part, field, left, right);
    diff->rows++;
}

static const char *in_run(const struct diff *diff, int side, const char *name)
{
    return arena_printf(diff->arena, "%s/%s", diff->runs[side], name);
}

/* One JSON document of both runs; `needed`: it is an error when one has none. */
static enum status compare_documents(struct diff *diff, const char *part, const char *name,
                                     bool needed)
{
    json_t *roots[2] = {NULL, NULL};
    enum status status = STATUS_OK;
    for (int side = 0; side < 2 && status == STATUS_OK; side++) {
        const char *path = in_run(diff, side, name);
        if (file_exists(path)) {
            status = json_read_file(path, RESULT_BYTES_MAX, &roots[side], diff->error);
        } else if (needed) {
            status = error_set(diff->error, STATUS_NOT_FOUND,
                               "%s holds no run: there is no %s in it", diff->runs[side], name);
        }
    }
    if (status == STATUS_OK && roots[0] && roots[1]) {
        struct differences differences = {0};
        json_differences(diff->arena, roots[0], roots[1], &differences);
        for (int i = 0; i < differences.count; i++) {
            row(diff, part, differences.items[i].field, differences.items[i].left,
                differences.items[i].right);
        }
    }
    json_decref(roots[0]);
    json_decref(roots[1]);
    return status;
}

/* One run's metrics.jsonl, read line by line. */
struct curve {
    FILE *file;
    char *line;
    size_t size;
    bool ended;
    int64_t step;
    char loss[32]; /* as JSON: equal texts are equal bits */
};

/* Goes to the next line that has a step and a loss. */
static void curve_next(struct curve *curve)
{
    ssize_t length;
    while (!curve->ended && (length = getline(&curve->line, &curve->size, curve->file)) >= 0) {
        json_t *root = NULL;
        bool found = false;
        if (json_read("metrics", curve->line, (size_t)length, &root, NULL) == STATUS_OK) {
            const json_t *loss = json_object_get(root, "loss");
            found = json_is_integer(json_object_get(root, "step")) && json_is_number(loss);
            if (found) {
                struct buf text = {0};
                json_append(&text, loss);
                curve->step = json_integer_value(json_object_get(root, "step"));
                snprintf(curve->loss, sizeof(curve->loss), "%s", text.data);
                buf_release(&text);
            }
        }
        json_decref(root);
        if (found) {
            return;
        }
    }
    curve->ended = true;
}

static const char *curve_place(struct diff *diff, const struct curve *curve)
{
    return curve->ended
               ? "ends there"
               : arena_printf(diff->arena, "step %lld: %s", (long long)curve->step, curve->loss);
}

/* Walks both files in step; one row says where they part, or which one goes on. */
static void compare_curves(struct diff *diff)
{
    struct curve curves[2] = {{.file = fopen(in_run(diff, 0, "metrics.jsonl"), "re")},
                              {.file = fopen(in_run(diff, 1, "metrics.jsonl"), "re")}};
    int64_t last = 0;
    bool same = curves[0].file && curves[1].file;
    while (same) {
        curve_next(&curves[0]);
        curve_next(&curves[1]);
        if (curves[0].ended && curves[1].ended) {
            break;
        }
        same = !curves[0].ended && !curves[1].ended && curves[0].step == curves[1].step &&
               strcmp(curves[0].loss, curves[1].loss) == 0;
        if (same) {
            last = curves[0].step;
        } else {
            row(diff, "curve",
                arena_printf(diff->arena, "loss, equal to step %lld", (long long)last),
                curve_place(diff, &curves[0]), curve_place(diff, &curves[1]));
        }
    }
    for (int side = 0; side < 2; side++) {
        mem_free(curves[side].line);
        if (curves[side].file) {
            fclose(curves[side].file);
        }
    }
}

static const struct option_row diff_rows[] = {DUAL_SERVICE_ROWS};

static enum status run(const struct call *call, struct error *error)
{
    struct arena arena = {0};
    struct diff diff = {
        .arena = &arena, .table = table_create("part", "field", "a", "b"), .error = error};
    enum table_format format;
    enum status status = call_format(call, TABLE_FORMAT_TABLE, &format, error);
    for (int side = 0; side < 2 && status == STATUS_OK; side++) {
        status = dual_dir(&arena, call, call->arguments[side], &diff.runs[side], error);
    }
    if (status == STATUS_OK) {
        status = compare_documents(&diff, "spec", "spec.json", true);
    }
    if (status == STATUS_OK) {
        status = compare_documents(&diff, "result", "result.json", false);
    }
    if (status == STATUS_OK) {
        compare_curves(&diff);
        if (diff.rows > 0 || format != TABLE_FORMAT_TABLE) {
            table_print(diff.table, format, stdout);
        } else if (!call->globals->quiet) {
            puts("no difference");
        }
    }
    table_free(diff.table);
    arena_release(&arena);
    return status;
}

const struct command cmd_job_diff = {
    .noun = "job",
    .verb = "diff",
    .summary = "Say how two runs differ, and from which step on",
    .details =
        "Runs of tailor run or jobs of the service: specs, then data, numerics and figures, then "
        "the\ncurves.",
    .example = "tailor job diff j-17 runs/support",
    .arguments = {{.placeholder = "RUN|JOB"}, {.placeholder = "RUN|JOB"}},
    OPTION_ROWS(diff_rows),
    .options_size = sizeof(struct dual_options),
    .run = run};
