#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/peer.sh trl|torch BASE DSP.json PAIRS.json [STEPS [GROUPS [SET…]]]: what vs_trl.sh and vs_torch.sh share
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
peer=$1 base=${2:?BASE} dsp=${3:?DSP.json} pairs=${4:?PAIRS.json} steps=${5:-2} groups=${6:-4}
shift $(($# < 6 ? $# : 6))
export BUILD=${TAILOR_BUILD:-$root/build}
. "$here/venv.sh"
"$PYTHON" - <<'PY'
import torch, transformers, trl, peft
print(f"torch {torch.__version__}, transformers {transformers.__version__}, trl {trl.__version__}, peft {peft.__version__}")
PY
cmake --build "$BUILD" --target tailor tailor-trainer >/dev/null
python3 "$here/contest.py" "$peer" "$base" "$dsp" "$pairs" "$steps" "$groups" "$@"
