#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The three stages and everything that is done with their models, on a tiny model and made-up data.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
python3 "$root/deploy/sample_data.py" --out "$work/data"
data="$work/data"
expect "base check says what a directory is" tailor base check "$base"
expect "a plan is printed and nothing is trained" tailor run general --from "$base" --train "$data/general.train.jsonl" \
    --eval "$data/general.test.jsonl" --out "$work/plan" --plan "${tiny[@]}"
expect "stage lm" tailor run lm --from "$base" --train "$data/texts.jsonl" --out "$work/lm" --set train.batch_groups=8 \
    --set model.template=dsp --set model.max_length=160 --set train.max_steps=6
expect "stage general, packing verified" tailor run general --from "$work/lm/model" --train "$data/general.train.jsonl" \
    --eval "$data/general.test.jsonl" --out "$work/general" --verify-packing --set train.max_steps=12 "${tiny[@]}"
customize=(tailor run customize --from "$work/general/model" --train "$data/lawyers.train.jsonl"
    --eval "$data/lawyers.test.jsonl" --set train.batch_groups=4 --set train.max_steps=10 --set evaluate.every_steps=5)
expect "customize by LoRA takes the parent's general data" "${customize[@]}" --out "$work/lora" --set adapter.type=lora
expect "customize in full" "${customize[@]}" --out "$work/full"
expect "the general-preservation figure is there" python3 - "$work/lora/result.json" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
assert r["general_preservation"]["interval"], r["general_preservation"]
assert r["mix"]["general_pairs"] > 0, r["mix"]
assert r["gate"]["verdict"] in ("passed", "held"), r["gate"]
PY
expect "an adapter is customized again: its parent is merged" tailor run customize --from "$work/lora/model" \
    --train "$data/arcade.train.jsonl" --out "$work/again" --set adapter.type=lora --set train.max_steps=3 \
    --set train.batch_groups=4
for model in general full lora again; do
    expect "model score $model, order kept" bash -c "tailor model score '$work/$model/model' '$data/lawyers.test.jsonl' |
        python3 -c 'import json,sys; rows=[json.loads(l) for l in sys.stdin]; assert [r[\"line\"] for r in rows]==list(range(1,49)), rows[:2]; assert all(len(r[\"scores\"])==4 for r in rows)'"
done
expect "one text from standard input" bash -c "echo '{\"prompt\": \"Hi\", \"response\": \"Hello.\"}' |
    tailor model score '$work/full/model' | grep -q '\"score\"'"
expect "the same text alone and among others: the same score" bash -c "
    head -1 '$data/lawyers.test.jsonl' > '$work/one.jsonl'
    tailor model score '$work/full/model' '$work/one.jsonl' > '$work/a'
    tailor model score '$work/full/model' '$data/lawyers.test.jsonl' --threads 1 | head -1 > '$work/b'
    cmp '$work/a' '$work/b'"
expect "evaluate" tailor evaluate "$work/full/model" --data "$data/lawyers.test.jsonl" --data "$data/general.test.jsonl"
expect "model compare" tailor model compare "$work/general/model" "$work/full/model" --data "$data/lawyers.test.jsonl"
expect "job rows" tailor job rows "$work/full" --worst 3
expect "job report" tailor job report "$work/full"
expect "the page is there" test -s "$work/full/report.html"
expect "job diff" tailor job diff "$work/full" "$work/lora"
expect "model show" tailor model show "$work/lora/model"
expect "data report" tailor data report "$data/lawyers.train.jsonl" --from "$work/general/model"
expect "data preview" tailor data preview "$data/lawyers.train.jsonl" --from "$base" --ids
expect "export to Hugging Face, merged" tailor model export "$work/lora/model" "$work/hf" --format hf --merge
expect "what was exported scores here" tailor model score "$work/hf" "$work/one.jsonl" --template dsp
expect "export to PEFT" tailor model export "$work/lora/model" "$work/peft" --format peft
python3 - "$work/general/model/tailor.json" <<'PY'
import json, sys
card = json.load(open(sys.argv[1]))
card["probes"][3]["score"] += 1e-5
json.dump(card, open(sys.argv[1], "w"))
PY
refuses "head continuity: a parent whose probes moved is refused" 5 "head continuity" "${customize[@]}" --out "$work/moved"
expect "a refused run leaves no model" test ! -e "$work/moved/model"
finish
