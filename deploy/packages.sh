#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# packages.sh SET…: installs Debian 12 packages. Sets: build (compile and run), base (fetch the quickstart's
# base model), test (what tests/run.sh needs besides). Installed packages are left alone, so a second call is quick.
set -euo pipefail
declare -A sets=(
    [build]="build-essential cmake ninja-build pkg-config libjansson-dev libyaml-dev zlib1g-dev libzstd-dev libssl-dev libutf8proc-dev protobuf-c-compiler libprotobuf-c-dev libsqlite3-dev libevent-dev libzmq3-dev libcurl4-openssl-dev libjs-chart.js"
    [base]="python3 python3-pip ca-certificates"
    [test]="git python3 python3-pip clang-format-14 zstd iproute2 prometheus curl"
    [browser]="chromium chromium-driver python3-selenium"
    [fuzz]="clang-14 libclang-rt-14-dev"
    [bench]="libdnnl-dev libopenblas-dev libgloo-dev wrk"
)
missing=()
for name in "${@:?usage: packages.sh SET…}"; do
    for package in ${sets[$name]:?packages.sh: no such set: $name}; do
        dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
done
[ ${#missing[@]} -eq 0 ] && exit 0
sudo=""
[ "$(id -u)" -eq 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
