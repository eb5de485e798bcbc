/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor explain: the table of spec fields, read aloud.
 */
#include "client/commands.h"
#include "proto/spec.h"

static void list_all(enum table_format format)
{
    struct table *table = table_create("field", "what it is");
    for (int i = 0; spec_field_name(i); i++) {
        table_row(table, spec_field_name(i), spec_field_help(i));
    }
    table_print(table, format, stdout);
    table_free(table);
}

static enum status run(const struct call *call, struct error *error)
{
    enum table_format format;
    TRY(call_format(call, TABLE_FORMAT_TABLE, &format, error));
    if (call->argument_count == 0) {
        list_all(format);
        return STATUS_OK;
    }
    struct buf text = {0};
    enum status status = spec_explain(call->arguments[0], &text, error);
    if (status == STATUS_OK) {
        fputs(text.data, stdout);
    }
    buf_release(&text);
    return status;
}

const struct command cmd_explain = {
    .noun = "explain",
    .summary = "Explain a field of the spec",
    .details = "Meaning, range, default and other trainers' names for it. Knows sections (gate), "
               "last parts (learning_rate) and names of TRL, Transformers, "
               "OpenRLHF and PEFT.\nWithout FIELD it lists all.",
    .example = "tailor explain per_device_train_batch_size",
    .arguments = {{.placeholder = "FIELD", .optional = true}},
    .run = run};
