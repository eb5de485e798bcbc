#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/batch.sh [TENANTS [BUILD_DIR]]     from nothing to so many tenants (default 300), with a tiny model
#
# What docs/guide.md tells, as commands: a service, a general model, a tenant each with data of its own, one recipe,
# one table. Three rows are broken, one tenant's data is; each is told, mended and submitted again, and the rest is
# left alone. Prints each command with what it said, and a line for each thing that must hold. Exit 1 if one does not.
set -uo pipefail
tenants=${1:-300}
set -- "${2:-$(cd "$(dirname "$0")/.." && pwd)/build}"
. "$(dirname "${BASH_SOURCE[0]}")/e2e/lib.sh"
. "$root/tests/e2e/service_lib.sh"
unset TAILOR_LOG # what it says is the guide's transcript
started=$(date +%s%N)
took() { printf '%d.%d s' $((($(date +%s%N) - started) / 1000000000)) $((($(date +%s%N) - started) / 100000000 % 10)); }
run() { # run CODE COMMAND…: shows the command and what it says; its exit code must be CODE (or "0|9")
    local code=$1 got=0
    shift
    printf '\n$ %s\n' "$*"
    "$@" >said 2>&1 || got=$?
    cat said
    [[ "|$code|" == *"|$got|"* ]] || fail "exit code $got instead of $code: $*"
}
holds() { # holds NAME TEXT: the last command said TEXT
    if grep -qF -- "$2" said; then ok "$1"; else fail "$1: nothing said: $2"; fi
}
ask() { # ask METHOD PATH [JSON]: the service's answer, by plain HTTP
    python3 - "$HOME/.config/tailor/profiles.json" "$@" <<'PY'
import json, sys, urllib.error, urllib.request
file, method, path, *body = sys.argv[1:]
profiles = json.load(open(file))
profile = profiles["profiles"][profiles["default"]]
request = urllib.request.Request(profile["server"] + path, method=method, data=body[0].encode() if body else None,
                                 headers={"Authorization": "Bearer " + profile["token"]})
try:
    print(urllib.request.urlopen(request).read().decode().strip())
except urllib.error.HTTPError as e:
    print(e.code, e.read().decode().strip())
PY
}

# ---- what there is: general data, and a file of ranked answers for each tenant ----
python3 "$root/deploy/sample_data.py" --out data
python3 - "$tenants" <<'PY'
import csv, json, os, random, sys
count = int(sys.argv[1])
os.makedirs("tenants")
tastes = [[json.loads(line) for line in open(f"data/{taste}.{part}.jsonl")] for taste in ("lawyers", "arcade")
          for part in ("train", "test")]
rows = []
for i in range(1, count + 1):
    name, taste, rng = f"t{i:03d}", i % 2, random.Random(i)
    for part, groups, many in (("train", tastes[2 * taste], 24), ("test", tastes[2 * taste + 1], 12)):
        with open(f"tenants/{name}.{part}.jsonl", "w") as f:
            f.writelines(json.dumps(row) + "\n" for row in rng.sample(groups, many))
    rows.append([name, f"tenants/{name}.train.jsonl", ["law", "games"][taste],
                 ["careful, reserved", 'playful, "short"'][taste], str(i)])
with open("tenants.csv", "w", newline="", encoding="utf-8-sig") as f:  # as spreadsheets write it
    csv.writer(f).writerows([["tenant", "data", "team", "note", "seed"]] + rows)
PY
cat > general.yaml <<'YAML'
name: general
stage: general
from: tiny
data: {train: [general], eval: [general-test]}
output: {model: hh, alias: prod}
model: {template: dsp, max_length: 160}
train: {batch_groups: 8, max_steps: 12, learning_rate: 1e-3}
evaluate: {every_steps: 0, max_pairs: 40}
YAML
cat > recipe.yaml <<'YAML'
name: ${tenant}
tenant: ${tenant}
labels:
  team: ${team}
stage: customize
from: local/hh@prod
data:
  train:
    - dataset: ${data}
  eval:
    - dataset: tenants/${tenant}.test.jsonl
adapter: {type: lora, r: 4}
train:
  seed: ${seed}
  batch_groups: 8
  max_steps: 3
  learning_rate: 1e-3
evaluate: {every_steps: 0, max_pairs: 40}
gate: {min_pairs: 40, on_inconclusive: pass}
output: {model: taste, alias: prod}
YAML
last=$(printf 't%03d' "$tenants")
broken() { # broken FILE FROM TO: what a hand in a hurry does to a table
    sed -i "s|$2|$3|" "$1"
}

# ---- a service, a general model, the tenants ----
run 0 tailor up --workers 2 --data "$work/service" --port "$port"
[ "$failed" -eq 0 ] || exit 1
tailor base add tiny "$base" -q >/dev/null || fail "base add"
tailor data add general data/general.train.jsonl --shared -q >/dev/null || fail "data add"
tailor data add general-test data/general.test.jsonl --shared -q >/dev/null || fail "data add"
run 0 tailor submit general.yaml --wait
tailor share add model hh --with '*' -q >/dev/null
begin=$(date +%s%N)
tail -n +2 tenants.csv | cut -d, -f1 | while read -r name; do tailor tenant create "$name" -q; done >/dev/null
expect "$tenants tenants" test "$(tailor tenant list -o name | grep -c '^t[0-9]')" -eq "$tenants"
printf '(%d tenants made in %d ms)\n' "$tenants" $((($(date +%s%N) - begin) / 1000000))

# ---- three rows broken, and one tenant's data ----
cp tenants.csv whole.csv
broken tenants.csv "tenants/t003.train" "tenants/t003.trian"
broken tenants.csv ",5\r$" ",five\r"
broken tenants.csv "^t007" "t7007"
cp "tenants/$last.train.jsonl" kept.jsonl
sed -i '7s/.*/{"prompt": "What is this?", "responses": ["cut o/' "tenants/$last.train.jsonl"
run 2 tailor batch submit recipe.yaml --each tenants.csv --dry-run
holds "all bad rows are listed before anything is submitted" "3 of $tenants rows are refused"
holds "… with line and file" "tenants.csv:4 (t003): data.train[0]: tenants/t003.trian.jsonl"
holds "… with line and field" "tenants.csv:6 (t005): recipe.yaml:14: train.seed"
holds "… with line and reason" "tenants.csv:8 (t7007): "
holds "a column that nobody needs is told" "warning: the recipe does not use the column note"
expect "a dry run makes no batch" test -z "$(tailor batch list -o name)"
begin=$(date +%s%N)
run 2 tailor batch submit recipe.yaml --each tenants.csv --max-running 8
submit_ms=$((($(date +%s%N) - begin) / 1000000))
holds "the good rows are submitted" "$((tenants - 3)) submitted"

# ---- mended while the others run: they are left alone ----
cp whole.csv tenants.csv
begin=$(date +%s%N)
run 0 tailor batch submit recipe.yaml --each tenants.csv --max-running 8
again_ms=$((($(date +%s%N) - begin) / 1000000))
holds "only what was mended is submitted" "3 submitted, $((tenants - 3)) as they were, 0 refused"
begin=$(date +%s%N)
run 1 tailor batch wait b-1
run_ms=$((($(date +%s%N) - begin) / 1000000))
run 0 tailor batch show b-1 --failed user_data
holds "one tenant's data is rejected" "1 failed (1 user_data)"
holds "… with file and line" "$last.train.jsonl:7: "
holds "… and that tenant's alone" "$((tenants - 1)) succeeded"
expect "whose job says what to do" bash -c "tailor job why $(tailor job list --state failed -o name) | grep -q user_data"

# ---- the data mended: one job more ----
mv kept.jsonl "tenants/$last.train.jsonl"
run 0 tailor batch submit recipe.yaml --each tenants.csv --max-running 8
holds "one tenant's data mended is one job more" "1 submitted, $((tenants - 1)) as they were"
run "0|9" tailor batch wait b-1
run 0 tailor batch show b-1 --limit 3
holds "every tenant has its model" "$tenants rows: $tenants succeeded"
expect "each its own" test "$(ask GET "/v1/tenants/$last/models/taste" | grep -c '"latest":1')" -eq 1
run 0 tailor batch submit recipe.yaml --each tenants.csv --max-running 8
holds "the same table again changes nothing" "0 submitted, $tenants as they were"
expect "labels select" test "$(tailor job list -l team=games --state succeeded -n 1000 -o name | wc -l)" -eq $((tenants - tenants / 2))

# ---- a newer general model: all that came from the old one, by their own specs (of a small batch: it runs again) ----
if [ "$tenants" -le 50 ]; then
    run 0 tailor submit general.yaml --set train.seed=8 --wait -q
    remake=(tailor batch submit --from-models parent=local/hh@1 --set from=local/hh@2 --name to-hh-2)
    run 0 "${remake[@]}"
    holds "every model of the old parent is a row" "$tenants rows, $tenants submitted"
    run "0|9" tailor batch wait b-2
    expect "its next version comes from the new one" test \
        "$(tailor model versions taste --tenant "$last" -o csv | grep -c 'local/hh@[12]')" -eq 2
    run 3 "${remake[@]}"
    holds "nothing is left of the old one" "no model's newest version came from local/hh@1"
fi

# ---- who used what: the rows add up to the whole capacity ----
usage() { # prints "CAPACITY_MS SUM_MS IDLE_MS TENANTS JOBS NOW_MS"
    ask GET /v1/usage | python3 -c '
import json, sys, time
usage = json.load(sys.stdin)
rows = usage["rows"]
print(usage["capacity_slot_ms"], sum(r["slot_ms"] for r in rows), sum(r["slot_ms"] for r in rows if "tenant" not in r),
      sum("tenant" in r for r in rows), sum(r["jobs"] for r in rows), int(time.time() * 1000))'
}
slots=$(ask GET /v1/workers | python3 -c 'import json, sys; print(sum(w["slots"] for w in json.load(sys.stdin)["workers"]))')
read -r capacity sum idle users jobs then <<<"$(usage)"
sleep 3
read -r later_capacity later_sum _ _ _ later <<<"$(usage)"
off=$(((later_capacity - capacity) - slots * (later - then)))
printf '\nusage: capacity %d slot-ms, rows %d, idle %d, %d tenants, %d jobs; in %d ms %d slots gave %d\n' \
    "$capacity" "$sum" "$idle" "$users" "$jobs" $((later - then)) "$slots" $((later_capacity - capacity))
expect "the rows of usage are the capacity" test "$capacity" -eq "$sum" -a "$later_capacity" -eq "$later_sum"
expect "the capacity is what the slots had, to the second" test "${off#-}" -lt 1000
expect "every tenant is in it" test "$users" -eq $((tenants + 1))
expect "and every job" test "$jobs" -eq "$(tailor job list -n 1000 -o name | wc -l)"

# ---- a thing that is in use is not deleted ----
refusal=$(ask DELETE /v1/tenants/local/models/hh)
expect "a model that others came from is not deleted, and they are named" grep -q '^409 .*t001/taste@' <<<"$refusal"
run 0 tailor down --data "$work/service"
printf '\n%d tenants: submit %d ms, submit again %d ms, run %d ms, all %s\n' "$tenants" "$submit_ms" "$again_ms" \
    "$run_ms" "$(took)"
finish
