#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# cluster_test.sh BUILD_DIR: the command line over a service with work in it: every form of output, several jobs at
# once, what a job left, aliases, tokens, the exit codes, backup and restore, TLS.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/service_lib.sh"
python3 "$root/deploy/sample_data.py" --out "$work/data"
cat > job.yaml <<'YAML'
name: first
labels: {team: support}
stage: general
from: tiny
data:
  train: [general]
  eval: [data/general.test.jsonl]
output: {model: hh}
train: {batch_groups: 4, max_steps: 8, learning_rate: 1e-3}
model: {template: dsp, max_length: 160}
evaluate: {every_steps: 4, max_pairs: 40}
YAML
up=(tailor up --workers 2 --data "$work/service")
"${up[@]}" --port "$port" >up.txt 2>&1
expect "up prints an address that works once" grep -q "tailor login 'http://127.0.0.1:$port/#login=tlr_" up.txt
expect "… and the line for ssh" grep -q "ssh -L $port:127.0.0.1:$port" up.txt
tailor data add general data/general.train.jsonl -q >/dev/null && tailor base add tiny "$base" -q >/dev/null

# ---- login ----
url=$(sed -n "s/^  tailor login '\(.*\)'/\1/p" up.txt)
says "login makes a profile" "administrator of http://127.0.0.1:$port" \
    env XDG_CONFIG_HOME="$work/other" tailor login "$url" --tenant local
expect "its token works" env XDG_CONFIG_HOME="$work/other" tailor worker list
expect "its file is for its owner alone" test "$(stat -c %a "$work/other/tailor/profiles.json")" = 600
refuses "the address works once" 4 "a code works once" env XDG_CONFIG_HOME="$work/other" tailor login "$url"

# ---- a job, and every form of output ----
says "submit says what comes next" "tailor job why j-1" tailor submit job.yaml
says "watch says steps and losses" "step 8 of 8, loss" tailor job watch j-1
says "a second submit has an estimate" "until it ends, by the jobs of its stage" tailor submit job.yaml
expect "wait" tailor wait j-2
says "wide has more columns" "submitter" tailor ls -o wide
says "yaml" "  name: first" tailor ls -o yaml
says "csv" "id,name,tenant" tailor ls -o csv
expect "yaml is what json is" python3 - <<PY
import json, subprocess
try:
    import yaml
except ImportError:
    raise SystemExit(0)
run = lambda form: subprocess.run(["tailor", "show", "j-1", "-o", form], capture_output=True, text=True).stdout
assert yaml.safe_load(run("yaml")) == json.loads(run("json"))
PY
says "columns, also within the spec" "j-1,8,support" tailor ls --columns id,steps_total,labels.team -o csv
says "a field of the spec as a column" "1,42" bash -c "tailor show j-1 --columns output_version,spec.train.seed -o csv"
says "show by name" "j-1" tailor show j-1 -o name
expect "since: all of today" test "$(tailor ls --since 1h -o name | wc -l)" -eq 2
expect "since: none of the last moment" test -z "$(sleep 1.1; tailor ls --since 1s -o name)"
says "metrics as a table of chosen columns" "8,1" bash -c \
    "tailor job metrics j-1 --columns step,term -o csv | tail -2"
says "events as one document" "job_state" bash -c "tailor job events j-1 -o json | python3 -m json.tool"
says "logs since" "step" tailor logs j-1 --since 1h
expect "watch in a pipe prints once while nothing changes" bash -c \
    'timeout 3 tailor ls --watch -o name >watched.txt; test "$(wc -l <watched.txt)" -eq 2'
says "top" "2 workers (0 lost)" tailor top
says "cluster top" "goodput" tailor cluster top
says "df" "(free)" tailor cluster df
says "events of the cluster" "job_state" tailor cluster events
says "the audit" "JOB_SUBMIT" tailor cluster audit
refuses "the audit is the administrator's" 4 "admin" env TAILOR_TOKEN="$(tailor token create t --role tenant_admin \
    --tenant local -o name)" tailor cluster audit

# ---- what a job left ----
expect "rows of a job by id" tailor job rows j-1 --worst 2
expect "report of a job by id" tailor job report j-1 --out report.html
expect "… is a page" grep -q "<html" report.html
expect "diff of two jobs that are the same: only the time that they took" bash -c \
    "test -z \"\$(tailor job diff j-1 j-2 -o csv | grep -v '^part\|,seconds,')\""
says "clone with a change" "is queued" tailor job clone j-1 --set train.seed=7 --set name=clone
expect "wait for the clone" tailor wait j-3
says "diff names the field" "train.seed" tailor job diff j-1 j-3
says "the clone keeps what it came from" "tiny" tailor show j-3 --columns from
refuses "rows of nothing" 3 "neither the directory of a run nor a job" tailor job rows nothing

# ---- aliases ----
says "promote" "prod=1" tailor model promote hh@1 prod
says "promote another" "prod=3" tailor model promote hh@3 prod
says "rollback goes back" "prod=1" tailor model rollback hh prod
says "and again, to and fro" "prod=3" tailor model rollback hh prod
expect "history has all four" test "$(tailor model history hh -o name | wc -l)" -eq 4
says "show by alias" "3" tailor model show hh@prod --columns version
refuses "rollback of no alias" 3 "no alias beta" tailor model rollback hh beta
refuses "promote needs a version" 2 "say which version" tailor model promote hh prod
refuses "a model in use is not removed" 5 "hh" bash -c "tailor submit job.yaml -q --set stage=customize --set from=hh@1 \
    --set output.model=law --set data.train='[data/lawyers.train.jsonl]' --wait -q >/dev/null; tailor model rm hh"

# ---- the exit code of a gate that holds ----
refuses "a gate that holds the alias back" 9 "its gate holds prod back" tailor submit job.yaml -q --wait \
    --set stage=customize --set from=hh@1 --set output.model=held --set output.alias=prod \
    --set gate.custom_gain_min=0.99 --set data.train='[data/lawyers.train.jsonl]' \
    --set data.eval='[data/lawyers.test.jsonl]'

# ---- tenants, tokens, queues, workers, shares ----
says "a tenant with quotas" "acme" tailor tenant create acme --running-slots-max 3
says "quota changes what is named" "running_slots_max" bash -c \
    "tailor tenant quota acme --weight 2 -q >/dev/null && tailor tenant show acme"
secret=$(tailor token create ci --role submitter --tenant local -o name)
token=$(tailor token list -o jsonl | sed -n 's/.*"id":"\(t-[0-9]*\)".*"name":"ci".*/\1/p')
fresh=$(tailor token rotate "$token" --grace 1h -o name)
expect "both secrets work within the grace" bash -c "TAILOR_TOKEN=$secret tailor ls && TAILOR_TOKEN=$fresh tailor ls"
tailor token rotate "$token" --grace 0 -q >/dev/null
refuses "without grace the old one ends" 4 "revoked" env TAILOR_TOKEN="$secret" tailor ls
says "pause a queue" "true" tailor queue pause default --reason "a new disk"
job=$(tailor submit job.yaml -q)
paused_says() { tailor job why "$job" | grep -q queue_paused; }
expect "its jobs say so" await paused_says
refuses "a wait that times out" 7 "is still queued after 1 s" tailor wait "$job" --timeout 1
says "cancel by label" "$job" tailor cancel -l team=support --state queued
refuses "a cancelled job" 8 "was cancelled" tailor wait "$job"
says "retry by label" "j-" tailor job retry -l team=support --state cancelled
says "resume a queue" "false" tailor queue resume default
expect "wait for the retried" tailor wait "$(tailor ls -n 1 -o name)"
says "share" "acme" tailor share add model hh --with acme
says "share list" "use" tailor share list
expect "share rm" bash -c "tailor share rm model hh --with acme && test -z \"\$(tailor share list -o name)\""
says "gc --dry-run removes nothing" "dry_run" tailor cluster gc --dry-run
expect "forget" tailor worker forget "$(tailor worker list -o name | tail -1)"
says "usage" "of them productive" tailor tenant usage

# ---- backup while it runs; restore ----
running=$(tailor submit job.yaml -q --set train.max_steps=100000 --set checkpoint.every_steps=20)
has_checkpoint() { [ -n "$(tailor job checkpoints "$running" -o name)" ]; }
expect "a job runs" await has_checkpoint
backup=$(tailor cluster backup --columns path -o name)
expect "a backup is a directory of its own" test -f "$backup/records.db"
jobs=$(tailor ls -n 1000 --columns id,name,output_version -o csv | sort)
models=$(tailor model versions hh --columns version,manifest -o csv)
tailor cancel "$running" -q >/dev/null; tailor down --data "$work/service" -q
cp -r "$backup" elsewhere
refuses "a restore needs an empty directory" 5 "is not empty" tailor cluster restore elsewhere "$work/service/d"
refuses "a restore needs a backup" 3 "no backup" tailor cluster restore data "$work/new/d"
mkdir -p new
says "restore" "models" tailor cluster restore elsewhere "$work/new/d"
port2=$(two_ports)
expect "up on what was restored" tailor up --data "$work/new" --port "$port2" -q
expect "every job is there" test "$jobs" = "$(tailor ls -n 1000 --columns id,name,output_version -o csv | sort)"
expect "every model is there" test "$models" = "$(tailor model versions hh --columns version,manifest -o csv)"
expect "every blob is there" bash -c "diff <(cd elsewhere/store && find . -type f | sort) \
    <(cd new/d/store && find . -type f | sort)"
expect "its files can be read" tailor job report j-3 --out again.html
expect "the job that ran is live again, and can be cancelled" bash -c \
    "tailor cancel $running -q >/dev/null; timeout 60 tailor wait $running; test \$? = 8"
next=$(tailor submit job.yaml -q)
expect "ids are not given away twice" test "${next#j-}" -gt 1000
expect "and a new job runs" tailor wait "$next"
tailor down --data "$work/new" -q
damaged=$(find elsewhere/store -type f -size +1k | head -1)
chmod u+w "$damaged"; printf x | dd of="$damaged" bs=1 seek=100 conv=notrunc status=none
refuses "a damaged blob is found" 1 "its bytes have the digest" tailor cluster restore elsewhere "$work/third"
expect "and nothing is left of the attempt" bash -c "! ls -d third third.part 2>/dev/null"

# ---- TLS ----
make_certificate() { # make_certificate NAME: NAME.pem and NAME.key for 127.0.0.1
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.pem" -days 2 -subj "/CN=$1" \
        -addext "subjectAltName=IP:127.0.0.1" 2>/dev/null
}
make_certificate one; cp one.pem live.pem; cp one.key live.key
refuses "off loopback only with TLS" 1 "--tls-cert and --tls-key" timeout 20 tailord --data tls --http "0.0.0.0:$port" \
    --workers "127.0.0.1:$((port + 1))"
refuses "an authority that is not there" 3 "no file" timeout 20 tailord --data tls --http "127.0.0.1:$port" --webhook-ca none.pem \
    --workers "127.0.0.1:$((port + 1))"
refuses "a key alone" 2 "go together" timeout 20 tailord --data tls --http "127.0.0.1:$port" --tls-key one.key \
    --workers "127.0.0.1:$((port + 1))"
mkdir -p tls
tailord --data "$work/tls" --http "0.0.0.0:$port" --workers "127.0.0.1:$((port + 1))" --tls-cert live.pem \
    --tls-key live.key 2>tls/log & echo $! >tls/tailord.pid
tls=(env TAILOR_SERVER="https://127.0.0.1:$port")
expect "tailord speaks TLS" await "${tls[@]}" TAILOR_CA=one.pem tailor doctor
await test -s tls/admin-token
token() { cat tls/admin-token; }
says "with its certificate" "workers_live" "${tls[@]}" TAILOR_TOKEN="$(token)" tailor cluster status --ca one.pem
refuses "without it" 4 "does not prove who it is" "${tls[@]}" TAILOR_TOKEN="$(token)" tailor cluster status
refuses "in the clear" 6 "no coordinator answers" tailor ls --server "http://127.0.0.1:$port"
timeout 5 "${tls[@]}" TAILOR_TOKEN="$(token)" TAILOR_CA=one.pem tailor cluster events -f >stream.txt
expect "a stream through TLS" grep -q coordinator_started stream.txt
make_certificate two; cp two.pem live.pem; cp two.key live.key
kill -HUP "$(cat tls/tailord.pid)"
expect "SIGHUP: the new certificate is shown" await "${tls[@]}" TAILOR_CA=two.pem TAILOR_TOKEN="$(token)" tailor ls
refuses "and the old one is not believed" 4 "does not prove" "${tls[@]}" TAILOR_CA=one.pem TAILOR_TOKEN="$(token)" tailor ls
cp one.key live.key; kill -HUP "$(cat tls/tailord.pid)"
expect "a key that does not fit changes nothing" await grep -q "the old certificate stays" tls/log
expect "it goes on" "${tls[@]}" TAILOR_CA=two.pem TAILOR_TOKEN="$(token)" tailor ls
kill "$(cat tls/tailord.pid)"; wait
finish
