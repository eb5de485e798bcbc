#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/schemathesis.sh [OPTION…]   schemathesis (PyPI) asks a real tailord what openapi.json says may be asked, once with a
# token of each role: no 5xx, no answer but those that the document has, none that is not as its schema says, no wrong
# header, nothing for who shows no token. OPTIONs go to schemathesis (-n 200: more examples of each; --seed 7).
#   TAILOR_BUILD    build directory (default: build)
#   TAILOR_VENV     a Python venv with schemathesis 4; default: made under the build directory
# By hand, not CI: it needs the network, and some minutes.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${TAILOR_BUILD:-$root/build}
venv=${TAILOR_VENV:-$build/venv-schemathesis}
cmake -G Ninja -S "$root" -B "$build" >/dev/null && cmake --build "$build" --target tailord | tail -1
[ "${PIPESTATUS[0]}" -eq 0 ] || exit 1
if ! "$venv/bin/python" -c 'import schemathesis, openapi_spec_validator' 2>/dev/null; then
    python3 -m venv "$venv" && "$venv/bin/pip" install -q 'schemathesis>=4,<5' openapi-spec-validator || exit 1
fi
exec "$venv/bin/python" "$root/tests/schemathesis/run.py" "$build" "$@"
