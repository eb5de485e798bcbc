#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bf16 from end to end, and what `train.dtype: auto` becomes: on a machine with matrix instructions by those, elsewhere
# by emulation, with the same promises.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
python3 "$root/deploy/sample_data.py" --out "$work/data"
data="$work/data"
general=(tailor run general --from "$base" --train "$data/general.train.jsonl" --eval "$data/general.test.jsonl"
    --set train.max_steps=6 "${tiny[@]}")
dtype_of() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1] + "/spec.json"))["train"]["dtype"])' "$1"; }

expect "auto, a tiny model" "${general[@]}" --out "$work/auto"
expect "… is fp32, and the spec says so" test "$(dtype_of "$work/auto")" = fp32
expect "… and so does the plan" grep -q "dtype: auto is fp32" <("${general[@]}" --out "$work/plan" --plan)
expect "… and the run is resumed as auto" "${general[@]}" --out "$work/auto" --resume
refuses "… but not in bf16" 5 "was begun with train.dtype \"fp32\"" "${general[@]}" --out "$work/auto" --resume --set train.dtype=bf16

bf16=("${general[@]}" --set train.dtype=bf16)
expect "bf16, packing verified: packed rewards have the bits of rows alone" "${bf16[@]}" --out "$work/bf16" --verify-packing
expect "bf16 on two ranks" "${bf16[@]}" --out "$work/ranks" --ranks 2
expect "… has the same bits" cmp "$work/bf16/model/model.safetensors" "$work/ranks/model/model.safetensors"
expect "bf16 is not fp32 under another name" bash -c "! cmp -s '$work/bf16/model/model.safetensors' '$work/auto/model/model.safetensors'"
sed 's/"dtype": "bf16"/"dtype": "auto"/' "$work/bf16/spec.json" >"$work/asked.json"
rm -rf "$work/bf16/model"
expect "what goes on as auto keeps what its checkpoint was computed in, whatever was asked" \
    tailor-trainer train --spec "$work/asked.json" --out "$work/bf16" --resume --quiet
expect "… in its spec too" test "$(dtype_of "$work/bf16")" = bf16
expect "… and in its bits" cmp "$work/bf16/model/model.safetensors" "$work/ranks/model/model.safetensors"
for dtype in bf16 fp32; do
    expect "customize in $dtype from a model that was trained in bf16" tailor run customize --from "$work/bf16/model" \
        --train "$data/lawyers.train.jsonl" --out "$work/$dtype-lora" --set adapter.type=lora --set train.max_steps=4 \
        --set train.batch_groups=4 --set train.dtype=$dtype
done
expect "an adapter trained in bf16 is customized again: its parent is merged" tailor run customize \
    --from "$work/bf16-lora/model" --train "$data/arcade.train.jsonl" --out "$work/again" --set adapter.type=lora \
    --set train.max_steps=3 --set train.batch_groups=4 --set train.dtype=bf16

python3 "$root/tests/bench/random_model.py" test-30m "$root/tests/golden/data/models/tiny-qwen2/base" "$work/small"
small=(tailor run general --from "$work/small" --train "$work/small/pairs.jsonl" --set model.template=plain --plan)
expect "without instructions for it auto is fp32" grep -q "dtype: auto is fp32: no instructions" \
    <(TAILOR_ISA=avx2 "${small[@]}" --out "$work/avx2")
"${small[@]}" --out "$work/timed" >"$work/first" && "${small[@]}" --out "$work/timed" >"$work/second"
if grep -q "were timed" "$work/first"; then
    expect "what was timed once is remembered" diff <(grep dtype: "$work/first") <(grep dtype: "$work/second")
    expect "… under the machine's name" bash -c "grep -q 'bf16 .* times fp32' '$TAILOR_CACHE'/dtype-*"
    sed -i 's/bf16 .* times/bf16 1.20 times/' "$TAILOR_CACHE"/dtype-*
    expect "not clearly faster is fp32" grep -q "dtype: auto is fp32: products in bf16 were timed at 1.2" \
        <("${small[@]}" --out "$work/timed")
else
    echo "skip no instructions for bf16 products here"
fi
finish
