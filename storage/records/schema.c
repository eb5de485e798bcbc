/* SPDX-License-Identifier: Apache-2.0
 *
 * The schema as the steps that led to it. A step that was released is never changed: a new one is
 * added behind it. Columns are named like the fields of proto/api.proto, and enums are their
 * numbers. Tables are STRICT: a text does not slip into a number's column.
 *
 * Ids are AUTOINCREMENT: the id of a row that was deleted is not given away again. What belongs to
 * a tenant says so in its own row, so that no statement needs a join to be kept within a tenant.
 */
#include <stddef.h>

#include "storage/records/records_parts.h"

static const char *const MIGRATIONS[] = {
    /* 1: tenants and all that they own */
    "CREATE TABLE cluster (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL,"
    "  epoch INTEGER NOT NULL, created_ms INTEGER NOT NULL) STRICT;"

    "CREATE TABLE tenants (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
    "  title TEXT, created_ms INTEGER NOT NULL, weight REAL, running_slots_max INTEGER,"
    "  queued_jobs_max INTEGER, bytes_max INTEGER, slot_hours_month_max INTEGER) STRICT;"

    /* Of a secret only its digest is kept; the old one is taken until old_until_ms. */
    "CREATE TABLE tokens (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT REFERENCES"
    "  tenants (name), name TEXT NOT NULL, role INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    "  expires_ms INTEGER, revoked_ms INTEGER, secret_digest TEXT NOT NULL UNIQUE,"
    "  old_digest TEXT UNIQUE, old_until_ms INTEGER) STRICT;"

    "CREATE TABLE queues (name TEXT PRIMARY KEY, priority INTEGER NOT NULL,"
    "  paused INTEGER NOT NULL, pause_reason TEXT) STRICT, WITHOUT ROWID;"
    "INSERT INTO queues (name, priority, paused) VALUES ('default', 0, 0);"

    "CREATE TABLE batches (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL REFERENCES"
    "  tenants (name), name TEXT NOT NULL, created_ms INTEGER NOT NULL, max_running INTEGER,"
    "  cancel_requested INTEGER, recipe TEXT NOT NULL, UNIQUE (tenant, name)) STRICT;"

    "CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL REFERENCES"
    "  tenants (name), name TEXT, stage INTEGER NOT NULL, state INTEGER NOT NULL,"
    "  state_since_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL, started_ms INTEGER,"
    "  finished_ms INTEGER, submitter TEXT, queue TEXT NOT NULL, pool TEXT,"
    "  priority INTEGER NOT NULL, waiting_reason INTEGER, waiting_detail TEXT,"
    "  waiting_since_ms INTEGER, failure_class INTEGER, failure_message TEXT, failure_hint TEXT,"
    "  failure_rank INTEGER, failure_log TEXT, term INTEGER NOT NULL DEFAULT 0,"
    "  batch_id INTEGER REFERENCES batches (id), batch_row INTEGER, spec_digest TEXT NOT NULL,"
    "  numerics TEXT, step INTEGER, steps_total INTEGER, \"from\" TEXT, from_digest TEXT,"
    "  output_model TEXT, output_version INTEGER, gate_decision INTEGER, gate_figures TEXT,"
    "  ranks INTEGER, min_ranks INTEGER, preemptible INTEGER, not_before_ms INTEGER,"
    "  max_attempts INTEGER, cancel_requested INTEGER, pause_requested INTEGER) STRICT;"
    "CREATE INDEX jobs_of_tenant ON jobs (tenant, id);"
    "CREATE INDEX jobs_of_batch ON jobs (batch_id) WHERE batch_id IS NOT NULL;"
    "CREATE INDEX jobs_active ON jobs (id) WHERE state < 8;"
    /* Apart: a list of jobs does not read their specs. */
    "CREATE TABLE job_specs (job_id INTEGER PRIMARY KEY REFERENCES jobs (id), spec TEXT NOT NULL)"
    "  STRICT;"
    "CREATE TABLE job_labels (job_id INTEGER NOT NULL REFERENCES jobs (id), key TEXT NOT NULL,"
    "  value TEXT NOT NULL, PRIMARY KEY (job_id, key)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE job_after (job_id INTEGER NOT NULL REFERENCES jobs (id), after_id INTEGER NOT"
    "  NULL REFERENCES jobs (id), PRIMARY KEY (job_id, after_id)) STRICT, WITHOUT ROWID;"
    /* What a job reads: kind is api.proto's ObjectKind; version 0 for a base. */
    "CREATE TABLE job_inputs (job_id INTEGER NOT NULL REFERENCES jobs (id), kind INTEGER NOT NULL,"
    "  tenant TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,"
    "  PRIMARY KEY (job_id, kind, tenant, name, version)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX job_inputs_of_object ON job_inputs (kind, tenant, name, version);"
    "CREATE TABLE idempotency (tenant TEXT NOT NULL, key TEXT NOT NULL, body_digest TEXT NOT NULL,"
    "  job_id INTEGER NOT NULL REFERENCES jobs (id), created_ms INTEGER NOT NULL,"
    "  PRIMARY KEY (tenant, key)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE attempts (job_id INTEGER NOT NULL REFERENCES jobs (id), term INTEGER NOT NULL,"
    "  state INTEGER NOT NULL, reason TEXT, created_ms INTEGER NOT NULL, started_ms INTEGER,"
    "  finished_ms INTEGER, numerics TEXT, first_step INTEGER, last_step INTEGER,"
    "  failure_class INTEGER, failure_message TEXT, sequence INTEGER NOT NULL DEFAULT 0,"
    "  PRIMARY KEY (job_id, term)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE workers (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, host TEXT,"
    "  pool TEXT, state INTEGER NOT NULL, version TEXT, numerics TEXT, cores INTEGER,"
    "  memory_bytes INTEGER, slots INTEGER, gpus INTEGER, created_ms INTEGER NOT NULL,"
    "  last_seen_ms INTEGER, public_key TEXT NOT NULL UNIQUE) STRICT;"
    "CREATE TABLE worker_labels (worker_id INTEGER NOT NULL REFERENCES workers (id), key TEXT NOT"
    "  NULL, value TEXT NOT NULL, PRIMARY KEY (worker_id, key)) STRICT, WITHOUT ROWID;"
    /* No reference to workers: a worker may be forgotten, its past not. */
    "CREATE TABLE attempt_ranks (job_id INTEGER NOT NULL, term INTEGER NOT NULL, rank INTEGER NOT"
    "  NULL, worker_id INTEGER NOT NULL, worker TEXT NOT NULL, slot INTEGER NOT NULL,"
    "  PRIMARY KEY (job_id, term, rank), FOREIGN KEY (job_id, term) REFERENCES attempts (job_id,"
    "  term)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE checkpoints (job_id INTEGER NOT NULL, term INTEGER NOT NULL, step INTEGER NOT"
    "  NULL, tenant TEXT NOT NULL, manifest TEXT NOT NULL, bytes INTEGER NOT NULL,"
    "  created_ms INTEGER NOT NULL, best INTEGER, figures TEXT, PRIMARY KEY (job_id, step),"
    "  FOREIGN KEY (tenant, manifest) REFERENCES blobs (tenant, digest)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE batch_rows (batch_id INTEGER NOT NULL REFERENCES batches (id), row INTEGER NOT"
    "  NULL, tenant TEXT, state INTEGER NOT NULL, job_id INTEGER REFERENCES jobs (id),"
    "  spec_digest TEXT, error TEXT, \"values\" TEXT, PRIMARY KEY (batch_id, row)) STRICT,"
    "  WITHOUT ROWID;"

    /* A blob of no tenant (a base's) has the tenant ''. */
    "CREATE TABLE blobs (tenant TEXT NOT NULL, digest TEXT NOT NULL, bytes INTEGER NOT NULL,"
    "  created_ms INTEGER NOT NULL, PRIMARY KEY (tenant, digest)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE blob_parts (tenant TEXT NOT NULL, manifest TEXT NOT NULL, digest TEXT NOT NULL,"
    "  PRIMARY KEY (tenant, manifest, digest),"
    "  FOREIGN KEY (tenant, manifest) REFERENCES blobs (tenant, digest) ON DELETE CASCADE)"
    "  STRICT, WITHOUT ROWID;"
    "CREATE TABLE blob_pins (tenant TEXT NOT NULL, digest TEXT NOT NULL, owner TEXT NOT NULL,"
    "  until_ms INTEGER NOT NULL, PRIMARY KEY (tenant, digest, owner)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE bases (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
    "  manifest TEXT, state INTEGER NOT NULL, architecture TEXT, parameters INTEGER,"
    "  bytes INTEGER, template TEXT, created_ms INTEGER NOT NULL, job_id INTEGER, message TEXT)"
    "  STRICT;"
    "CREATE TABLE datasets (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL REFERENCES"
    "  tenants (name), name TEXT NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL,"
    "  state INTEGER NOT NULL, groups INTEGER, bytes INTEGER, created_ms INTEGER NOT NULL,"
    "  job_id INTEGER, message TEXT, report TEXT, file TEXT, UNIQUE (tenant, name, version))"
    "  STRICT;"
    "CREATE TABLE models (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL REFERENCES"
    "  tenants (name), name TEXT NOT NULL, created_ms INTEGER NOT NULL, latest INTEGER NOT NULL,"
    "  UNIQUE (tenant, name)) STRICT;"
    "CREATE TABLE model_versions (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL,"
    "  model TEXT NOT NULL, version INTEGER NOT NULL, manifest TEXT NOT NULL, bytes INTEGER,"
    "  created_ms INTEGER NOT NULL, job_id INTEGER, stage INTEGER, parent TEXT, parent_digest TEXT,"
    "  base_model TEXT, spec_digest TEXT, data_digest TEXT, numerics TEXT, template TEXT,"
    "  adapter INTEGER, figures TEXT, gate_decision INTEGER, UNIQUE (tenant, model, version),"
    "  FOREIGN KEY (tenant, model) REFERENCES models (tenant, name),"
    "  FOREIGN KEY (tenant, manifest) REFERENCES blobs (tenant, digest)) STRICT;"
    "CREATE INDEX model_versions_of_parent ON model_versions (parent);"
    "CREATE TABLE aliases (tenant TEXT NOT NULL, model TEXT NOT NULL, name TEXT NOT NULL,"
    "  version INTEGER NOT NULL, moved_ms INTEGER NOT NULL, job_id INTEGER, \"by\" TEXT,"
    "  PRIMARY KEY (tenant, model, name), FOREIGN KEY (tenant, model, version) REFERENCES"
    "  model_versions (tenant, model, version)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE alias_moves (number INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL,"
    "  model TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, moved_ms INTEGER NOT"
    "  NULL, job_id INTEGER, \"by\" TEXT) STRICT;"
    "CREATE INDEX alias_moves_of_model ON alias_moves (tenant, model);"
    "CREATE TABLE shares (tenant TEXT NOT NULL REFERENCES tenants (name), kind INTEGER NOT NULL,"
    "  name TEXT NOT NULL, grantee TEXT NOT NULL, \"right\" INTEGER NOT NULL,"
    "  created_ms INTEGER NOT NULL, PRIMARY KEY (tenant, kind, name, grantee)) STRICT,"
    "  WITHOUT ROWID;",

    /* 2: what happened, who did it, who used how much */
    "CREATE TABLE events (number INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL,"
    "  tenant TEXT, job_id INTEGER, term INTEGER, kind TEXT NOT NULL, severity INTEGER NOT NULL,"
    "  message TEXT NOT NULL, data TEXT) STRICT;"
    "CREATE INDEX events_of_job ON events (job_id, number) WHERE job_id IS NOT NULL;"
    "CREATE TABLE audit (number INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL,"
    "  tenant TEXT, actor TEXT NOT NULL, action TEXT NOT NULL, object TEXT, result TEXT NOT NULL,"
    "  address TEXT) STRICT;"
    "CREATE TRIGGER audit_is_append_only_1 BEFORE UPDATE ON audit"
    "  BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;"
    "CREATE TRIGGER audit_is_append_only_2 BEFORE DELETE ON audit"
    "  BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;"
    /* Slot time of a tenant ('' is idle capacity) within one period. */
    "CREATE TABLE usage (tenant TEXT NOT NULL, begin_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,"
    "  slot_ms INTEGER NOT NULL, productive_slot_ms INTEGER NOT NULL, jobs INTEGER NOT NULL,"
    "  PRIMARY KEY (begin_ms, tenant)) STRICT, WITHOUT ROWID;",

    /* 3: a batch's row is known by its key, not by its place in the table (no row was ever written
     * before) */
    "DROP TABLE batch_rows;"
    "CREATE TABLE batch_rows (id INTEGER PRIMARY KEY AUTOINCREMENT, batch_id INTEGER NOT NULL"
    "  REFERENCES batches (id), key TEXT NOT NULL, row INTEGER NOT NULL, tenant TEXT,"
    "  state INTEGER NOT NULL, job_id INTEGER REFERENCES jobs (id), spec_digest TEXT, error TEXT,"
    "  \"values\" TEXT, UNIQUE (batch_id, key)) STRICT;",

    /* 4: shards, which are jobs, and what a job leaves besides a model */
    "ALTER TABLE jobs ADD COLUMN shard_of INTEGER REFERENCES jobs (id);"
    "ALTER TABLE jobs ADD COLUMN shard INTEGER;"
    "ALTER TABLE jobs ADD COLUMN shards INTEGER;"
    "CREATE INDEX jobs_of_whole ON jobs (shard_of, shard) WHERE shard_of IS NOT NULL;"
    "CREATE TABLE results (job_id INTEGER PRIMARY KEY REFERENCES jobs (id), tenant TEXT NOT NULL,"
    "  manifest TEXT NOT NULL, bytes INTEGER NOT NULL, figures TEXT, created_ms INTEGER NOT NULL,"
    "  FOREIGN KEY (tenant, manifest) REFERENCES blobs (tenant, digest)) STRICT;",

    /* 5: up to which number events may have been removed */
    "CREATE TABLE event_cut (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL)"
    "  STRICT;"
    "INSERT INTO event_cut (one, number) VALUES (1, 0);",

    /* 6: jobs whose log files quote data that were removed, until those files are gone */
    "CREATE TABLE stale_logs (job_id INTEGER PRIMARY KEY REFERENCES jobs (id)) STRICT;",

    /* 7: who is told of events. The secret signs, so it is kept itself, not its digest. */
    "CREATE TABLE webhooks (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL REFERENCES"
    "  tenants (name), url TEXT NOT NULL, events TEXT, created_ms INTEGER NOT NULL,"
    "  secret TEXT NOT NULL, event_number INTEGER NOT NULL, delivered INTEGER NOT NULL,"
    "  failed_attempts INTEGER NOT NULL, tried_ms INTEGER, next_ms INTEGER, status_code INTEGER,"
    "  cause TEXT, stopped_ms INTEGER) STRICT;"
    "CREATE INDEX webhooks_of_tenant ON webhooks (tenant, id);",
};

const char *schema_migration(int version)
{
    int count = (int)(sizeof(MIGRATIONS) / sizeof(MIGRATIONS[0]));
    return version < count ? MIGRATIONS[version] : NULL;
}
