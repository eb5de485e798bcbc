#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/all.sh BASE DSP.json PAIRS.json OUT
# Every figure of docs/performance.md that needs the machine for itself, one file each in OUT: about an hour on two
# cores. Waits before each until the load of the last minute is below LOAD_MAX (default 1): neighbours are not to be
# measured.
#   TAILOR_BUILD, TAILOR_VENV    as in vs_trl.sh
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
base=${1:?BASE} dsp=${2:?DSP.json} pairs=${3:?PAIRS.json} out=${4:?OUT}
mkdir -p "$out"
failed=0

figure() { # figure NAME COMMAND…
    local name=$1
    shift
    until awk -v max="${LOAD_MAX:-1}" '{ exit !($1 < max) }' /proc/loadavg; do sleep 5; done
    if "$@" >"$out/$name.txt" 2>&1; then
        printf 'ok %s\n' "$out/$name.txt"
    else
        failed=1 && printf 'FAIL %s\n' "$out/$name.txt"
    fi
}

figure gemm_peers "$here/gemm_peers.sh"
figure steps "$here/steps.sh" "$base" "$dsp" "$pairs"
figure step_profile "$here/step_profile.sh" "$base" "$dsp"
if grep -qw amx_bf16 /proc/cpuinfo; then
    export DTYPE=bf16
    figure gemm_peers.bf16 "$here/gemm_peers.sh"
    figure steps.bf16 "$here/steps.sh" "$base" "$dsp" "$pairs"
    figure step_profile.bf16 "$here/step_profile.sh" "$base" "$dsp"
    unset DTYPE
fi
figure vs_trl "$here/vs_trl.sh" "$base" "$dsp" "$pairs"
figure vs_torch "$here/vs_torch.sh" "$base" "$dsp" "$pairs"
figure ranks "$here/ranks.sh" "$base" "$pairs"
figure start "$here/start.sh" "$base" "$pairs"
figure vs_tokenizers "$here/vs_tokenizers.sh" "$base" "$pairs"
exit "$failed"
