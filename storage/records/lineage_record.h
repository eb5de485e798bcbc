/* SPDX-License-Identifier: Apache-2.0
 *
 * lineage_record: from a model's manifest to what it stands on, for who has to bring it all to a
 * machine.
 */
#ifndef TAILOR_STORAGE_RECORDS_LINEAGE_RECORD_H
#define TAILOR_STORAGE_RECORDS_LINEAGE_RECORD_H

#include "lib/sha256.h"
#include "storage/records/records.h"

/* The manifest of the version's parent; *found_out false: it is of no version, or has no parent. */
enum status lineage_record_parent(struct records *records, const char *manifest, bool *found_out,
                                  char parent_out[SHA256_HEX_SIZE], struct error *error);

#endif
