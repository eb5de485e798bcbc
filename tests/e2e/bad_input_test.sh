#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Bad input: each a clear error that names file, line or tensor, with its exit code, and nothing half-written.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
python3 "$root/deploy/sample_data.py" --out "$work/data"
train="$work/data/general.train.jsonl"

copy() { rm -rf "$work/m" && cp -r "$base" "$work/m"; }
attack() { # attack NAME TEXT PYTHON: changes a copy of the base by a few lines of Python, then checks it
    copy
    (cd "$work/m" && python3 -c "import json, os, struct
def config(**kw):
    c = json.load(open('config.json')); c.update(kw); json.dump(c, open('config.json', 'w'))
def header(change):
    raw = open('model.safetensors', 'rb').read(); n = struct.unpack('<Q', raw[:8])[0]
    h = json.loads(raw[8:8 + n]); body = change(h, bytearray(raw[8 + n:])); t = json.dumps(h).encode()
    open('model.safetensors', 'wb').write(struct.pack('<Q', len(t)) + t + bytes(body))
$3") || fail "$1: the attack itself failed"
    local got=0
    tailor base check "$work/m" >"$work/output" 2>&1 || got=$?
    if [ "$got" -ne 0 ] && [ "$got" -lt 100 ] && grep -qiE -- "$2" "$work/output"; then ok "$1"; else
        fail "$1: exit code $got"
        sed 's/^/    /' "$work/output" | tail -3
    fi
}
attack "truncated safetensors" "model.safetensors: tensor model.norm.weight.*truncated" "s = os.path.getsize('model.safetensors'); os.truncate('model.safetensors', s - 100)"
attack "safetensors with a hole" "model.safetensors: tensor .*leaving a hole behind" "
def f(h, b):
    o = h['model.embed_tokens.weight']; o['shape'] = [1, o['shape'][1]]; o['data_offsets'][1] = o['data_offsets'][0] + 4 * o['shape'][1]; return b
header(f)"
attack "overlapping tensors" "model.safetensors: tensor .*overlapping" "
def f(h, b):
    names = [n for n in h if n != '__metadata__']; h[names[1]]['data_offsets'] = h[names[0]]['data_offsets']; return b
header(f)"
attack "bytes behind the end" "model.safetensors: 4 bytes behind the last tensor" "open('model.safetensors', 'ab').write(b'more')"
attack "a wrong shape" "model.norm.weight is .2, 32., not .64." "
def f(h, b):
    h['model.norm.weight']['shape'] = [2, h['model.norm.weight']['shape'][0] // 2]; return b
header(f)"
attack "a NaN weight" "model.safetensors: tensor model.norm.weight, element 0 is nan" "
def f(h, b):
    o = h['model.norm.weight']['data_offsets'][0]; b[o:o + 4] = struct.pack('<f', float('nan')); return b
header(f)"
attack "an infinite weight" "model.safetensors: tensor model.norm.weight, element 63 is -inf" "
def f(h, b):
    o = h['model.norm.weight']['data_offsets'][1]; b[o - 4:o] = struct.pack('<f', float('-inf')); return b
header(f)"
attack "an unknown dtype" "model.safetensors: tensor model.norm.weight is F8_E4M3" "
def f(h, b):
    h['model.norm.weight']['dtype'] = 'F8_E4M3'; return b
header(f)"
attack "config.json that disagrees with the tensors" "gate_proj.weight is .160, 64., not .128, 64." "config(intermediate_size=128)"
attack "a tensor that config.json wants and the file lacks" "model.layers.3" "config(num_hidden_layers=4)"
attack "broken JSON in config.json" "config.json:[0-9]" "s = open('config.json').read(); open('config.json', 'w').write(s[:-3])"
attack "config.json that is too deep" "config.json" "open('config.json', 'w').write('[' * 100000)"
attack "an unknown architecture" "model_type" "config(model_type='mamba', architectures=['MambaForCausalLM'])"
attack "an activation that is not known" "hidden_act" "config(hidden_act='gelu')"
attack "an unknown rope" "config.json: .rope_scaling. has the type .yarn" "config(rope_scaling={'rope_type': 'yarn', 'factor': 4.0})"
attack "a tokenizer whose ids exceed the embedding" "the tokenizer has 743 tokens, but the embedding only 683 rows" "
t = json.load(open('tokenizer.json')); n = max(a['id'] for a in t['added_tokens']); v = len(t['model']['vocab'])
for i in range(60):
    t['added_tokens'].append(dict(t['added_tokens'][-1], id=n + 1 + i, content='<extra%d>' % i))
json.dump(t, open('tokenizer.json', 'w'))"
attack "a pre-tokenizer pattern outside the known list" "tokenizer.json: pre_tokenizer" "
t = json.load(open('tokenizer.json')); t['pre_tokenizer'] = {'type': 'Split', 'pattern': {'Regex': '(a+)+b'}, 'behavior': 'Isolated', 'invert': False}
json.dump(t, open('tokenizer.json', 'w'))"
attack "duplicate keys in config.json" "config.json:[0-9]+:[0-9]+: duplicate key" "s = open('config.json').read(); open('config.json', 'w').write(s.replace('{', '{\"hidden_size\": 64,', 1))"
attack "only pytorch_model.bin" "safetensors|save_pretrained" "os.rename('model.safetensors', 'pytorch_model.bin')"
attack "only tokenizer.model" "only tokenizer.model is there" "os.rename('tokenizer.json', 'tokenizer.model')"

data_attack() { # data_attack NAME TEXT CONTENT
    printf '%b' "$3" >"$work/bad.jsonl"
    local got=0
    tailor run general --from "$base" --train "$work/bad.jsonl" --out "$work/bad-run" "${tiny[@]:0:8}" >"$work/output" 2>&1 || got=$?
    if [ "$got" -ne 0 ] && [ "$got" -lt 100 ] && grep -qiE -- "$2" "$work/output" && [ ! -e "$work/bad-run/model" ]; then ok "$1"; else
        fail "$1: exit code $got"
        sed 's/^/    /' "$work/output" | tail -3
    fi
    rm -rf "$work/bad-run"
}
good='{"prompt": "a", "chosen": "b", "rejected": "c"}\n'
data_attack "broken JSON names the line" "bad.jsonl:2" "$good{\"prompt\": \n"
data_attack "JSON that is too deep" "bad.jsonl:2" "$good$(printf '[%.0s' $(seq 200))\n"
data_attack "duplicate keys in a record" "bad.jsonl:2.*duplicate|duplicate.*bad.jsonl:2" "$good{\"prompt\": \"a\", \"prompt\": \"b\", \"chosen\": \"c\", \"rejected\": \"d\"}\n"
data_attack "one response only" "bad.jsonl:1" '{"prompt": "a", "responses": ["b"], "scores": [1]}\n'
data_attack "lengths that do not match" "bad.jsonl:1" '{"prompt": "a", "responses": ["b", "c"], "scores": [1]}\n'
data_attack "a score that is not finite" "bad.jsonl:1" '{"prompt": "a", "responses": ["b", "c"], "scores": [1, NaN]}\n'
data_attack "a score beyond all floats" "bad.jsonl:1" '{"prompt": "a", "responses": ["b", "c"], "scores": [1, 1e999]}\n'
data_attack "a margin beyond all 32-bit floats" "bad.jsonl:1.*margin" '{"prompt": "a", "chosen": "b", "rejected": "c", "margin": 1e39}\n'
data_attack "text that is no UTF-8, counted" "bad.jsonl: 1 of 1 groups.*UTF-8" '{"prompt": "a", "chosen": "\xff", "rejected": "c"}\n'
data_attack "a line over 1 MiB" "bad.jsonl:1" "{\"prompt\": \"$(head -c 1100000 /dev/zero | tr '\0' a)\", \"chosen\": \"b\", \"rejected\": \"c\"}\n"
data_attack "an empty file" "bad.jsonl: the file is empty" ""
data_attack "Parquet gets the conversion named" "parquet" "PAR1xxxxxxxxxxxxxxxx"
loud() { # loud VALUE: a base whose final norm multiplies by VALUE
    copy
    (cd "$work/m" && python3 - "$1" <<'PY'
import json, struct, sys
raw = bytearray(open("model.safetensors", "rb").read())
n = struct.unpack("<Q", raw[:8])[0]
begin, end = json.loads(raw[8:8 + n])["model.norm.weight"]["data_offsets"]
raw[8 + n + begin:8 + n + end] = struct.pack("<f", float(sys.argv[1])) * ((end - begin) // 4)
open("model.safetensors", "wb").write(raw)
PY
    )
}
loud 1e30
refuses "gradients that are not finite end the run after three steps, with the lines" 1 "general.train.jsonl:" \
    tailor run general --from "$work/m" --train "$train" --out "$work/nan" "${tiny[@]:0:6}" --set loss.center_rewards_coefficient=100
expect "and leaves no model" test ! -e "$work/nan/model"
# Rewards near 1e18: the squares of the larger ones overflow a float in the gradient, those of the smaller ones do not.
loud 3e17
expect "single steps that are not finite are passed over" tailor run general --from "$work/m" --train "$train" \
    --out "$work/some" --set train.batch_groups=1 --set train.max_steps=14 --set model.template=dsp \
    --set model.max_length=160 --set loss.center_rewards_coefficient=100
cp "$work/output" "$work/warned"
expect "and counted, each with its step" python3 - "$work/some/result.json" "$work/warned" <<'PY'
import json, sys
result = json.load(open(sys.argv[1]))
warned = open(sys.argv[2]).read().count("skipped: loss or gradient not finite")
assert 0 < result["nonfinite_steps"] == warned < result["steps"] == 14, (result["nonfinite_steps"], warned, result["steps"])
PY

spec() { tailor run general --from "$base" --train "$train" --out "$work/spec-run" "$@"; }
refuses "spec: an unknown field, with the nearest name" 2 "learning_rate" spec --set train.learning_rat=1
refuses "spec: another trainer's name, with its meaning" 2 "batch_groups" spec --set per_device_train_batch_size=4
refuses "spec: a number out of range" 2 "train.learning_rate" spec --set train.learning_rate=7
refuses "spec: a word for a number" 2 "train.epochs" spec --set train.epochs=many
refuses "spec: an unknown choice" 2 "cosine" spec --set train.lr_scheduler_type=cosin
refuses "spec: dropout is refused with the reason" 2 "sharing" spec --set adapter.type=lora --set adapter.dropout=0.1
refuses "spec: a field of another stage" 2 "enrich" spec --set data.enrich.share=0.2
refuses "spec: a file that is not there" 3 "nowhere.jsonl" tailor run general --from "$base" --train nowhere.jsonl --out "$work/spec-run"
refuses "spec: a stage that is not one" 2 "generl" tailor run generl --from "$base" --train "$train"
printf 'stage: general\ntrain: {epochs: 1, epochs: 2}\n' >"$work/twice.yaml"
refuses "spec: a key given twice, with file and line" 2 "twice.yaml:2" spec -f "$work/twice.yaml"
printf 'stage: general\n  train: [\n' >"$work/broken.yaml"
refuses "spec: broken YAML, with file and line" 2 "broken.yaml:" spec -f "$work/broken.yaml"
expect "nothing was written by any of them" test ! -e "$work/spec-run"
finish
