#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/gemm_peers.sh [ROWS [TURNS]]
# Products at the shapes of SmolLM2-135M: tailor beside oneDNN, OpenBLAS (Debian's) and PyTorch (MKL) in fp32, beside
# PyTorch (its oneDNN) and the peak of the matrix unit in bf16, in one run. PyTorch gets its operands in bf16; tailor
# gets floats and rounds them. The best of each shape, weighted as a training step uses them, is the machine's best
# measured rate: kept in BUILD/gemm_peers.DTYPE.json, from which steps.sh takes the share that whole steps reach. About
# 3 minutes.
#   DTYPE           fp32 (default) or bf16
#   THREADS         how many, in turn (default: "1 2"); one thread goes by its own clock, so neighbours count little
#   TAILOR_BUILD    build directory (default: build)
#   TAILOR_VENV     a Python venv with torch; default: made under the build directory (several GB)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export BUILD=${TAILOR_BUILD:-$root/build}
"$root/deploy/packages.sh" bench
. "$here/venv.sh"
cmake --build "$BUILD" --target gemm_bench >/dev/null
grep -m1 'model name' /proc/cpuinfo
"$PYTHON" -c 'import torch; print("torch", torch.__version__, "with MKL" if torch.backends.mkl.is_available() else "without MKL")'
python3 "$here/gemm_peers.py" "$BUILD/tests/gemm_bench" "${1:-2048}" "${2:-3}" "$BUILD/gemm_peers.${DTYPE:-fp32}.json"
