#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/batch_real.sh BASE DATA [BUILD_DIR]     real data through the service, and the same bits without it
#
# DATA has helpful.*.json, harmless.*.json (general pairs) and dsp.*.json (a response for each domain). One general model,
# then four domains' customize jobs as one batch, on two workers; each is trained again by `tailor run` from its job's
# resolved spec, and must have the same weights. Few rows and steps: about ten minutes with SmolLM2-135M on two cores.
set -uo pipefail
real_base=$(cd "${1:?usage: $0 BASE DATA [BUILD_DIR]}" && pwd) data=$(cd "${2:?DATA}" && pwd)
set -- "${3:-$(cd "$(dirname "$0")/.." && pwd)/build}"
. "$(dirname "${BASH_SOURCE[0]}")/e2e/lib.sh"
. "$root/tests/e2e/service_lib.sh"
says "a service of two workers" "with 2 workers" tailor up --workers 2 --data "$work/service" --port "$port"
says "the base" "ready" tailor base add real "$real_base" -q

cat >general.yaml <<YAML
name: general
stage: general
from: real
data:
  train: [{dataset: $data/helpful.train.json, limit: 60}, {dataset: $data/harmless.train.json, limit: 60}]
  eval: [{dataset: $data/helpful.test.json, limit: 40}, {dataset: $data/harmless.test.json, limit: 40}]
model: {template: dsp, max_length: 256}
train: {batch_groups: 8, max_steps: 6, learning_rate: 2e-5}
output: {model: general}
YAML
cat >recipe.yaml <<YAML
name: \${domain}
stage: customize
from: general@1
data:
  train: [{dataset: $data/dsp.train.json, domain: "\${domain}", limit: 24}]
  eval: [{dataset: $data/dsp.test.json, domain: "\${domain}", limit: 16}]
  enrich: {share: 0.3}
adapter: {type: lora}
loss: {lm_loss_coeff: 0.1}
train: {batch_groups: 6, max_steps: 4}
output: {model: "\${domain}"}
YAML
domains="academy business entertainment literature"
printf '%s\n' domain $domains >domains.csv
says "the general model" "succeeded" tailor submit general.yaml --wait
expect "four domains as one batch" bash -c "tailor batch submit recipe.yaml --each domains.csv --key domain -q >batch"
expect "all of them end" bash -c "tailor batch wait \"\$(cat batch)\"; [[ \$? == 0 || \$? == 9 ]]"
says "none failed" '"jobs_succeeded":4' tailor batch show "$(cat batch)" -o json
tailor batch show "$(cat batch)"

job_of() { # job_of MODEL: the job that made its newest version
    tailor model versions "$1" -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["job_id"])'
}
spec_here() { # spec_here JOB FROM OUT: its resolved spec with this machine's paths in place of digests
    tailor show "$1" -o json | python3 -c '
import glob, hashlib, json, sys
start, out, data = sys.argv[1:]
files = {hashlib.sha256(open(path, "rb").read()).hexdigest(): path for path in glob.glob(data + "/*.json")}
spec = json.load(sys.stdin)["spec"]
spec["from"] = start
enrich = spec["data"]["enrich"] or {}
for source in spec["data"]["train"] + spec["data"]["eval"] + (enrich.get("sources") or []):
    source["dataset"] = files[source["dataset"].removeprefix("sha256:")]
json.dump(spec, open(out, "w"))' "$2" "$3" "$data"
}
same_bits() { # same_bits MODEL FILE: of the registered model and of the run on this machine
    tailor model export "$1" "exported-$1" --format "$3" -q || return
    local manifest
    manifest=$(tailor model versions "$1" -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["manifest"])')
    cmp "$TAILOR_CACHE/models/$manifest/$2" "alone-$1/model/$2"
}
expect "the general spec is resolved" spec_here "$(job_of general)" "$real_base" general.json
expect "tailor run of it" tailor run -f general.json --out alone-general -q
expect "has the bits of the job" same_bits general model.safetensors hf
for domain in $domains; do
    expect "$domain: the spec is resolved" spec_here "$(job_of "$domain")" "$work/alone-general/model" "$domain.json"
    expect "$domain: tailor run of it" bash -c "tailor run -f $domain.json --out alone-$domain -q; [[ \$? == 0 || \$? == 9 ]]"
    expect "$domain: has the bits of the job" same_bits "$domain" adapter_model.safetensors peft
done
says "down" "the service is down" tailor down --data "$work/service"
finish
