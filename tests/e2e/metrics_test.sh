#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# metrics_test.sh BUILD_DIR: what Prometheus, Grafana's dashboard and TensorBoard get: the text passes promtool, a real
# Prometheus scrapes a real run, and its figures are the run's.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/service_lib.sh"
export TAILOR_LOG=warn
check="$root/tests/metrics/check.py"
python3 "$root/deploy/sample_data.py" --out "$work/data"
rules="$root/deploy/prometheus/tailor.rules.yml"
expect "the alert rules are rules" promtool check rules "$rules"
expect "each alert fires for its cause, none for tenants' mistakes" promtool test rules "$root/tests/metrics/alerts_test.yml"
expect "the scrape configuration is one" promtool check config "$root/deploy/prometheus/prometheus.yml"
expect "each alert has a section in docs/operations.md" python3 "$check" runbooks "$rules" "$root/docs/operations.md"

says "up" "with 2 workers" tailor up --workers 2 --slots 1 --data "$work/service" --port "$port"
sed -e "s/127.0.0.1:7700/127.0.0.1:$port/" -e 's/: 15s/: 1s/' "$root/deploy/prometheus/prometheus.yml" > prometheus.yml
cp "$rules" .
prometheus_port=$(two_ports)
prometheus --config.file=prometheus.yml --storage.tsdb.path=tsdb --web.listen-address="127.0.0.1:$prometheus_port" \
    >prometheus.log 2>&1 &
prometheus=$!
trap 'kill $prometheus; stop' EXIT
export PROMETHEUS="http://127.0.0.1:$prometheus_port"
await python3 "$check" scraped
says "base" "ready" tailor base add tiny "$base"
says "data" "accepted" tailor data add general data/general.train.jsonl
says "data for evaluations" "accepted" tailor data add test data/general.test.jsonl
cat > general.yaml <<'YAML'
stage: general
from: tiny
resources: {ranks: 2}
data: {train: [general], eval: [test]}
output: {model: hh, alias: prod}
train: {batch_groups: 4, max_steps: 24, learning_rate: 1e-3, logging_steps: 3}
evaluate: {every_steps: 12, max_pairs: 20}
checkpoint: {every_steps: 6}
model: {template: dsp, max_length: 160}
YAML
sed -e 's/general$/customize/' -e 's/from: tiny/from: hh@prod/' -e 's/^resources.*/adapter: {type: lora}/' -e 's/hh, alias/lawyers, alias/' -e '/^model:/d' \
    general.yaml > customize.yaml
general=$(tailor submit general.yaml -q)
says "a job of two ranks" "succeeded" tailor wait "$general"
customize=$(tailor submit customize.yaml -q)
refuses "a customized one, which its gate holds" 9 "has succeeded" tailor wait "$customize"
printf 'stage: general\nfrom: tiny\nresources: {ranks: 8, min_ranks: 8}\ntrain: {slices: 8}\ndata: {train: [general]}\noutput: {model: never}\n' > never.yaml
says "and one that cannot start" "" tailor submit never.yaml
says "a backup" "backup" tailor cluster backup

curl -fs "http://127.0.0.1:$port/metrics" > metrics.txt
expect "promtool finds nothing to complain of in /metrics" bash -c 'promtool check metrics < metrics.txt'
expect "every family of the table is written, and no other" python3 "$check" families "$root/coordinator/metrics.def" metrics.txt
expect "no sample names a job or a tenant" python3 "$check" labels metrics.txt
for job in "$general" "$customize"; do tailor job metrics "$job" -o jsonl -n 1000; done > points.jsonl
expect "tokens, steps, phases, checkpoints and attempts are those of the jobs" python3 "$check" figures metrics.txt points.jsonl
sleep 2 # two scrapes more
expect "a query of Prometheus returns the tokens trained" python3 "$check" tokens points.jsonl
expect "every query of Grafana's dashboard returns data" python3 "$check" grafana "$root/deploy/grafana/tailor.json"
expect "every alert's expression can be evaluated" python3 "$check" alerts

says "curves for TensorBoard" "points in runs/$general/events.out.tfevents" \
    tailor job metrics "$general" --tensorboard runs
expect "records with right checksums, the points of the job, under TRL's names" \
    python3 "$check" events runs "$general" points.jsonl
expect "written again it is the same file" bash -c "cp -r runs before && tailor job metrics $general --tensorboard runs && diff -r runs before"
says "followed it ends with the job" "points in runs/$customize" \
    tailor job metrics "$customize" --tensorboard runs --follow
mkdir blocked && touch "blocked/$general"
refuses "a file in the way is said" 5 "blocked/$general" tailor job metrics "$general" --tensorboard blocked
tailor down --data "$work/service" >/dev/null 2>&1

mkdir named
named_port=$(two_ports)
tailord --data "$work/named/d" --http "127.0.0.1:$named_port" --workers 127.0.0.1:0 --metrics-tenants acme,globex,nobody >named/log 2>&1 &
echo $! > named/tailord.pid
named_tenants() {
    export TAILOR_SERVER="http://127.0.0.1:$named_port" TAILOR_TOKEN
    TAILOR_TOKEN=$(cat named/d/admin-token)
    tailor tenant create acme && tailor tenant create globex && tailor tenant create initech
    curl -fs "$TAILOR_SERVER/metrics" | grep -c 'tenant="'
}
await curl -fs "http://127.0.0.1:$named_port/healthz"
says "tenants that were named have samples, others and unknown ones none" "4" named_tenants
finish
