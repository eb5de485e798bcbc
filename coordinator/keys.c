/* SPDX-License-Identifier: Apache-2.0
 *
 * The table is a plain array: a thousand keys are searched in microseconds, and a handshake costs
 * a hundred times that.
 */
#include "coordinator/keys.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/file.h"
#include "lib/text.h"

enum { Z85_SIZE = 41, SECRET_DIGITS = 2 * CURVE_KEY_SIZE };

/* ---- key pairs ------------------------------------------------------------------------------- */

void key_z85(const uint8_t key[CURVE_KEY_SIZE], char out[41])
{
    CHECK(zmq_z85_encode(out, key, CURVE_KEY_SIZE) != NULL);
}

bool key_from_z85(const char *text, uint8_t key_out[CURVE_KEY_SIZE])
{
    return strlen(text) == Z85_SIZE - 1 && zmq_z85_decode(key_out, text) != NULL;
}

void key_pair_make(struct key_pair *pair_out)
{
    char public[Z85_SIZE], secret[Z85_SIZE];
    CHECK(zmq_curve_keypair(public, secret) == 0);
    CHECK(key_from_z85(public, pair_out->public));
    CHECK(key_from_z85(secret, pair_out->secret));
}

void key_public(const uint8_t secret[CURVE_KEY_SIZE], uint8_t public_out[CURVE_KEY_SIZE])
{
    char public[Z85_SIZE], text[Z85_SIZE];
    key_z85(secret, text);
    CHECK(zmq_curve_public(public, text) == 0);
    CHECK(key_from_z85(public, public_out));
}

static enum status key_write(const char *path, struct key_pair *pair_out, struct error *error)
{
    char digits[SECRET_DIGITS + 1];
    key_pair_make(pair_out);
    hex_format(pair_out->secret, CURVE_KEY_SIZE, digits);
    mode_t before = umask(0077);
    enum status status = file_write_atomic(path, digits, SECRET_DIGITS, error);
    umask(before);
    return status;
}

enum status keys_open(const char *dir, struct key_pair *server_out, struct error *error)
{
    char path[PATH_MAX];
    struct buf text = {0};
    struct stat info;
    TRY(dir_create(dir, error));
    chmod(dir, 0700);
    path_join(path, sizeof(path), dir, "server.key");
    if (!file_exists(path))
        return key_write(path, server_out, error);
    if (stat(path, &info) == 0 && (info.st_mode & 077) != 0)
        return error_set(error, STATUS_DENIED,
                         "%s can be read by others: take that away with chmod 600", path);
    TRY(file_read(path, 4096, &text, error));
    bool ok =
        text.length == SECRET_DIGITS && hex_parse(text.data, CURVE_KEY_SIZE, server_out->secret);
    buf_release(&text);
    if (!ok)
        return error_set(error, STATUS_FORMAT, "%s is no key of ours: restore it from a backup",
                         path);
    key_public(server_out->secret, server_out->public);
    return STATUS_OK;
}

/* ---- the table ------------------------------------------------------------------------------- */

struct entry {
    uint8_t key[CURVE_KEY_SIZE];
    struct identity identity;
};

struct keys {
    struct entry *items;
    size_t count, capacity;
};

struct keys *keys_create(void)
{
    return mem_alloc(sizeof(struct keys));
}

void keys_free(struct keys *keys)
{
    mem_free(keys->items);
    mem_free(keys);
}

void keys_remove(struct keys *keys, struct identity identity)
{
    for (size_t i = 0; i < keys->count;) {
        const struct identity *it = &keys->items[i].identity;
        if (it->kind == identity.kind && it->id == identity.id)
            keys->items[i] = keys->items[--keys->count];
        else
            i++;
    }
}

void keys_put(struct keys *keys, const uint8_t key[CURVE_KEY_SIZE], struct identity identity)
{
    if (keys->count == keys->capacity) {
        keys->capacity = keys->capacity != 0 ? 2 * keys->capacity : 16;
        keys->items = mem_grow(keys->items, size_mul(keys->capacity, sizeof(*keys->items)));
    }
    struct entry *entry = &keys->items[keys->count++];
    memcpy(entry->key, key, CURVE_KEY_SIZE);
    entry->identity = identity;
}

struct identity keys_find(const struct keys *keys, const uint8_t key[CURVE_KEY_SIZE])
{
    for (size_t i = 0; i < keys->count; i++)
        if (memcmp(keys->items[i].key, key, CURVE_KEY_SIZE) == 0)
            return keys->items[i].identity;
    return (struct identity){.kind = IDENTITY_NONE};
}

bool keys_know(const struct keys *keys, struct identity identity)
{
    for (size_t i = 0; i < keys->count; i++)
        if (keys->items[i].identity.kind == identity.kind &&
            keys->items[i].identity.id == identity.id)
            return true;
    return false;
}

/* ---- identities ------------------------------------------------------------------------------ */

void identity_format(struct identity identity, char out[IDENTITY_TEXT_MAX])
{
    CHECK(identity.kind != IDENTITY_NONE);
    snprintf(out, IDENTITY_TEXT_MAX, "%c-%lld", identity.kind == IDENTITY_WORKER ? 'w' : 'k',
             (long long)identity.id);
}

struct identity identity_parse(const char *text)
{
    struct identity identity = {.kind = IDENTITY_NONE};
    int64_t id;
    if (text != NULL && (text[0] == 'w' || text[0] == 'k') && text[1] == '-' &&
        parse_i64(text + 2, &id) && id > 0)
        identity = (struct identity){text[0] == 'w' ? IDENTITY_WORKER : IDENTITY_JOIN, id};
    return identity;
}
