/* SPDX-License-Identifier: Apache-2.0
 *
 * tensorboard: a job's curves as an event file that TensorBoard reads.
 *
 *     DIR/j-17/events.out.tfevents.TIME.tailor        TIME: of the job's first point, so that the
 *                                                     same job is written to the same file again
 *
 * Tags are those that Transformers' trainers write: "train/loss" of a step's line, "eval/accuracy"
 * of an evaluation's, "train/step_seconds/forward". Points appear in the file as they are added:
 * TensorBoard may read it meanwhile. The format is that of TFRecord: length, masked CRC-32C of the
 * length, a protobuf message Event, masked CRC-32C of the message.
 */
#ifndef TAILOR_CLIENT_TENSORBOARD_H
#define TAILOR_CLIENT_TENSORBOARD_H

#include <jansson.h>
#include <stdio.h>

#include "lib/arena.h"
#include "lib/status.h"

struct tensorboard {
    char path[4096];
    FILE *file;     /* NULL: no point came yet */
    int64_t points; /* written */
};

/* Adds one point as GET /v1/jobs/{id}/metrics gives it: {"step", "time_ms", "values": {…}}. The
 * first one makes the file, in place of an older one. */
enum status tensorboard_add(struct tensorboard *it, const char *directory, const char *job,
                            const json_t *point, struct error *error);
enum status tensorboard_close(struct tensorboard *it, struct error *error);

#endif
