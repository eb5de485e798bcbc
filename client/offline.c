/* SPDX-License-Identifier: Apache-2.0
 *
 * offline: an option that means a field of the spec is checked as that field, by the spec's own
 * parser: one range, one list of choices, one sentence for both.
 */
#include "client/offline.h"

#include <string.h>

#include "client/trainer.h"
#include "lib/check.h"
#include "lib/pool.h"
#include "lib/text.h"
#include "proto/spec.h"

static const struct {
    const char *option, *field;
} spec_options[] = {
    {"template", "model.template"}, {"max-length", "model.max_length"},
    {"overlong", "model.overlong"}, {"pooling", "model.pooling"},
    {"dtype", "train.dtype"},       {"max-tokens-per-batch", "train.max_tokens_per_batch"},
    {"domain", "data.eval.domain"}, {"limit", "data.eval.limit"},
};
enum { SPEC_OPTIONS = sizeof(spec_options) / sizeof(spec_options[0]) };

static const char *option_text(const struct call *call, const struct option_row *row)
{
    const char *text = NULL;
    if (row->type == OPTION_STRING) {
        memcpy(&text, (const char *)call->options + row->offset, sizeof(text));
    }
    return text;
}

/* A spec of stage evaluate with these options in it must be one that the parser takes. */
static enum status check_as_spec(const struct call *call, struct error *error)
{
    struct arena arena = {0};
    struct spec *spec;
    const struct offline_options *options = call->options;
    struct spec_override overrides[SPEC_OPTIONS + 3 + OPTION_LIST_MAX] = {
        {.key = "stage", .value = "evaluate"},
        {.key = "from", .value = "model"},
        {.key = "data.eval", .value = "data"}};
    int count = 3;
    for (size_t i = 0; i < call->command->option_count; i++) {
        const struct option_row *row = &call->command->options[i];
        const char *text = option_text(call, row);
        for (int k = 0; text && k < SPEC_OPTIONS; k++) {
            if (strcmp(row->name, spec_options[k].option) == 0) {
                overrides[count++] =
                    (struct spec_override){.key = spec_options[k].field,
                                           .value = text,
                                           .origin = arena_printf(&arena, "--%s", row->name),
                                           .text = true};
            }
        }
    }
    for (int i = 0; i < options->columns.count; i++) {
        const char *text = options->columns.items[i];
        const char *equals = strchr(text, '=');
        if (!equals) {
            arena_release(&arena);
            return error_set(error, STATUS_USAGE,
                             "--column %s: write OURS=THEIRS, as in "
                             "prompt=question",
                             text);
        }
        overrides[count++] = (struct spec_override){
            .key = arena_printf(&arena, "data.eval.columns.%.*s", (int)(equals - text), text),
            .value = equals + 1,
            .origin = "--column",
            .text = true};
    }
    enum status status = spec_read(&arena, NULL, overrides, count, &spec, error);
    arena_release(&arena);
    return status;
}

/* Numbers that are no field of the spec. */
static enum status check_numbers(const struct call *call, struct error *error)
{
    static const struct {
        const char *name;
        int64_t min, max;
    } bounds[] = {{"threads", 1, POOL_THREADS_MAX}, {"worst", 1, 1000000}, {"line", 1, INT32_MAX}};
    for (size_t i = 0; i < call->command->option_count; i++) {
        const struct option_row *row = &call->command->options[i];
        const char *text = option_text(call, row);
        int64_t value;
        for (size_t k = 0; text && k < sizeof(bounds) / sizeof(bounds[0]); k++) {
            if (strcmp(row->name, bounds[k].name) == 0 &&
                (!parse_i64(text, &value) || value < bounds[k].min || value > bounds[k].max)) {
                return error_set(
                    error, STATUS_USAGE, "--%s is %s: it must be a whole number from %lld to %lld",
                    row->name, text, (long long)bounds[k].min, (long long)bounds[k].max);
            }
        }
    }
    return STATUS_OK;
}

static void add_option(struct trainer *trainer, struct arena *arena, const struct option_row *row,
                       const char *value)
{
    trainer_add(trainer, arena_printf(arena, "--%s", row->name));
    if (value) {
        trainer_add(trainer, value);
    }
}

static void add_options(const struct call *call, struct trainer *trainer, struct arena *arena)
{
    struct option_row rows[OPTION_ROWS_MAX];
    size_t count = command_rows(call->command, rows);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].offset >= sizeof(struct offline_options)) {
            continue;
        }
        const char *field = (const char *)call->options + rows[i].offset;
        const struct option_list *list = (const void *)field;
        const char *text = option_text(call, &rows[i]);
        if (text && strcmp(text, "wide") == 0 && rows[i].letter == 'o') {
            add_option(trainer, arena, &rows[i], "table"); /* it has no more to show */
        } else if (text) {
            add_option(trainer, arena, &rows[i], text);
        } else if (rows[i].type == OPTION_FLAG && *(const bool *)field) {
            add_option(trainer, arena, &rows[i], NULL);
        }
        for (int k = 0; rows[i].type == OPTION_LIST && k < list->count; k++) {
            add_option(trainer, arena, &rows[i], list->items[k]);
        }
    }
}

enum status offline_run(const struct call *call, struct error *error)
{
    const struct command *command = call->command;
    CHECK(command->trainer_verb != NULL);
    TRY(check_as_spec(call, error));
    TRY(check_numbers(call, error));
    struct arena arena = {0};
    struct trainer *trainer = arena_new(&arena, struct trainer);
    trainer_add(trainer, command->trainer_verb);
    add_options(call, trainer, &arena);
    trainer_add(trainer, "--"); /* an argument may begin with a dash */
    for (int i = 0; i < call->argument_count; i++) {
        trainer_add(trainer, call->arguments[i]);
    }
    enum status status = trainer_exec(trainer, error);
    arena_release(&arena);
    return status;
}
