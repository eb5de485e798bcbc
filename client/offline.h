/* SPDX-License-Identifier: Apache-2.0
 *
 * offline: the commands that tailor-trainer carries out, as data.
 *
 * Their options are checked here (ranges, choices, files that must exist) and passed on under the
 * same names, -o as --output. Every such command fills the one struct below and lists the rows it
 * takes.
 */
#ifndef TAILOR_CLIENT_OFFLINE_H
#define TAILOR_CLIENT_OFFLINE_H

#include <stdint.h>

#include "client/command.h"
#include "lib/arena.h"

struct offline_options {
    struct globals globals;
    struct option_list data, columns;
    const char *from, *against, *rows, *line, *worst; /* which data, which rows */
    const char *domain, *limit, *template, *max_length, *overlong, *pooling; /* how they are read */
    const char *threads, *batch_tokens, *dtype, *format, *out;
    bool pairs, merge, ids;
};

/* clang-format off */
#define OFFLINE_ROW(name, letter, type, member, placeholder, help) \
    {name, letter, type, offsetof(struct offline_options, member), placeholder, help}

/* How to read a file of data. */
#define OFFLINE_DATA_ROWS                                                                        \
    OFFLINE_ROW("domain", 0, OPTION_STRING, domain, "NAME",                                      \
                "the preferred domain of data with one response a domain"),                      \
    OFFLINE_ROW("pairs", 0, OPTION_FLAG, pairs, NULL, "split such a group into K-1 pairs"),      \
    OFFLINE_ROW("limit", 0, OPTION_STRING, limit, "N", "use only the first N groups"),           \
    OFFLINE_ROW("column", 0, OPTION_LIST, columns, "OURS=THEIRS",                                \
                "the data's own name of a column, as in prompt=question; may repeat")
/* How texts become tokens, where the model's directory does not say it. */
#define OFFLINE_FORMAT_ROWS                                                                      \
    OFFLINE_ROW("template", 0, OPTION_STRING, template, "NAME",                                  \
                "auto, dsp, plain, chatml, ... (tailor explain model.template)"),                \
    OFFLINE_ROW("max-length", 0, OPTION_STRING, max_length, "N", "longest row in tokens"),       \
    OFFLINE_ROW("overlong", 0, OPTION_STRING, overlong, "POLICY",                                \
                "drop, truncate_left or truncate_right"),                                        \
    OFFLINE_ROW("pooling", 0, OPTION_STRING, pooling, "KIND",                                    \
                "last_token, before_eos, mean or max")
/* How to compute. */
#define OFFLINE_COMPUTE_ROWS                                                                     \
    OFFLINE_ROW("threads", 0, OPTION_STRING, threads, "N", "threads; default: all cores"),       \
    OFFLINE_ROW("max-tokens-per-batch", 0, OPTION_STRING, batch_tokens, "N",                     \
                "tokens in flight at once: memory against speed")
/* clang-format on */

/* command->run of all of them. Of a struct that only begins with offline_options, what lies behind
 * them is not the trainer's. */
enum status offline_run(const struct call *call, struct error *error);

#define OFFLINE_COMMAND .options_size = sizeof(struct offline_options), .run = offline_run

#endif
