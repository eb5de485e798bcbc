# SPDX-License-Identifier: Apache-2.0
"""The best measured rate of products on this machine, by shape, and weighted as a training step uses them.

    gemm_peers.py GEMM_BENCH ROWS TURNS OUT.json    (called by gemm_peers.sh, which sets PYTHON; DTYPE: fp32, bf16)

gemm_bench (tailor; tailor with its weight kept packed; oneDNN; OpenBLAS) and torch_gemm.py (PyTorch, mostly MKL) take
turns; of each library the best turn counts. A step's weights are its FLOPs: a layer's four products, forward and input
gradient (LoRA), and weight gradient besides (full).
"""
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARIES = ["tailor", "packed", "oneDNN", "OpenBLAS", "PyTorch"]
LAYER = [(960, 576), (576, 576), (3072, 576), (576, 1536)]  # SmolLM2-135M: q+k+v, o, gate+up, down
DIRECTIONS = ["forward", "dgrad", "wgrad"]
DTYPE = os.environ.get("DTYPE", "fp32")


def run(command):
    """Limits that this shell puts on OpenBLAS are not OpenBLAS's."""
    env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout


def turn(bench, rows, threads, found):
    """One turn of each; keeps the best of (library, direction, N, K, threads)."""
    def keep(library, direction, n, k, rate):
        key = (library, direction, int(n), int(k), threads)
        found[key] = max(found.get(key, 0), float(rate))

    number = r"\s+(-|[\d.]+(?= \())(?: \(\s*[\d.]+\))?"
    line_form = re.compile(r"(\w+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)" + number * 4)
    for line in run([bench, str(rows), "5", str(threads), DTYPE]).splitlines():
        peak = re.match(r"peak of the matrix unit, .*: (\d+) GFLOP/s", line)
        if peak:
            found["peak"] = max(found.get("peak", 0), int(peak.group(1)))
        fields = line_form.match(line)
        if fields:
            direction, _, n, k, _, *rates = fields.groups()
            for library, one in zip(LIBRARIES, rates):
                if one != "-":
                    keep(library, direction, n, k, one)
    shapes = [f"{d}:{rows}:{n}:{k}" for n, k in LAYER for d in DIRECTIONS]
    command = [os.environ["PYTHON"], os.path.join(HERE, "torch_gemm.py"), str(threads), "5", DTYPE, *shapes]
    for line in run(command).splitlines():
        direction, _, n, k, _, one = line.split()
        keep("PyTorch", direction, n, k, one)


def weighted(rate_of, directions):
    """FLOPs over time: what a step would reach if it were these products alone."""
    flops = time = 0.0
    for n, k in LAYER:
        for direction in directions:
            flops += n * k
            time += n * k / rate_of(direction, n, k)
    return flops / time


def main():
    bench, rows, turns, out = sys.argv[1:5]
    result = {"rows": int(rows)}
    for threads in map(int, os.environ.get("THREADS", "1 2").split()):
        found = {}
        for _ in range(int(turns)):
            turn(bench, int(rows), threads, found)
        print(f"\n{threads} thread{'s' if threads > 1 else ''}, {rows} rows, GFLOP/s, best of {turns} turns")
        print(f"{'':8} {'N':>6} {'K':>6} " + " ".join(f"{name:>9}" for name in LIBRARIES) + "   best")
        for n, k in LAYER:
            for direction in DIRECTIONS:
                rates = [found.get((name, direction, n, k, threads), 0.0) for name in LIBRARIES]
                print(f"{direction:8} {n:6} {k:6} " + " ".join(f"{r:9.1f}" for r in rates) +
                      f"   {LIBRARIES[rates.index(max(rates))]}")
        if "peak" in found:
            result[f"peak_{threads}"] = found["peak"]
            print(f"peak of the matrix unit: {found['peak']} GFLOP/s")
        for step, directions in (("full", DIRECTIONS), ("lora", DIRECTIONS[:2])):
            def best(direction, n, k):
                return max(found.get((name, direction, n, k, threads), 0.0) for name in LIBRARIES)

            result[f"{step}_{threads}"] = weighted(best, directions)
            ours = weighted(lambda *shape: max(found.get((name, *shape, threads), 0.0)
                                               for name in ("tailor", "packed")), directions)
            print(f"a {step} step's products: {result[f'{step}_{threads}']:.0f} GFLOP/s by the best of each shape, "
                  f"{ours:.0f} by tailor's")
    json.dump(result, open(out, "w", encoding="utf-8"))


main()
