#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/browser.sh [BUILD_DIR]     the dashboard in a real browser (Debian's Chromium, through Selenium)
#
# A service of its own with a tiny model; then tests/browser/dashboard_test.py looks at it. About a minute.
#   SCREENSHOTS=DIR   keeps pictures of the views there
set -uo pipefail
set -- "${1:-$(cd "$(dirname "$0")/.." && pwd)/build}"
. "$(dirname "${BASH_SOURCE[0]}")/e2e/lib.sh"
. "$root/tests/e2e/service_lib.sh"
"$root/deploy/packages.sh" browser || exit 1
python3 "$root/deploy/sample_data.py" --out data
expect "up" bash -c "tailor up --workers 2 --data '$work/service' --port $port >up.txt"
expect "a base" tailor base add tiny "$base" -q
cat >general.yaml <<'YAML'
name: general-taste
stage: general
from: tiny
data: {train: [data/general.train.jsonl], eval: [data/general.test.jsonl]}
output: {model: hh}
train: {batch_groups: 4, max_steps: 60, learning_rate: 1e-3}
model: {template: dsp, max_length: 160}
evaluate: {every_steps: 20, max_pairs: 40}
YAML
sed -e 's/^stage: general/stage: customize/;s/from: tiny/from: hh@1/;s/model: hh/model: law/;/^model: {/d' \
    -e 's/general.train/lawyers.train/;s/general.test/lawyers.test/;s/general-taste/law/' general.yaml >law.yaml
echo 'adapter: {type: lora}' >>law.yaml
expect "a general model" tailor submit general.yaml --wait -q
expect "a customer's" bash -c "tailor submit law.yaml --wait -q"
expect "another run of it" bash -c "tailor submit law.yaml --wait -q --set train.learning_rate=3e-4"
printf '{"prompt": "<img src=x onerror=alert(1)>", "chosen": "a", "rejected": "b"}\n{"prompt": "cut' >hostile.jsonl
tailor data add hostile hostile.jsonl >/dev/null 2>&1 # rejected: its sentence names what people wrote
running=$(tailor submit general.yaml -q --set train.max_steps=1000000)
if /usr/bin/python3 "$root/tests/browser/dashboard_test.py" "$(grep -o "http[^ ']*login=[0-9a-z_]*" up.txt)" "$running" "$work/service"; then
    ok "the dashboard"
else
    fail "the dashboard"
fi
finish
