/* SPDX-License-Identifier: Apache-2.0
 *
 * table: rows for people and for programs from one description (-o table|json|jsonl|csv|yaml|name).
 *
 *     struct table *table = table_create("data", "accuracy", "interval");
 *     table_row(table, "custom", "0.761", "0.71 … 0.80");
 *     table_print(table, TABLE_FORMAT_TABLE, stdout);
 *
 * Cells are strings, copied. Columns whose cells are all numbers are right-aligned in tables and
 * unquoted in JSON. Width counts terminal columns (UTF-8), not bytes. Control characters are
 * shown as \xNN, so hostile text cannot drive a terminal.
 */
#ifndef TAILOR_LIB_TABLE_H
#define TAILOR_LIB_TABLE_H

#include <stdio.h>

#include "lib/status.h"

enum table_format {
    TABLE_FORMAT_TABLE,
    TABLE_FORMAT_JSON,
    TABLE_FORMAT_JSONL,
    TABLE_FORMAT_CSV,
    TABLE_FORMAT_YAML,
    TABLE_FORMAT_NAME /* first column only */
};

enum { TABLE_COLUMNS_MAX = 24 };

struct table;

struct table *table_create_columns(const char *const *names, int count);
#define table_create(...)                                                                          \
    table_create_columns((const char *const[]){__VA_ARGS__},                                       \
                         (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)))
void table_row_cells(struct table *table, const char *const *cells, int count);
#define table_row(table, ...)                                                                      \
    table_row_cells((table), (const char *const[]){__VA_ARGS__},                                   \
                    (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)))
void table_print(const struct table *table, enum table_format format, FILE *out);
void table_free(struct table *table);
/* "wide" is a table too: a caller that has more columns to show looks at the word itself. */
enum status table_format_parse(const char *name, enum table_format *format_out,
                               struct error *error);

#endif
