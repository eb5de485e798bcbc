#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# deploy_test.sh BUILD_DIR: what deploy/ hands to service managers, tried without one: units are checked by systemd's own
# reader, their command lines by the programs themselves, the Slurm script by a stand-in for srun.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
deploy=$root/deploy

# ---- the units -----------------------------------------------------------------------------------
expect "install puts programs, units and users where Debian looks for them" \
    cmake --install "$build" --prefix "$work/prefix"
for file in bin/tailor bin/tailord bin/tailor-worker bin/tailor-trainer lib/systemd/system/tailord.service \
    lib/systemd/system/tailor-worker.service lib/sysusers.d/tailor.conf; do
    expect "installed: $file" test -e "$work/prefix/$file"
done
expect "an installed program runs without its build directory" "$work/prefix/bin/tailor" version
if command -v systemd-analyze >/dev/null; then
    for unit in tailord tailor-worker; do
        sed "s|/usr/local/bin|$work/prefix/bin|" "$deploy/systemd/$unit.service" >"$work/$unit.service"
        expect "systemd reads $unit.service without a complaint" \
            bash -c "! systemd-analyze verify '$work/$unit.service' 2>&1 | grep '$unit'"
    done
else
    echo "skip systemd-analyze: not installed"
fi
options_known() { # options_known UNIT PROGRAM: every option in ExecStart is in --help
    local option
    for option in $(sed -n 's/^ExecStart=//p' "$deploy/systemd/$1.service" | grep -o -- '--[a-z-]*'); do
        "$2" --help | grep -q -- "$option " || { echo "$2 has no $option" && return 1; }
    done
}
expect "tailord.service gives options that tailord has" options_known tailord tailord
expect "tailor-worker.service gives options that tailor-worker has" options_known tailor-worker tailor-worker
for program in tailor tailord tailor-worker tailor-trainer; do
    expect "the container file copies $program" grep -q "/usr/local/bin/$program" "$deploy/container/Containerfile"
done
soname_packaged() { # every library that a program asks for belongs to a package that the image installs
    command -v dpkg >/dev/null || return 0
    local library package
    for library in $(ldd "$build/tailord" "$build/tailor" "$build/tailor-trainer" "$build/tailor-worker" |
        sed -n 's/^\t\(lib\(jansson\|yaml\|z\|zstd\|ssl\|crypto\|utf8proc\|protobuf\|sqlite\|event\|zmq\|curl\)[^ ]*\) =>.*/\1/p' | sort -u); do
        package=$(dpkg -S "*/$library" 2>/dev/null | sed -n '1s/:.*//p')
        grep -qw -- "$package" "$deploy/container/Containerfile" || { echo "the image lacks $package" && return 1; }
    done
}
expect "the image holds every library that the programs need" soname_packaged

# ---- Slurm ---------------------------------------------------------------------------------------
mkdir "$work/slurm"
cat >"$work/slurm/srun" <<'STUB'
#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for ((node = 0; node < SLURM_NNODES; node++)); do SLURM_PROCID=$node "$@"; done
STUB
cat >"$work/slurm/tailor-worker" <<'STUB'
#!/bin/bash
printf '%s token=%s\n' "$*" "$(cat)"
STUB
chmod +x "$work/slurm/srun" "$work/slurm/tailor-worker"
slurm() { # slurm NODES ARGUMENT…
    local nodes=$1
    shift
    PATH="$work/slurm:$PATH" USER=me WORKER_DATA=$work/node SLURM_NNODES=$nodes SLURM_JOB_ID=7 \
        bash "$deploy/slurm/tailor-worker.sbatch" "$@"
}
printf 'first\n\nsecond\n' >"$work/tokens"
slurm 2 "$work/tokens" --slots 3 >"$work/started" 2>&1
expect "each node joins with a token of its own" \
    bash -c "grep -q 'token=first' '$work/started' && grep -q 'token=second' '$work/started'"
expect "options after the tokens reach the worker" grep -q -- '--slots 3 token=second' "$work/started"
refuses "fewer tokens than nodes" 2 "has 2 tokens for 3 nodes" slurm 3 "$work/tokens"
refuses "tokens that are not there" 2 "cannot read" slurm 1 "$work/none"
refuses "no tokens" 1 "usage: sbatch" slurm 1
finish
