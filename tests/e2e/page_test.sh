#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The dashboard's files as tailord serves them: tests/e2e/page_test.sh BUILD_DIR
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/page_test.py" "${@:?usage: $0 BUILD_DIR [WORD]}"
