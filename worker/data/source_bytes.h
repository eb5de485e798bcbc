/* SPDX-License-Identifier: Apache-2.0
 *
 * source_bytes: the bytes of a data file, decompressed, a window at a time.
 *
 * Plain, .gz and .zst are told apart by their first bytes, never by the name. Memory is bounded by
 * the window and by zstd's own window limit (128 MiB); the decompressed size by
 * DATA_FILE_BYTES_MAX. What is recognised but cannot be read here (Parquet, Arrow, pickles, torch
 * files, UTF-16, …) is STATUS_UNSUPPORTED with the one line that converts it.
 */
#ifndef TAILOR_WORKER_DATA_SOURCE_BYTES_H
#define TAILOR_WORKER_DATA_SOURCE_BYTES_H

#include <stddef.h>

#include "lib/status.h"

struct source_bytes;

/* Regular files only: a FIFO would hang. */
enum status source_bytes_open(const char *path, struct source_bytes **bytes_out,
                              struct error *error);
void source_bytes_close(struct source_bytes *bytes); /* NULL is fine */

/* The next window, borrowed until the next call; *size_out is 0 at the end of the file. */
enum status source_bytes_next(struct source_bytes *bytes, const char **data_out, size_t *size_out,
                              struct error *error);

#endif
