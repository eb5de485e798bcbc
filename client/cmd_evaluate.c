/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor evaluate: one model's figures on preference data.
 */
#include "client/commands.h"
#include "client/offline.h"

static const struct option_row rows[] = {
    OFFLINE_ROW("data", 'd', OPTION_LIST, data, "FILE", "preference data; may repeat"),
    OFFLINE_DATA_ROWS,
    OFFLINE_FORMAT_ROWS,
    OFFLINE_COMPUTE_ROWS,
};

const struct command cmd_evaluate = {
    .noun = "evaluate",
    .summary = "Measure a model on preference data",
    .details = "Accuracy with intervals, calibration, reward against length. Exact over all pairs; "
               "a tie in reward is wrong; intervals by resampling groups.",
    .example = "tailor evaluate ./support/model --data test.jsonl --data general-test.jsonl",
    .arguments = {{.placeholder = "MODEL"}},
    OPTION_ROWS(rows),
    .required = "data",
    .trainer_verb = "evaluate",
    OFFLINE_COMMAND};
