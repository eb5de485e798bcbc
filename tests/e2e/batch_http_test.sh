#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Batches over HTTP: tests/e2e/batch_http_test.sh BUILD_DIR
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/batch_http_test.py" "${@:?usage: $0 BUILD_DIR}"
