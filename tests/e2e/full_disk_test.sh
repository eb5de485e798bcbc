#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# full_disk_test.sh BUILD_DIR: the store's disk and the worker's run full while a job trains: it pauses for want of
# space, says so, and goes on to the same bits when there is some. Nothing that was acknowledged is lost. The disks are
# small file systems in memory.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
mkdir "$work/hub" "$work/host"
if ! mount -t tmpfs -o size=400m tailor-hub "$work/hub" 2>/dev/null; then
    echo "SKIP full_disk_test.sh: file systems of its own need root"
    exit 0
fi
pids=()
stop() {
    kill -9 "${pids[@]}" 2>/dev/null
    wait 2>/dev/null
    umount "$work/hub" "$work/host"
    rm -rf "$work"
}
trap stop EXIT
mount -t tmpfs -o size=400m tailor-host "$work/host" || exit 1
own_home
export TAILOR_LOG=info TAILOR_CACHE="$work/host/tokens"
await_s=60
free_kib() { df --output=avail -k "$1" | tail -1; }
fill() { # fill DIR KIB: all but so much
    local left
    left=$(($(free_kib "$1") - $2))
    fallocate -l $((left > 16384 ? left - 16384 : 1))K "$1/ballast" # at once: the job must not end before
    head -c 16M /dev/zero 2>/dev/null | head -c $((left * 1024 - $(stat -c %s "$1/ballast"))) >>"$1/ballast" 2>/dev/null || true
}

tailord --data "$work/hub/d" --workers 127.0.0.1:0 --http 127.0.0.1:0 --heartbeat 0.2s --lost-after 5s --backoff 0.1s \
    >tailord.log 2>&1 &
pids+=($!)
await grep -q "listening for people" tailord.log || { fail "the coordinator starts" && cat tailord.log && exit 1; }
TAILOR_SERVER=http://$(sed -n 's/.*listening for people on \([0-9.:]*\).*/\1/p' tailord.log)
TAILOR_TOKEN=$(cat hub/d/admin-token)
export TAILOR_SERVER TAILOR_TOKEN
tailor-worker --data "$work/host/d" --address 127.0.0.1 --join "$(tailor worker join-token -o name)" >worker.log 2>&1 &
pids+=($!)
python3 "$root/deploy/sample_data.py" --out "$work/data"
expect "a tenant, a base, data" bash -c "tailor tenant create acme &&
    tailor data add general data/general.train.jsonl --tenant acme && tailor base add tiny $base"
cat > job.yaml <<'YAML'
stage: general
from: tiny
data: {train: [general]}
output: {model: hh}
train: {batch_groups: 8, max_steps: 400, learning_rate: 1e-3}
model: {template: dsp, max_length: 160}
checkpoint: {every: 0s, every_steps: 10}
YAML
submit() { tailor submit job.yaml -q --tenant acme "$@"; }
state() { [ "$(tailor show "$1" -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["state"])')" = "$2" ]; }
why() { tailor job why "$1" | grep -F -- "$2"; }
has_checkpoint() { [ -n "$(tailor job checkpoints "$1" -o name)" ]; }
weights() { # weights JOB: the digest of its model's
    local manifest
    manifest=$(tailor model versions hh --tenant acme -o jsonl |
        python3 -c "import json, sys; print(next(v['manifest'] for v in map(json.loads, sys.stdin) if v['job_id'] == '$1'))")
    python3 - "hub/d/store/acme/${manifest:0:2}/$manifest" <<'PY'
import json, sys
print(next(f["digest"] for f in json.load(open(sys.argv[1]))["files"] if f["name"] == "model.safetensors"))
PY
}
whole=$(submit)
expect "a job that nobody disturbs" timeout 100 tailor wait "$whole"
same_bits() { # same_bits JOB: as that one
    local digest
    digest=$(weights "$1") && [ ${#digest} -eq 64 ] && [ "$digest" = "$(weights "$whole")" ]
}

# ---- the store ----
job=$(submit --key store)
expect "a job has a checkpoint" await has_checkpoint "$job"
fill hub 40000
expect "the store is full: it pauses" await state "$job" paused
expect "and says why" why "$job" "(storage"
echo '{"prompt": "a", "chosen": "b", "rejected": "c"}' >more.jsonl
refuses "what a person uploads is refused" 6 "full" tailor data add more more.jsonl --tenant acme
waits=$(submit --key waits --set output.model=other)
expect "a job that is submitted waits for space" await why "$waits" "(storage"
rm hub/ballast
expect "with space it goes on by itself" timeout 100 tailor wait "$job"
expect "to the same bits" same_bits "$job"
expect "and so does the other" timeout 100 tailor wait "$waits"
expect "what was refused is taken" tailor data add more more.jsonl --tenant acme

# ---- the worker ----
job=$(submit --key worker)
expect "a job has a checkpoint" await has_checkpoint "$job"
fill host 0
expect "the worker's disk is full: it pauses" await state "$job" paused
expect "and says why" why "$job" "(storage"
expect "and where" bash -c "tailor job events $job | grep 'no space is left on its worker'"
rm host/ballast
expect "with space it goes on by itself" timeout 100 tailor wait "$job"
expect "to the same bits" same_bits "$job"

# ---- the records ----
job=$(submit --key records --set train.max_steps=100000)
expect "a job runs" await state "$job" running
fill hub 0
acknowledged=()
for i in $(seq 8); do
    id=$(timeout 5 tailor submit job.yaml -q --tenant acme --key "full-$i" --set output.model=none 2>/dev/null) &&
        acknowledged+=("$id")
done
expect "the coordinator is there" kill -0 "${pids[0]}"
rm hub/ballast
expect "it takes jobs again" await submit --key after --set output.model=none
all_there() {
    local id
    for id in "${acknowledged[@]}"; do tailor show "$id" >/dev/null || return 1; done
}
expect "each of ${#acknowledged[@]} jobs that were acknowledged is there" all_there
expect "what ran goes on" await state "$job" running
expect "and can be cancelled" bash -c "tailor cancel $job && ! timeout 60 tailor wait $job"
finish
