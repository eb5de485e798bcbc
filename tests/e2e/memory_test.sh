#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# memory_test.sh BUILD_DIR: the ledger is what the kernel counts; computing layers again, and groups in parts, give the
# results of keeping everything.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$root/tests/bench/measure.sh"
steps=3
python3 "$root/tests/bench/random_model.py" test-30m "$root/tests/golden/data/models/tiny-qwen2/base" "$work/small"
small=(general --from "$work/small" --train "$work/small/pairs.jsonl" --set model.template=plain --set train.batch_groups=8)
expect "the ledger of full fine-tuning is within 5 % of the kernel's figure" measure_run full "${small[@]}"
expect "the ledger of LoRA is within 5 % of the kernel's figure" measure_run LoRA "${small[@]}" --set adapter.type=lora

python3 - >"$work/groups.jsonl" <<'PY'
import json, random
draw = random.Random(5)
sentence = lambda n: " ".join(draw.choice("red green blue cyan pink gold".split()) for _ in range(n))
for _ in range(16):
    print(json.dumps({"prompt": sentence(14), "responses": [sentence(draw.randint(1, 12)) for _ in range(6)],
                      "scores": draw.sample(range(6), 6)}))
PY
groups=(general --from "$base" --train "$work/groups.jsonl" --set train.batch_groups=4 --set model.template=dsp
    --set model.max_length=160 --set train.learning_rate=1e-3 --set train.max_steps=3 --set loss.lm_loss_coeff=0.1)
train() { # train NAME EXTRA…
    local out="$work/$1"
    shift
    tailor run "${groups[@]}" --out "$out" -q "$@"
}
loss_of() { python3 -c 'import json, sys; print(json.loads(open(sys.argv[1] + "/metrics.jsonl").readline())["loss"])' "$1"; }
expect "a run that keeps its layers" train kept --set train.recompute=none
expect "a run that computes them again" train again --set train.recompute=layer
expect "both leave the same bits of the model" cmp "$work/kept/model/model.safetensors" "$work/again/model/model.safetensors"
expect "a run whose groups are larger than a pack" train parts --set train.max_tokens_per_batch=160
expect "its plan says so" grep -qE 'packs of up to 1[0-6][0-9] tokens' <(tailor run "${groups[@]}" \
    --out "$work/plan" --set train.max_tokens_per_batch=160 --plan)
expect "its first loss is that of whole groups" python3 -c 'import sys; a, b = map(float, sys.argv[1:]); sys.exit(abs(a - b) > 1e-6 * a)' \
    "$(loss_of "$work/kept")" "$(loss_of "$work/parts")"
finish
