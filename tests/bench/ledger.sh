#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/ledger.sh BASE DSP.json PAIRS.json [STEPS [GROUPS]]
# The memory ledger against the kernel's figure (measure.sh), for seven settings on real rows. Exit code 1 if any is
# more than 5 % off.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${TAILOR_BUILD:-$root/build}
base=${1:?BASE} dsp=${2:?DSP.json} pairs=${3:?PAIRS.json} steps=${4:-4} groups=${5:-8}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$root/tests/bench/measure.sh"
failed=0
one() { # one NAME DATA EXTRA…
    local name=$1 data=$2
    shift 2
    measure_run "$name" general --from "$base" --train "$data" --set model.template=dsp --set train.slices=2 \
        --set train.batch_groups="$groups" "$@" || failed=1
}
measure_header
one "full, groups K=5" "$dsp" --domain business
one "full, pairs" "$pairs"
one "full, pairs, imitation" "$pairs" --set loss.lm_loss_coeff=0.1
one "full, groups in parts" "$dsp" --domain business --set train.max_tokens_per_batch=512
one "full, pairs, layers again" "$pairs" --set train.recompute=layer
one "LoRA, groups K=5" "$dsp" --domain business --set adapter.type=lora
one "LoRA, pairs, mean pooling" "$pairs" --set adapter.type=lora --set model.pooling=mean
exit $failed
