#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/run.sh          every test that needs no network and no Python package: 20 to 30 minutes on 2 cores
# tests/run.sh quick    the unit, property and golden tests of one build: at most 2 minutes
#
# Installs Debian packages that are missing. Ends in "N passed, N failed" over all parts; exit 1 if any failed.
# By hand besides: tests/golden.sh DIR, tests/interop.sh, tests/fresh.sh, tests/fuzz.sh, tests/mutate.sh,
# tests/browser.sh, tests/schemathesis.sh, tests/openai.sh, tests/integrations.sh, tests/batch_real.sh, tests/bench/*.sh, tests/fault.sh full, tests/fault/mutations.sh
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
mode=${1:-full}
build=${TAILOR_BUILD:-$root/build}
passed=0 failed=0
export CTEST_OUTPUT_ON_FAILURE=1

part() { # part NAME COMMAND…: runs, counts, names
    local name=$1 start=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    if "$@"; then
        passed=$((passed + 1))
        printf 'ok %s (%d s)\n' "$name" $((SECONDS - start))
    else
        failed=$((failed + 1))
        printf 'FAIL %s (%d s)\n' "$name" $((SECONDS - start))
    fi
}

build_in() { # build_in DIR CMAKE-OPTION…
    local dir=$1
    shift
    cmake -G Ninja -S "$root" -B "$dir" "$@" >/dev/null && cmake --build "$dir" 2>&1 | tail -5
    return "${PIPESTATUS[0]}"
}

asan_built() {
    wait "$asan"
    local got=$?
    cat "$build/asan.log"
    return "$got"
}

formatted() { # clang-format decides layout
    git -C "$root" ls-files -co --exclude-standard '*.c' '*.h' '*.cu' | sed "s|^|$root/|" |
        xargs clang-format-14 --dry-run --Werror 2>&1 | head -20
    return "${PIPESTATUS[2]}"
}

"$root/deploy/packages.sh" build test || exit 1
part "build, warnings are errors" build_in "$build"
part "style: sizes, one-way folders, banned calls" python3 "$root/tests/style/style.py"
apart=comm # has a part of its own
[ "$mode" != quick ] || apart='comm|agent|service|cuda'
part "unit, property and golden tests" ctest --test-dir "$build" -j "$(nproc)" -LE "$apart" --no-tests=error
if [ "$mode" != quick ]; then
    part "format: clang-format" formatted
    part "the goldens on the C reference" env TAILOR_ISA=ref ctest --test-dir "$build" -j "$(nproc)" -L golden
    part "the goldens on AVX2" env TAILOR_ISA=avx2 ctest --test-dir "$build" -j "$(nproc)" -L golden
    # End-to-end tests wait more than they compute: the next builds use what they leave.
    {
        renice -n 19 "$BASHPID"
        build_in "$build-asan" -DTAILOR_SANITIZE=address,undefined
        got=$?
        bash "$root/tests/comm/tsan.sh" "$build-tsan" build
        exit "$got"
    } >"$build/asan.log" 2>&1 &
    asan=$!
    for script in "$root"/tests/e2e/*_test.sh; do
        part "end to end: $(basename "$script" .sh)" bash "$script" "$build"
    done
    part "faults: what clients saw under kills, partitions and full disks" bash "$root/tests/fault.sh"
    part "collectives between ranks" ctest --test-dir "$build" -L comm --no-tests=error
    part "build with address and undefined sanitizers" asan_built
    part "unit tests under sanitizers" ctest --test-dir "$build-asan" -j "$(nproc)" -L 'unit|property|sim|service' --timeout 900
    part "collectives under the thread sanitizer" bash "$root/tests/comm/tsan.sh" "$build-tsan"
fi
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
