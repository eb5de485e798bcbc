#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# openai_test.sh BUILD_DIR [PYTHON]: OpenAI's files and fine-tuning jobs as an alias of ours: preference data in OpenAI's form
# goes in, a customized reward model comes out. With a PYTHON that has the package openai, its official client asks
# (tests/openai.sh); else the same requests are made by hand.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/service_lib.sh"
export TAILOR_LOG=warn
python3 "$root/deploy/sample_data.py" --out "$work/data"
says "up" "with 1 worker" tailor up --data "$work/service" --port "$port"
says "base" "ready" tailor base add tiny "$base"
for name in general.train general.test; do
    python3 - "data/$name.jsonl" > "$name.openai.jsonl" <<'PY'
import json, sys
for line in open(sys.argv[1]):
    row = json.loads(line)
    assistant = lambda text: [{"role": "assistant", "content": text}]
    print(json.dumps({"input": {"messages": [{"role": "user", "content": row["prompt"]}]},
                      "preferred_output": assistant(row["chosen"]), "non_preferred_output": assistant(row["rejected"])}))
PY
done
tailor tenant create other >/dev/null
TOKEN=$(python3 -c 'import json, os; p = json.load(open(os.environ["HOME"] + "/.config/tailor/profiles.json")); print(p["profiles"][p["default"]]["token"])')
OWN=$(tailor token create notebook --role tenant_admin --tenant local -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["secret"])')
STRANGER=$(tailor token create stranger --role tenant_admin --tenant other -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["secret"])')
export TOKEN OWN STRANGER SERVER="http://127.0.0.1:$port"
"${2:-python3}" "$root/tests/e2e/openai_test.py" ${2:+official} > results 2>&1
sed 's/^/  /' results | grep -v '^  ok ' || true
while read -r verdict name; do
    case $verdict in ok) ok "$name" ;; FAIL) fail "$name" ;; esac
done < results
expect "the checks came to their end" grep -q '^end$' results
tailor down --data "$work/service" >/dev/null 2>&1
finish
