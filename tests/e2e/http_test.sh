#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The HTTP API as strangers, tenants and admins meet it: tests/e2e/http_test.sh BUILD_DIR
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/http_test.py" "${@:?usage: $0 BUILD_DIR [WORD]}"
