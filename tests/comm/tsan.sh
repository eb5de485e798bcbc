#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/comm/tsan.sh BUILD [build]: the tests of the collectives, and of steps whose gradients are summed beside the backward
# pass, under ThreadSanitizer, built in BUILD. Address space randomization is off, because the sanitizer's own map
# collides with it on some kernels. With `build` it only builds them.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:?usage: tsan.sh BUILD [build]}
cmake -G Ninja -S "$root" -B "$build" -DTAILOR_SANITIZE=thread >/dev/null
cmake --build "$build" --target comm_sums_test comm_faults_test comm_join_test gang_test | tail -1
[ "${2:-}" != build ] || exit 0
setarch -R ctest --test-dir "$build" -R '^(comm_.*|gang)_test$' --no-tests=error --timeout 900
