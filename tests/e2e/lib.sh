# SPDX-License-Identifier: Apache-2.0
# Sourced by the end-to-end tests: counting, and the tiny model they train.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${1:?usage: $0 BUILD_DIR}
build=$(cd "$build" && pwd)
export PATH="$build:$PATH"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TAILOR_CACHE="$work/cache"
base="$root/tests/golden/data/models/tiny-llama/base"
passed=0 failed=0

ok() { passed=$((passed + 1)) && printf 'ok %s\n' "$1"; }
fail() { failed=$((failed + 1)) && printf 'FAIL %s\n' "$1"; }
expect() { # expect NAME COMMAND…: the command succeeds
    local name=$1
    shift
    if "$@" >"$work/output" 2>&1; then ok "$name"; else
        fail "$name"
        sed 's/^/    /' "$work/output" | tail -20
    fi
}
refuses() { # refuses NAME CODE TEXT COMMAND…: the exit code, and a sentence that contains TEXT
    local name=$1 code=$2 text=$3 got=0
    shift 3
    "$@" >"$work/output" 2>&1 || got=$?
    if [ "$got" -ne "$code" ]; then
        fail "$name: expected exit code $code, got $got"
        sed 's/^/    /' "$work/output" | tail -5
    elif ! grep -qF -- "$text" "$work/output"; then
        fail "$name: expected a sentence with: $text"
        sed 's/^/    /' "$work/output" | tail -5
    else ok "$name"; fi
}
finish() {
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}
own_home() { # profiles and services of the person who runs the test are not touched
    export HOME="$work/home"
    unset XDG_CONFIG_HOME XDG_DATA_HOME TAILOR_SERVER TAILOR_TOKEN TAILOR_PROFILE TAILOR_CA
    mkdir "$HOME"
    cd "$work" || exit 1
}
await() { # await COMMAND…: until it succeeds, for two minutes at most, or await_s seconds
    for _ in $(seq $((5 * ${await_s:-120}))); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.2
    done
    return 1
}
two_ports() { # a free port whose next one is free too: a service takes both
    python3 - <<'PY'
import socket
while True:
    with socket.socket() as a, socket.socket() as b:
        a.bind(("127.0.0.1", 0))
        port = a.getsockname()[1]
        try:
            b.bind(("127.0.0.1", port + 1))
        except OSError:
            continue
        print(port)
        break
PY
}
tiny=(--set train.batch_groups=4 --set model.template=dsp --set model.max_length=160 --set train.learning_rate=1e-3
    --set evaluate.every_steps=4 --set evaluate.max_pairs=40)
