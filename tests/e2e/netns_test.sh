#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# netns_test.sh BUILD_DIR: a gang of two ranks on two hosts that share nothing. The hosts are network namespaces on one
# bridge, each with one address and a directory of its own; a third one has the coordinator. Checkpoints come from both;
# one host is lost in the middle with its disk, and the job goes on where it was, on what is left.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
net=tailor-$$
if ! ip netns add $net-hub 2>/dev/null; then
    echo "SKIP netns_test.sh: network namespaces need root and ip"
    exit 0
fi
own_home
export TAILOR_LOG=info
await_s=60
declare -A pid
stop() {
    kill -9 "${pid[@]}" 2>/dev/null
    wait 2>/dev/null
    for host in hub a b; do ip netns del $net-$host 2>/dev/null; done
    rm -rf "$work"
}
trap stop EXIT
on() { # on HOST COMMAND…
    local host=$1
    shift
    ip netns exec $net-$host "$@"
}

# ---- three hosts on a bridge ----
on hub ip link set lo up
if ! on hub ip link add br0 type bridge || ! on hub ip link add probe type veth peer name probe1; then
    echo "SKIP netns_test.sh: this kernel has no bridge or no veth"
    exit 0
fi
on hub ip link del probe
on hub ip addr add 10.77.0.1/24 dev br0
on hub ip link set br0 up
for host in a b; do
    ip netns add $net-$host
    on hub ip link add to-$host type veth peer name eth0 netns $net-$host
    on hub ip link set to-$host master br0 up
    on $host ip link set lo up
    on $host ip link set eth0 up
done
declare -A address=([a]=10.77.0.2 [b]=10.77.0.3)
for host in a b; do on $host ip addr add ${address[$host]}/24 dev eth0; done

# ---- the service ----
ip netns exec $net-hub tailord --data "$work/hub" --workers 10.77.0.1:7701 --http 127.0.0.1:7700 --heartbeat 0.2s \
    --lost-after 3s --backoff 0.1s >"$work/tailord.log" 2>&1 &
pid[hub]=$!
await test -s "$work/hub/admin-token" || { fail "the coordinator starts" && tail "$work/tailord.log" && exit 1; }
export TAILOR_SERVER=http://127.0.0.1:7700
TAILOR_TOKEN=$(cat "$work/hub/admin-token")
export TAILOR_TOKEN
t() { on hub tailor "$@"; }
start() { # start HOST: its worker; by a token the first time
    local join=()
    [ -d "$work/$1" ] || join=(--join "$(t worker join-token -o name)")
    TAILOR_CACHE="$work/$1-cache" ip netns exec "$net-$1" tailor-worker --data "$work/$1" --name "host-$1" \
        --address ${address[$1]} "${join[@]}" >>"$work/worker-$1.log" 2>&1 &
    pid[$1]=$!
}
live() { [ "$(t worker list -o jsonl | grep -c '"state":"live"')" -eq "$1" ]; }
start a
start b
expect "both hosts join by CURVE" await live 2

# ---- what is trained ----
python3 "$root/deploy/sample_data.py" --out "$work/data"
expect "a tenant" t tenant create acme
expect "base add" t base add tiny "$base"
expect "data add" t data add general data/general.train.jsonl --tenant acme
cat > job.yaml <<'YAML'
stage: general
from: tiny
data: {train: [general], eval: [data/general.test.jsonl]}
output: {model: hh}
train: {batch_groups: 8, max_steps: 120, learning_rate: 1e-3, slices: 4}
model: {template: dsp, max_length: 160}
evaluate: {every_steps: 20, max_pairs: 40}
checkpoint: {every: 0s, every_steps: 20, keep_best: {by: accuracy}}
resources: {ranks: 2, min_ranks: 1}
YAML
submit() { t submit job.yaml -q --tenant acme "$@"; }
field() { # field JOB NAME
    t show "$1" -o json | python3 -c "import json, sys; print(json.load(sys.stdin).get('$2', ''))"
}
manifest_file() { # manifest_file DIGEST NAME: the digest of a file that a manifest of acme's names
    python3 - "$work/hub/store/acme/${1:0:2}/$1" "$2" <<'PY'
import json, sys
print(next(f["digest"] for f in json.load(open(sys.argv[1]))["files"] if f["name"] == sys.argv[2]))
PY
}
weights() { # weights JOB: the digest of its model's
    local manifest
    manifest=$(t model versions hh --tenant acme -o jsonl |
        python3 -c "import json, sys; print(next(v['manifest'] for v in map(json.loads, sys.stdin) if v['job_id'] == '$1'))")
    manifest_file "$manifest" model.safetensors
}
checkpoint_is_whole() { # checkpoint_is_whole JOB: the newest one names the blobs of two ranks, all in the store
    local manifest
    manifest=$(t job checkpoints "$1" -o jsonl | head -1 |
        python3 -c "import json, sys; print(json.loads(sys.stdin.readline())['manifest'])")
    python3 - "$work/hub/store/acme" "$manifest" <<'PY'
import hashlib, json, sys
store, manifest = sys.argv[1:]
def read(digest):
    data = open(f"{store}/{digest[:2]}/{digest}", "rb").read()
    assert hashlib.sha256(data).hexdigest() == digest
    return data
files = json.loads(read(manifest))["files"]
blobs = {f["digest"]: len(read(f["digest"])) for f in files}
step = json.loads(read(next(f["digest"] for f in files if f["name"].startswith("checkpoints/step-"))))
weights = [p for p in step["parts"] if p["name"] == "weights"]
assert len(weights) == 2, weights
assert all(p["sha256"] in blobs for p in step["parts"])
PY
}

ends() { timeout 60 ip netns exec $net-hub tailor wait "$1"; }

# ---- two hosts, one job ----
job=$(submit)
expect "a job of two ranks ends" ends "$job"
ranks() { t job attempts "$job" -o jsonl; }
expect "its ranks were on both hosts" bash -c "ranks=\$(ip netns exec $net-hub tailor job attempts $job -o jsonl) &&
    [[ \$ranks == *host-a* && \$ranks == *host-b* ]]"
expect "in one attempt" test "$(ranks | wc -l)" -eq 1
expect "its checkpoint has the blobs of both, whole" checkpoint_is_whole "$job"
expect "the base is in both caches" test -n "$(ls "$work"/a/cache/??/* "$work"/b/cache/??/* 2>/dev/null | xargs -n1 basename |
    sort | uniq -d)"

# ---- the same on one host alone, by the command line ----
t show "$job" -o json >"$work/spec.json"
python3 - "$work/spec.json" "$base" "$work/data" <<'PY'
import json, sys
path, base, data = sys.argv[1:]
spec = json.load(open(path))["spec"]
spec = json.loads(spec) if isinstance(spec, str) else spec
spec["from"] = base
for source in spec["data"]["train"]:
    source["dataset"] = data + "/general.train.jsonl"
for source in spec["data"]["eval"]:
    source["dataset"] = data + "/general.test.jsonl"
spec["resources"]["ranks"] = spec["resources"]["min_ranks"] = 1
json.dump(spec, open(path, "w"))
PY
expect "tailor run of its resolved spec" tailor run -f "$work/spec.json" --out "$work/alone" -q
alone=$(sha256sum "$work/alone/model/model.safetensors" | cut -d' ' -f1)
has_its_bits() { # has_its_bits JOB
    local digest
    digest=$(weights "$1") && [ ${#digest} -eq 64 ] && [ "$digest" = "$alone" ]
}
expect "gives the same bits" has_its_bits "$job"

# ---- one host is lost with its disk ----
job=$(submit --key again)
has_checkpoint() { [ -n "$(t job checkpoints "$job" -o name)" ]; }
expect "the same job again has a checkpoint" await has_checkpoint
kill -9 "${pid[b]}"
rm -rf "$work/b"
wait "${pid[b]}" 2>/dev/null
unset "pid[b]"
expect "it ends without the host that was lost" ends "$job"
expect "in two attempts" test "$(ranks | wc -l)" -eq 2 || ranks
expect "the second of one rank, on the other host" bash -c "! ip netns exec $net-hub tailor job attempts $job -o jsonl |
    head -1 | grep -q host-b"
expect "from a checkpoint" grep -q "from a checkpoint" "$work/worker-a.log"
expect "with the same bits" has_its_bits "$job"
finish
