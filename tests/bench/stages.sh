#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/stages.sh BASE DATA OUT      the method's three-stage table on real preference data
#
# DATA has helpful.*.json, harmless.*.json (general pairs) and dsp.*.json (one query, a response for each domain). Trains
# one general model in full, then customizes it for four domains, and for one of them with and without enrichment and
# imitation; ends in a table of custom and general accuracy before and after, with intervals. A run that is done is
# not done again, one that was stopped goes on: call it until it ends. How much of the data, and how:
#   GENERAL=900   general training pairs of each file          GENERAL_TEST=150  general test pairs of each file
#   CUSTOM=80     training queries of a domain (4 pairs each)   CUSTOM_TEST=40    its test queries
#   GRID=business the domain of the grid                        THREADS=2
# A step of customize holds the same rows of the tenant, whether general rows come on top or not, and so is the number
# of steps: the runs differ in enrichment and imitation alone.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${TAILOR_BUILD:-$root/build}
base=${1:?BASE} data=${2:?DATA} out=${3:?OUT}
general=${GENERAL:-900} general_test=${GENERAL_TEST:-150} custom=${CUSTOM:-80} custom_test=${CUSTOM_TEST:-40}
grid=${GRID:-business}
mkdir -p "$out/data"
first() { # first FILE COUNT: the first rows of a JSON list
    [ -s "$out/data/$1" ] || python3 -c 'import json, sys; json.dump(json.load(open(sys.argv[1]))[:int(sys.argv[3])], open(sys.argv[2], "w"))' \
        "$data/$1" "$out/data/$1" "$2"
}
first helpful.train.json "$general"
first harmless.train.json "$general"
first helpful.test.json "$general_test"
first harmless.test.json "$general_test"
first dsp.train.json "$custom"
first dsp.test.json "$custom_test"

run() { # run NAME STAGE OPTION…
    local name=$1
    shift
    [ -e "$out/$name/result.json" ] && return 0
    echo "== $name"
    "$build/tailor" run "$@" --out "$out/$name" --threads "${THREADS:-2}" --resume --set model.template=dsp --set model.max_length=512 \
        --set evaluate.every_steps=0 --set train.learning_rate=2e-5 --set checkpoint.every=5m || [ $? -eq 9 ]
}
run general general --from "$base" --train "$out/data/helpful.train.json" --train "$out/data/harmless.train.json" \
    --eval "$out/data/helpful.test.json" --eval "$out/data/harmless.test.json" --set train.batch_groups=16
customize() { # customize DOMAIN SHARE IMITATION GROUPS-IN-A-STEP
    run "$1-share$2-imitation$3" customize --from "$out/general/model" --train "$out/data/dsp.train.json" \
        --eval "$out/data/dsp.test.json" --domain "$1" --set data.enrich.share="$2" --set loss.lm_loss_coeff="$3" \
        --set train.batch_groups="$4"
    runs+=("$out/$1-share$2-imitation$3")
}
runs=("$out/general")
# Four pairs a query and one a general row: share 0.3 of the pairs puts 1.7 general rows to each query.
for share in 0 0.3; do
    for imitation in 0 0.1; do
        customize "$grid" "$share" "$imitation" "$([ "$share" = 0 ] && echo 3 || echo 8)"
    done
done
for domain in academy business entertainment literature; do
    [ "$domain" = "$grid" ] || customize "$domain" 0.3 0.1 8
done
python3 "$root/deploy/summary.py" "${runs[@]}"
