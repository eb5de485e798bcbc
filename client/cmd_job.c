/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor job: specs before a run, reports after it. (cmd_job_diff.c compares two.)
 */
#include "client/commands.h"
#include "client/dual.h"
#include "lib/file.h"
#include "lib/yaml.h"
#include "proto/spec.h"

/* ---- init ---- */
static enum status init_run(const struct call *call, struct error *error)
{
    enum spec_stage stage;
    struct buf text = {0};
    TRY(spec_stage_parse(call->arguments[0], &stage, error));
    spec_init(stage, &text);
    fputs(text.data, stdout);
    buf_release(&text);
    return STATUS_OK;
}

const struct command cmd_job_init = {.noun = "job",
                                     .verb = "init",
                                     .summary = "Print a commented spec to start from",
                                     .example = "tailor job init customize > support.yaml",
                                     .arguments = {{.placeholder = "STAGE"}},
                                     .run = init_run};

/* ---- validate ---- */
struct validate_options {
    struct globals globals;
    struct option_list set;
};

static enum status print_spec(const struct spec *spec, enum table_format format,
                              struct error *error)
{
    struct buf text = {0}, yaml = {0};
    json_t *value;
    spec_json(spec, &text);
    enum status status = json_read("the spec", text.data, text.length, &value, error);
    if (status == STATUS_OK) {
        yaml_append(&yaml, value);
        fputs(format == TABLE_FORMAT_YAML ? yaml.data : text.data, stdout);
        json_decref(value);
    }
    buf_release(&text);
    buf_release(&yaml);
    return status;
}

static enum status validate(struct arena *arena, const struct call *call, struct error *error)
{
    const struct validate_options *options = call->options;
    struct spec_override *overrides = arena_array(arena, struct spec_override, OPTION_LIST_MAX);
    struct spec *spec;
    enum table_format format;
    for (int i = 0; i < options->set.count; i++) {
        TRY(spec_override_parse(arena, options->set.items[i], &overrides[i], error));
    }
    TRY(spec_read(arena, call->arguments[0], overrides, options->set.count, &spec, error));
    TRY(call_format(call, TABLE_FORMAT_TABLE, &format, error));
    if (format == TABLE_FORMAT_JSON || format == TABLE_FORMAT_YAML) {
        TRY(print_spec(spec, format, error));
    } else {
        char digest[SHA256_HEX_SIZE];
        spec_digest(spec, digest);
        struct table *table = table_create("file", "stage", "name", "digest");
        table_row(table, call->arguments[0], spec_choice_name("stage", (int)spec->stage),
                  spec->name, digest);
        table_print(table, format, stdout);
        table_free(table);
        if (format == TABLE_FORMAT_TABLE && !call->globals->quiet) {
            printf(
                "\n  tailor run -f %s   here and now\n  tailor submit %s   as a job of a service\n",
                call->arguments[0], call->arguments[0]);
        }
    }
    return STATUS_OK;
}

static enum status validate_run(const struct call *call, struct error *error)
{
    struct arena arena = {0};
    enum status status = validate(&arena, call, error);
    arena_release(&arena);
    return status;
}

static const struct option_row validate_rows[] = {
    {"set", 's', OPTION_LIST, offsetof(struct validate_options, set), "KEY=VALUE",
     "change a field first; may repeat"},
};

const struct command cmd_job_validate = {
    .noun = "job",
    .verb = "validate",
    .summary = "Check a spec; -o json prints it resolved, with every default",
    .details =
        "Checks what the spec says, not whether the files in it exist: tailor run does that.",
    .example = "tailor job validate support.yaml -o json",
    .arguments = {{.placeholder = "FILE"}},
    OPTION_ROWS(validate_rows),
    .options_size = sizeof(struct validate_options),
    .run = validate_run};

/* ---- schema ---- */
static enum status schema_run(const struct call *call, struct error *error)
{
    struct buf text = {0};
    (void)call;
    (void)error;
    spec_json_schema(&text);
    fputs(text.data, stdout);
    buf_release(&text);
    return STATUS_OK;
}

const struct command cmd_job_schema = {.noun = "job",
                                       .verb = "schema",
                                       .summary = "Print the JSON Schema of a spec, for editors",
                                       .example = "tailor job schema > tailor.schema.json",
                                       .run = schema_run};

/* ---- after a run ---- */
static const struct option_row report_rows[] = {
    OFFLINE_ROW("out", 0, OPTION_STRING, out, "OUT.html", "write a page that opens in a browser"),
    DUAL_SERVICE_ROWS,
};

const struct command cmd_job_report = {
    .noun = "job",
    .verb = "report",
    .summary = "Show what a run reached, and what its gate says",
    .details = "Figures before and after with intervals, the gate's verdict, findings, curves.\n"
               "RUN is a directory of tailor run, JOB a job of the service that has succeeded.",
    .example = "tailor job report j-17 --out support.html",
    .arguments = {{.placeholder = "RUN|JOB"}},
    OPTION_ROWS(report_rows),
    .options_size = sizeof(struct dual_options),
    .trainer_verb = "report",
    .run = dual_run_files};
