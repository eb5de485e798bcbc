#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/vs_gloo.sh [BYTES…]
# All-reduce of tailor (shm, tcp) and of Gloo (Debian's, over TCP on loopback, the best of its ring, bcube and
# halving-doubling) in turn, three turns, 2 and 4 ranks. Of each: microseconds of the median and of the best round, GB/s
# of the median, and microseconds of a core that rank 0 uses a round; the least of three turns. Ratios: Gloo / tailor.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${TAILOR_BUILD:-$root/build}
sizes=("$@")
[ ${#sizes[@]} -gt 0 ] || sizes=(8 4096 65536 1048576 16777216 134217728)
"$root/deploy/packages.sh" build bench
cmake -G Ninja -S "$root" -B "$build" >/dev/null
cmake --build "$build" --target comm_bench >/dev/null
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
g++ -O2 -std=c++17 -o "$work/gloo_bench" "$root/tests/bench/gloo_bench.cc" -lgloo -pthread
grep -m1 'model name' /proc/cpuinfo
echo "$(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg)"
port=23000
for ranks in 2 4; do
    for turn in 1 2 3; do
        for backend in shm tcp; do
            port=$((port + ranks))
            "$build/tests/comm_bench" "$backend" "$ranks" "$port" "${sizes[@]}" | sed "s/^/$backend $ranks /"
        done
        for algorithm in ring bcube halving; do
            mkdir "$work/meet-$ranks-$turn-$algorithm"
            "$work/gloo_bench" "$algorithm" "$ranks" "$work/meet-$ranks-$turn-$algorithm" "${sizes[@]}" |
                sed "s/^/gloo $ranks /"
        done
    done
done >"$work/lines"
python3 - "$work/lines" <<'PY'
import collections, sys
least = collections.defaultdict(lambda: [float("inf")] * 3)
for line in open(sys.argv[1]):
    who, ranks, size, *figures = line.split()
    key = int(ranks), int(size), who
    least[key] = [min(a, float(b)) for a, b in zip(least[key], figures)]
print("| ranks | bytes | by | median us | best us | GB/s | core us | Gloo/this: median | best | core |")
print("|---|---|---|---|---|---|---|---|---|---|")
for (ranks, size, who), row in least.items():
    gloo = least[ranks, size, "gloo"]
    ratios = " | ".join("%.1f" % (g / max(r, 1e-3)) for g, r in zip(gloo, row))
    print(f"| {ranks} | {size} | {who} | {row[0]:.1f} | {row[1]:.1f} | {size / row[0] / 1e3:.2f} | {row[2]:.1f} | {ratios} |")
PY
