#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 at ten random moments, then resume: the same bits of loss and weights as never killed.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
python3 "$root/deploy/sample_data.py" --out "$work/data"
RANDOM=${TAILOR_SEED:-$RANDOM}
echo "seed ${TAILOR_SEED:-none}: set TAILOR_SEED to repeat the moments of the kills"

run() ( # run DIR EXTRA…: a subshell that becomes the trainer, so that its pid is the trainer's
    local out=$1
    shift
    exec tailor run general --from "$base" --train "$work/data/general.train.jsonl" --eval "$work/data/general.test.jsonl" \
        --out "$out" --set train.epochs=24 --set checkpoint.every_steps=3 --set checkpoint.every=0 -q "${tiny[@]}" "$@"
)
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
expect "a run that is never killed" run "$work/whole"
kills=0
for attempt in $(seq 1 200); do
    run "$work/killed" $([ -e "$work/killed/spec.json" ] && echo --resume) >"$work/log" 2>&1 &
    pid=$!
    if [ "$kills" -lt 10 ]; then
        sleep "0.$((RANDOM % 9))$((RANDOM % 10))"
        # Only one that still ran counts as killed.
        if kill -9 "$pid" 2>/dev/null; then kills=$((kills + 1)); fi
        wait "$pid" 2>/dev/null
        [ -e "$work/killed/spec.json" ] || rm -rf "$work/killed" # before there was anything to resume
        [ -e "$work/killed/model/tailor.json" ] && break
        continue
    fi
    wait "$pid" && break
    sed 's/^/    /' "$work/log" | tail -5
done
echo "killed $kills times"
expect "at least five kills came before the end" test "$kills" -ge 5
losses "$work/whole" >"$work/a"
losses "$work/killed" >"$work/b"
expect "losses, norms and evaluations have the same bits" diff "$work/a" "$work/b"
expect "weights have the same bits" cmp "$work/whole/model/model.safetensors" "$work/killed/model/model.safetensors"
expect "a checkpoint that was damaged is passed over" bash -c "
    store='$work/killed/store'; blob=\$(find \$store -type f | head -1)
    test -n \"\$blob\" && printf 'x' | dd of=\"\$blob\" bs=1 seek=100 conv=notrunc 2>/dev/null
    rm -rf '$work/killed/model'
    tailor run --resume --out '$work/killed' -q"
expect "and the result is still the same" cmp "$work/whole/model/model.safetensors" "$work/killed/model/model.safetensors"
refuses "resuming with another spec is refused" 5 "" run "$work/killed" --resume --set train.seed=8
finish
