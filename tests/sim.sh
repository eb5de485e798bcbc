#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/sim.sh [SEEDS [FIRST]]   every scenario of the simulator at full size (1,000 workers, 10,000 jobs, 200 tenants)
# over SEEDS seeds (default 1000) from FIRST (default 1), on all cores. Prints breaches with their seed, then the worst
# figures over all seeds, then "N passed, N failed". One seed again: build/tests/sim --scenario NAME --seed N --trace
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
seeds=${1:-1000} first=${2:-1}
build=${TAILOR_BUILD:-$root/build}
"$root/deploy/packages.sh" build || exit 1
cmake -G Ninja -S "$root" -B "$build" >/dev/null && cmake --build "$build" --target sim >/dev/null || exit 1
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
seq "$first" $((first + seeds - 1)) |
    xargs -P "$(nproc)" -I{} sh -c '"$1" --seed {} ${TAILOR_SIM_OPTIONS:-} >"$2/{}"' sh "$build/tests/sim" "$out"
grep -hvE '^ok |^[0-9]+ passed' "$out"/* || true
for scenario in chaos busy hog whale away; do
    grep -hE "^(ok|FAIL) $scenario " "$out"/* | awk -v scenario="$scenario" '
        { match($0, /wait [0-9.]+/); w = substr($0, RSTART + 5, RLENGTH - 5) + 0; if (w > wait) wait = w
          match($0, /off by [0-9.]+/); s = substr($0, RSTART + 7, RLENGTH - 7) + 0; if (s > share) share = s
          for (i = 2; i <= NF; i++) { if ($i == "retries,") r += $(i - 1); if ($i == "fenced,") f += $(i - 1)
                                      if ($i == "starts,") a += $(i - 1); if ($i == "boots;") b += $(i - 1) } }
        END { printf "%s: %d runs, %d attempts, %d retries, %d fenced, %d boots; worst wait %.2f of its bound, worst share off by %.3f\n",
                     scenario, NR, a, r, f, b, wait, share }'
done
passed=$(grep -hE '^ok ' "$out"/* | wc -l)
failed=$((5 * seeds - passed))
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
