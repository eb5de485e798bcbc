#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/fuzz.sh [SECONDS] [TARGET…]   every fuzz target for SECONDS (default 600) under ASan and UBSan, with clang.
# Each begins at the inputs of tests/fuzz/seeds.py and at what its earlier runs found worth keeping.
#   TAILOR_FUZZ_JOBS   targets at once (default: one a core)
# A finding is kept as build-fuzz/TARGET.crash-*, the run's output as build-fuzz/TARGET.log. Ends in "N passed, N failed".
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
seconds=${1:-600}
shift $(($# > 0 ? 1 : 0))
build=$root/build-fuzz
"$root/deploy/packages.sh" build fuzz || exit 1
cmake -G Ninja -S "$root" -B "$build" -DCMAKE_C_COMPILER=clang -DTAILOR_FUZZ=ON -DTAILOR_SANITIZE=address,undefined >/dev/null || exit 1
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for source in "$root"/tests/fuzz/*_fuzz.c; do targets+=("$(basename "$source" .c)"); done
fi
cmake --build "$build" --target "${targets[@]}" >"$build/build.log" || { tail -20 "$build/build.log"; exit 1; }
python3 "$root/tests/fuzz/seeds.py" "$build/seeds" || exit 1

fuzz() { # fuzz TARGET: one line, and the end of its output when it found something
    cd "$build" && mkdir -p "corpus/$1" || return
    if "tests/$1" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -print_final_stats=1 -print_funcs=0 -verbosity=0 \
        -artifact_prefix="$1.crash-" "corpus/$1" "seeds/$1" >"$1.log" 2>&1; then
        printf 'ok %s: %s inputs in %s s\n' "$1" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$1.log")" "$seconds"
    else
        printf 'FAIL %s\n' "$1"
        tail -40 "$1.log" | sed 's/^/    /'
    fi
}
export -f fuzz
export build seconds
printf '%s\n' "${targets[@]}" | xargs -P "${TAILOR_FUZZ_JOBS:-$(nproc)}" -I{} bash -c 'fuzz {}' | tee "$build/found"
passed=$(grep -c '^ok ' "$build/found")
failed=$((${#targets[@]} - passed))
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
