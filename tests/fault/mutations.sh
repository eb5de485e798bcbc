#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/fault/mutations.sh [BUILD [WORD]]   shows that every checker of tests/fault can fail: breaks one line of the
# service at a time, in a copy, and expects the harness to say which promise that breaks. Needs a whole build. WORD
# chooses the mutations whose description contains it. Ends in "N passed, N failed".
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${1:-$root/build}" && pwd)
word=${2:-}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
passed=0 failed=0
cc=${CC:-cc}
flags=(-std=c11 -D_GNU_SOURCE '-DTAILOR_VERSION="0.1.0"' -O1 -w -I "$root" -I "$build/generated")
libraries=(-lsqlite3 -ljansson -lcrypto -lyaml -lprotobuf-c -levent_core -levent_extra -lzmq -lm -lpthread)
declare -A main=([tailord]=coordinator/main.c [tailor-worker]=worker/agent/main.c)
declare -A parts=([tailord]="api coordinator_parts" [tailor-worker]=agent_parts)

fail() { failed=$((failed + 1)) && printf 'FAIL %s: %s\n' "$1" "$2"; }

broken_program() { # broken_program PROGRAM FILE SED: the broken file wins over its member of the archive
    local program=$1 file=$2 archives=()
    sed -E "$3" "$root/$file" >"$out/broken.c"
    cmp -s "$out/broken.c" "$root/$file" && echo "the line to break is no longer in $file" && return 1
    for part in ${parts[$program]} records files proto lib; do archives+=("$build/libtailor_$part.a"); done
    rm -rf "$out/bin" && mkdir -p "$out/bin/tests"
    ln -s "$build"/tailord "$build"/tailor-worker "$build"/tailor-trainer "$build"/tailor "$out/bin/"
    ln -s "$build/tests/stranger" "$out/bin/tests/"
    rm "$out/bin/$program"
    $cc "${flags[@]}" -o "$out/bin/$program" "$root/${main[$program]}" "$out/broken.c" "${archives[@]}" \
        "${libraries[@]}" || { echo "does not build" && return 1; }
}

mutate() { # mutate PROMISE COUNT PROGRAM FILE WHAT SED
    local promise=$1 count=$2 what=$5 why
    [[ "$1 $what" == *"$word"* ]] || return
    why=$(broken_program "$3" "$4" "$6" 2>&1) || { fail "$what" "$why"; return; }
    if [ "$promise" = P11 ]; then
        timeout 200 bash "$root/tests/e2e/isolation_test.sh" "$out/bin" >"$out/log" 2>&1
    else
        env "FAULT_$promise=$count" timeout 200 python3 "$root/tests/fault/fault.py" "$out/bin" "$promise" >"$out/log" 2>&1
    fi
    if grep -qE '^FAIL|does not start' "$out/log"; then
        passed=$((passed + 1))
        printf 'ok %s: %s\n' "$what" "$(grep -m1 -E "^ +${promise%_*}:|let an unknown|does not start|TimeoutError:|AssertionError:" "$out/log" ||
            grep -m1 '^FAIL' "$out/log")"
    else
        fail "$what" "nobody noticed; $(tail -1 "$out/log")"
    fi
}

mutate P1 10 tailord storage/records/records.c "submits are acknowledged up to sixteen commits ahead" \
    's/^    return execute\(records, "BEGIN IMMEDIATE", error\);/    return sqlite3_get_autocommit(records->db) ? execute(records, "BEGIN IMMEDIATE", error) : STATUS_OK;/
     s/: execute\(records, "COMMIT", error\)/: ({ static int n; ++n > 40 \&\& n % 16 ? STATUS_OK : execute(records, "COMMIT", error); })/'
mutate P1 10 tailord coordinator/requests.c "a cancel is answered before it is committed" \
    's/^    change_commit_job\(change, (.*), done, argument\);/    change_drop(change); done(argument, STATUS_OK, \&(struct error){0});/'
mutate P1_POINTS 1 tailord coordinator/status.c "a backup is made inside of a transaction" \
    's/coordinator_alone\(coordinator, backup_run/coordinator_read(coordinator, backup_run/'
mutate P3 150 tailord storage/records/job_record.c "a key is looked up and not kept" \
    's/TRY\(insert_key\(records, submit, id, error\)\);/{}/'
mutate P3 150 tailord storage/records/job_record.c "another body under a key is taken for the same" \
    's/^    if \(!same\)/    if (false)/'
mutate P4 12 tailord storage/records/blob_record.c "garbage collection does not know parts" \
    's/created_ms < :before AND/created_ms < :before + 3600000 AND/
     s/r.digest = p.manifest/p.manifest = 1/'
mutate P5 4 tailord coordinator/command.c "an attempt begins without its checkpoint" \
    's/assign->checkpoint = item->rows.checkpoint;/assign->checkpoint = NULL;/'
mutate P6 4 tailord coordinator/fence.c "reports of older terms are taken" \
    's/message_term < term \|\| !live/message_term == term \&\& !live/'
mutate P6 4 tailord coordinator/on_report.c "metrics of older terms are taken" \
    's/return core != NULL && \(int64_t\)core->run.term == term;/return core != NULL;/'
mutate P7 4 tailord coordinator/registry.c "a silent worker is never lost" \
    's/>= registry->lost_after_ms/>= 1000 * registry->lost_after_ms/'
mutate P9 8 tailord coordinator/background.c "a full disk is acknowledged" \
    's/^            work->status = STATUS_IO;/            work->status = STATUS_OK;/'
mutate P13 25 tailord coordinator/gatekeeper.c "the key handler lets everybody in: nothing may start" \
    's/return keys_find\(.*/return (struct identity){IDENTITY_WORKER, 1};/'
mutate P13 25 tailord coordinator/keys.c "a stranger is taken for the first worker, once there is one" \
    '/^struct identity keys_find/,/^\}/s/return \(struct identity\)\{.*IDENTITY_NONE.*/return keys->count > 0 ? (struct identity){IDENTITY_WORKER, 1} : (struct identity){0};/'
mutate P13 25 tailord coordinator/worker_socket.c "the key handler is not there: nothing may start" \
    's/^    option_int\(router, ZAP_ENFORCE_DOMAIN, 1\);//
     s/zmq_setsockopt\(router, ZMQ_ZAP_DOMAIN, GATEKEEPER_DOMAIN, strlen\(GATEKEEPER_DOMAIN\)\)/0/
     s/status = gatekeeper_open\(socket->context,/status = gatekeeper_open(zmq_ctx_new(),/'
mutate P14 2 tailord coordinator/on_worker.c "what runs is told to stop when it is seen again" \
    's/bool keep = job != NULL/bool keep = false \&\& job != NULL/'
mutate P14 2 tailor-worker worker/agent/outbox.c "a report is forgotten when it is sent" \
    's/^        entry->sent_ms = now_ms;/        entry->sent_ms = now_ms; outbox_ack(outbox, entry->sequence); i--;/'
mutate P14 12 tailord coordinator/on_report.c "reports are taken before their worker said what it runs" \
    's/^    if \(!member->attached\)/    if (false)/'
mutate P14 12 tailord coordinator/change.c "a finding that comes again is recorded again" \
    's/^    \(\*place\)->kind = ROW_FINDING;//'
mutate P11 0 tailord coordinator/api/exchange.c "a token is good for every tenant" \
    's/return tenant\[0\] == .* \? SCOPE_ALL : SCOPE_TENANT\(tenant\);/return SCOPE_ALL;/'
mutate P11 0 tailord storage/records/tenant_record.c "a revoked token is taken" \
    's/AND revoked_ms IS NULL//g; s/revoked_ms IS NULL AND//g'
mutate P17 1 tailord storage/records/blob_record.c "what a removed thing named stays for an hour" \
    's/UPDATE blobs SET created_ms = 0/UPDATE blobs SET bytes = bytes/'
mutate P17 1 tailord coordinator/blobs.c "the records' log is not emptied" \
    's/it->purges = true;/it->purges = false;/'
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
