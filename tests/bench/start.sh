#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/start.sh BASE DATA.json [ROUNDS]
# From `tailor run` to the beginning of its first step: seconds by the clock, and of processor time, in full and by LoRA;
# the first round fills the cache of tokens, the others find it. The kernel's cache of files is left as it is.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 - "${TAILOR_BUILD:-$root/build}" "$@" <<'PY'
import json, os, shutil, subprocess, sys, tempfile, time

build, base, data = sys.argv[1:4]
rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 4
work = tempfile.mkdtemp()
environment = dict(os.environ, TAILOR_CACHE=os.path.join(work, "cache"))


def processor(pid):
    """Seconds of processor time of a process so far; the client becomes its trainer."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(adapter):
    out = os.path.join(work, "run")
    shutil.rmtree(out, ignore_errors=True)
    command = [os.path.join(build, "tailor"), "run", "general", "--from", base, "--train", data, "--out", out, "-q",
               "--set", "train.max_steps=20", "--set", "train.batch_groups=1", "--set", "model.template=dsp",
               "--set", "train.slices=1", "--set", f"adapter.type={adapter}", "--set", "checkpoint.every=0"]
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    metrics = os.path.join(out, "metrics.jsonl")
    line = ""
    while not line.endswith("\n") and process.poll() is None:
        time.sleep(0.002)
        line = open(metrics).readline() if os.path.exists(metrics) else ""
    if not line.endswith("\n"):
        sys.exit("the run ended before its first step")
    seconds, used = time.monotonic() - begun, processor(process.pid)
    process.kill()
    process.wait()
    step = sum(json.loads(line)["step_seconds"].values())
    return seconds - step, used, step


try:
    for adapter in ("none", "lora"):
        for turn in range(rounds):
            seconds, used, step = start(adapter)
            print(f"{adapter:5} round {turn}: {seconds:.2f} s to the first step, which took {step:.2f} s; {used:.2f} s of "
                  "processor time with it", flush=True)
finally:
    shutil.rmtree(work)
PY
