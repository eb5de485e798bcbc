#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/fault.sh [full] [PROMISE…]   real programs are killed, stopped, cut off and filled up, and clients say which of
# P1, P3 … P7, P9, P13, P14, P17 did not hold. Without `full` in three minutes, with it the counts of the promises
# (a night). A count alone: FAULT_P1=1000 tests/fault.sh P1. See tests/fault/fault.py. Ends in "N passed, N failed".
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${TAILOR_BUILD:-$root/build}
"$root/deploy/packages.sh" build || exit 1
cmake -G Ninja -S "$root" -B "$build" >/dev/null &&
    cmake --build "$build" --target tailord tailor-worker tailor-trainer stranger >/dev/null || exit 1
if [ "${1:-}" = full ]; then
    shift
    : "${FAULT_P1:=1000}" "${FAULT_P1_POINTS:=20}" "${FAULT_P3:=10000}" "${FAULT_P4:=1000}" "${FAULT_P5:=200}" "${FAULT_P5_REAL:=60}"
    : "${FAULT_P6:=200}" "${FAULT_P7:=500}" "${FAULT_P9:=200}" "${FAULT_P9_TMPFS:=200}" "${FAULT_P13:=1000}" "${FAULT_P14:=200}"
    : "${FAULT_P17:=50}"
    export "${!FAULT_@}"
fi
exec python3 "$root/tests/fault/fault.py" "$build" "$@"
