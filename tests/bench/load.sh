#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/load.sh BASE [OPTION…]
# What a crowd at the API costs: wrk with 256 connections on one job's page of data while 10,000 jobs are there and one
# trains; then 1,000 connections that are idle or send a byte a second. Before, during and behind each: heartbeats' lateness,
# step time, workers lost, the coordinator's memory, and what others wait. The trainer has the last processor to itself,
# coordinator, agent and wrk the others. About four minutes.
#   TAILOR_BUILD   build directory (default: build)
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${TAILOR_BUILD:-$root/build}
"$root/deploy/packages.sh" build bench
cmake --build "$build" --target tailor tailor-trainer tailor-worker tailord >/dev/null
grep -m1 'model name' /proc/cpuinfo
exec python3 "$root/tests/bench/load.py" "$build" "${@:?usage: load.sh BASE [OPTION…]}"
