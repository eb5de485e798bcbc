/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor base: pretrained models, looked at before they are trained on.
 */
#include "client/commands.h"
#include "client/offline.h"

const struct command cmd_base_check = {
    .noun = "base",
    .verb = "check",
    .summary = "Say whether a Hugging Face directory can be trained on",
    .details =
        "Reads configuration, weights and tokenizer as training would, and names the file and "
        "field\nthat does not fit, with the fix.",
    .example = "tailor base check ./Qwen2.5-0.5B",
    .arguments = {{.placeholder = "DIR"}},
    .trainer_verb = "check",
    OFFLINE_COMMAND};

const struct command cmd_base_import = {
    .noun = "base",
    .verb = "import",
    .summary = "Turn a GGUF file into a Hugging Face directory",
    .details =
        "OUT must not exist. Quantised weights are turned back into full ones, which is said.",
    .example = "tailor base import ./smollm2-135m.gguf ./smollm2-135m",
    .arguments = {{.placeholder = "FILE.gguf"}, {.placeholder = "OUT"}},
    .trainer_verb = "import-gguf",
    OFFLINE_COMMAND};
