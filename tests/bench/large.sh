#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/large.sh [STEPS]
# A model of Qwen2.5-0.5B's shape trained in full, and one of Llama-3.2-1B's by LoRA, both with random weights, on short
# pairs: the memory ledger against the kernel's figure (measure.sh). Wants 10 GiB of memory and 3 GiB of disk in $TMPDIR.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${TAILOR_BUILD:-$root/build}
steps=${1:-2}
models=$root/tests/golden/data/models
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$root/tests/bench/measure.sh"
failed=0
one() { # one NAME SHAPE TINY EXTRA…
    local name=$1 shape=$2 tiny=$3
    shift 3
    python3 "$root/tests/bench/random_model.py" "$shape" "$models/$tiny/base" "$work/base"
    measure_run "$name" general --from "$work/base" --train "$work/base/pairs.jsonl" --set model.template=plain \
        --set train.slices=1 --set train.batch_groups=2 "$@" || failed=1
    rm -rf "$work/base" "$work/run"
}
measure_header
one "Qwen2.5-0.5B's shape, full" qwen2.5-0.5b tiny-qwen2
one "Llama-3.2-1B's shape, LoRA" llama-3.2-1b tiny-llama3 --set adapter.type=lora
exit $failed
