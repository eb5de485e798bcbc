#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tests/fault/fault.py BUILD_DIR [WORD…]   the promises whose names contain a word (all), side by side.

Each is a function (build, count, seed) that returns (broken promises, what was done). The counts are for CI; the
environment raises them: FAULT_P1=1000. FAULT_SEED chooses another history, FAULT_SIDE how many clusters at once,
FAULT_KEEP=1 leaves what the programs wrote.
"""
import concurrent.futures
import os
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import deletion
import disk
import kills
import partitions
import real
import sites
import strangers

SCENARIOS = [  # (name, function, count in CI); long ones first
    ("P1", kills.p1, 25),
    ("P1_POINTS", kills.p1_points, 1),
    ("P5_REAL", real.p5_real, 3),
    ("P7", partitions.p7, 9),
    ("P14", partitions.p14, 4),
    ("P6", partitions.p6, 4),
    ("P4", kills.p4, 12),
    ("P5", kills.p5, 6),
    ("P9", disk.p9, 12),
    ("P17", deletion.p17, 2),
    ("P13", strangers.p13, 100),
    ("P3", kills.p3, 300),
    ("SITES", sites.sites, 1),
]
if disk.can_mount():
    SCENARIOS.insert(0, ("P9_TMPFS", disk.p9_tmpfs, 4))


def run(name, function, build, count, seed):
    began = time.time()
    try:
        broken, said = function(build, count, seed)
    except Exception:
        broken, said = ["it did not come to its end:"] + traceback.format_exc().strip().split("\n"), ""
    return name, " ".join(function.__doc__.split()), broken, said, time.time() - began


def main():
    build, words = os.path.abspath(sys.argv[1]), sys.argv[2:]
    seed = int(os.environ.get("FAULT_SEED", "1"))
    side = int(os.environ.get("FAULT_SIDE", "4"))
    chosen = [s for s in SCENARIOS if not words or any(s[0] == w or s[0].startswith(w + "_") for w in words)]
    failed = 0
    with concurrent.futures.ProcessPoolExecutor(side) as pool:
        runs = [pool.submit(run, name, function, build, int(os.environ.get("FAULT_" + name, count)), seed)
                for name, function, count in chosen]
        for future in concurrent.futures.as_completed(runs):
            name, sentence, broken, said, seconds = future.result()
            failed += bool(broken)
            print(f"{'FAIL' if broken else 'ok'} {name} ({seconds:.0f} s; {said}): {sentence}", flush=True)
            for line in broken[:20]:
                print("    " + line)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    sys.exit(1 if failed or not chosen else 0)


if __name__ == "__main__":
    main()
