/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor data: what is in a file, before a slot is used on it.
 */
#include "client/commands.h"
#include "client/offline.h"

static const struct option_row report_rows[] = {
    OFFLINE_ROW("from", 'f', OPTION_STRING, from, "DIR", "the base or model it is meant for"),
    OFFLINE_ROW("against", 0, OPTION_STRING, against, "FILE",
                "training data: count prompts that are in both"),
    OFFLINE_ROW("rows", 0, OPTION_STRING, rows, "FINDING",
                "list the rows of one finding (contradiction, duplicate, tie, ...)"),
    OFFLINE_DATA_ROWS,
    OFFLINE_FORMAT_ROWS,
    OFFLINE_COMPUTE_ROWS,
};

const struct command cmd_data_report = {
    .noun = "data",
    .verb = "report",
    .summary = "Count what is wrong with preference data, and judge it",
    .details =
        "Duplicates, contradictions, ties, rows that are too long or become identical, with line "
        "numbers.\nExit code 1 when the data are rejected.",
    .example =
        "tailor data report prefs.jsonl --from ./general/model --rows contradiction -o jsonl",
    .arguments = {{.placeholder = "FILE"}},
    OPTION_ROWS(report_rows),
    .required = "from",
    .trainer_verb = "admit",
    OFFLINE_COMMAND};

static const struct option_row preview_rows[] = {
    OFFLINE_ROW("from", 'f', OPTION_STRING, from, "DIR", "the base or model it is meant for"),
    OFFLINE_ROW("line", 0, OPTION_STRING, line, "N", "which line of the file; default: the first"),
    OFFLINE_ROW("ids", 0, OPTION_FLAG, ids, NULL, "print the token ids too"),
    OFFLINE_DATA_ROWS,
    OFFLINE_FORMAT_ROWS,
};

const struct command cmd_data_preview = {
    .noun = "data",
    .verb = "preview",
    .summary = "Show a row as the model sees it, with the token that is scored",
    .example = "tailor data preview prefs.jsonl --from ./Qwen2.5-0.5B --line 12 --ids",
    .arguments = {{.placeholder = "FILE"}},
    OPTION_ROWS(preview_rows),
    .required = "from",
    .trainer_verb = "preview",
    OFFLINE_COMMAND};
