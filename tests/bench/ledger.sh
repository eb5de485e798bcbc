#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/ledger.sh BASE DSP.json PAIRS.json [STEPS [GROUPS]]
# The memory ledger that a run prints beforehand, the most anonymous memory that the kernel reports while it trains
# (RssAnon, sampled), and their ratio, for seven settings on real rows; also the time of the first step against that of
# the second, since the first touches its memory. Exit code 1 if a ratio is more than 5 % from 1.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${TAILOR_BUILD:-$root/build}
base=${1:?BASE} dsp=${2:?DSP.json} pairs=${3:?PAIRS.json} steps=${4:-4} groups=${5:-8}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
printf '%-34s %11s %11s %7s %13s\n' setting 'ledger MiB' 'kernel MiB' ratio 'step 1 / 2'
one() { # one NAME STAGE DATA EXTRA…
    local name=$1 stage=$2 data=$3
    shift 3
    rm -rf "$work/run"
    "$build/tailor" run "$stage" --from "$base" --train "$data" --out "$work/run" --set train.max_steps="$steps" \
        --set train.batch_groups="$groups" --set model.template=dsp --set train.slices=2 --set checkpoint.every=0 "$@" >/dev/null 2>"$work/log" &
    local pid=$! peak=0 now
    while kill -0 $pid 2>/dev/null; do
        now=$(sed -n 's/^RssAnon: *\([0-9]*\).*/\1/p' /proc/$pid/status 2>/dev/null || true)
        [ "${now:-0}" -gt "$peak" ] && peak=$now
        sleep 0.1
    done
    wait $pid || { tail -3 "$work/log" && return 1; }
    python3 - "$name" "$work/log" "$work/run/metrics.jsonl" "$peak" <<'PY' || failed=1
import json, re, sys
name, log, metrics, peak = sys.argv[1:]
ledger = float(re.search(r"^  total +([\d.]+) MiB", open(log).read(), re.M).group(1))
seconds = [sum(r["step_seconds"].values()) for r in map(json.loads, open(metrics)) if "step_seconds" in r]
tokens = [r["num_tokens"] for r in map(json.loads, open(metrics)) if "step_seconds" in r]
rate = [s / t for s, t in zip(seconds, [tokens[0]] + [b - a for a, b in zip(tokens, tokens[1:])])]
ratio = int(peak) / 1024 / ledger
print(f"{name:34} {ledger:11.1f} {int(peak) / 1024:11.1f} {ratio:7.3f} {rate[0] / rate[1]:13.2f}", flush=True)
sys.exit(abs(ratio - 1) > 0.05)
PY
}
one "full, groups K=5" general "$dsp" --domain business
one "full, pairs" general "$pairs"
one "full, pairs, imitation" general "$pairs" --set loss.lm_loss_coeff=0.1
one "full, groups in parts" general "$dsp" --domain business --set train.max_tokens_per_batch=512
one "full, pairs, layers again" general "$pairs" --set train.recompute=layer
one "LoRA, groups K=5" general "$dsp" --domain business --set adapter.type=lora
one "LoRA, pairs, mean pooling" general "$pairs" --set adapter.type=lora --set model.pooling=mean
exit $failed
