/* SPDX-License-Identifier: Apache-2.0
 *
 * records_fixture: records in a directory of their own, with two tenants and what tests put there.
 */
#ifndef TAILOR_TESTS_RECORDS_FIXTURE_H
#define TAILOR_TESTS_RECORDS_FIXTURE_H

#include "lib/arena.h"
#include "lib/sha256.h"
#include "storage/records/job_record.h"
#include "storage/records/records.h"

enum { RECORDS_NOW_MS = 1700000000 };

struct records_fixture {
    char dir[64];
    char path[80];
    struct arena arena;
    struct records *records;
};

/* Opens dir/records.db and begins a transaction, in which acme and general are tenants. */
void records_fixture_open(struct records_fixture *fixture);
/* Commits, closes, opens again and begins. */
void records_fixture_reopen(struct records_fixture *fixture);
void records_fixture_close(struct records_fixture *fixture); /* and removes the directory */

/* Opens, or prints why not and returns NULL. */
struct records *records_fixture_open_path(const char *path);
enum status records_fixture_tenant(struct records *records, const char *name, struct error *error);
/* A job of `tenant`; key NULL: without a key. Labels: team=support. */
enum status records_fixture_submit(struct records *records, const char *tenant, const char *key,
                                   const char *spec, int64_t *id_out, bool *created_out,
                                   struct error *error);
/* The digest of `text` in `digest`, and a blob of it in the records. */
void records_fixture_blob(struct records_fixture *fixture, const char *tenant, const char *text,
                          char digest[SHA256_HEX_SIZE]);

#endif
