/* SPDX-License-Identifier: Apache-2.0
 *
 * arguments: the command line of tailor-trainer: VERB, options, positional arguments.
 *
 * The client has checked what can be checked without reading a model; here the words become values
 * once, for all verbs. The names are the client's (client/offline.h).
 */
#ifndef TAILOR_WORKER_TRAINER_ARGUMENTS_H
#define TAILOR_WORKER_TRAINER_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/option.h"
#include "lib/status.h"
#include "lib/table.h"
#include "worker/data/dataset.h"
#include "worker/data/template.h"
#include "worker/ops/ops.h"

struct arguments {
    const char *spec, *out;
    const char *from, *against, *rows, *domain, *template, *overlong, *pooling, *dtype, *format;
    const char *output;
    const char *comm, *rendezvous; /* of several ranks */
    int64_t rank, ranks, term;
    int64_t shard, shards; /* of a measurement (measure.h) */
    int64_t report_fd;     /* −1: nobody is told (relay.h) */
    int64_t threads, line, worst, limit, max_length, batch_tokens;
    bool plan, resume, verify_packing, quiet, no_color, pairs, merge, ids;
    struct option_list data, columns;
    struct option_list positional;
};

enum status arguments_parse(int argc, const char *const *argv, struct arguments *arguments_out,
                            struct error *error);
/* The i-th positional argument, or STATUS_USAGE naming it. */
enum status arguments_need(const struct arguments *arguments, int index, const char *name,
                           const char **out, struct error *error);
/* How a data file is read, from --domain, --pairs, --limit and --column. */
enum status arguments_source(const struct arguments *arguments, const char *path,
                             struct data_source *source_out, struct error *error);
/* Overrides a model's text format by --template, --max-length, --overlong and --pooling. */
enum status arguments_format(const struct arguments *arguments, struct text_format *format,
                             struct error *error);
enum table_format arguments_table_format(const struct arguments *arguments);

#endif
