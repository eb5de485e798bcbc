#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# python_client_test.sh BUILD_DIR: client/python/tailor.py against a real service: data, a job followed by its points, a
# wait over a coordinator that is killed, scores; and what mistakes are told.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/service_lib.sh"
export TAILOR_LOG=warn PYTHONPATH="$root/client/python"
python3 "$root/deploy/sample_data.py" --out data
expect "up" tailor up --workers 2 --data "$work/service" --port "$port"
expect "a base" tailor base add tiny "$base" -q
expect "what a program does" timeout 120 python3 -X faulthandler "$root/tests/e2e/python_client.py" "$work/service"
cat "$work/output"
finish
