/* SPDX-License-Identifier: Apache-2.0
 *
 * The messages are written by hand: two kinds with five fields. Rejected: their .proto files, which
 * are TensorFlow's and would be compiled for every command; and a service that TensorBoard would
 * load a plug-in for.
 */
#include "client/tensorboard.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/file.h"
#include "lib/text.h"

/* ---- CRC-32C --------------------------------------------------------------------------------- */

/* Castagnoli's polynomial, reversed, a bit at a time: these are a few bytes a second. */
static uint32_t crc32c(const void *data, size_t length)
{
    const uint8_t *bytes = data;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (UINT32_C(0x82f63b78) & (0 - (crc & 1)));
        }
    }
    return ~crc;
}

/* TFRecord masks a CRC, so that one of bytes that hold CRCs stays useful. */
static uint32_t masked(uint32_t crc)
{
    return ((crc >> 15) | (crc << 17)) + UINT32_C(0xa282ead8);
}

/* ---- protobuf -------------------------------------------------------------------------------- */

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* Of Event: wall_time, step, file_version, summary. Of Summary: value. Of Value: tag,
 * simple_value. */
enum {
    EVENT_WALL_TIME = 1,
    EVENT_STEP = 2,
    EVENT_FILE_VERSION = 3,
    EVENT_SUMMARY = 5,
    SUMMARY_VALUE = 1,
    VALUE_TAG = 1,
    VALUE_SIMPLE = 2
};

static void put_varint(struct buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        buf_append_char(out, (char)(value | 0x80));
    }
    buf_append_char(out, (char)value);
}

static void put_key(struct buf *out, int field, enum wire wire)
{
    put_varint(out, (uint64_t)field << 3 | wire);
}

static void put_bytes(struct buf *out, int field, const void *data, size_t length)
{
    put_key(out, field, WIRE_BYTES);
    put_varint(out, length);
    buf_append(out, data, length);
}

/* Numbers go as they lie in memory: the formats are little-endian, and so is all we run on. */
static void put_head(struct buf *out, double wall_time_s, int64_t step)
{
    put_key(out, EVENT_WALL_TIME, WIRE_64);
    buf_append(out, &wall_time_s, sizeof(wall_time_s));
    if (step != 0) {
        put_key(out, EVENT_STEP, WIRE_VARINT);
        put_varint(out, (uint64_t)step);
    }
}

static void put_value(struct buf *summary, const char *tag, double number)
{
    struct buf value = {0};
    float simple = (float)number;
    put_bytes(&value, VALUE_TAG, tag, strlen(tag));
    put_key(&value, VALUE_SIMPLE, WIRE_32);
    buf_append(&value, &simple, sizeof(simple));
    put_bytes(summary, SUMMARY_VALUE, value.data, value.length);
    buf_release(&value);
}

/* "eval_loss" → "eval/loss", all else below "train/"; a dot separates a section. */
static void tag_of(const char *name, char tag[256])
{
    const bool evaluation = strncmp(name, "eval_", 5) == 0;
    snprintf(tag, 256, "%s/%s", evaluation ? "eval" : "train", evaluation ? name + 5 : name);
    for (char *c = tag; *c != '\0'; c++) {
        *c = *c == '.' ? '/' : *c;
    }
}

/* ---- the file -------------------------------------------------------------------------------- */

static enum status put_record(struct tensorboard *it, const struct buf *event, struct error *error)
{
    uint64_t length = event->length;
    uint32_t length_crc = masked(crc32c(&length, sizeof(length)));
    uint32_t event_crc = masked(crc32c(event->data, event->length));
    fwrite(&length, sizeof(length), 1, it->file);
    fwrite(&length_crc, sizeof(length_crc), 1, it->file);
    fwrite(event->data, event->length, 1, it->file);
    fwrite(&event_crc, sizeof(event_crc), 1, it->file);
    if (fflush(it->file) != 0) {
        return error_set(error, STATUS_IO, "%s: %s", it->path, strerror(errno));
    }
    return STATUS_OK;
}

static enum status begin(struct tensorboard *it, const char *directory, const char *job,
                         double wall_time_s, struct error *error)
{
    static const char version[] = "brain.Event:2";
    struct buf event = {0};
    char folder[4096];
    path_join(folder, sizeof(folder), directory, job);
    TRY(dir_create(folder, error));
    if (snprintf(it->path, sizeof(it->path), "%s/events.out.tfevents.%.0f.tailor", folder,
                 wall_time_s) >= (int)sizeof(it->path)) {
        return error_set(error, STATUS_USAGE, "%s: the path is too long", directory);
    }
    unlink(it->path); /* who reads the old one keeps it */
    it->file = fopen(it->path, "we");
    if (it->file == NULL) {
        return error_set(error, STATUS_IO, "%s: %s", it->path, strerror(errno));
    }
    put_head(&event, wall_time_s, 0);
    put_bytes(&event, EVENT_FILE_VERSION, version, sizeof(version) - 1);
    enum status status = put_record(it, &event, error);
    buf_release(&event);
    return status;
}

enum status tensorboard_add(struct tensorboard *it, const char *directory, const char *job,
                            const json_t *point, struct error *error)
{
    double wall_time_s = (double)json_integer_value(json_object_get(point, "time_ms")) / 1000;
    struct buf event = {0}, summary = {0};
    const char *name;
    json_t *value;
    char tag[256];
    if (it->file == NULL) {
        TRY(begin(it, directory, job, wall_time_s, error));
    }
    json_object_foreach(json_object_get(point, "values"), name, value)
    {
        tag_of(name, tag);
        put_value(&summary, tag, json_number_value(value));
    }
    put_head(&event, wall_time_s, json_integer_value(json_object_get(point, "step")));
    put_bytes(&event, EVENT_SUMMARY, summary.data, summary.length);
    enum status status = put_record(it, &event, error);
    it->points += status == STATUS_OK;
    buf_release(&event);
    buf_release(&summary);
    return status;
}

enum status tensorboard_close(struct tensorboard *it, struct error *error)
{
    if (it->file != NULL && fclose(it->file) != 0) {
        return error_set(error, STATUS_IO, "%s: %s", it->path, strerror(errno));
    }
    it->file = NULL;
    return STATUS_OK;
}
