#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Rewards over HTTP from a serve job, for two tenants: tests/e2e/serve_test.sh BUILD_DIR [WORD]
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/serve_test.py" "${@:?usage: $0 BUILD_DIR}"
