#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/gpu/carry.sh BUILD OUT     what tests/gpu.sh runs, for a machine that has a GPU and nothing to build with
#
# OUT gets the programs and tests without debug information and, in OUT/lib, the shared libraries they need; but not the
# C library, which must be this one's version or newer there, nor CUDA's, which that machine has: set TAILOR_BUILD=OUT.
set -euo pipefail
build=$(cd "${1:?BUILD}" && pwd) out=${2:?OUT}
mkdir -p "$out/lib" "$out/tests/gpu"
copy() { # copy FROM TO
    strip -o "$2" "$1"
    chmod 755 "$2"
}
for program in tailor tailor-trainer tailor-trainer-cuda tailor-worker tailord; do
    copy "$build/$program" "$out/$program"
done
for test in "$build"/tests/gpu/*; do
    if [ -f "$test" ] && [ -x "$test" ]; then copy "$test" "$out/tests/gpu/$(basename "$test")"; fi
done
ldd "$out"/tailor* "$out"/tests/gpu/* | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
    while read -r library; do
        case $(basename "$library") in
            ld-linux* | libc.so* | libm.so* | libpthread* | libdl.so* | librt.so* | libresolv* | libcuda* | libcublas* | libnccl* | libnvidia*) ;;
            *) copy "$(readlink -f "$library")" "$out/lib/$(basename "$library")" ;;
        esac
    done
du -sh "$out"
