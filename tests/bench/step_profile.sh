#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/step_profile.sh BASE DSP.json [STEPS [THREADS]]
# Where a training step's time goes, op by op, and which limit binds each: groups of K = 5, in full and with LoRA.
# After gemm_peers.sh the limit of products is the machine's best measured rate, else that of our own product.
#   DTYPE   fp32 (default) or bf16
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${TAILOR_BUILD:-$root/build}
base=${1:?BASE} dsp=${2:?DSP.json} steps=${3:-3} threads=${4:-0} dtype=${DTYPE:-fp32}
cmake --build "$build" --target tailor tailor-trainer step_profile_bench >/dev/null
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
best() { # best full|lora
    python3 -c 'import json, os, sys; print(json.load(open(sys.argv[1])).get(sys.argv[2], 0) if os.path.exists(sys.argv[1]) else 0)' \
        "$build/gemm_peers.$dtype.json" "$1_$([ "$threads" = 0 ] && nproc || echo "$threads")"
}
grep -m1 'model name' /proc/cpuinfo
for adapter in none lora; do
    "$build/tailor" run general --from "$base" --train "$dsp" --domain business --out "$work/$adapter" --plan -q \
        --set train.max_steps=$((steps + 1)) --set train.batch_groups=8 --set train.slices=1 --set model.template=dsp \
        --set adapter.type=$adapter --set train.dtype="$dtype" >/dev/null 2>&1
    printf '\n== %s\n' "$([ $adapter = lora ] && echo LoRA || echo full)"
    "$build/tests/step_profile_bench" "$work/$adapter/spec.json" "$steps" \
        "$(best "$([ $adapter = lora ] && echo lora || echo full)")" "$threads"
done
