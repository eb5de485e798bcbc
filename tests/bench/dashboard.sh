#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/dashboard.sh [BUILD_DIR]     the dashboard's first paint and its time an update, with 10,000 jobs and
#                                          500 workers. Needs Chromium (deploy/packages.sh browser). Half a minute.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${1:-$root/build}
work=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null; rm -rf "$work"' EXIT
"$build/tailord" --data "$work/d" --http 127.0.0.1:0 --workers 127.0.0.1:0 2>"$work/log" &
pid=$!
for _ in $(seq 300); do
    site=$(grep -o 'listening for people on [0-9.:]*' "$work/log" | head -1) && break
    sleep 0.1
done
/usr/bin/python3 "$root/tests/bench/dashboard.py" "http://${site##* }/"
