#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/gpu/resources.sh [CAPABILITY]     what each kernel of worker/ops_cuda takes of a multiprocessor, as ptxas says
#
# Needs nvcc and no GPU. CAPABILITY: 80, 90 (default) or 100. A Markdown table: registers, shared memory, threads of a
# block, and occupancy: the share of a multiprocessor's 64 warps that its 65,536 registers, its shared memory (164 KiB on
# sm_80, else 228) and its 32 blocks hold at once. A warning of the compiler or a spilled register is a failure.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
capability=${1:-90}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v nvcc >/dev/null || { echo "resources.sh: nvcc is not here" >&2 && exit 2; }
for source in "$root"/worker/ops_cuda/*.cu; do
    name=$(basename "$source" .cu)
    nvcc -std=c++17 -arch="sm_$capability" -O3 --fmad=false --Werror=all-warnings -Xcompiler=-Wall,-Wextra -I"$root" -Xptxas -v \
        -cubin -o "$work/cubin" "$source" >"$work/$name.txt" 2>&1 || { cat "$work/$name.txt" >&2 && exit 1; }
done
python3 - "$root/worker/ops_cuda" "$capability" "$work"/*.txt <<'PY'
import os, re, subprocess, sys
folder, capability = sys.argv[1:3]
SHARED = (164 if capability == "80" else 228) << 10
WARPS, BLOCKS, OF_SYSTEM = 64, 32, 1024  # the system's shared memory in each block


def source_with_headers(name):
    text = open(f"{folder}/{name}").read()
    return "".join(source_with_headers(h) for h in re.findall(r'#include "worker/ops_cuda/(\w+\.h)"', text)) + text


def threads_of(source, kernel):
    """Of the kernel's launch, or its bounds: a name of an enum, or a dim3 of two."""
    values = dict(re.findall(r"\b([A-Z_]+) = ([\w* ]+)", source) + re.findall(r"#define ([A-Z_]+) +(\d+)", source))

    def number(word):
        product = 1
        for factor in values.get(word, word).split("*"):
            factor = factor.strip()
            product *= int(factor) if factor.isdigit() else number(factor)
        return product

    bounds = re.search(rf"__launch_bounds__\((\w+), \d+\)\s+{kernel}\(", source)
    if bounds:
        return number(bounds[1])
    for word in re.findall(r"\w+", re.search(rf"LAUNCH\({kernel}\b[^;]*;", source)[0]):
        if word.endswith("THREADS"):
            return number(word)
    return number("*".join(re.search(r"dim3 block\((\w+), (\w+)\)", source).groups()))


def occupancy(registers, shared, threads):
    warps = -(-threads // 32)
    by_registers = 65536 // (-(-registers // 8) * 8 * 32) // warps
    return warps * min(by_registers, SHARED // (shared + OF_SYSTEM), WARPS // warps, BLOCKS) / WARPS


print("| file | kernel | registers | shared memory | threads | occupancy |\n|---|---|---|---|---|---|")
spilled = 0
for path in sys.argv[3:]:
    text = open(path).read()
    source = source_with_headers(os.path.basename(path)[:-4] + ".cu")
    parts = re.findall(r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers(.*?)\n", text, re.S)
    for name, stores, loads, registers, rest in parts:
        plain = subprocess.run(["c++filt", name], capture_output=True, text=True).stdout.split("(")[0].replace("void ", "")
        shared = re.search(r"(\d+) bytes smem", rest)
        shared = int(shared[1]) if shared else 0
        threads = threads_of(source, re.sub(r"<.*", "", plain.strip()))
        spilled += int(stores) + int(loads)
        print(f"| {os.path.basename(path)[:-4]} | `{plain.strip()}` | {registers} | {shared} | {threads} "
              f"| {100 * occupancy(int(registers), shared, threads):.0f} % |")
print(f"\n{spilled} bytes spilled")
sys.exit(spilled > 0)
PY
