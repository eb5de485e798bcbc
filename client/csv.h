/* SPDX-License-Identifier: Apache-2.0
 *
 * csv: a table with a header, as spreadsheets write it (RFC 4180): commas, quotes with "" inside,
 * line feeds within quotes, CRLF or LF, a byte order mark.
 *
 *     struct csv csv;
 *     TRY(csv_read(&arena, "tenants.csv", 10000, &csv, error));
 *     for (int i = 0; i < csv.row_count; i++)
 *         use(csv.columns[0], csv.rows[i].cells[0], csv.rows[i].line);
 *
 * Blanks belong to a cell; empty lines are no rows. Every row has a cell for each column, and
 * columns have names that differ. What breaks this is STATUS_FORMAT, with up to a few lines of it.
 */
#ifndef TAILOR_CLIENT_CSV_H
#define TAILOR_CLIENT_CSV_H

#include <stddef.h>

#include "lib/arena.h"
#include "lib/status.h"

enum { CSV_COLUMNS_MAX = 256, CSV_BYTES_MAX = 64 << 20 };

struct csv_row {
    const char **cells; /* one for each column */
    int line;           /* where it begins; the header's is 1 */
};

struct csv {
    const char **columns;
    int column_count;
    struct csv_row *rows;
    int row_count;
};

enum status csv_read(struct arena *arena, const char *path, int rows_max, struct csv *csv_out,
                     struct error *error);
enum status csv_parse(struct arena *arena, const char *name, const char *text, size_t length,
                      int rows_max, struct csv *csv_out, struct error *error);

#endif
