#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Events posted to receivers, signed, in order, over failures and kills: tests/e2e/webhook_test.sh BUILD_DIR
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/webhook_test.py" "${@:?usage: $0 BUILD_DIR}"
