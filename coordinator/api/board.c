/* SPDX-License-Identifier: Apache-2.0
 *
 * When a worker was last seen is no change: it moves for all of them with each heartbeat, and of a
 * live one it says nothing. Neither is the uptime.
 */
#include "coordinator/api/board.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/api/sse.h"
#include "lib/check.h"
#include "lib/limits.h"
#include "lib/map.h"
#include "proto/message_json.h"
#include "storage/records/blob_record.h"

#define BOARD_BYTES (128 * KIB) /* of the workers in one message, and one row more */
enum { GONE_TURNS = 300 /* that a worker which was forgotten is remembered: ten minutes */ };

struct row {
    int64_t id, number;
    uint64_t look;
    char *json;   /* NULL: it is gone */
    int64_t turn; /* when it was last there */
};

struct board {
    struct api *api;
    int64_t refreshed_ms, turn, number; /* of the newest change */
    struct row cluster;
    struct row *workers;
    size_t count, capacity;
    bool reading;
    int64_t store_bytes;
    void (*changed)(struct api *api);
};

/* ---- rows ------------------------------------------------------------------------------------ */

/* `field`, which alone is no change, is not looked at. */
static uint64_t look_of(ProtobufCMessage *message, protobuf_c_boolean *field)
{
    struct buf json = {0};
    protobuf_c_boolean had = *field;
    *field = false;
    message_to_json(message, &json);
    *field = had;
    uint64_t look = hash_bytes(json.data, json.length, 3);
    buf_release(&json);
    return look;
}

static void row_set(struct board *board, struct row *row, const ProtobufCMessage *message,
                    uint64_t look)
{
    struct buf json = {0};
    row->turn = board->turn;
    if (row->json != NULL && row->look == look)
        return;
    message_to_json(message, &json);
    mem_free(row->json);
    row->json = mem_strdup(json.data);
    row->look = look;
    row->number = ++board->number;
    buf_release(&json);
}

static struct row *worker_row(struct board *board, int64_t id)
{
    for (size_t i = 0; i < board->count; i++)
        if (board->workers[i].id == id)
            return &board->workers[i];
    if (board->count == board->capacity) {
        board->capacity = board->capacity != 0 ? 2 * board->capacity : 16;
        board->workers =
            mem_grow(board->workers, size_mul(board->capacity, sizeof(*board->workers)));
    }
    board->workers[board->count] = (struct row){.id = id};
    return &board->workers[board->count++];
}

/* Who was not there this time is gone. */
static void find_gone(struct board *board)
{
    size_t kept = 0;
    for (size_t i = 0; i < board->count; i++) {
        struct row *row = &board->workers[i];
        if (row->turn != board->turn && row->json != NULL) {
            mem_free(row->json);
            row->json = NULL;
            row->number = ++board->number;
        }
        if (board->turn - row->turn < GONE_TURNS)
            board->workers[kept++] = *row;
    }
    board->count = kept;
}

/* ---- refreshing ------------------------------------------------------------------------------ */

static enum status read_store(struct records *records, void *argument, struct error *error)
{
    struct board *board = argument;
    return blob_record_bytes(records, &board->store_bytes, error);
}

static void on_store(void *argument, enum status status, const struct error *error)
{
    struct board *board = argument;
    struct coordinator *coordinator = board->api->coordinator;
    struct arena arena = {0};
    Api__ClusterStatus *cluster = message_new(&arena, &api__cluster_status__descriptor);
    Api__WorkerList *workers = message_new(&arena, &api__worker_list__descriptor);
    (void)error;
    board->reading = false;
    board->turn++;
    coordinator_status(coordinator, &arena, cluster);
    cluster->has_store_bytes = status == STATUS_OK;
    cluster->store_bytes = board->store_bytes;
    row_set(board, &board->cluster, &cluster->base,
            look_of(&cluster->base, &cluster->has_uptime_ms));
    coordinator_workers(coordinator, &arena, 0, workers);
    for (size_t i = 0; i < workers->n_workers; i++) {
        Api__Worker *worker = workers->workers[i];
        row_set(board, worker_row(board, worker->id), &worker->base,
                look_of(&worker->base, &worker->has_last_seen_ms));
    }
    find_gone(board);
    arena_release(&arena);
    board->changed(board->api);
}

void board_refresh(struct board *board, void (*changed)(struct api *api))
{
    int64_t now_ms = coordinator_now_ms();
    if (board->reading || now_ms < board->refreshed_ms + BOARD_MS)
        return;
    board->refreshed_ms = now_ms;
    board->reading = true;
    board->changed = changed;
    coordinator_read(board->api->coordinator, read_store, on_store, board);
}

struct board *board_create(struct api *api)
{
    struct board *board = mem_alloc(sizeof(*board));
    board->api = api;
    return board;
}

void board_free(struct board *board)
{
    for (size_t i = 0; i < board->count; i++)
        mem_free(board->workers[i].json);
    mem_free(board->workers);
    mem_free(board->cluster.json);
    mem_free(board);
}

/* ---- writing --------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    const struct row *const *x = a, *const *y = b;
    return ((*x)->number > (*y)->number) - ((*x)->number < (*y)->number);
}

static void write_rows(const struct row *const *rows, size_t count, struct evbuffer *out)
{
    struct buf text = {0};
    char id[IDENT_TEXT_MAX];
    const char *comma = "";
    buf_append_string(&text, "{\"workers\":[");
    for (size_t i = 0; i < count; i++) {
        if (rows[i]->json == NULL)
            continue;
        buf_printf(&text, "%s%s", comma, rows[i]->json);
        comma = ",";
    }
    buf_append_string(&text, "],\"gone\":[");
    comma = "";
    for (size_t i = 0; i < count; i++) {
        if (rows[i]->json != NULL)
            continue;
        ident_format(IDENT_WORKER, rows[i]->id, id);
        buf_printf(&text, "%s\"%s\"", comma, id);
        comma = ",";
    }
    buf_append_string(&text, "]}");
    sse_write(out, "workers", 0, text.data, text.length);
    buf_release(&text);
}

static size_t as_many_as_fit(const struct row *const *rows, size_t count)
{
    size_t bytes = 0, fit = 0;
    while (fit < count && bytes < BOARD_BYTES)
        bytes += rows[fit]->json != NULL ? strlen(rows[fit]->json) : IDENT_TEXT_MAX, fit++;
    return fit;
}

/* The oldest changes first, so that the cursor leaves none behind. */
static bool write_workers(const struct board *board, struct board_cursor *cursor,
                          struct evbuffer *out)
{
    const struct row **rows = mem_alloc(size_mul(board->count + 1, sizeof(struct row *)));
    size_t count = 0;
    for (size_t i = 0; i < board->count; i++)
        if (board->workers[i].number > cursor->workers)
            rows[count++] = &board->workers[i];
    qsort(rows, count, sizeof(*rows), by_number);
    count = as_many_as_fit(rows, count);
    if (count > 0) {
        write_rows(rows, count, out);
        cursor->workers = rows[count - 1]->number;
    }
    mem_free(rows);
    return count > 0;
}

bool board_write(const struct board *board, bool admin, struct board_cursor *cursor,
                 struct evbuffer *out)
{
    bool any = board->cluster.number > cursor->cluster;
    if (any) {
        sse_write(out, "cluster", 0, board->cluster.json, strlen(board->cluster.json));
        cursor->cluster = board->cluster.number;
    }
    return (admin && write_workers(board, cursor, out)) || any;
}
