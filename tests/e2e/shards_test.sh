#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# shards_test.sh BUILD_DIR: what the service computes in shards, on two workers of two slots: evaluate and score give
# what one process gives, to the bit; a worker that is killed costs its shards and no more; data are judged when they
# are added; rows of jobs and of reports.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/service_lib.sh"
export TAILOR_LOG=warn
python3 "$root/deploy/sample_data.py" --out "$work/data"
up=(tailor up --workers 2 --slots 2 --data "$work/service" --port "$port")
says "up" "with 2 workers" "${up[@]}"
says "base" "ready" tailor base add tiny "$base"

# ---- admission ----
says "data add ends in a verdict" "accepted" tailor data add general data/general.train.jsonl
says "data for evaluations" "accepted" tailor data add test data/general.test.jsonl
{ cat data/general.train.jsonl && head -3 data/general.train.jsonl; } > twice.jsonl
says "data with a warning are accepted" "warned" tailor data add twice twice.jsonl
says "its report lists the rows" '"finding":"duplicate"' tailor data report twice --rows duplicate -o jsonl
expect "three of them, with file and line" bash -c "tailor data report local/twice --rows duplicate -o jsonl |
    python3 -c '
import json, sys
rows = [json.loads(line) for line in sys.stdin]
lines = sum(1 for _ in open(\"data/general.train.jsonl\"))
assert [r[\"line\"] for r in rows] == [lines + 1, lines + 2, lines + 3], rows
assert all(r[\"file\"] == \"twice.jsonl\" and r[\"text\"] for r in rows), rows'"
{ head -4 data/general.train.jsonl && echo '{"prompt": "cut off'; } > broken.jsonl
refuses "rejected data say file and line" 1 "broken.jsonl:5" tailor data add broken broken.jsonl
printf 'stage: evaluate\nfrom: tiny\ndata: {eval: [broken]}\n' > use.yaml
refuses "and are of no use" 5 "has not been accepted" tailor submit use.yaml

# ---- a model ----
cat > job.yaml <<'YAML'
stage: general
from: tiny
data: {train: [general], eval: [test]}
output: {model: hh}
train: {batch_groups: 4, max_steps: 4, learning_rate: 1e-3}
model: {template: dsp, max_length: 160}
YAML
says "a general model" "succeeded" tailor submit job.yaml --wait
says "a training job's rows" "margin" tailor job rows j-5 --worst 3

# ---- evaluate ----
cat > evaluate.yaml <<'YAML'
name: measured
stage: evaluate
from: hh
data: {eval: [test, {dataset: general, name: train, general: true}]}
YAML
job=$(tailor submit evaluate.yaml -q)
says "evaluate ends" "succeeded" tailor wait "$job"
expect "as many shards as the pool has slots" bash -c "tailor show $job -o json | grep -q '\"shards\":4'"
expect "shards are not among the jobs" bash -c "test \"\$(tailor ls -o name | wc -l)\" -eq 6"
expect "and are listed on demand" bash -c "test \"\$(tailor ls --shards-of $job --state succeeded -o name | wc -l)\" -eq 4"
manifest=$(tailor model versions hh -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["manifest"])')
python3 - "$work" "$manifest" <<'PY' # the model as its files, out of the store
import json, os, sys
work, manifest = sys.argv[1:]
store = f"{work}/service/d/store"
def blob(digest):
    for root, _, files in os.walk(store):
        if digest in files:
            return os.path.join(root, digest)
    raise SystemExit(f"no blob {digest}")
for file in json.load(open(blob(manifest)))["files"]:
    path = f"{work}/model/{file['name']}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(blob(file["digest"]), path)
PY
cat > same.py <<'PY'
import json, sys
ours = json.load(open(sys.argv[1]))["figures"]["sets"]
theirs = [json.loads(line) for path in sys.argv[2:] for line in open(path)]
theirs = [set for sets in theirs for set in sets]
for a, b in zip(ours, theirs, strict=True):
    for extra in ("name", "general"):
        a.pop(extra)
    b.pop("data")
    assert json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True), (a, b)
PY
same() { tailor show "$1" -o json > ours.json && python3 same.py ours.json theirs.json; }
expect "evaluate in one process" bash -c "tailor evaluate model --data data/general.test.jsonl \
    --data data/general.train.jsonl -o json > theirs.json"
expect "four shards give its figures, to the bit" same "$job"
says "its rows, the worst first" '"texts"' tailor job rows "$job" --worst 3 -o jsonl
expect "as a table" tailor job rows "$job" --worst 20
expect "twenty, by margin, of both sets" bash -c "tailor job rows $job --worst 20 -o jsonl | python3 -c '
import json, sys
rows = [json.loads(line) for line in sys.stdin]
margins = [r[\"margin\"] for r in rows]
assert len(rows) == 20 and margins == sorted(margins), margins
assert {r[\"set\"] for r in rows} == {\"test\", \"train\"}, rows'"
says "what the shards wrote is with them, the figures with the whole" "accuracy" tailor logs "$job"
says "seven shards, more than slots" "succeeded" bash -c "tailor submit evaluate.yaml --wait --set resources.shards=7 -q >seven &&
    tailor show \$(head -1 seven) -o json"
expect "give the same" same "$(head -1 seven)"

# ---- score ----
sed -e 's/stage: evaluate/stage: score/' -e 's/, {dataset.*}\]/]/' evaluate.yaml > score.yaml
job=$(tailor submit score.yaml -q --set resources.shards=3)
says "score ends" "succeeded" tailor wait "$job"
tailor model score model data/general.test.jsonl > theirs.jsonl
expect "three shards give its lines, to the bit" bash -c "tailor job rows $job --limit 1000 -o jsonl | cmp - theirs.jsonl"

# ---- admission in shards ----
says "data judged in three parts" "warned" tailor data add parts twice.jsonl --shards 3
job=$(tailor data show parts -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["job_id"])')
expect "by three shards" bash -c "test \"\$(tailor ls --shards-of $job --state succeeded -o name | wc -l)\" -eq 3"
for name in twice parts; do
    tailor data report "$name" -o json >"$name.rows"
    tailor data show "$name" -o json | python3 -c '
import json, sys
it = json.load(sys.stdin)
print(it["groups"], it["state"], it["message"])' >>"$name.rows"
done
expect "have the verdict and the rows of one process" cmp twice.rows parts.rows
refuses "and so have data that cannot be read" 1 "broken.jsonl:5" tailor data add broken broken.jsonl --shards 2
refuses "not in more shards than there may be" 2 "shards" tailor data add parts twice.jsonl --shards 65
{ head -c $((128 << 20)) /dev/zero | tr '\0' '\n' && cat data/general.train.jsonl; } > large.jsonl
messages() { curl -s "http://127.0.0.1:$port/metrics" | sed -n 's/^tailor_worker_messages_total{result="received"} //p'; }
before=$(messages)
says "a large file, of blank lines mostly" "accepted" tailor data add large large.jsonl
rm large.jsonl
expect "comes once to each worker, whose slots share it" test $(($(messages) - before)) -lt $((2 * 129 + 300))
job=$(tailor data show large -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["job_id"])')
expect "is cut without being asked to, one for each slot" bash -c "tailor show $job -o json | grep -q '\"shards\":4'"
job=$(tailor data show general -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["job_id"])')
expect "and a small one is not" bash -c "! tailor show $job -o json | grep -q '\"shards\":[1-9]'"
printf 'stage: admit\nfrom: tiny\ndata: {eval: [{dataset: general, name: g}]}\n' > admit.yaml
job=$(tailor submit admit.yaml -q)
says "an admission that was submitted" "succeeded" tailor wait "$job"
expect "has as many shards as slots" bash -c "tailor show $job -o json | grep -q '\"shards\":4'"

# ---- a worker is lost, a job is stopped ----
sed 's/\[test, .*\]/[many]/' evaluate.yaml > many.yaml
for _ in $(seq 60); do cat data/general.train.jsonl; done > many.jsonl
tailor data add many many.jsonl >/dev/null 2>&1
job=$(tailor submit many.yaml -q --set resources.shards=8)
one_done() { tailor show "$job" -o json | grep -q '"shards_done":[1-7]'; }
if await one_done; then
    kill -9 "$(cat service/worker-1.pid)"
    says "up mends it" "with 2 workers" "${up[@]}"
fi
says "it ends all the same" "succeeded" tailor wait "$job"
expect "shards that were done were not done again" bash -c "for j in \$(tailor ls --shards-of $job -o name); do
    tailor job attempts \$j -o name | wc -l; done | sort -n | head -1 | grep -qx 1"
tailor evaluate model --data many.jsonl -o json > theirs.json
expect "and its figures are those of one process" same "$job"
job=$(tailor submit many.yaml -q --set resources.shards=8)
await one_done
says "pause" "$job" tailor job pause "$job"
shards_rest() { test "$(tailor ls --shards-of "$job" -o json | grep -c '"state":"\(running\|starting\|queued\|pausing\)"')" -eq 0; }
expect "its shards pause with it" await shards_rest
says "resume" "$job" tailor job resume "$job"
says "and it goes on" "succeeded" tailor wait "$job"
expect "with the same figures" same "$job"
job=$(tailor submit many.yaml -q --set resources.shards=8)
refuses "a shard is not cancelled alone" 5 "shard of job" tailor cancel "j-$((${job#j-} + 8))"
says "cancel" "$job" tailor cancel "$job"
refuses "it is cancelled" 8 "was cancelled" tailor wait "$job"
all_cancelled() { test "$(tailor ls --shards-of "$job" --state cancelled -o name | wc -l)" -ge 7; }
expect "and so are its shards" await all_cancelled
refuses "a base gives no rewards" 2 "tiny is a base" tailor submit evaluate.yaml --set from=tiny
refuses "a shard's failure is the job's, in its words" 1 "): broken.jsonl:5" tailor submit evaluate.yaml --wait \
    --set resources.shards=2 --set data.eval=./broken.jsonl
cp data/general.test.jsonl .hidden.jsonl
says "a file whose name is no label" "accepted" tailor data add hidden ./.hidden.jsonl
says "down" "the service is down" tailor down --data "$work/service"
finish
