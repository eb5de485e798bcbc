/* SPDX-License-Identifier: Apache-2.0
 *
 * dtype_choice: what `train.dtype: auto` means for this run.
 *
 *     TRY(session_open(spec, …, &session, error));
 *     TRY(dtype_choose(session, spec, resume, write, error));     before session_plan
 *
 * Decided once. A run that goes on keeps what its checkpoint was computed with, wherever it goes
 * on. A new one takes bf16 where the device has instructions for it, the model is not tiny, and one
 * product of its shape, timed, is clearly faster than in fp32. The outcome of the measurement is
 * kept beside the token cache under the machine's and the shape's name, so that noise does not
 * choose differently tomorrow. The leader of a gang decides for all.
 *
 * Afterwards the spec says fp32 or bf16, as does spec.json in the run's directory. Rejected: a
 * table of processors, which would be wrong for those to come and in virtual machines.
 */
#ifndef TAILOR_WORKER_TRAINER_DTYPE_CHOICE_H
#define TAILOR_WORKER_TRAINER_DTYPE_CHOICE_H

#include <stdbool.h>

#include "worker/trainer/session.h"

/* `spec` is the session's own. `write`: put the resolved spec into the run's directory. */
enum status dtype_choose(struct session *session, struct spec *spec, bool resume, bool write,
                         struct error *error);

#endif
