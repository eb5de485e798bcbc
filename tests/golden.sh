#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/golden.sh [DIR]     every golden test over DIR (default: tests/golden/data), on every instruction set here.
# A part that DIR lacks is named as skipped. With DIR/smollm2, the model is made on demand (network: PyPI).
#   TAILOR_ISAS   instruction sets (default: ref avx2 avx512). The C reference needs hours for SmolLM2 and is skipped
#                 there unless it is asked for by this.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
export TAILOR_GOLDEN=${1:-$root/tests/golden/data}
TAILOR_GOLDEN=$(cd "$TAILOR_GOLDEN" && pwd) || exit 2
build=${TAILOR_BUILD:-$root/build}
cmake -G Ninja -S "$root" -B "$build" >/dev/null && cmake --build "$build" >/dev/null || exit 1
if [ -d "$TAILOR_GOLDEN/smollm2" ]; then
    export TAILOR_SMOLLM2=${TAILOR_SMOLLM2:-$build/smollm2/base}
    if [ ! -e "$TAILOR_SMOLLM2/config.json" ]; then
        "$root/deploy/fetch_base.sh" "$build/smollm2/download" &&
            "$build/tailor" base import "$build/smollm2/download/base.gguf" "$TAILOR_SMOLLM2" || exit 1
    fi
fi
[ ! -e "$build/smollm2/download/base.gguf" ] || export TAILOR_GGUF=${TAILOR_GGUF:-$build/smollm2/download/base.gguf}
failed=0
for isa in ${TAILOR_ISAS:-ref avx2 avx512}; do
    for test in "$build"/tests/*_golden_test; do
        if [ -z "${TAILOR_ISAS:-}" ] && [ "$isa" = ref ] && [ "$(basename "$test")" = smollm2_golden_test ]; then
            echo "== skip smollm2_golden_test on ref: TAILOR_ISAS=ref runs it, for hours"
            continue
        fi
        printf '== %s on %s\n' "$(basename "$test")" "$isa"
        TAILOR_ISA=$isa "$test" || failed=1
    done
done
exit $failed
