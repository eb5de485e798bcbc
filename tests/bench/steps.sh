#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/steps.sh BASE DSP.json PAIRS.json [STEPS]
# Whole training steps on real rows: tokens/s, pairs/s, peak memory and GFLOP/s (of matrix products of the model, 6 per
# weight and computed token in full, 4 with LoRA; shared prompt tokens count once, as they are computed), for full
# fine-tuning and LoRA, on groups of K = 5 and on pairs. The machine's own GEMM rate: tests/bench gemm_bench.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${TAILOR_BUILD:-$root/build}
base=${1:?BASE} dsp=${2:?DSP.json} pairs=${3:?PAIRS.json} steps=${4:-6}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
grep -m1 'model name' /proc/cpuinfo
grep -o -w -m1 -E 'amx_bf16|avx512f|avx2' /proc/cpuinfo | sort -u | tr '\n' ' '
echo "$(nproc) cores"
one() { # one NAME DATA EXTRA…
    local name=$1 data=$2
    shift 2
    rm -rf "$work/run"
    "$build/tailor" run general --from "$base" --train "$data" --out "$work/run" -q --set train.max_steps="$steps" \
        --set train.batch_groups=8 --set model.template=dsp --set train.slices=2 --set checkpoint.every=0 "$@" >/dev/null 2>"$work/log" &
    local pid=$! peak=0 now
    while kill -0 $pid 2>/dev/null; do
        now=$(sed -n 's/^RssAnon: *\([0-9]*\).*/\1/p' /proc/$pid/status 2>/dev/null || true)
        [ "${now:-0}" -gt "$peak" ] && peak=$now
        sleep 0.2
    done
    wait $pid || { tail -3 "$work/log" && return 1; }
    python3 - "$name" "$work/run/metrics.jsonl" "$peak" "$base/config.json" "$*" <<'PY'
import json, sys
name, path, peak, config, extra = sys.argv[1:]
c = json.load(open(config))
head = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
n = c["num_hidden_layers"] * (c["hidden_size"] * head * 2 * (c["num_attention_heads"] + c["num_key_value_heads"]) + 3 * c["hidden_size"] * c["intermediate_size"])
rows = [json.loads(line) for line in open(path)][1:]  # the first step warms up
rows = [r for r in rows if "loss" in r]
seconds = [sum(r["step_seconds"].values()) for r in rows]
tokens = [r["tokens_per_second"] * s for r, s in zip(rows, seconds)]
packed = [t * (1 - r["shared_token_ratio"]) for r, t in zip(rows, tokens)]
per = 4 if "lora" in extra else 6
phases = {k: sum(r["step_seconds"][k] for r in rows) / sum(seconds) for k in rows[0]["step_seconds"]}
print(f"{name:22} {sum(tokens) / sum(seconds):8.0f} tokens/s  {sum(r['pairs_per_second'] * s for r, s in zip(rows, seconds)) / sum(seconds):7.2f} pairs/s  "
      f"{int(peak) / 2**20:5.2f} GiB  {per * n * sum(packed) / sum(seconds) / 1e9:6.0f} GFLOP/s  "
      + "  ".join(f"{k} {100 * v:.0f} %" for k, v in phases.items()))
PY
}
one "full, groups K=5" "$dsp" --domain business
one "full, pairs" "$pairs"
one "LoRA, groups K=5" "$dsp" --domain business --set adapter.type=lora
one "LoRA, pairs" "$pairs" --set adapter.type=lora
