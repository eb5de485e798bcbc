#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# import_test.sh BUILD_DIR: a GGUF file becomes a base by a job: with the bytes of `tailor base import`, ready to be
# trained from; a file that is none is said to be none, and its name stays free; nobody but an admin adds one.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/service_lib.sh"
"$build/tests/gguf_sample" >tiny.gguf
python3 "$root/deploy/sample_data.py" --out data
says "up" "with 1 worker" tailor up --data "$work/service" --port "$port"
says "a GGUF file becomes a base" "ready" tailor base add tiny tiny.gguf
expect "by a job" bash -c "tailor ls -o jsonl | grep '\"stage\":\"import\"' | grep -q '\"state\":\"succeeded\"'"
tailor base import tiny.gguf here -q
manifest=$(tailor base show tiny -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["manifest"])')
expect "that has the files of one that is made here, and no other" python3 - "$work/service/d/store" "$manifest" here <<'PY'
import hashlib, json, os, sys
store, manifest, here = sys.argv[1:]
path, = [os.path.join(at, manifest) for at, _, files in os.walk(store) if manifest in files]
theirs = {file["name"]: file["digest"] for file in json.load(open(path))["files"]}
ours = {name: hashlib.sha256(open(os.path.join(here, name), "rb").read()).hexdigest() for name in os.listdir(here)}
differ = {name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name)}
assert differ == {"tailor.json"}, (theirs, ours)  # it says where the file lay
PY
cat >job.yaml <<'YAML'
stage: general
from: tiny
data: {train: [data/general.train.jsonl], eval: [data/general.test.jsonl]}
output: {model: hh}
train: {batch_groups: 4, max_steps: 4, learning_rate: 1e-3}
model: {template: dsp, max_length: 200}
YAML
says "a model is trained from it" "succeeded" tailor submit job.yaml --wait

head -c 3000 tiny.gguf >cut.gguf
refuses "a file that is cut off is no base" 1 "cut is no base" tailor base add cut cut.gguf
says "which is listed" "rejected" tailor base list
refuses "and of no use" 5 "not ready" tailor submit job.yaml --set from=cut
refuses "its job is not tried again" 5 "add the base again" tailor job retry "$(tailor ls --state failed -o name | head -1)"
says "but the name is free" "ready" tailor base add cut tiny.gguf
refuses "a name that is taken" 5 "there already" tailor base add tiny tiny.gguf
printf 'stage: import\nfrom: tiny.gguf\n' >import.yaml
refuses "a spec of that stage is no way in" 2 "tailor base add" tailor submit import.yaml
refuses "nor is tailor run" 2 "tailor base add" tailor run import --from here
says "without waiting" "importing" tailor base add later tiny.gguf --no-wait
ready() { tailor base show later -o json | grep -q '"state":"ready"'; }
expect "it is ready soon" await ready
refuses "nobody but an admin adds one" 4 "admin" env TAILOR_TOKEN="$(tailor token create t --role tenant_admin --tenant local -o name)" tailor base add theirs tiny.gguf
tailor down --data "$work/service" >/dev/null 2>&1
finish
