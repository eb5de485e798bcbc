#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What one tenant sees of another, by every route, method and token: tests/e2e/isolation_test.sh BUILD_DIR
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/isolation_test.py" "${@:?usage: $0 BUILD_DIR}"
