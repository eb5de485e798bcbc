#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# 100 tenants' adapters over one base in one process, which has room for some of them at a time, have the bits of each
# alone: tests/e2e/serve_many_test.sh BUILD_DIR
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
exec python3 "$root/tests/bench/serve.py" "${1:?usage: $0 BUILD_DIR}" "$root/tests/golden/data/models/tiny-llama/base" \
    --models 100 --adapters-mib 1 --check
