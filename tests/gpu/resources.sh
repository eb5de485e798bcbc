#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/gpu/resources.sh [CAPABILITY]     what each kernel of worker/ops_cuda takes of a multiprocessor, as ptxas says
#
# Needs nvcc and no GPU. CAPABILITY: 80, 90 (default) or 100. A Markdown table: registers, shared memory, the warps (of
# 64) that the 65,536 registers hold at once. A warning of the compiler or a register that is spilled is a failure.
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
python3 - "$work"/*.txt <<'PY'
import os, re, subprocess, sys
print("| file | kernel | registers | shared memory | warps by registers |\n|---|---|---|---|---|")
spilled = 0
for path in sys.argv[1:]:
    text = open(path).read()
    parts = re.findall(r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers(.*?)\n", text, re.S)
    for name, stores, loads, registers, rest in parts:
        plain = subprocess.run(["c++filt", name], capture_output=True, text=True).stdout.split("(")[0].replace("void ", "")
        shared = re.search(r"(\d+) bytes smem", rest)
        warps = min(64, 65536 // (-(-int(registers) // 8) * 8 * 32))
        spilled += int(stores) + int(loads)
        print(f"| {os.path.basename(path)[:-4]} | `{plain.strip()}` | {registers} | {shared[1] if shared else 0} | {warps} |")
print(f"\n{spilled} bytes spilled")
sys.exit(spilled > 0)
PY
