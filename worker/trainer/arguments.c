/* SPDX-License-Identifier: Apache-2.0
 *
 * One table for all verbs: a verb reads the fields it knows.
 */
#include "worker/trainer/arguments.h"

#include <limits.h>
#include <string.h>

#include "lib/limits.h"
#include "worker/comm/comm.h"

/* clang-format off */
#define ROW(name, type, member) {name, 0, type, offsetof(struct arguments, member), "VALUE", ""}
static const struct option_row rows[] = {
    ROW("spec", OPTION_STRING, spec),         ROW("out", OPTION_STRING, out),
    ROW("from", OPTION_STRING, from),         ROW("against", OPTION_STRING, against),
    ROW("rows", OPTION_STRING, rows),         ROW("domain", OPTION_STRING, domain),
    ROW("template", OPTION_STRING, template), ROW("overlong", OPTION_STRING, overlong),
    ROW("pooling", OPTION_STRING, pooling),   ROW("dtype", OPTION_STRING, dtype),
    ROW("format", OPTION_STRING, format),     ROW("output", OPTION_STRING, output),
    ROW("comm", OPTION_STRING, comm),         ROW("rendezvous", OPTION_STRING, rendezvous),
    ROW("rank", OPTION_I64, rank),            ROW("ranks", OPTION_I64, ranks),
    ROW("term", OPTION_I64, term),            ROW("report-fd", OPTION_I64, report_fd),
    ROW("shard", OPTION_I64, shard),          ROW("shards", OPTION_I64, shards),
    ROW("threads", OPTION_I64, threads),      ROW("line", OPTION_I64, line),
    ROW("worst", OPTION_I64, worst),          ROW("limit", OPTION_I64, limit),
    ROW("max-length", OPTION_I64, max_length),
    ROW("max-tokens-per-batch", OPTION_I64, batch_tokens),
    ROW("plan", OPTION_FLAG, plan),           ROW("resume", OPTION_FLAG, resume),
    ROW("verify-packing", OPTION_FLAG, verify_packing),
    ROW("quiet", OPTION_FLAG, quiet),         ROW("no-color", OPTION_FLAG, no_color),
    ROW("pairs", OPTION_FLAG, pairs),         ROW("merge", OPTION_FLAG, merge),
    ROW("ids", OPTION_FLAG, ids),
    ROW("data", OPTION_LIST, data),           ROW("column", OPTION_LIST, columns),
};
/* clang-format on */

enum status arguments_parse(int argc, const char *const *argv, struct arguments *arguments_out,
                            struct error *error)
{
    *arguments_out =
        (struct arguments){.worst = 20, .batch_tokens = 2048, .ranks = 1, .report_fd = -1};
    TRY(option_parse(rows, sizeof(rows) / sizeof(rows[0]), argc, argv, arguments_out,
                     &arguments_out->positional, error));
    if (arguments_out->threads < 0 || arguments_out->threads > POOL_THREADS_MAX) {
        return error_set(error, STATUS_USAGE, "--threads must be 1 to %d", POOL_THREADS_MAX);
    }
    if (arguments_out->ranks < 1 || arguments_out->ranks > COMM_WORLD_MAX ||
        arguments_out->rank < 0 || arguments_out->rank >= arguments_out->ranks) {
        return error_set(error, STATUS_USAGE, "--ranks must be 1 to %d, --rank below it",
                         COMM_WORLD_MAX);
    }
    if (arguments_out->report_fd < -1 || arguments_out->report_fd > INT_MAX) {
        return error_set(error, STATUS_USAGE, "--report-fd must be an open descriptor");
    }
    if (arguments_out->batch_tokens < 2 || arguments_out->batch_tokens > PACK_TOKENS_MAX) {
        return error_set(error, STATUS_USAGE, "--max-tokens-per-batch must be 2 to %d",
                         PACK_TOKENS_MAX);
    }
    return STATUS_OK;
}

enum status arguments_need(const struct arguments *arguments, int index, const char *name,
                           const char **out, struct error *error)
{
    if (index >= arguments->positional.count) {
        return error_set(error, STATUS_USAGE, "%s is missing", name);
    }
    *out = arguments->positional.items[index];
    return STATUS_OK;
}

static enum status set_column(struct data_columns *columns, const char *text, struct error *error)
{
    const struct {
        const char *name;
        const char **field;
    } fields[] = {
        {"prompt", &columns->prompt},     {"chosen", &columns->chosen},
        {"rejected", &columns->rejected}, {"responses", &columns->responses},
        {"scores", &columns->scores},     {"text", &columns->text},
        {"margin", &columns->margin},     {"query", &columns->query},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        size_t length = strlen(fields[i].name);
        if (strncmp(text, fields[i].name, length) == 0 && text[length] == '=') {
            *fields[i].field = text + length + 1;
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_USAGE, "--column %s: no such column", text);
}

enum status arguments_source(const struct arguments *arguments, const char *path,
                             struct data_source *source_out, struct error *error)
{
    *source_out = (struct data_source){.path = path,
                                       .domain = arguments->domain,
                                       .pairs = arguments->pairs,
                                       .limit = arguments->limit};
    for (int i = 0; i < arguments->columns.count; i++) {
        TRY(set_column(&source_out->columns, arguments->columns.items[i], error));
    }
    return STATUS_OK;
}

enum status arguments_format(const struct arguments *arguments, struct text_format *format,
                             struct error *error)
{
    if (arguments->template != NULL && strcmp(arguments->template, "auto") != 0) {
        TRY(template_parse(arguments->template, &format->template_kind, error));
    }
    if (arguments->overlong != NULL) {
        TRY(overlong_parse(arguments->overlong, &format->overlong, error));
    }
    if (arguments->pooling != NULL) {
        TRY(pooling_parse(arguments->pooling, &format->pooling, error));
    }
    if (arguments->max_length > 0) {
        format->max_length = (int32_t)arguments->max_length;
    }
    return STATUS_OK;
}

enum table_format arguments_table_format(const struct arguments *arguments)
{
    enum table_format format = TABLE_FORMAT_TABLE;
    if (arguments->output != NULL) {
        (void)table_format_parse(arguments->output, &format, NULL);
    }
    return format;
}
