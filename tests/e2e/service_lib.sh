# SPDX-License-Identifier: Apache-2.0
# Sourced behind lib.sh by the tests that start a service of their own below $work: a home, two free ports in a row,
# and an end that leaves nothing running.
export HOME="$work/home" TAILOR_LOG=info
unset XDG_CONFIG_HOME XDG_DATA_HOME TAILOR_SERVER TAILOR_TOKEN TAILOR_PROFILE TAILOR_CA
mkdir "$HOME"
cd "$work" || exit 1
stop() { # whatever is left of the services
    for pid in "$work"/*/*.pid; do
        [ -f "$pid" ] && grep -qs "$work" "/proc/$(cat "$pid")/cmdline" && kill -9 "$(cat "$pid")"
    done
    rm -rf "$work"
}
trap stop EXIT
port=$(two_ports)
says() { # says NAME TEXT COMMAND…: the command succeeds, and prints TEXT
    local name=$1 text=$2
    shift 2
    refuses "$name" 0 "$text" "$@"
}
await() { # await COMMAND…: until it succeeds, for two minutes at most
    for _ in $(seq 600); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.2
    done
    return 1
}
