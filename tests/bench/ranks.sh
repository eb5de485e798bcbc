#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/ranks.sh BASE PAIRS.json [STEPS [RANKS]]
# RANKS ranks of one thread each against one rank of one thread, on the same real rows: tokens/s by the clock (of the
# steps behind the first), and tokens by a second of processor time, which a busy machine leaves alone (what waiting
# ranks spin counts too). Full and LoRA, by shared memory and by TCP. The first ratio is the speed-up; the second times
# RANKS is what it would be with a free core a rank and nothing to wait for. With the sums after the backward pass and
# beside it; "hidden" is the time of the thread that sums beside it, as a share of the steps.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 - "${TAILOR_BUILD:-$root/build}" "$@" <<'PY'
import json, os, resource, shutil, subprocess, sys, tempfile

build, base, data = sys.argv[1:4]
steps = int(sys.argv[4]) if len(sys.argv) > 4 else 6
ranks = int(sys.argv[5]) if len(sys.argv) > 5 else 2
work = tempfile.mkdtemp()


def run(count, extra):
    """Processor seconds of a whole run, and its metrics."""
    out = os.path.join(work, "run")
    shutil.rmtree(out, ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [os.path.join(build, "tailor"), "run", "general", "--from", base, "--train", data, "--out", out, "-q",
               "--threads", "1", "--set", f"train.max_steps={count}", "--set", "train.batch_groups=8",
               "--set", "model.template=dsp", "--set", "train.seed=1", "--set", "checkpoint.every=0"] + extra
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))]
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, [r for r in rows if "loss" in r]


def measure(extra):
    """Tokens by the clock and by the processor; the share of each phase. Start and end cancel: two runs differ."""
    short, _ = run(1, extra)
    whole, rows = run(1 + steps, extra)
    rows = rows[1:]
    seconds = [sum(r["step_seconds"].values()) for r in rows]
    tokens = sum(r["tokens_per_second"] * s for r, s in zip(rows, seconds))
    hidden = sum(r.get("reduce_hidden_seconds", 0) for r in rows) / sum(seconds)
    phases = {k: sum(r["step_seconds"][k] for r in rows) / sum(seconds) for k in rows[0]["step_seconds"]}
    return tokens / sum(seconds), tokens / (whole - short), {**phases, "hidden": hidden}, [r["loss"] for r in rows]


try:
    for kind in ("none", "lora"):
        adapter = ["--set", f"adapter.type={kind}"]
        clock, processor, phases, losses = measure(adapter)
        print(f"{kind:5} 1 rank                         {clock:8.0f} tokens/s  {processor:8.0f} tokens a processor second", flush=True)
        for wire, overlap in (("shm", "false"), ("shm", "true"), ("tcp", "false"), ("tcp", "true")):
            got = measure(adapter + ["--ranks", str(ranks), "--comm", wire, "--set", f"train.overlap={overlap}"])
            print(f"{kind:5} {ranks} ranks by {wire}, overlap {overlap:5}  {got[0]:8.0f} tokens/s  {got[1]:8.0f} tokens a processor second  "
                  f"ratio {got[0] / clock:.2f}, by the processor {ranks * got[1] / processor:.2f}  "
                  + "  ".join(f"{k} {100 * v:.0f} %" for k, v in got[2].items())
                  + ("" if got[3] == losses else "  THE LOSSES DIFFER"), flush=True)
finally:
    shutil.rmtree(work)
PY
