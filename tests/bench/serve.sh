#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# 100 tenants' adapters over one base in one process, beside one model a process (serve.py):
# tests/bench/serve.sh BUILD_DIR BASE_DIR [OPTION…]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/serve.py" "${@:?usage: $0 BUILD_DIR BASE_DIR [OPTION…]}"
