#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Any number of ranks gives the bits of one: losses, norms, evaluations, weights. A gang that loses a rank ends with a
# sentence, and goes on with as many as there are.
#
#     ranks_test.sh BUILD        a choice of the combinations
#     ranks_test.sh BUILD all    every one of 2, 3, 4 ranks; shm, tcp; full, LoRA; optimizer state cut or not; sums beside
#                                the backward pass or after it
set -uo pipefail
. "$(dirname "$0")/lib.sh"
python3 "$root/deploy/sample_data.py" --out "$work/data"
data="$work/data"
all=${2:-}

# Enrichment and imitation are on: a customize job has both by default.
customize() { # customize KIND DIR EXTRA…: KIND is full or lora
    local kind=$1 out=$2 adapter=none
    shift 2
    [ "$kind" = lora ] && adapter=lora
    tailor run customize --from "$work/general/model" --train "$data/lawyers.train.jsonl" --eval "$data/lawyers.test.jsonl" \
        --out "$out" --set adapter.type=$adapter --set train.epochs=100 --set train.max_steps=20 --set train.batch_groups=9 --set train.seed=3 \
        --set train.learning_rate=1e-3 --set train.weight_decay=0.1 --set evaluate.every_steps=7 \
        --set evaluate.max_pairs=40 --set checkpoint.every=0 --set checkpoint.every_steps=6 -q "$@"
}
figures() { # what must agree to the bit: everything but the clock
    python3 - "$1" <<'PY'
import json, sys
run = sys.argv[1]
for line in open(run + "/metrics.jsonl"):
    row = json.loads(line)
    for key in ("tokens_per_second", "pairs_per_second", "step_seconds", "reduce_hidden_seconds", "reduce_bytes"):
        row.pop(key, None)
    print(json.dumps(row))
result = json.load(open(run + "/result.json"))
result.pop("seconds")
print(json.dumps(result))
PY
}
same() { # same A B: two runs left the same
    figures "$1" >"$work/a" && figures "$2" >"$work/b" && diff "$work/a" "$work/b" || return 1
    local file
    for file in "$1"/model/*.safetensors "$1"/rows/*; do
        cmp "$file" "$2/${file#"$1"/}" || return 1
    done
}
children() { # children PID: their pids
    local pids
    read -r pids <"/proc/$1/task/$1/children"
    printf '%s' "$pids"
}
rank_pid() { # rank_pid CLIENT RANK
    local pid
    for pid in $(children "$1"); do
        tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -- "--rank $2 " && printf '%s' "$pid"
    done
}
lines() { cat "$1/metrics.jsonl" 2>/dev/null | wc -l; }
await_lines() { # await_lines SHELL DIR COUNT: while the shell that started the client is there
    while kill -0 "$1" 2>/dev/null && [ "$(lines "$2")" -lt "$3" ]; do sleep 0.01; done
}
none_left() { # none_left PIDS…: all gone within 20 s
    local pid tries
    for pid in "$@"; do
        for tries in $(seq 200); do
            kill -0 "$pid" 2>/dev/null || continue 2
            sleep 0.1
        done
        return 1
    done
}

expect "a general model to start from, on 3 ranks" tailor run general --from "$base" --train "$data/general.train.jsonl" \
    --eval "$data/general.test.jsonl" --out "$work/general" --set train.max_steps=6 --ranks 3 --verify-packing \
    "${tiny[@]}" -q
for kind in full lora; do
    expect "$kind on 1 rank" customize $kind "$work/$kind"
done
expect "the mix is enriched and imitates" python3 - "$work/full" <<'PY'
import json, sys
assert json.load(open(sys.argv[1] + "/result.json"))["mix"]["general_pairs"] > 0
assert any("lm_loss" in json.loads(line) for line in open(sys.argv[1] + "/metrics.jsonl"))
PY

combinations="2:shm:full:1:true 3:shm:full:0:false 4:shm:full:1:false 3:tcp:full:1:true 2:tcp:full:0:true
    2:shm:lora:0:true 3:shm:lora:1:false 4:tcp:lora:1:true"
if [ "$all" = all ]; then
    combinations=$(for n in 2 3 4; do for wire in shm tcp; do for kind in full lora; do for zero in 0 1; do
        echo "$n:$wire:$kind:$zero:true $n:$wire:$kind:$zero:false"
    done; done; done; done)
fi
for combination in $combinations; do
    IFS=: read -r n wire kind zero overlap <<<"$combination"
    out="$work/$kind-$n-$wire-$zero-$overlap"
    expect "$kind on $n ranks by $wire, zero_stage $zero, overlap $overlap, runs" customize $kind "$out" --ranks "$n" \
        --comm "$wire" --set train.zero_stage="$zero" --set train.overlap=$overlap
    expect "… and has the bits of 1 rank" same "$work/$kind" "$out"
done

# From one number of ranks to another: the leader is killed while it commits its second checkpoint.
resumes() { # resumes KIND FROM ZERO TO ZERO
    local kind=$1 from=$2 zero_from=$3 to=$4 zero_to=$5 out="$work/$1-from-$2-$3-to-$4-$5"
    TAILOR_FAIL=manifest_rename:2:kill customize "$kind" "$out" --ranks "$from" --set train.zero_stage="$zero_from" \
        >"$work/log" 2>&1
    expect "$kind on $from rank(s): killed after its first checkpoint" test -e "$out/checkpoints/step-000000006.json" -a \
        ! -e "$out/result.json"
    expect "… and goes on with $to" tailor run --resume --out "$out" --ranks "$to" --set train.zero_stage="$zero_to" -q
    expect "… to the bits of 1 rank" same "$work/$kind" "$out"
}
resumes full 4 1 1 1
resumes lora 1 1 4 1
resumes full 2 0 3 1
if [ "$all" = all ]; then
    resumes full 1 1 4 1
    resumes lora 4 1 1 0
    resumes lora 3 1 2 0
fi

# Every rank writes its own part of a checkpoint and no other; a kill of any of them at any phase of the second one
# leaves the first or the second. The ranks are started one by one, so that one alone is hit.
parts() { # parts RUN RANKS: of all parts a manifest has a stretch of each rank, within one unit of an equal cut
    python3 - "$1" "$2" <<'PY'
import glob, json, sys
run, ranks = sys.argv[1], int(sys.argv[2])
manifests = glob.glob(run + "/checkpoints/*.json")
assert manifests
for path in manifests:
    parts = json.load(open(path))["parts"]
    for name in ("weights", "m", "v"):
        own = [p for p in parts if p["name"] == name]
        assert [p["rank"] for p in own] == list(range(ranks)), own
        assert max(p["size"] for p in own) - min(p["size"] for p in own) <= 128, own
PY
}
expect "4 ranks: each wrote its part of weights and moments" parts "$work/full-4-shm-1-false" 4
ranks_apart() { # ranks_apart DIR0 DIR1 VICTIM POINT: two ranks of the full job, of which VICTIM dies at POINT
    local r pids="" dirs=("$1" "$2")
    mkdir -p "$1" "$2"
    sed "s#\"$work/full\"#\"$1\"#" "$work/full/spec.json" >"$1/spec.json" # the directory is part of it
    for r in 0 1; do
        env TAILOR_GANG_SECRET="$(printf '%064d' 7)" $([ "$r" = "$3" ] && echo "TAILOR_FAIL=$4:kill") tailor-trainer train \
            --spec "$1/spec.json" --out "${dirs[r]}" --rank $r --ranks 2 --comm shm --rendezvous "apart-$$" --term 1 --quiet \
            >"$work/log-$r" 2>&1 &
        pids="$pids $!"
    done
    wait $pids
    test ! -e "$1/result.json" -a -e "$1/checkpoints/step-000000006.json" -a ! -e "$1/checkpoints/step-000000012.json"
}
for victim in 0 1; do
    for point in blob_write:9 blob_fsync:4 blob_rename:5 manifest_write:4 manifest_fsync:2 manifest_rename:2; do
        case "$victim$point" in 1manifest*) continue ;; esac # one directory: the leader alone writes manifests
        out="$work/phase-$victim-${point%:*}"
        expect "rank $victim dies at its $point" ranks_apart "$out" "$out" $victim $point
        expect "… and one rank goes on to the bits of 1 rank" eval 'tailor run --resume --out "$out" -q && same "$work/full" "$out"'
    done
done
# As on two hosts: a directory each. The other's manifest is there before the leader's, which is the commit.
for point in blob_rename:5 manifest_rename:2; do
    for victim in 0 1; do
        host="$work/host-$victim-${point%:*}"
        expect "two directories, rank $victim dies at its $point" ranks_apart "$host-a" "$host-b" $victim $point
        expect "… the stores have no blob in common" test -z "$(cd "$host-a/store" && find . -type f | sort |
            comm -12 - <(cd "$host-b/store" && find . -type f | sort))"
        expect "… and have the first checkpoint's manifest, the same" cmp "$host-a/checkpoints/step-000000006.json" \
            "$host-b/checkpoints/step-000000006.json"
        cp -r "$host-b/store/." "$host-a/store/"
        [ -d "$host-b/best" ] && cp -r "$host-b/best/store/." "$host-a/best/store/"
        expect "… brought together, one rank goes on to the bits of 1 rank" eval \
            'tailor run --resume --out "$host-a" -q && same "$work/full" "$host-a"'
    done
done

# A rank is killed in the middle.
long=(--set train.max_steps=80 --set checkpoint.every_steps=5)
expect "a longer run on 1 rank" customize full "$work/long" "${long[@]}"
customize full "$work/killed" "${long[@]}" --ranks 3 >"$work/log" 2>&1 &
gang=$! # the shell whose child is the client
await_lines $gang "$work/killed" 12
client=$(children $gang)
gang_ranks=$(children "$client")
kill -9 "$(rank_pid "$client" 2)"
wait $gang
code=$?
expect "kill -9 of rank 2: the gang fails" test $code -eq 1
expect "… with a sentence that names it" grep -q "rank 2 was ended by signal 9" "$work/log"
expect "… and leaves no process" none_left $gang_ranks
expect "… and no model" test ! -e "$work/killed/model"
expect "what is left goes on, on 2 ranks" tailor run --resume --out "$work/killed" --ranks 2 -q
expect "… to the bits of 1 rank" same "$work/long" "$work/killed"

# Stopped by a person: rank 0 decides, all write a checkpoint.
customize full "$work/stopped" "${long[@]}" --ranks 4 --comm tcp >"$work/log" 2>&1 &
gang=$!
await_lines $gang "$work/stopped" 8
kill -TERM "$(children $gang)"
wait $gang
code=$?
expect "SIGTERM: exit code 8" test $code -eq 8
expect "… after a checkpoint" grep -q "a checkpoint was written" "$work/log"
expect "… from which it goes on" tailor run --resume --out "$work/stopped" -q
expect "… to the bits of 1 rank" same "$work/long" "$work/stopped"

# The client is killed: the ranks die with it.
customize full "$work/orphan" "${long[@]}" --ranks 3 >"$work/log" 2>&1 &
gang=$!
await_lines $gang "$work/orphan" 3
client=$(children $gang)
gang_ranks=$(children "$client")
kill -9 "$client"
wait $gang 2>/dev/null
expect "kill -9 of the client takes the ranks along" none_left $gang_ranks

# What every rank would say is said once.
head -3 "$data/lawyers.train.jsonl" >"$work/broken.jsonl"
echo '{"prompt": "half' >>"$work/broken.jsonl"
refuses "bad data on 3 ranks" 1 "broken.jsonl:4" tailor run customize --from "$work/general/model" \
    --train "$work/broken.jsonl" --out "$work/broken" --ranks 3
expect "… is one sentence" test "$(grep -c 'broken.jsonl:4' "$work/output")" -eq 1
refuses "more ranks than slices" 2 "each rank needs a slice" customize full "$work/many" --ranks 5
refuses "another wire" 2 "--comm must be shm or tcp" customize full "$work/wire" --ranks 2 --comm pigeon
expect "a plan says what one of 4 ranks needs" bash -c "tailor run general --from '$base' \
    --train '$data/general.train.jsonl' --out '$work/plan' --plan --ranks 4 | grep -q '4 ranks'"
finish
