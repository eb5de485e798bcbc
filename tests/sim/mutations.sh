#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/sim/mutations.sh [BUILD]   shows that every invariant of the simulator can fail: breaks one line of the
# coordinator at a time, in a copy, and expects the simulator to say which invariant no longer holds. Needs the targets
# sim and tailor_sim. Ends in "N passed, N failed".
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$root/build}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
passed=0 failed=0
cc=${CC:-cc}
$cc -std=c11 -D_GNU_SOURCE -O1 -I "$root" -c "$root/tests/sim/sim_main.c" -o "$out/main.o" || exit 1

mutate() { # mutate INVARIANT SCENARIO FILE WHAT SED: the broken file wins over its member of the archive
    local invariant=$1 scenario=$2 file=$3 what=$4 script=$5
    sed -E "$script" "$root/coordinator/$file" >"$out/$file"
    if cmp -s "$out/$file" "$root/coordinator/$file"; then
        printf 'FAIL %s: the line to break is no longer in %s\n' "$what" "$file"
        failed=$((failed + 1))
        return
    fi
    if ! $cc -std=c11 -D_GNU_SOURCE -O1 -w -I "$root" -c "$out/$file" -o "$out/broken.o" ||
        ! $cc -o "$out/sim" "$out/main.o" "$out/broken.o" "$build/tests/libtailor_sim.a" \
            "$build/libtailor_coordinator_parts.a" "$build/libtailor_lib.a" -ljansson -lcrypto -lm -lpthread; then
        printf 'FAIL %s: does not build\n' "$what"
        failed=$((failed + 1))
        return
    fi
    { timeout 300 "$out/sim" --scenario "$scenario" --seeds 5 --workers 20 --jobs 800 --tenants 8 >"$out/log" 2>&1; } 2>/dev/null
    local code=$?
    if [ "$code" -ge 128 ]; then # stopped by a CHECK or a signal before the breach could be printed
        printf 'ok %s: the simulator stopped with code %d\n' "$what" "$code"
        passed=$((passed + 1))
    elif grep -qE "second [0-9]+: $invariant:" "$out/log"; then
        printf 'ok %s: %s\n' "$what" "$(grep -m1 -E "second [0-9]+: $invariant:" "$out/log")"
        passed=$((passed + 1))
    else
        printf 'FAIL %s: expected a breach of "%s", got:\n%s\n' "$what" "$invariant" "$(tail -2 "$out/log")"
        failed=$((failed + 1))
    fi
}

mutate gang chaos schedule.c "a gang begins with fewer than min_ranks" \
    's/if \(usable < ask->min_ranks\)/if (usable < 1)/'
mutate gang chaos schedule_place.c "labels are not looked at" \
    's/return kind->realm == realm && .*/return kind->realm == realm;/'
mutate slots chaos cluster.c "slots are given back when an attempt is over, not when its ranks are gone" \
    's/^    mem_free\(job->members\);/    for (int32_t i = 0; i < job->member_count; i++) worker_give(\&cluster->registry.workers[job->members[i].worker], job->run.id, job->run.term);\n    mem_free(job->members);/'
mutate quota chaos schedule.c "starts of a cycle are not counted against the quota" \
    's/^ +plan->slots_left\[it->tenant\] -= ranks;//'
mutate term chaos job_state.c "a recovering job starts again under its old term" \
    's/run->term\+\+;/run->term += run->state == JOB_STATE_QUEUED;/'
mutate final chaos job_state.c "a job that failed can be cancelled" \
    's/(\[JOB_STATE_FAILED\] += \{.*)NO, ( +NO, +NO\},)/\1CD, \2/'
mutate transition chaos cluster.c "the end of a paused attempt is not recorded" \
    '/job_attempt_ended\(&job->run/,/record\(/s/record\(cluster, job, event, from\);//'
mutate shards chaos cluster_whole.c "shards of a whole that was cancelled go on" \
    's/whole->run.state == JOB_STATE_CANCELLING\) \{/0) {/; s/!whole \|\| job_is_final\(whole->run.state\)/!whole/'
mutate shards chaos cluster_whole.c "a shard that failed lets its whole wait" \
    's/if \(shard->run.state == JOB_STATE_FAILED\)/if (0)/'
mutate order chaos schedule.c "begin times are a minute early" \
    's/ask->not_before_ms > snapshot->now_ms/ask->not_before_ms > snapshot->now_ms + 60000/'
mutate zombie chaos fence.c "older terms are taken" \
    's/message_term < term \|\| !live/message_term == term \&\& !live/'
mutate reason chaos schedule.c "jobs that are not eligible get no reason" \
    's/^ +decide_wait\(plan, i, wait\);/;/'
mutate detection away cluster_report.c "a worker that is heard again after an absence is taken for a new process" \
    's/offer.incarnation != beat->offer.incarnation/offer.incarnation + (cluster->registry.listening_ms < 3000 \&\& cluster->boots > 1) != beat->offer.incarnation/'
mutate detection away registry.c "the hour before the boot counts as silence" \
    's/worker->heard_ms = listening_at.*/worker->heard_ms = listening_at(registry, now_ms) - (news == REGISTRY_NEW \&\& now_ms > 60000 ? 9000 : 0);/'
mutate transition away cluster_restore.c "the members of a running gang are not restored" \
    's/tenant->slots \+= job->held;/job->run.state = JOB_STATE_QUEUED;/'
mutate detection chaos registry.c "a silent worker is never lost" \
    's/>= registry->lost_after_ms/>= 1000 * registry->lost_after_ms/'
mutate starvation hog schedule_reserve.c "nobody is preempted for a share" \
    's/plan->held\[tenant\] \+ job->ask->min_ranks <= fair_slots\(plan, tenant\)/0/'
mutate share busy schedule.c "the tenant with the most usage goes first" \
    's/a->share < b->share/a->share > b->share/'
mutate starvation whale schedule_place.c "nothing is kept for a gang that does not fit" \
    's/if \(!kind->reserved\)/if (1)/'
mutate share busy schedule.c "tenants take turns in order of their number" \
    's/a->share != b->share \? a->share < b->share : //'
mutate end chaos cluster.c "a back-off never ends" \
    's/job->backoff_until_ms = now_ms \+/job->backoff_until_ms = INT64_MAX \/ 2 +/'
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
