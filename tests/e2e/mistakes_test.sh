#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# mistakes_test.sh BUILD_DIR: somebody mistypes, asks for what is not there, has no coordinator running or too few
# workers: each gets the exit code of service.md and one sentence that says what to do.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/service_lib.sh"
python3 "$root/deploy/sample_data.py" --out "$work/data"
cat > job.yaml <<'YAML'
name: first
stage: general
from: tiny
data: {train: [data/general.train.jsonl]}
output: {model: hh}
train: {batch_groups: 4, max_steps: 4, learning_rate: 1e-3}
model: {template: dsp, max_length: 160}
YAML

# ---- without a service ----
refuses "1 no coordinator runs" 6 "start one with tailor up, or name another with --server" \
    tailor ls --server "http://127.0.0.1:$port"
refuses "2 a command is mistyped" 2 "did you mean tailor submit?" tailor sumbit job.yaml
refuses "3 an option is mistyped" 2 "did you mean --state?" tailor ls --stat running
refuses "4 a field of the spec is mistyped" 2 "did you mean train.max_steps?" \
    tailor job validate job.yaml --set train.max_stepz=3
refuses "5 a file is mistyped" 3 "did you mean job.yaml?" tailor submit jub.yaml

# ---- with one ----
says "up" "with 1 worker" tailor up --data "$work/service" --port "$port"
tailor base add tiny "$base" -q >/dev/null
refuses "6 a job is not there" 3 "j-99" tailor show j-99
refuses "7 an id is none" 2 "one looks like j-17" tailor show seven
refuses "8 a model is not there" 3 "from: there is no base tinny and no model local/tinny" \
    tailor submit job.yaml --set from=tinny
refuses "9 a state is none" 2 "none of queued, starting, running" tailor ls --state finished
refuses "10 a column is none" 2 "did you mean created_ms?" tailor ls --columns id,create_ms
refuses "11 a token has been revoked" 4 "it may be mistyped, expired or revoked" env TAILOR_TOKEN=tlr_0 tailor ls
viewer=$(tailor token create eyes --role viewer --tenant local -o name)
refuses "12 too little of a token" 4 "this needs the role submitter" env TAILOR_TOKEN="$viewer" tailor cancel j-1
refuses "13 a tenant is there already" 5 "local" tailor tenant create local
refuses "14 nobody is selected" 2 "all that -l, --state, --since" tailor cancel
refuses "15 a time is none" 2 "such as 8h or 30m" tailor ls --since yesterday
refuses "16 a format is none" 2 "use table, wide, json, jsonl, csv, yaml or name" tailor ls -o xml
refuses "17 an address to log in with is none" 2 "tailor up prints one" tailor login "http://127.0.0.1:$port"
refuses "18 a profile is none" 3 "did you mean local?" tailor ls --profile locl

# ---- too few workers ----
job=$(tailor submit job.yaml -q --set resources.ranks=3 --set resources.min_ranks=3)
why_says() { tailor job why "$job" | grep -q "$1"; }
expect "19 too few workers: why says so" await why_says "slot"
refuses "20 … and a wait that gives up says what to ask" 7 "tailor job why $job says what it waits for" \
    tailor wait "$job" --timeout 1
job=$(tailor submit job.yaml -q --set resources.pool=gpus)
expect "21 no worker is in that pool: why says so" await why_says "pool\|worker"
says "down" "the service is down" tailor down --data "$work/service"
refuses "22 down twice" 3 "no service runs in" tailor down --data "$work/service"
finish
