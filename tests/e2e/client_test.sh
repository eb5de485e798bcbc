#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# client_test.sh BUILD_DIR: the `tailor` program as a person types it. A stand-in for tailor-trainer,
# placed beside a copy of it, prints the words it was given: what the client passes on is the contract
# between the two programs.
set -u
build=$(realpath "${1:?usage: client_test.sh BUILD_DIR}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$build/tailor" "$work/tailor" || exit 1
cat > "$work/tailor-trainer" <<'STUB'
#!/bin/bash
printf '[%s]' "$@"
echo
exit "${TRAINER_EXIT:-0}"
STUB
chmod +x "$work/tailor-trainer"
cd "$work" || exit 1
mkdir base general
printf '{"prompt": "a", "chosen": "b", "rejected": "c"}\n' | tee prefs.jsonl test.jsonl > hh.jsonl
passed=0
failed=0

verdict() { # NAME CONDITION-RESULT DETAIL
    if [ "$2" = 0 ]; then
        passed=$((passed + 1))
        echo "ok $1"
    else
        failed=$((failed + 1))
        echo "FAIL $1: $3"
    fi
}

# says NAME CODE TEXT COMMAND...: exit code, and TEXT somewhere in what it prints.
says() {
    local name=$1 code=$2 text=$3 out rc
    shift 3
    out=$("$@" 2>&1 < /dev/null)
    rc=$?
    [ "$rc" = "$code" ] && [[ "$out" == *"$text"* ]]
    verdict "$name" $? "expected exit $code and '$text', got exit $rc and '$out'"
}

t=./tailor

# ---- finding one's way ----
says "no words print the list of commands" 0 "run [STAGE]" $t
says "a wrong noun gets the nearest" 2 "did you mean tailor job?" $t jbo
says "a wrong verb gets the nearest" 2 "did you mean tailor job validate?" $t job valdate
says "version" 0 "tailor 0." $t version
while read -r noun verb; do
    says "tailor $noun $verb -h has an example" 0 "example: " $t "$noun" ${verb:+"$verb"} -h
done < <($t | sed -n 's/^  \([a-z]\+\( [a-z-]\+\)\?\) \+[^ ].*/\1/p' | sed 's/^completion bash.*$/completion/')
says "-h names the global options" 0 "--output FORMAT" $t job rows -h
$t completion bash > completion.sh && bash -n completion.sh
verdict "completion is a script that bash accepts" $? "bash -n failed"
complete_line() {
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    COMPREPLY=()
    _tailor
    echo "${COMPREPLY[*]}"
}
export -f complete_line
for shell in zsh fish; do
    $t completion $shell > completion.$shell
    grep -q 'job' completion.$shell && grep -q 'max-tokens-per-batch' completion.$shell
    verdict "completion for $shell has nouns and options" $? "they are missing"
    if command -v $shell > /dev/null; then
        $shell -n completion.$shell
        verdict "completion is a script that $shell accepts" $? "$shell -n failed"
    else
        echo "skip completion.$shell by $shell: it is not here"
    fi
done
says "completion knows no other shell" 2 "bash, zsh and fish" $t completion tcsh
says "completion knows the commands of the service" 0 "rollback" \
    bash -c '. ./completion.sh; complete_line tailor model r'
says "completion knows verbs" 0 "report rows" bash -c '. ./completion.sh; complete_line tailor job r'
says "completion knows fields" 0 "train.learning_rate=" \
    bash -c '. ./completion.sh; complete_line tailor run --set train.lea 2> /dev/null'
says "completion knows choices" 0 "qwen2.5" \
    bash -c '. ./completion.sh; complete_line tailor data report f --template q'

# ---- explain, specs ----
says "explain a field" 0 "1e-4 with adapter.type: lora" $t explain train.learning_rate
says "explain another program's name" 0 "train.batch_groups here" $t explain gradient_accumulation_steps
says "explain misses with the nearest" 3 "did you mean train.seed?" $t explain train.sede
says "explain lists all" 0 "gate.min_pairs" $t explain
says "explain as names" 0 "data.*.columns.prompt" $t explain -o name
for stage in lm general customize evaluate score; do
    $t job init $stage > $stage.yaml
    says "init $stage is valid" 0 "$stage" $t job validate $stage.yaml
done
says "init of no stage" 2 "did you mean customize?" $t job init customise
says "validate prints the resolved spec" 0 '"seed": 3,' $t job validate general.yaml -o json --set train.seed=3
printf 'stage: general\nfrom: b\ntrain:\n  lora_r: 8\n' > bad.yaml
says "validate names file, line and field" 2 "bad.yaml:4: unknown field train.lora_r: what TRL calls lora_r is adapter.r here" \
    $t job validate bad.yaml
says "validate of a missing file" 3 "did you mean bad.yaml?" $t job validate bd.yaml
$t job schema > schema.json
if python3 -c 'import jsonschema, yaml' 2> /dev/null; then
    $t job validate customize.yaml -o json > resolved.json
    python3 - <<'PY'
import json, sys, jsonschema, yaml
schema = json.load(open("schema.json"))
jsonschema.Draft202012Validator.check_schema(schema)
check = jsonschema.Draft202012Validator(schema)
good = [json.load(open("resolved.json")), {"stage": "lm", "from": "b", "data": {"train": "t"}},
        {"stage": "customize", "from": "g", "data": {"enrich": {"dataset": "a", "by": "groups"}}}]
good += [yaml.safe_load(open(s + ".yaml")) for s in ("lm", "general", "customize", "evaluate", "score")]
bad = [{"stage": "x", "from": "b"}, {"stage": "lm"}, {"stage": "lm", "from": "b", "seed": 1},
       {"stage": "lm", "from": "b", "train": {"seed": -1}}]
sys.exit(not (all(check.is_valid(s) for s in good) and not any(check.is_valid(s) for s in bad)))
PY
    verdict "the schema takes good specs and refuses bad ones" $? "see jsonschema"
else
    echo "skip the schema against specs: python3 with jsonschema and yaml is not here"
fi

# ---- run ----
says "run writes the spec and starts the trainer" 0 "[train][--spec][$work/out/spec.json][--out][$work/out]" \
    $t run general --from base --train prefs.jsonl --out out
says "the spec of the run has absolute paths" 0 "\"dataset\": \"$work/prefs.jsonl\"" cat out/spec.json
says "the spec of the run is a spec" 0 "general" $t job validate out/spec.json
says "options go through" 0 "[--threads][3][--plan][--resume][--verify-packing][--quiet]" \
    $t run general --from base --train prefs.jsonl --out out --threads 3 --plan --resume --verify-packing -q
says "lists, shares, domains and --set" 0 "[train]" $t run customize --from general \
    --train prefs.jsonl --train hh.jsonl --eval test.jsonl --enrich hh.jsonl --share 0.3 --domain d \
    --set adapter.type=lora --set 'data.eval+={dataset: hh.jsonl, general: true}' --out custom
says "they are in the spec" 0 "\"share\": 0.3" cat custom/spec.json
says "two of --train" 0 "2" grep -c "\"domain\": \"d\"," <(sed -n '/"train": \[/,/"eval"/p' custom/spec.json)
says "a general source in eval" 0 '"general": true' cat custom/spec.json
says "the default directory is runs/NAME" 0 "[--out][$work/runs/support]" \
    $t run general --from base --train prefs.jsonl --set name=support
says "the trainer's exit code is ours" 8 "[train]" env TRAINER_EXIT=8 $t run general --from base \
    --train prefs.jsonl --out again
echo '{"step": 1, "loss": 0.7}' > out/metrics.jsonl
says "a run is never overwritten" 5 "holds a run already" $t run general --from base --train prefs.jsonl --out out
says "resume needs only the directory" 0 "[--resume]" $t run --resume --out out
says "a moved run resumes" 0 "[--out][$work/moved]" bash -c "cp -r out moved; $t run --resume --out moved/"
says "resume refuses a changed spec" 5 "was begun with train.seed 42, not 8" \
    $t run --resume --out out --set train.seed=8
says "resume of nothing" 3 "holds no run" $t run --resume --out nothing
says "a missing base" 3 "bse: no such file or directory: did you mean base?" \
    $t run general --from bse --train prefs.jsonl
says "missing data in the spec file" 3 "data.train[0]: train.jsonl: no such file or directory" \
    $t run -f general.yaml --from base
says "a name of the service" 3 "is a name in a service" $t run general --from acme/hh@prod --train prefs.jsonl
says "a stage that is no training" 2 "see tailor evaluate -h" $t run evaluate --from base --set data.eval=test.jsonl
says "dropout is refused with the reason" 2 "dropout would break the exact sharing" \
    $t run general --from base --train prefs.jsonl --set adapter.type=lora --set adapter.dropout=0.1
says "no stage at all" 2 "what is to be run?" $t run
mv tailor-trainer hidden
says "without the trainer" 3 "neither beside tailor nor in PATH" env PATH=/usr/bin:/bin \
    $t run general --from base --train prefs.jsonl --out third
mkdir bin && mv hidden bin/tailor-trainer
says "the trainer of PATH" 0 "[train]" env PATH="$work/bin:$PATH" $t run general --from base \
    --train prefs.jsonl --out third
mv bin/tailor-trainer .

# ---- what the trainer carries out ----
says "evaluate" 0 "[evaluate][--data][test.jsonl][--data][hh.jsonl][--threads][2][--output][json][--][general]" \
    $t evaluate general -d test.jsonl --data hh.jsonl --threads 2 -o json
says "model score reads standard input" 0 "[score][--][general][-]" $t model score general -
says "model compare" 0 "[compare][--data][test.jsonl][--][general][base]" \
    $t model compare general base --data test.jsonl
says "model export" 0 "[export][--format][hf][--merge][--dtype][bf16][--][general][new]" \
    $t model export general new --format hf --merge --dtype bf16
says "data report" 0 "[admit][--from][base][--limit][9][--column][prompt=question][--template][chatml][--][prefs.jsonl]" \
    $t data report prefs.jsonl --from base --template chatml --limit 9 --column prompt=question
says "data preview" 0 "[preview][--from][base][--line][2][--ids][--][prefs.jsonl]" \
    $t data preview prefs.jsonl --from base --line 2 --ids
says "base check" 0 "[check][--][base]" $t base check base
says "base import" 3 "x.gguf: no such file" $t base import x.gguf y
says "job report" 0 "[report][--out][page.html][--][out]" $t job report out --out page.html
says "export to no type" 2 "it must be fp32 or bf16 here" \
    $t model export general new --format hf --dtype auto
says "job rows" 0 "[rows][--worst][5][--][out]" $t job rows out --worst 5
says "evaluate needs data" 2 "--data FILE is missing" $t evaluate general
says "a wrong choice gets the nearest" 2 "did you mean truncate_left?" \
    $t evaluate general -d test.jsonl --overlong truncate_lft

# ---- comparing runs ----
says "the same run" 0 "no difference" $t job diff out out
cp -r out other
sed -i 's/"seed": 42/"seed": 43/' other/spec.json
printf '{"step": 1, "loss": 0.7}\n{"step": 2, "loss": 0.6}\n' > out/metrics.jsonl
printf '{"step": 1, "loss": 0.7}\n{"step": 2, "loss": 0.61}\n' > other/metrics.jsonl
says "the field that differs" 0 '"field":"train.seed"' $t job diff out other -o jsonl
says "the step from which the losses differ" 0 'loss, equal to step 1  step 2: 0.6' $t job diff out other

# ---- directories and this machine ----
printf '{"architectures": ["LlamaForSequenceClassification"], "num_hidden_layers": 2}' > base/config.json
printf '{"stage": "general", "format": {"template": "dsp"}}' > base/tailor.json
says "model show" 0 "LlamaForSequenceClassification" $t model show base
says "model show reads our card" 0 "format.template" $t model show base -o csv
says "model show of no model" 3 "holds no model" $t model show out
says "doctor" 0 "instructions" $t doctor
says "doctor as JSON" 0 '"check":"memory"' $t doctor -o json
says "doctor without a service" 0 "none answers there" env TAILOR_SERVER=http://127.0.0.1:9 $t doctor
says "doctor of a service that was asked for" 1 "bad: no coordinator answers" $t doctor --server http://127.0.0.1:9
says "doctor on a full disk" 1 "bad: full" bash -c "cd /proc && '$work/tailor' doctor"
ready() { # ready VERSION SECONDS: one answer of a coordinator of that version whose clock is so much ahead
    rm -f ready.port
    python3 - "$1" "$2" <<'PY' &
import json, os, socket, sys, time
with socket.create_server(("127.0.0.1", 0)) as s:
    open("ready.part", "w").write(str(s.getsockname()[1]))
    os.rename("ready.part", "ready.port")
    c = s.accept()[0]
    c.recv(65536)
    now_ms = int((time.time() + float(sys.argv[2])) * 1000)
    body = json.dumps({"ready": True, "version": sys.argv[1], "time_ms": now_ms})
    c.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
PY
    until [ -s ready.port ]; do sleep 0.05; done
}
version=$($t version | cut -d' ' -f2)
ready "$version" 0
says "doctor of a service that fits" 0 "0.0 s apart" $t doctor --server "http://127.0.0.1:$(cat ready.port)"
ready "$version" 60
says "doctor: a clock that is wrong" 1 "one of the two clocks is wrong" \
    $t doctor --server "http://127.0.0.1:$(cat ready.port)"
ready 9.9.9 0
says "doctor: a coordinator of another version" 1 "upgrade the older of the two" \
    $t doctor --server "http://127.0.0.1:$(cat ready.port)"
printf '#!/bin/sh\necho tailord 9.9.9\n' > tailord && chmod +x tailord
says "doctor: programs of several versions" 1 "install them together" $t doctor
rm tailord
$t doctor > /dev/full 2> error.txt
[ $? = 1 ] && grep -q "cannot write" error.txt
verdict "a full disk under standard output is an error" $? "$(cat error.txt)"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
