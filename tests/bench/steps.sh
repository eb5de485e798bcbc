#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/steps.sh BASE DSP.json PAIRS.json [STEPS]
# Whole training steps on real rows: tokens/s, pairs/s, peak memory (resident, of all processes; anonymous apart) and
# GFLOP/s (of matrix products of the model, 6 per weight and computed token in full, 4 with LoRA; shared prompt tokens
# count once, as they are computed; of the last layer only keys and values), for full fine-tuning and LoRA, on groups
# of K = 5 and on pairs. After gemm_peers.sh also the share of the machine's best measured rate of such products, and in
# bf16 of the matrix unit's peak.
#   DTYPE   train.dtype: fp32 (default), bf16 or auto
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${TAILOR_BUILD:-$root/build}
base=${1:?BASE} dsp=${2:?DSP.json} pairs=${3:?PAIRS.json} steps=${4:-6} dtype=${DTYPE:-fp32}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
grep -m1 'model name' /proc/cpuinfo
grep -o -w -E 'amx_bf16|avx512f|avx2' /proc/cpuinfo | sort -u | tr '\n' ' '
echo "$(nproc) cores"
one() { # one NAME DATA EXTRA…
    local name=$1 data=$2
    shift 2
    rm -rf "$work/run"
    python3 "$here/watch.py" "$build/tailor" run general --from "$base" --train "$data" --out "$work/run" -q \
        --set train.max_steps="$steps" --set train.batch_groups=8 --set model.template=dsp --set train.slices=2 \
        --set checkpoint.every=0 --set train.dtype="$dtype" "$@" >/dev/null 2>"$work/log" || { tail -3 "$work/log" && return 1; }
    python3 "$here/steps.py" "$name" "$work/run/metrics.jsonl" "$work/log" "$base/config.json" "$build/gemm_peers.$dtype.json"
}
one "full, groups K=5" "$dsp" --domain business
one "full, pairs" "$pairs"
one "LoRA, groups K=5" "$dsp" --domain business --set adapter.type=lora
one "LoRA, pairs" "$pairs" --set adapter.type=lora
