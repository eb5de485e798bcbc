/* SPDX-License-Identifier: Apache-2.0
 *
 * message_fuzz: any bytes as each message of a worker, as each request's JSON, and as a request
 * line give a checked message or a sentence; what is accepted comes back the same.
 * The first byte picks the kind and the type.
 */
#include <stdint.h>
#include <string.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "proto/message_json.h"
#include "proto/request.h"
#include "proto/worker_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_sentence(enum status status, const struct error *error)
{
    CHECK(status == STATUS_OK || error->text[0] != '\0');
}

static void try_wire(struct arena *arena, int index, const uint8_t *data, size_t size)
{
    struct error error = {0};
    const struct worker_message *row = worker_message_at(index);
    const struct worker_message *again_row;
    ProtobufCMessage *message, *again;
    struct buf bytes = {0}, second = {0};
    buf_append(&bytes, "TW\1", 3);
    buf_append_char(&bytes, (char)row->id);
    buf_append(&bytes, data, size);
    enum status status = worker_message_unpack(arena, row->from, bytes.data, bytes.length,
                                               &again_row, &message, &error);
    expect_sentence(status, &error);
    if (status == STATUS_OK) {
        CHECK(again_row == row);
        buf_clear(&bytes);
        worker_message_pack(row->id, message, &bytes);
        status = worker_message_unpack(arena, row->from, bytes.data, bytes.length, &again_row,
                                       &again, &error);
        /* Merged repeats of a field make it shorter, so its memory budget may no longer do. */
        if (status == STATUS_OK) {
            worker_message_pack(row->id, again, &second);
            CHECK(second.length == bytes.length &&
                  memcmp(second.data, bytes.data, bytes.length) == 0);
        }
    }
    buf_release(&bytes);
    buf_release(&second);
}

static void try_json(struct arena *arena, const ProtobufCMessageDescriptor *type,
                     const uint8_t *data, size_t size)
{
    struct error error = {0};
    ProtobufCMessage *message;
    struct buf first = {0}, second = {0};
    enum status status = message_from_json(arena, type, (const char *)data, size, &message, &error);
    expect_sentence(status, &error);
    if (status == STATUS_OK) {
        message_to_json(message, &first);
        CHECK(message_from_json(arena, type, first.data, first.length, &message, &error) ==
              STATUS_OK);
        message_to_json(message, &second);
        CHECK(strcmp(first.data, second.data) == 0);
    }
    buf_release(&first);
    buf_release(&second);
}

/* "METHOD PATH?QUERY\nBODY" */
static void try_request(struct arena *arena, const uint8_t *data, size_t size)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};
    struct error error = {0};
    struct route_match match;
    void *message;
    char *line = arena_strndup(arena, (const char *)data + 1, size - 1);
    size_t length = strcspn(line, "\n");
    const char *body = line + length + (line[length] == '\n');
    line[length] = '\0';
    char *query = strchr(line, '?');
    if (query != NULL)
        *query++ = '\0';
    enum status status = route_find(methods[data[0] % 4], line, &match, &error);
    expect_sentence(status, &error);
    if (status == STATUS_OK)
        expect_sentence(request_read(arena, &match, query, body, strlen(body), &message, &error),
                        &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    int wire_count = 0;
    while (worker_message_at(wire_count) != NULL)
        wire_count++;
    if (size >= 2) {
        if (data[0] < wire_count)
            try_wire(&arena, data[0], data + 1, size - 1);
        else if (data[0] < wire_count + 2 * ROUTE_COUNT && (data[0] - wire_count) % 2 == 0)
            try_json(&arena, route_at((data[0] - wire_count) / 2)->request, data + 1, size - 1);
        else if (data[0] < wire_count + 2 * ROUTE_COUNT)
            try_json(&arena, route_at((data[0] - wire_count) / 2)->reply, data + 1, size - 1);
        else
            try_request(&arena, data + 1, size - 1);
    }
    arena_release(&arena);
    return 0;
}
