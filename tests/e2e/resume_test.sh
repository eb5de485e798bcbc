#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 at ten random moments, the run moved after the fifth, then resume: the same bits of loss and weights as never killed.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
python3 "$root/deploy/sample_data.py" --out "$work/data"
RANDOM=${TAILOR_SEED:-$RANDOM}
echo "seed ${TAILOR_SEED:-none}: set TAILOR_SEED to repeat the moments of the kills"

run() { # run DIR EXTRA…: replaces the shell it is called in; in the background its pid is the trainer's
    local out=$1
    shift
    exec tailor run general --from "$base" --train "$work/data/general.train.jsonl" --eval "$work/data/general.test.jsonl" \
        --out "$out" --set train.epochs=24 --set checkpoint.every_steps=3 --set checkpoint.every=0 -q "${tiny[@]}" "$@"
}
whole() { (run "$@"); }
losses() { # what must agree to the bit: everything but the clock
    python3 - "$1/metrics.jsonl" <<'PY'
import json, sys
for line in open(sys.argv[1]):
    row = json.loads(line)
    for key in ("tokens_per_second", "pairs_per_second", "step_seconds"):
        row.pop(key, None)
    print(json.dumps(row))
PY
}
lines() { cat "$out/metrics.jsonl" 2>/dev/null | wc -l; }
# Waits for a random moment of the run: every other time while it starts, else some steps further on.
await_moment() { # await_moment PID KILLS
    local target=$(($(lines) + 2 + RANDOM % 20))
    if [ $(($2 % 2)) -eq 0 ]; then
        sleep "0.$((RANDOM % 3))$((RANDOM % 10))"
    else
        while kill -0 "$1" 2>/dev/null && [ "$(lines)" -lt "$target" ]; do sleep 0.01; done
        sleep "0.0$((RANDOM % 10))"
    fi
}
expect "a run that is never killed" whole "$work/whole"
kills=0 out=$work/killed
for attempt in $(seq 1 100); do
    run "$out" $([ -e "$out/spec.json" ] && echo --resume) >"$work/log" 2>&1 &
    pid=$!
    if [ "$kills" -lt 10 ]; then
        await_moment "$pid" "$kills"
        kill -9 "$pid" 2>/dev/null && kills=$((kills + 1)) # only one that still ran counts
        wait "$pid" 2>/dev/null
        [ -e "$out/model/tailor.json" ] && break
        if [ "$kills" -ge 5 ] && [ -e "$work/killed/spec.json" ]; then
            mv "$work/killed" "$work/moved" && out=$work/moved
        fi
        [ -e "$out/spec.json" ] || rm -rf "$out" # before there was anything to resume
        continue
    fi
    wait "$pid" && break
    sed 's/^/    /' "$work/log" | tail -5
done
echo "killed $kills times"
expect "the run was moved on its way" test "$out" = "$work/moved"
expect "all ten kills came before the end" test "$kills" -eq 10
losses "$work/whole" >"$work/a"
losses "$out" >"$work/b"
expect "losses, norms and evaluations have the same bits" diff "$work/a" "$work/b"
expect "weights have the same bits" cmp "$work/whole/model/model.safetensors" "$out/model/model.safetensors"
expect "a checkpoint that was damaged is passed over" bash -c "
    store='$out/store'; blob=\$(find \$store -type f | head -1)
    test -n \"\$blob\" && printf 'x' | dd of=\"\$blob\" bs=1 seek=100 conv=notrunc 2>/dev/null
    rm -rf '$out/model'
    tailor run --resume --out '$out' -q"
expect "and the result is still the same" cmp "$work/whole/model/model.safetensors" "$out/model/model.safetensors"
refuses "resuming with another spec is refused" 5 "was begun with train.seed 42" whole "$out" --resume --set train.seed=8
finish
