#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The dashboard's side of the server: sessions and the one stream of a tab: tests/e2e/live_test.sh BUILD_DIR
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/live_test.py" "${@:?usage: $0 BUILD_DIR [WORD]}"
