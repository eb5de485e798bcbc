#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/service.sh BASE [OPTION…]
# The service's figures on this machine: a cycle of the scheduler at 1,000 workers and 10,000 jobs; durable submits over
# HTTP from one and from 16 clients, and whether a kill -9 loses one; a page of a list of 10,000 jobs; from a submit to
# the first step on a warm worker that has base and parent's figures. Clients are wrk (Debian). About two minutes.
#   TAILOR_BUILD   build directory (default: build)
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${TAILOR_BUILD:-$root/build}
"$root/deploy/packages.sh" build bench
cmake --build "$build" --target tailor tailor-trainer tailor-worker tailord schedule_bench >/dev/null
grep -m1 'model name' /proc/cpuinfo
"$build/tests/schedule_bench"
python3 "$root/tests/bench/service.py" "$build" "${@:?usage: service.sh BASE [OPTION…]}"
