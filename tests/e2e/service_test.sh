#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# service_test.sh BUILD_DIR: a whole service on this machine by the client alone: up, a base, data, jobs, models,
# down; a worker and the coordinator are killed on the way; and what mistakes are told.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/service_lib.sh"
up=(tailor up --workers 2 --data "$work/service")
python3 "$root/deploy/sample_data.py" --out "$work/data"
cat > job.yaml <<'YAML'
name: first
stage: general
from: tiny
data:
  train: [general]
  eval: [data/general.test.jsonl]
output: {model: hh}
train: {batch_groups: 4, max_steps: 12, learning_rate: 1e-3}
model: {template: dsp, max_length: 160}
evaluate: {every_steps: 4, max_pairs: 40}
YAML

# ---- before there is a service ----
refuses "nobody there: what to do" 6 "start one with tailor up" tailor ls --server "http://127.0.0.1:$port"
refuses "down without up" 3 "no service runs in" tailor down --data "$work/service"
refuses "an unknown profile" 3 "there is no profile home" tailor ls --profile home
refuses "a server that is none" 2 "write it as http://HOST:PORT" tailor ls --server "ftp://x"

# ---- up ----
says "up" "with 2 workers" "${up[@]}" --port "$port"
says "up again starts nothing twice" "with 2 workers" "${up[@]}"
refuses "the port of a service stays" 5 "leave --port out" "${up[@]}" --port 1
expect "the profile is for its owner alone" test "$(stat -c %a "$HOME/.config/tailor/profiles.json")" = 600
says "two workers live" '"state":"live"' tailor worker list -o jsonl
says "workers say whose bits theirs are" '"numerics":"cpu' tailor worker list -o jsonl
expect "and they are two" test "$(tailor worker list -o name | wc -l)" -eq 2
says "the cluster in figures" "workers_live" tailor cluster status
says "base add uploads a directory" "ready" tailor base add tiny "$base"
says "data add uploads a file" "general.train.jsonl" tailor data add general data/general.train.jsonl
expect "the same file again is not sent twice" bash -c "! tailor data add general data/general.train.jsonl 2>&1 |
    grep uploading"

# ---- a job ----
says "a dry run submits nothing" "would take this job" tailor submit job.yaml --dry-run
says "submit says what to type next" "tailor wait j-3" tailor submit job.yaml
says "wait" "succeeded" tailor wait j-3
says "list" "first" tailor ls
says "list by state" "j-3" tailor ls --state succeeded -o name
expect "list by another state" test -z "$(tailor ls --state failed -o name)"
says "show" "local/hh" tailor show j-3
says "its resolved spec names digests" '"from":"sha256:' tailor show j-3 -o json
says "logs" "the model is that of step" tailor logs j-3
says "… and name the data as people do" "general.test.jsonl" tailor logs j-3
says "logs followed end with the job" "12 steps" timeout 60 tailor logs j-3 -f
says "metrics" '"loss"' tailor job metrics j-3 -o jsonl
says "events" "job_state  succeeded" tailor job events j-3
says "why" "is over" tailor job why j-3
says "model list" "hh" tailor model list -o name
says "model versions" "j-3" tailor model versions hh
says "the same key is the same job" "j-4" bash -c "tailor submit job.yaml -q --key k1 &&
    test \"\$(tailor submit job.yaml -q --key k1)\" = j-4"
expect "customize starts from the model" bash -c "sed -e 's/general$/customize/;s/from: tiny/from: hh@1/;s/model: hh/model: law/' \
    -e 's/\[general\]/[data\/lawyers.train.jsonl]/;s/general.test/lawyers.test/' job.yaml > law.yaml &&
    tailor submit law.yaml --wait -q && tailor model versions law | grep -q 'local/hh@1\|hh@1'"

# ---- models by name ----
tailor submit law.yaml --wait -q --set adapter.type=lora --set output.model=thin >thin.job
says "a model of the service is exported by name" "fetching model.safetensors" tailor model export hh@1 exported --format hf
expect "as a directory of Transformers" test -s exported/model.safetensors
says "an adapter is fetched with its parent" "fetching adapter_model.safetensors" tailor model export thin merged --format hf --merge
expect "each is fetched once" bash -c "! tailor model export local/thin@1 peft --format peft 2>&1 | grep fetching"
mv merged merged-here && mv peft peft-here
says "a worker exports as a job" "merged" tailor model export thin merged --format hf --merge --job
expect "to the same files" diff -r merged merged-here
says "to PEFT too" "peft" tailor model export thin peft --format peft --job
expect "with what the adapter stands on" diff -r peft peft-here
refuses "not over what is there" 5 "merged exists" tailor model export thin merged --format hf --merge --job
refuses "a job whose model cannot be exported so fails, and says why" 1 "merge" tailor model export thin no --format hf --job
expect "and leaves nothing here" test ! -e no
refuses "a base is no reward model" 2 "is a base" tailor model export tiny no --format hf --job
expect "as an adapter of PEFT" test -s peft/adapter/adapter_model.safetensors
cached=$(dirname "$(ls "${TAILOR_CACHE:-$HOME/.cache/tailor}"/models/*/adapter_config.json)")
cp "$cached/adapter_model.safetensors" whole && mv "$cached" "$cached.part"
truncate -s 1000 "$cached.part/adapter_model.safetensors"
echo otherwise >"$cached.part/tokenizer.json"
expect "a fetch that was cut off" tailor model export thin again --format peft -q
expect "goes on, and trusts digests alone" cmp whole "$cached/adapter_model.safetensors"
refuses "a model that is not there" 3 "there is no model local/nope" tailor model export nope out --format hf
expect "leaves nothing" test ! -e out

# ---- kill -9 ----
long=(tailor submit job.yaml -q --set train.max_steps=150 --set checkpoint.every_steps=10 --set evaluate.every_steps=75
    --set output.model=long)
job=$("${long[@]}")
has_checkpoint() { [ -n "$(tailor job checkpoints "$job" -o name)" ]; }
expect "a long job has a checkpoint" await has_checkpoint
for i in 1 2; do kill -9 "$(cat service/worker-$i.pid)"; done
kill -9 "$(cat service/tailord.pid)"
says "up mends what was killed" "with 2 workers" "${up[@]}"
says "the job ends as if nothing had been" "succeeded" timeout 300 tailor wait "$job"
expect "in more than one attempt" test "$(tailor job attempts "$job" -o name | wc -l)" -gt 1
job=$("${long[@]}" --set train.max_steps=100000)
says "cancel" "$job" tailor cancel "$job"
refuses "a cancelled job's exit code" 8 "was cancelled" timeout 120 tailor wait "$job"
says "a worker is drained" "drain" tailor worker drain w-1

# ---- mistakes ----
refuses "a job that is not there" 3 "j-99" tailor show j-99
refuses "an id that is none" 2 "job" tailor show seven
refuses "a field's name that is mistyped" 2 "did you mean" tailor submit job.yaml --set train.max_stepz=3
refuses "a model that is not there" 3 "nothing" tailor submit job.yaml --set from=nothing
refuses "a file that is not there" 3 "data.train[0]" tailor submit job.yaml --set data.train=./nothing.jsonl
refuses "a state that is none" 2 "queued" tailor ls --state finished
refuses "a role that is none" 2 "--role" tailor token create x --role boss --tenant local
refuses "a tenant that is there" 5 "local" tailor tenant create local
refuses "a wrong token" 4 "token" env TAILOR_TOKEN=tlr_0 tailor ls
viewer=$(tailor token create eyes --role viewer --tenant local -o name)
refuses "too little of a token" 4 "submitter" env TAILOR_TOKEN="$viewer" tailor cancel j-3
expect "a viewer may look" env TAILOR_TOKEN="$viewer" tailor show j-3
python3 - "$work/seen" <<'PY' &
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as s:
    open(sys.argv[1] + ".port", "w").write(str(s.getsockname()[1]))
    c = s.accept()[0]
    open(sys.argv[1], "wb").write(c.recv(65536))
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
PY
await test -s "$work/seen.port"
refuses "a server that is no coordinator" 1 "is it a coordinator?" tailor ls --server "http://127.0.0.1:$(cat "$work/seen.port")"
expect "no other server gets the profile's token" bash -c "grep -q '^GET /v1/jobs' '$work/seen' &&
    ! grep -qi authorization '$work/seen'"
refuses "a command that is mistyped" 2 "did you mean tailor submit?" tailor sumbit job.yaml

says "down" "the service is down" tailor down --data "$work/service"
expect "nothing is left" bash -c "! ls $work/service/*.pid"
finish
