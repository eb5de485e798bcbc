/* SPDX-License-Identifier: Apache-2.0
 *
 * report_rows: the groups that a model gets most wrong, over all sets.
 *
 * Two passes over the files: the margin of every line first, then the text of the few lines that
 * are shown. Keeping every parsed line would hold all texts of an evaluation in memory.
 *
 * Of a group the worst pair is shown. Texts of one prompt begin alike, so a table shows them from
 * where they differ; the other formats give them whole.
 */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/text.h"
#include "worker/trainer/report.h"
#include "worker/trainer/report_parts.h"

enum { PATH_BYTES_MAX = 4096, TEXT_SHOWN_BYTES = 56, CELL_BYTES_MAX = 32 };

/* One line of the rows of a set. */
struct place {
    double margin;
    size_t file; /* in order of name */
    int64_t line;
    json_t *json; /* owned; of the lines that are shown */
};

struct rows {
    const char *dir;
    struct arena arena;
    const char **files;
    size_t file_count;
    struct place *places; /* by file and line, then by margin */
    int64_t count, capacity;
    size_t file;   /* being read */
    int64_t shown; /* places[0 … shown) are wanted */
};

/* ---- the files ------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum status list_files(struct rows *rows, struct error *error)
{
    static const char suffix[] = ".jsonl";
    DIR *dir = opendir(rows->dir);
    if (dir == NULL && errno == ENOENT) {
        return error_set(error, STATUS_NOT_FOUND,
                         "%s: not there: rows are written when a run with evaluation sets ends",
                         rows->dir);
    }
    if (dir == NULL) {
        return error_set(error, STATUS_IO, "%s: cannot open: %s", rows->dir, strerror(errno));
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || length < sizeof(suffix) ||
            strcmp(entry->d_name + length - strlen(suffix), suffix) != 0) {
            continue;
        }
        rows->files = mem_grow(rows->files, sizeof(char *) * (rows->file_count + 1));
        rows->files[rows->file_count++] = arena_strdup(&rows->arena, entry->d_name);
    }
    closedir(dir);
    if (rows->file_count > 0) {
        qsort(rows->files, rows->file_count, sizeof(char *), compare_names);
    }
    return STATUS_OK;
}

static enum status visit_files(struct rows *rows, line_visitor *visit, struct error *error)
{
    for (rows->file = 0; rows->file < rows->file_count; rows->file++) {
        char path[PATH_BYTES_MAX];
        path_join(path, sizeof(path), rows->dir, rows->files[rows->file]);
        TRY(lines_visit(path, visit, rows, error));
    }
    return STATUS_OK;
}

/* ---- the two passes -------------------------------------------------------------------------- */

static enum status read_group(const struct rows *rows, int64_t line, const char *text,
                              size_t length, json_t **out, struct error *error)
{
    char where[PATH_BYTES_MAX];
    snprintf(where, sizeof(where), "%s, group %lld", rows->files[rows->file], (long long)line);
    json_t *json;
    TRY(json_read(where, text, length, &json, error));
    if (!isfinite(json_number_of(json, "margin"))) {
        json_decref(json);
        return error_set(error, STATUS_FORMAT, "%s: has no margin: it is no group", where);
    }
    *out = json;
    return STATUS_OK;
}

static enum status visit_margin(void *argument, int64_t line, const char *text, size_t length,
                                struct error *error)
{
    struct rows *rows = argument;
    json_t *json;
    TRY(read_group(rows, line, text, length, &json, error));
    if (rows->count == rows->capacity) {
        rows->capacity = rows->count > 0 ? 2 * rows->count : 1024;
        rows->places =
            mem_grow(rows->places, size_mul(sizeof(*rows->places), (size_t)rows->capacity));
    }
    rows->places[rows->count++] =
        (struct place){json_number_of(json, "margin"), rows->file, line, NULL};
    json_decref(json);
    return STATUS_OK;
}

static int compare_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->file != y->file) {
        return x->file < y->file ? -1 : 1;
    }
    return (x->line > y->line) - (x->line < y->line);
}

static int compare_margin(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->margin != y->margin) {
        return x->margin < y->margin ? -1 : 1;
    }
    return compare_place(a, b);
}

static enum status visit_text(void *argument, int64_t line, const char *text, size_t length,
                              struct error *error)
{
    struct rows *rows = argument;
    struct place wanted = {.file = rows->file, .line = line};
    struct place *place =
        bsearch(&wanted, rows->places, (size_t)rows->shown, sizeof(*rows->places), compare_place);
    return place == NULL ? STATUS_OK : read_group(rows, line, text, length, &place->json, error);
}

/* ---- one line of the table ------------------------------------------------------------------- */

/* The pair with the smallest r_i − r_j over s_i > s_j; false where there is none. */
static bool worst_pair(const json_t *rows, size_t *preferred_out, size_t *other_out)
{
    double worst = INFINITY;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *a = json_array_get(rows, i);
        for (size_t j = 0; j < json_array_size(rows); j++) {
            const json_t *b = json_array_get(rows, j);
            double d = json_number_of(a, "reward") - json_number_of(b, "reward");
            if (!(json_number_of(a, "score") > json_number_of(b, "score")) || !(d < worst)) {
                continue;
            }
            worst = d;
            *preferred_out = i;
            *other_out = j;
        }
    }
    return isfinite(worst);
}

static const char *shown_text(struct arena *arena, const char *text, size_t start,
                              enum table_format format)
{
    if (text == NULL || format != TABLE_FORMAT_TABLE) {
        return text != NULL ? text : "";
    }
    char line[TEXT_SHOWN_BYTES];
    size_t length = text_clean(text + start, line, sizeof(line));
    bool cut = strlen(text + start) > length;
    return arena_printf(arena, "%s%s%s", start > 0 ? "\xe2\x80\xa6 " : "", line,
                        cut ? " \xe2\x80\xa6" : "");
}

static void add_row(struct rows *rows, struct table *table, const json_t *group,
                    enum table_format format)
{
    const json_t *list = json_object_get(group, "rows"), *texts = json_object_get(group, "texts");
    char cells[6][CELL_BYTES_MAX] = {""};
    static const char *const counts[] = {"line", "pairs", "wrong"};
    for (int i = 0; i < 3; i++) {
        if (json_is_integer(json_object_get(group, counts[i]))) {
            snprintf(cells[i], CELL_BYTES_MAX, "%lld",
                     (long long)json_integer_value(json_object_get(group, counts[i])));
        }
    }
    snprintf(cells[3], CELL_BYTES_MAX, "%.4f", json_number_of(group, "margin"));
    size_t preferred = 0, other = 0, start = 0;
    const char *better = NULL, *worse = NULL, *set = json_text_of(group, "set");
    if (worst_pair(list, &preferred, &other)) {
        snprintf(cells[4], CELL_BYTES_MAX, "%.4f",
                 json_number_of(json_array_get(list, preferred), "reward"));
        snprintf(cells[5], CELL_BYTES_MAX, "%.4f",
                 json_number_of(json_array_get(list, other), "reward"));
        better = json_string_value(json_array_get(texts, preferred));
        worse = json_string_value(json_array_get(texts, other));
    }
    if (better != NULL && worse != NULL) {
        start = text_common_start(better, worse);
    }
    table_row(table, set != NULL ? set : "", cells[0], cells[1], cells[2], cells[3], cells[4],
              cells[5], shown_text(&rows->arena, better, start, format),
              shown_text(&rows->arena, worse, start, format));
}

static enum status rows_read(struct rows *rows, int worst, struct error *error)
{
    TRY(list_files(rows, error));
    TRY(visit_files(rows, visit_margin, error));
    if (rows->count == 0) {
        return STATUS_OK;
    }
    qsort(rows->places, (size_t)rows->count, sizeof(*rows->places), compare_margin);
    rows->shown = worst > 0 && worst < rows->count ? worst : rows->count;
    qsort(rows->places, (size_t)rows->shown, sizeof(*rows->places), compare_place);
    TRY(visit_files(rows, visit_text, error));
    qsort(rows->places, (size_t)rows->shown, sizeof(*rows->places), compare_margin);
    return STATUS_OK;
}

enum status report_rows(const char *run_dir, int worst, enum table_format format, FILE *out,
                        struct error *error)
{
    char dir[PATH_BYTES_MAX];
    path_join(dir, sizeof(dir), run_dir, "rows");
    struct rows rows = {.dir = dir};
    enum status status = rows_read(&rows, worst, error);
    if (status == STATUS_OK) {
        struct table *table =
            table_create("set", "line", "pairs", "wrong", "margin", "preferred_reward",
                         "other_reward", "preferred", "other");
        for (int64_t i = 0; i < rows.shown; i++) {
            if (rows.places[i].json != NULL) { /* NULL: the file changed between the passes */
                add_row(&rows, table, rows.places[i].json, format);
            }
        }
        table_print(table, format, out);
        table_free(table);
    }
    for (int64_t i = 0; i < rows.shown; i++) {
        json_decref(rows.places[i].json);
    }
    mem_free(rows.places);
    mem_free(rows.files);
    arena_release(&rows.arena);
    return status;
}
