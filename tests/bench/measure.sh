#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# To be sourced, with $build, $work and $steps set: measure_run NAME STAGE ARGUMENTS… runs `tailor run STAGE ARGUMENTS…`
# for $steps steps, ends it before it saves (what is saved passes through a few MiB of buffer), and prints one line:
# the total of its memory ledger, the most anonymous memory that the kernel reported meanwhile (RssAnon, every 0.02 s),
# their ratio, and seconds a token of the first step against the second, since the first touches its memory.
# Returns 1 when the ratio is more than 5 % from 1.
measure_header() {
    printf '%-34s %11s %11s %7s %11s\n' setting 'ledger MiB' 'kernel MiB' ratio 'step 1 : 2'
}

measure_run() {
    local name=$1 stage=$2 peak=0 steps_done now pid
    shift 2
    rm -rf "$work/run"
    "$build/tailor" run "$stage" --out "$work/run" --set train.max_steps="$steps" "$@" >/dev/null 2>"$work/log" &
    pid=$!
    while kill -0 $pid 2>/dev/null; do
        steps_done=$(grep -c step_seconds "$work/run/metrics.jsonl" 2>/dev/null || true)
        now=$(sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\).*/\1/p' /proc/$pid/status 2>/dev/null || true)
        [ "${now:-0}" -gt "$peak" ] && peak=$now
        if [ "$steps_done" = "$steps" ]; then
            kill -9 $pid
            break
        fi
        sleep 0.02
    done
    wait $pid 2>/dev/null || true
    if [ "$steps_done" != "$steps" ]; then
        tail -3 "$work/log"
        return 1
    fi
    python3 - "$name" "$work/log" "$work/run/metrics.jsonl" "$peak" <<'PY'
import json, re, sys
name, log, metrics, peak = sys.argv[1:]
ledger = float(re.search(r"^  total +([\d.]+) MiB", open(log).read(), re.M).group(1))
steps = [r for r in map(json.loads, open(metrics)) if "step_seconds" in r]
tokens = [b - a for a, b in zip([0] + [r["num_tokens"] for r in steps], [r["num_tokens"] for r in steps])]
rate = [sum(r["step_seconds"].values()) / t for r, t in zip(steps, tokens)]
ratio = int(peak) / 1024 / ledger
first = f"{rate[0] / rate[1]:11.2f}" if len(rate) > 1 else " " * 11
print(f"{name:34} {ledger:11.1f} {int(peak) / 1024:11.1f} {ratio:7.3f} {first}", flush=True)
sys.exit(abs(ratio - 1) > 0.05)
PY
}
