#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/openai.sh    the official client (PyPI openai) uploads, submits, polls, lists and cancels through the alias.
#   TAILOR_BUILD    build directory (default: build)
#   TAILOR_VENV     a Python venv with openai; default: made under the build directory
# By hand, not CI: it needs the network once.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${TAILOR_BUILD:-$root/build}
venv=${TAILOR_VENV:-$build/venv-openai}
if ! "$venv/bin/python" -c 'import openai' 2>/dev/null; then
    python3 -m venv "$venv" && "$venv/bin/pip" install -q openai || exit 1
fi
exec bash "$root/tests/e2e/openai_test.sh" "$build" "$(cd "$venv" && pwd)/bin/python"
