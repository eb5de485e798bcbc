/* SPDX-License-Identifier: Apache-2.0
 *
 * rows: a page of the lines that a job left, read from the store.
 *
 * A file of rows has the worst first where its rows have a margin, so the worst of all files are
 * among the first of each. A page in order is found by reading from the beginning: the files are
 * some megabytes, and nobody turns many pages. An answer has at most PAGE_BYTES_MAX.
 */
#include <stdlib.h>
#include <string.h>

#include "coordinator/state.h"
#include "coordinator/store.h"
#include "lib/check.h"
#include "lib/json.h"
#include "proto/message.h"

enum { FILES_MAX = 256 };

#define READ_BYTES     (256 * KIB)
#define PAGE_BYTES_MAX (8 * MIB)
#define PREFIX         "rows/"
#define SUFFIX         ".jsonl"

struct row {
    double margin;
    const char *text; /* in the arena */
};

struct reading {
    struct work work;
    struct rows_query query;
    struct arena *arena;
    Api__RowList *list;
    coordinator_done *done;
    void *argument;
    struct store *store;
    const char *names[FILES_MAX], *digests[FILES_MAX];
    int file_count;
    struct row *rows; /* at most 2 * PAGE_MAX of them */
    int64_t count, seen;
    size_t bytes;
    bool more;
};

/* ---- the files ------------------------------------------------------------------------------- */

static bool wanted(const struct reading *it, const char *name)
{
    size_t length = strlen(name), prefix = strlen(PREFIX), suffix = strlen(SUFFIX);
    if (length <= prefix + suffix || strncmp(name, PREFIX, prefix) != 0 ||
        strcmp(name + length - suffix, SUFFIX) != 0)
        return false;
    size_t own = length - prefix - suffix;
    return it->query.kind == NULL ||
           (strlen(it->query.kind) == own && strncmp(name + prefix, it->query.kind, own) == 0);
}

static void insert_file(struct reading *it, const char *name, const char *digest)
{
    int at = it->file_count++;
    for (; at > 0 && strcmp(it->names[at - 1], name) > 0; at--) {
        it->names[at] = it->names[at - 1];
        it->digests[at] = it->digests[at - 1];
    }
    it->names[at] = arena_strdup(it->arena, name);
    it->digests[at] = arena_strdup(it->arena, digest);
}

static enum status list_files(struct reading *it, struct error *error)
{
    struct buf text = {0};
    int64_t size;
    json_t *root = NULL;
    enum status status = store_read(it->store, it->query.tenant, it->query.manifest, false, 0,
                                    16 * MIB, &text, &size, error);
    if (status == STATUS_OK)
        status = json_read("the result", text.data, text.length, &root, error);
    buf_release(&text);
    const json_t *files = json_object_get(root, "files");
    for (size_t i = 0; status == STATUS_OK && i < json_array_size(files); i++) {
        const json_t *file = json_array_get(files, i);
        const char *name = json_string_value(json_object_get(file, "name"));
        const char *digest = json_string_value(json_object_get(file, "digest"));
        if (name != NULL && digest != NULL && wanted(it, name) && it->file_count < FILES_MAX)
            insert_file(it, name, digest);
    }
    json_decref(root);
    return status;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static double margin_of(const char *text, size_t length)
{
    json_t *json;
    double margin = 0;
    if (json_read("a row", text, length, &json, NULL) != STATUS_OK)
        return 0;
    json_get_f64(json, "margin", &margin, NULL);
    json_decref(json);
    return margin;
}

static int by_margin(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->margin != y->margin)
        return x->margin < y->margin ? -1 : 1;
    return 0;
}

/* Stable, so that rows without a margin keep their order. */
static void keep_worst(struct reading *it)
{
    for (int64_t i = 1; i < it->count; i++) {
        struct row row = it->rows[i];
        int64_t at = i;
        for (; at > 0 && by_margin(&it->rows[at - 1], &row) > 0; at--)
            it->rows[at] = it->rows[at - 1];
        it->rows[at] = row;
    }
    it->count = it->count < it->query.worst ? it->count : it->query.worst;
}

/* False: no more lines of this file are wanted. */
static bool take_line(struct reading *it, int64_t line, const char *text, size_t length)
{
    bool worst = it->query.worst > 0;
    if (!worst && it->seen++ < it->query.after)
        return true;
    if ((worst && line >= it->query.worst) || (!worst && it->count == it->query.limit) ||
        it->bytes + length > PAGE_BYTES_MAX) {
        it->more = true;
        return false;
    }
    it->bytes += length;
    it->rows[it->count++] =
        (struct row){worst ? margin_of(text, length) : 0, arena_strndup(it->arena, text, length)};
    return true;
}

static enum status read_file(struct reading *it, const char *digest, struct error *error)
{
    struct buf text = {0};
    int64_t offset = 0, size = 1, line = 0;
    enum status status = STATUS_OK;
    bool on = true;
    while (on && status == STATUS_OK && offset < size && text.length <= DATA_LINE_BYTES_MAX) {
        size_t before = text.length, begin = 0;
        status = store_read(it->store, it->query.tenant, digest, false, offset, READ_BYTES, &text,
                            &size, error);
        if (status != STATUS_OK || text.length == before)
            break;
        offset += (int64_t)(text.length - before);
        for (const char *end; on && (end = memchr(text.data + begin, '\n', text.length - begin));) {
            size_t length = (size_t)(end - (text.data + begin));
            on = length == 0 || take_line(it, line++, text.data + begin, length);
            begin += length + 1;
        }
        memmove(text.data, text.data + begin, text.length - begin);
        text.length -= begin;
    }
    buf_release(&text);
    return status;
}

/* ---- the work -------------------------------------------------------------------------------- */

static enum status rows_run(void *context, void *argument, struct error *error)
{
    struct reading *it = argument;
    it->store = context;
    it->file_count = 0;
    it->count = it->seen = 0;
    it->rows = arena_array(it->arena, struct row, 2 * PAGE_MAX);
    TRY(list_files(it, error));
    for (int i = 0; i < it->file_count; i++) {
        if (it->query.worst == 0 && it->more)
            break;
        TRY(read_file(it, it->digests[i], error));
        if (it->query.worst > 0)
            keep_worst(it);
    }
    it->list->n_rows = (size_t)it->count;
    it->list->rows = arena_array(it->arena, char *, it->count);
    for (int64_t i = 0; i < it->count; i++)
        it->list->rows[i] = (char *)it->rows[i].text; /* protobuf-c knows no const */
    it->list->has_next = it->query.worst == 0 && it->more;
    it->list->next = it->query.after + it->count;
    return STATUS_OK;
}

static void on_read(void *argument, enum status status, const struct error *error)
{
    struct reading *it = argument;
    it->done(it->argument, status, error);
    mem_free(it);
}

void coordinator_rows_read(struct coordinator *coordinator, const struct rows_query *query,
                           struct arena *arena, Api__RowList *list_out, coordinator_done *done,
                           void *argument)
{
    struct reading *it = mem_alloc(sizeof(*it));
    CHECK(query->worst <= PAGE_MAX && query->limit <= PAGE_MAX);
    *it = (struct reading){
        .work = {.kind = WORK_READ, .run = rows_run, .done = on_read, .argument = it},
        .query = *query,
        .arena = arena,
        .list = list_out,
        .done = done,
        .argument = argument};
    background_add(coordinator->store_thread, &it->work);
}
