/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_ref: the table of the reference implementation.
 */
#include "worker/ops/ref/ref.h"

#define REF_ENTRY(op) .op = ref_##op,

const struct ops ops_ref = {.name = "ref", OPS_THAT_HOLD(REF_ENTRY) OPS_THAT_COMPUTE(REF_ENTRY)};
