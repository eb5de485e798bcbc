# SPDX-License-Identifier: Apache-2.0
"""tailor and a contender on the same real rows, in one run.

    contest.py trl|torch BASE DSP.json PAIRS.json STEPS GROUPS [SET…]

Called by vs_trl.sh and vs_torch.sh, which set PYTHON (of a venv) and BUILD. For each set of rows the contender first
looks for its best dtype and batch on a few rows (in full fine-tuning; LoRA takes the same). Then tailor, the contender
and tailor again take STEPS steps of the same rows, of GROUPS groups (or as many pairs as those groups have), in full
and with LoRA. One epoch, every step counts;
rates are pairs over the sum of the steps' times. Every contender gets THREADS threads (default: all cores). CLOCK is
"wall" (default) or "processor": with THREADS=1 the latter holds on a machine that others use too, for there a step's
time on the wall is the neighbours'. SETTING=BATCH,DTYPE takes that instead of searching.
"""
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time

from rows import rows_write
from watch import run_watched

HERE = os.path.dirname(os.path.abspath(__file__))
THREADS = os.environ.get("THREADS", str(os.cpu_count()))
CLOCK = os.environ.get("CLOCK", "wall")
GIB = 2 ** 30
PAIRS_OF = {"groups": 4, "pairs": 1, "long": 1}  # of a group of this kind
# Batches in rows of the contender's own unit: pairs for TRL, groups of five for the loop.
BATCHES = {"trl": [4, 2, 8], "torch": [1, 2, 4]}


def environment():
    """Threads for all alike; BLAS settings of this machine's own are not for others' libraries."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    return {**kept, "OMP_NUM_THREADS": THREADS, "MKL_NUM_THREADS": THREADS, "PYTHONPATH": HERE, "CLOCK": CLOCK}


def figures(first_step_at, steps, pairs, tokens, computed, begun, rss, anonymous):
    return {"rate": pairs / sum(steps), "step": statistics.median(steps), "start": first_step_at - begun, "rss": rss,
            "anonymous": anonymous, "tokens_a_pair": computed / pairs, "padding": 1 - tokens / computed}


def run_tailor(base, rows, steps, batch_groups, adapter, work):
    out = os.path.join(work, "run")
    shutil.rmtree(out, ignore_errors=True)
    metrics = os.path.join(out, "metrics.jsonl")
    seen = []  # (time, processor seconds) when metrics.jsonl was there, then when each step's line was

    def look(processor):
        lines = open(metrics, "rb").read().count(b"\n") + 1 if os.path.exists(metrics) else 0
        seen.extend([(time.time(), processor)] * (lines - len(seen)))

    command = [os.path.join(os.environ["BUILD"], "tailor"), "run", "general", "--from", base, "--train", rows, "--out",
               out, "-q", "--threads", THREADS]
    sets = {"train.max_steps": steps, "train.batch_groups": batch_groups, "train.slices": 1, "model.template": "plain",
            "model.max_length": 1024, "train.learning_rate": 1e-5, "evaluate.every_steps": 0, "checkpoint.every": 0,
            "adapter.type": adapter, "train.dtype": os.environ.get("DTYPE", "fp32")}
    for key, value in sets.items():
        command += ["--set", f"{key}={value}"]
    begun = time.time()
    with open(os.path.join(work, "log"), "w", encoding="utf-8") as log:
        code, _, rss, anonymous = run_watched(command, look, stdout=log, stderr=log, env=environment())
    if code != 0:
        raise SystemExit(open(log.name, encoding="utf-8").read()[-2000:])
    lines = [json.loads(line) for line in open(metrics, encoding="utf-8")]
    lines = [line for line in lines if "step_seconds" in line]
    totals = [0] + [line["num_tokens"] for line in lines]
    tokens = [after - before for before, after in zip(totals, totals[1:])]
    seconds = [count / line["tokens_per_second"] for line, count in zip(lines, tokens)]  # of the whole step
    computed = sum(t * (1 - line["shared_token_ratio"]) for line, t in zip(lines, tokens))
    pairs = round(sum(line["pairs_per_second"] * s for line, s in zip(lines, seconds)))
    first_step_at = seen[1][0] - seconds[0]
    if CLOCK == "processor":
        seconds = [after[1] - before[1] for before, after in zip(seen, seen[1:])]
    # No row is padded; tokens_a_pair counts a shared prompt once, as it is computed.
    return figures(first_step_at, seconds, pairs, computed, computed, begun, rss, anonymous)


def run_peer(peer, base, rows, batch_groups, pairs_a_group, setting, adapter, work):
    batch, dtype, *checkpointing = setting
    command = [os.environ["PYTHON"], os.path.join(HERE, f"{peer}_steps.py"), base, rows]
    if peer == "trl":
        command += [str(batch_groups * pairs_a_group), str(batch), dtype, adapter, *(checkpointing or ["plain"])]
    else:
        command += [str(batch_groups), str(batch), dtype, adapter]
    begun = time.time()
    with open(os.path.join(work, "peer"), "w+", encoding="utf-8") as out, \
            open(os.path.join(work, "log"), "w+", encoding="utf-8") as log:
        code, _, rss, anonymous = run_watched(command, stdout=out, stderr=log, env=environment())
        out.seek(0)
        log.seek(0)
        if code != 0:
            raise SystemExit(log.read()[-2000:])
        report = json.loads(out.read().strip().splitlines()[-1])
    return figures(begun=begun, rss=rss, anonymous=anonymous, **report)


def show(name, f, note=""):
    print(f"  {name:34} {f['rate']:7.3f} pairs/s  step {f['step']:7.2f} s  start {f['start']:6.2f} s  "
          f"{f['rss'] / GIB:5.2f} GiB ({f['anonymous'] / GIB:5.2f} anonymous)  {f['tokens_a_pair']:5.0f} tokens/pair  "
          f"{100 * f['padding']:3.0f} % padding  {note}", flush=True)


def best_setting(batches, run):
    """First the dtype, then the batch; each by pairs/s."""
    tried = {}
    first, *others = batches

    def attempt(*setting):
        tried[setting] = run(setting)
        show(f"tries batch {setting[0]}, {setting[1]}", tried[setting])

    for dtype in ("bf16", "fp32"):
        attempt(first, dtype)
    dtype = max(tried, key=lambda s: tried[s]["rate"])[1]
    for batch in others:
        attempt(batch, dtype)
    return max(tried, key=lambda s: tried[s]["rate"])


def search(peer, base, dsp, pairs, kind, groups, work):
    """The contender's setting for a set of rows: (batch, dtype)."""
    if "SETTING" in os.environ:
        batch, dtype = os.environ["SETTING"].split(",")
        return int(batch), dtype
    few, pairs_a_group = os.path.join(work, "few.jsonl"), PAIRS_OF[kind]
    count = 8 // pairs_a_group if peer == "trl" else 4
    largest = 8 if peer == "trl" else min(4, groups)
    rows_write(kind, dsp, pairs, count, few)
    print(f"\n{kind}: {peer} looks for its best", flush=True)
    return best_setting([batch for batch in BATCHES[peer] if batch <= largest],
                        lambda setting: run_peer(peer, base, few, count, pairs_a_group, setting, "none", work))


def contest(peer, base, dsp, pairs, kind, adapter, steps, groups, setting, work):
    pairs_a_group = PAIRS_OF[kind]
    batch_groups = groups * PAIRS_OF["groups"] // pairs_a_group
    rows = os.path.join(work, "rows.jsonl")
    rows_write(kind, dsp, pairs, steps * batch_groups, rows)
    print(f"\n{kind}, {'LoRA' if adapter == 'lora' else 'full'}: {steps} steps of {batch_groups} groups, "
          f"{pairs_a_group} pairs each", flush=True)
    before = run_tailor(base, rows, steps, batch_groups, adapter, work)
    show("tailor", before)
    other = run_peer(peer, base, rows, batch_groups, pairs_a_group, setting, adapter, work)
    show(f"{peer}, batch {setting[0]}, {setting[1]}", other)
    if peer == "trl" and kind == "groups":
        few = os.path.join(work, "few.jsonl")
        rows_write(kind, dsp, pairs, 2, few)
        shipped = run_peer(peer, base, few, 2, pairs_a_group, (8, "bf16", "checkpointing"), adapter, work)
        show("trl at its defaults", shipped, "batch 8, bf16, recomputing; 8 pairs")
    after = run_tailor(base, rows, steps, batch_groups, adapter, work)
    show("tailor, again", after)
    rate = statistics.mean([before["rate"], after["rate"]])
    print(f"  tailor/{peer}: {rate / other['rate']:.2f} x pairs/s, {before['rss'] / other['rss']:.2f} x peak memory "
          f"({before['anonymous'] / other['anonymous']:.2f} x anonymous), first step after {before['start']:.2f} s "
          f"against {other['start']:.2f} s", flush=True)


def main():
    peer, base, dsp, pairs, steps, groups = sys.argv[1:7]
    sets = sys.argv[7:] or (["groups", "pairs", "long"] if peer == "trl" else ["groups", "long"])
    cpu = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo", encoding="utf-8").read()).group(1)
    print(f"{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {THREADS} threads each, {CLOCK} clock")
    with tempfile.TemporaryDirectory() as work:
        os.environ["TAILOR_CACHE"] = os.path.join(work, "cache")
        for kind in sets:
            setting = search(peer, base, dsp, pairs, kind, int(groups), work)
            for adapter in os.environ.get("ADAPTERS", "none lora").split():
                contest(peer, base, dsp, pairs, kind, adapter, int(steps), int(groups), setting, work)


main()
