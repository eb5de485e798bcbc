#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/fuzz.sh [SECONDS] [TARGET…]   every fuzz target for SECONDS (default 600) under ASan and UBSan, with clang.
# A finding is kept as build-fuzz/TARGET.crash-*. Ends in "N passed, N failed".
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
passed=0 failed=0
for target in "${targets[@]}"; do
    cmake --build "$build" --target "$target" >/dev/null || { failed=$((failed + 1)); continue; }
    mkdir -p "$build/corpus/$target"
    printf '== %s, %s s\n' "$target" "$seconds"
    if (cd "$build" && "tests/$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -print_final_stats=0 \
        -verbosity=0 -artifact_prefix="$target.crash-" "corpus/$target"); then
        passed=$((passed + 1)) && printf 'ok %s\n' "$target"
    else
        failed=$((failed + 1)) && printf 'FAIL %s\n' "$target"
    fi
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
