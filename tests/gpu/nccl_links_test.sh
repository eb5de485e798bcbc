#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/gpu/nccl_links_test.sh PROGRAM     what PROGRAM calls of NCCL is in the real library, and nothing else is missing
set -euo pipefail
program=${1:?PROGRAM}
library=$(ldd "$program" | awk '$1 ~ /^libnccl\.so/ {print $3}')
[ -e "$library" ] || {
    echo "FAIL: expected $program to load libnccl, got: $(ldd "$program" | grep nccl || echo nothing)"
    exit 1
}
wanted=$(nm -D --undefined-only "$program" | awk '{print $NF}' | sed 's/@.*//' | grep '^nccl' | sort)
[ "$(wc -w <<<"$wanted")" -ge 8 ] || {
    echo "FAIL: expected eight of NCCL's functions at least, got: $wanted"
    exit 1
}
missing=$(comm -23 <(echo "$wanted") <(nm -D --defined-only "$library" | awk '{print $NF}' | sed 's/@.*//' | sort))
[ -z "$missing" ] || {
    echo "FAIL: $library lacks: $missing"
    exit 1
}
missing=$(ldd -r "$program" 2>&1 | grep -E 'undefined symbol|not found' || true)
[ -z "$missing" ] || {
    echo "FAIL: $missing"
    exit 1
}
echo "ok: $(wc -w <<<"$wanted") functions of $(basename "$library")"
