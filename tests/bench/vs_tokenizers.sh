#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/bench/vs_tokenizers.sh DIR PAIRS.json
# The tokenizer of DIR by tailor and by Hugging Face's tokenizers, one core, in one run: English (the texts of
# PAIRS.json), code (this repository's), and texts made to hurt.
#   TAILOR_BUILD    build directory (default: build)
#   TAILOR_VENV     a Python venv with tokenizers; default: made under the build directory (several GB)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export BUILD=${TAILOR_BUILD:-$root/build}
dir=${1:?DIR} pairs=${2:?PAIRS.json}
. "$here/venv.sh"
cmake --build "$BUILD" --target tokenizer_bench >/dev/null
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
grep -m1 'model name' /proc/cpuinfo
python3 -c 'import json, sys; [print(text) for row in json.load(open(sys.argv[1], encoding="utf-8")) for text in row["text"]]' \
    "$pairs" >"$work/english"
git -C "$root" ls-files '*.c' '*.h' '*.py' '*.sh' | sed "s|^|$root/|" | xargs cat >"$work/code"
for text in english code; do
    printf '\n== %s, %s bytes\n' "$text" "$(stat -c %s "$work/$text")"
    "$BUILD/tests/tokenizer_bench" "$dir" "$work/$text"
    "$PYTHON" "$here/hf_tokenizer.py" "$dir" "$work/$text"
done
