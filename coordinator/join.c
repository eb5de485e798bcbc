/* SPDX-License-Identifier: Apache-2.0
 *
 * Two threads in turn: the store's removes the file, then the database's writes the row, then the
 * loop lets the new key in. A second hello with the same key waits for the first one's end and gets
 * the same answer: a Welcome may be lost.
 */
#include "coordinator/join.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/change.h"
#include "lib/check.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"
#include "storage/records/worker_record.h"

#define PREFIX          "join-"
#define EXPIRES_MAX     (30LL * 24 * 3600 * 1000)
#define EXPIRES_DEFAULT (24LL * 3600 * 1000)

struct join {
    int64_t id; /* of its identity: counted in memory */
    uint8_t key[CURVE_KEY_SIZE];
    char pool[NAME_BYTES_MAX + 1];
    int64_t expires_ms;
    bool busy;
    uint8_t own_key[CURVE_KEY_SIZE]; /* of the worker that it became */
    int64_t worker;                  /* 0: not used */
};

struct joins {
    struct coordinator *coordinator;
    struct join **items;
    uint32_t count, capacity;
    int64_t last_id;
};

static void join_path(const struct coordinator *coordinator, const uint8_t *key, char *out)
{
    char digits[2 * CURVE_KEY_SIZE + 1];
    hex_format(key, CURVE_KEY_SIZE, digits);
    CHECK(snprintf(out, PATH_MAX, "%s/keys/" PREFIX "%s", coordinator->data, digits) < PATH_MAX);
}

static struct join *join_add(struct joins *joins, const uint8_t *key, const char *pool,
                             int64_t expires_ms)
{
    if (joins->count == joins->capacity) {
        joins->capacity = joins->capacity != 0 ? 2 * joins->capacity : 8;
        joins->items = mem_grow(joins->items, size_mul(joins->capacity, sizeof(*joins->items)));
    }
    struct join *join = mem_alloc(sizeof(*join));
    *join = (struct join){.id = ++joins->last_id, .expires_ms = expires_ms};
    memcpy(join->key, key, CURVE_KEY_SIZE);
    snprintf(join->pool, sizeof(join->pool), "%s", pool);
    joins->items[joins->count++] = join;
    keys_put(joins->coordinator->keys, key, (struct identity){IDENTITY_JOIN, join->id});
    return join;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* "expires pool" */
static void read_file(struct joins *joins, const char *name)
{
    uint8_t key[CURVE_KEY_SIZE];
    char path[PATH_MAX];
    struct buf text = {0};
    int64_t expires_ms = 0;
    const char *digits = name + strlen(PREFIX);
    if (strlen(digits) != 2 * CURVE_KEY_SIZE || !hex_parse(digits, CURVE_KEY_SIZE, key))
        return;
    join_path(joins->coordinator, key, path);
    if (file_read(path, 256, &text, NULL) == STATUS_OK && text.length > 0) {
        char *space = strchr(text.data, ' ');
        if (space != NULL) {
            *space = '\0';
            if (parse_i64(text.data, &expires_ms) && name_is_valid(space + 1, strlen(space + 1)))
                join_add(joins, key, space + 1, expires_ms);
        }
    }
    buf_release(&text);
}

struct joins *joins_open(struct coordinator *coordinator)
{
    char path[PATH_MAX];
    struct joins *joins = mem_alloc(sizeof(*joins));
    *joins = (struct joins){.coordinator = coordinator};
    path_join(path, sizeof(path), coordinator->data, "keys");
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0)
            read_file(joins, entry->d_name);
    if (dir != NULL)
        closedir(dir);
    return joins;
}

void joins_close(struct joins *joins)
{
    for (uint32_t i = 0; i < joins->count; i++)
        mem_free(joins->items[i]);
    mem_free(joins->items);
    mem_free(joins);
}

/* ---- a new token ----------------------------------------------------------------------------- */

struct making {
    struct work work;
    struct coordinator *coordinator;
    struct key_pair pair;
    char pool[NAME_BYTES_MAX + 1];
    int64_t expires_ms;
    char path[PATH_MAX];
    char *token;
    coordinator_done *done;
    void *argument;
};

static enum status make_file(void *context, void *argument, struct error *error)
{
    struct making *making = argument;
    char text[128];
    (void)context;
    int length = snprintf(text, sizeof(text), "%" PRId64 " %s", making->expires_ms, making->pool);
    return file_write_atomic(making->path, text, (size_t)length, error);
}

static void on_made(void *argument, enum status status, const struct error *error)
{
    struct making *making = argument;
    struct coordinator *coordinator = making->coordinator;
    if (status == STATUS_OK) {
        struct join_token token = {0};
        join_add(coordinator->joins, making->pair.public, making->pool, making->expires_ms);
        memcpy(token.server_key, coordinator->key.public, CURVE_KEY_SIZE);
        memcpy(token.secret, making->pair.secret, CURVE_KEY_SIZE);
        snprintf(token.address, sizeof(token.address), "%s",
                 coordinator->options.advertise != NULL ? coordinator->options.advertise
                                                        : coordinator->address);
        join_token_format(&token, making->token);
    }
    making->done(making->argument, status, error);
    mem_free(making);
}

void coordinator_join_token(struct coordinator *coordinator, const char *pool, int64_t expires_ms,
                            char *token, coordinator_done *done, void *argument)
{
    struct making *making = mem_alloc(sizeof(*making));
    int64_t now = now_read(coordinator);
    *making = (struct making){
        .work = {.kind = WORK_WRITE, .run = make_file, .done = on_made, .argument = making},
        .coordinator = coordinator,
        .expires_ms =
            expires_ms > now && expires_ms < now + EXPIRES_MAX ? expires_ms : now + EXPIRES_DEFAULT,
        .token = token,
        .done = done,
        .argument = argument};
    snprintf(making->pool, sizeof(making->pool), "%s", pool != NULL ? pool : "default");
    key_pair_make(&making->pair);
    join_path(coordinator, making->pair.public, making->path);
    background_add(coordinator->store_thread, &making->work);
}

/* ---- using it -------------------------------------------------------------------------------- */

struct joining {
    struct work work;
    struct joins *joins;
    struct join *join;
    struct identity from;
    Api__Worker *row;
    struct arena arena;
    char path[PATH_MAX];
    join_done *done;
};

static void joining_end(struct joining *joining, enum status status, const struct error *error)
{
    joining->join->busy = false;
    joining->done(joining->joins->coordinator, joining->from, joining->join->worker, status, error);
    arena_release(&joining->arena);
    mem_free(joining);
}

static enum status write_row(void *context, void *argument, struct error *error)
{
    struct joining *joining = argument;
    TRY(worker_record_put(context, joining->row, &joining->row->id, error));
    joining->row->has_id = true;
    return STATUS_OK;
}

static void on_row(void *argument, enum status status, const struct error *error)
{
    struct joining *joining = argument;
    struct coordinator *coordinator = joining->joins->coordinator;
    if (status == STATUS_OK && member_find(coordinator, joining->row->id) == NULL) {
        member_add(coordinator, joining->row);
        keys_put(coordinator->keys, joining->join->own_key, worker_identity(joining->row->id));
        struct change *change = change_begin(coordinator);
        change_event(change, NULL, "worker_joined", API__SEVERITY__SEVERITY_INFO,
                     "worker %s of %s joined", joining->row->name, joining->row->host);
        change_commit(change, NULL, NULL);
    }
    if (status == STATUS_OK)
        joining->join->worker = joining->row->id;
    joining_end(joining, status, error);
}

static enum status remove_file(void *context, void *argument, struct error *error)
{
    struct joining *joining = argument;
    char dir[PATH_MAX];
    (void)context;
    if (unlink(joining->path) != 0)
        return error_set(error, STATUS_DENIED, "this join token was used before");
    snprintf(dir, sizeof(dir), "%s/keys", joining->joins->coordinator->data);
    return dir_fsync(dir, error);
}

static void on_removed(void *argument, enum status status, const struct error *error)
{
    struct joining *joining = argument;
    struct coordinator *coordinator = joining->joins->coordinator;
    if (status != STATUS_OK || coordinator->closing) {
        joining_end(joining, status != STATUS_OK ? status : STATUS_CANCELLED, error);
        return;
    }
    joining->work.kind = WORK_MUST;
    joining->work.run = write_row;
    joining->work.done = on_row;
    background_add(coordinator->database, &joining->work);
}

static Api__Worker *row_of(struct arena *arena, const Wire__Hello *hello, const char *pool,
                           int64_t now_ms)
{
    char key[41];
    Api__Worker *row = message_new(arena, &api__worker__descriptor);
    key_z85(hello->public_key.data, key);
    row->public_key = arena_strdup(arena, key);
    row->name = arena_strdup(arena, hello->name != NULL ? hello->name : "worker");
    row->host = arena_strdup(arena, hello->host != NULL ? hello->host : "?");
    row->pool = arena_strdup(arena, pool);
    row->version = hello->software != NULL ? arena_strdup(arena, hello->software) : NULL;
    row->has_created_ms = row->has_state = true;
    row->created_ms = now_ms;
    row->state = API__WORKER_STATE__WORKER_STATE_LIVE;
    return row;
}

static enum status join_judge(const struct join *join, const Wire__Hello *hello, int64_t now_ms,
                              struct error *error)
{
    if (hello->public_key.len != CURVE_KEY_SIZE)
        return error_set(error, STATUS_USAGE, "a hello with a join token needs a public key");
    if (join->worker == 0 && join->expires_ms <= now_ms)
        return error_set(error, STATUS_DENIED,
                         "this join token has expired: `tailor worker join-token` makes a new one");
    if (join->worker != 0 && memcmp(join->own_key, hello->public_key.data, CURVE_KEY_SIZE) != 0)
        return error_set(error, STATUS_DENIED, "this join token was used by another worker");
    return STATUS_OK;
}

void joins_hello(struct joins *joins, struct identity from, const Wire__Hello *hello,
                 join_done *done)
{
    struct coordinator *coordinator = joins->coordinator;
    struct join *join = NULL;
    struct error error = {0};
    for (uint32_t i = 0; i < joins->count; i++)
        if (joins->items[i]->id == from.id)
            join = joins->items[i];
    if (join == NULL || join->busy)
        return;
    enum status status = join_judge(join, hello, coordinator->now_ms, &error);
    if (status != STATUS_OK || join->worker != 0) {
        done(coordinator, from, join->worker, status, &error);
        return;
    }
    struct joining *joining = mem_alloc(sizeof(*joining));
    *joining = (struct joining){
        .work = {.kind = WORK_WRITE, .run = remove_file, .done = on_removed, .argument = joining},
        .joins = joins,
        .join = join,
        .from = from,
        .done = done};
    join->busy = true;
    memcpy(join->own_key, hello->public_key.data, CURVE_KEY_SIZE);
    joining->row = row_of(&joining->arena, hello, join->pool, coordinator->now_ms);
    join_path(coordinator, join->key, joining->path);
    background_add(coordinator->store_thread, &joining->work);
}
