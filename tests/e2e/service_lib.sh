# SPDX-License-Identifier: Apache-2.0
# Sourced behind lib.sh by the tests that start a service of their own below $work: a home, two free ports in a row,
# and an end that leaves nothing running.
own_home
export TAILOR_LOG=info
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
