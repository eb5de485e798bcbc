#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/interop.sh [DATA]     models that go from here to Transformers and PEFT, and from there to here.
#
# Trains and exports small models, then tests/interop/interop.py compares tokens and rewards. DATA is a file of
# preference data whose first 50 texts are used (default: made by deploy/sample_data.py).
#   TAILOR_BUILD    build directory (default: build)
#   TAILOR_VENV     a Python venv with torch, transformers, peft; default: made under the build directory (several GB)
#   TAILOR_SMOLLM2  a Hugging Face directory of SmolLM2: the same with it besides the tiny models
# By hand, not CI: it needs the network and 5 to 20 minutes.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${TAILOR_BUILD:-$root/build}
venv=${TAILOR_VENV:-$build/venv-interop}
data=${1:-}
models="$root/tests/golden/data/models"
cmake -G Ninja -S "$root" -B "$build" >/dev/null || exit 1
cmake --build "$build" --target tailor tailor-trainer | tail -1
[ "${PIPESTATUS[0]}" -eq 0 ] || exit 1
export PATH="$build:$PATH"
if ! "$venv/bin/python" -c 'import torch, transformers, peft' 2>/dev/null; then
    python3 -m venv "$venv" && "$venv/bin/pip" install -q torch 'transformers>=5,<6' peft safetensors numpy || exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TAILOR_CACHE="$work/cache"
python3 "$root/deploy/sample_data.py" --out "$work/data"
passed=0 failed=0

expect() { # expect NAME COMMAND…: the command succeeds
    local name=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        passed=$((passed + 1)) && printf 'ok %s\n' "$name"
    else
        failed=$((failed + 1)) && printf 'FAIL %s\n' "$name"
        sed 's/^/    /' "$work/output" | tail -20
    fi
}

# Two steps of each stage: enough to move every weight, the head and both factors of the adapter.
few=(--set train.max_steps=2 --set train.dtype=fp32 --set train.lr_scheduler_type=constant
    --set train.batch_groups=4 --set evaluate.every_steps=0)
trained() { # trained NAME BASE TEMPLATE POOLING [RATE]
    local name=$1 base=$2 template=$3 pooling=$4 rate=${5:-1e-4} dir="$work/$1"
    expect "$name: general" tailor run general --from "$base" --train "$work/data/general.train.jsonl" \
        --out "$dir/general" "${few[@]}" --set "train.learning_rate=$rate" --set "model.template=$template" \
        --set "model.pooling=$pooling" --set model.max_length=512
    expect "$name: customize" tailor run customize --from "$dir/general/model" --train "$work/data/lawyers.train.jsonl" \
        --out "$dir/custom" "${few[@]}" --set adapter.type=lora --set train.learning_rate=1e-2
    expect "$name: export hf" tailor model export "$dir/general/model" "$dir/hf" --format hf --dtype fp32
    expect "$name: export hf in bf16" tailor model export "$dir/general/model" "$dir/bf16" --format hf --dtype bf16
    expect "$name: export hf, merged" tailor model export "$dir/custom/model" "$dir/merged" --format hf --merge --dtype fp32
    expect "$name: export peft" tailor model export "$dir/custom/model" "$dir/peft" --format peft --dtype fp32
    printf '%s\t%s\t%s\n' "$name" "$template" "$pooling" >>"$work/cases.tsv"
}

trained llama-dsp-last "$models/tiny-llama/base" dsp last_token
trained llama-dsp-before "$models/tiny-llama/base" dsp before_eos
trained llama-llama2-last "$models/tiny-llama/base" llama2 last_token
trained llama3-llama3-before "$models/tiny-llama3/base" llama3 before_eos
trained llama3-plain-last "$models/tiny-llama3/base" plain last_token
trained qwen2-qwen2.5-last "$models/tiny-qwen2/base" qwen2.5 last_token
trained qwen2-dsp-before "$models/tiny-qwen2/base" dsp before_eos
trained qwen3-zephyr-last "$models/tiny-qwen3/base" zephyr last_token
trained qwen3-dsp-before "$models/tiny-qwen3/base" dsp before_eos
bases=("$models/tiny-llama/base" "$models/tiny-llama3/base" "$models/tiny-qwen2/base" "$models/tiny-qwen3/base")
if [ -n "${TAILOR_SMOLLM2:-}" ]; then
    # Steps of 1e-4 are below half of bf16's spacing for most weights here: the export rightly refuses to round them.
    trained smollm2-dsp-last "$TAILOR_SMOLLM2" dsp last_token 1e-6
    trained smollm2-dsp-before "$TAILOR_SMOLLM2" dsp before_eos 1e-6
    trained smollm2-chatml-before "$TAILOR_SMOLLM2" chatml before_eos 1e-6
    bases+=("$TAILOR_SMOLLM2")
else
    echo "skip SmolLM2: TAILOR_SMOLLM2 is not set"
fi
HF_HUB_OFFLINE=1 "$venv/bin/python" "$root/tests/interop/interop.py" --work "$work" \
    --data "${data:-$work/data/lawyers.test.jsonl}" "${bases[@]}" | tee "$work/compared"
ended=${PIPESTATUS[0]}
passed=$((passed + $(grep -c '^ok ' "$work/compared")))
failed=$((failed + $(grep -c '^FAIL ' "$work/compared")))
[ "$ended" -eq 0 ] || expect "interop.py ran to its end" false
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
