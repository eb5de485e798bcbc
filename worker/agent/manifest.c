/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/agent/manifest.h"

#include <string.h>

#include "lib/json.h"
#include "lib/limits.h"
#include "lib/sha256.h"
#include "lib/text.h"

static bool part_is_sound(const char *part, size_t length)
{
    return length > 0 && !(length == 1 && part[0] == '.') &&
           !(length == 2 && part[0] == '.' && part[1] == '.');
}

static bool name_is_sound(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > MANIFEST_NAME_MAX)
        return false;
    for (const char *part = name;; part++) {
        size_t size = strcspn(part, "/");
        if (!part_is_sound(part, size))
            return false;
        for (size_t i = 0; i < size; i++)
            if ((unsigned char)part[i] < 0x20 || part[i] == 0x7f)
                return false;
        part += size;
        if (*part == '\0')
            return true;
    }
}

enum status manifest_add(struct manifest *manifest, struct arena *arena, const char *name,
                         const char *digest, int64_t bytes, struct error *error)
{
    uint8_t value[SHA256_SIZE];
    if (manifest->count == MANIFEST_FILES_MAX)
        return error_set(error, STATUS_LIMIT, "more than %d files", MANIFEST_FILES_MAX);
    if (!name_is_sound(name))
        return error_set(error, STATUS_FORMAT, "file %d has a name that leads out of its directory",
                         manifest->count);
    if (!parse_hex(digest, value, SHA256_SIZE) || bytes < 0 || bytes > INT64_MAX - manifest->bytes)
        return error_set(error, STATUS_FORMAT, "%s has no digest or no size", name);
    manifest->files[manifest->count++] =
        (struct manifest_file){arena_strdup(arena, name), arena_strdup(arena, digest), bytes};
    manifest->bytes += bytes;
    return STATUS_OK;
}

void manifest_format(const struct manifest *manifest, struct buf *out)
{
    buf_append_string(out, "{\"kind\":\"files\",\"files\":[");
    for (int i = 0; i < manifest->count; i++) {
        const struct manifest_file *file = &manifest->files[i];
        buf_append_string(out, i > 0 ? ",{\"name\":" : "{\"name\":");
        buf_append_json_string(out, file->name, strlen(file->name));
        buf_printf(out, ",\"digest\":\"%s\",\"bytes\":%lld}", file->digest, (long long)file->bytes);
    }
    buf_append_string(out, "]}");
}

static enum status file_parse(struct arena *arena, const json_t *json, struct manifest *manifest,
                              struct error *error)
{
    const char *name = "", *digest = "";
    int64_t bytes = -1;
    TRY(json_get_string(json, "name", &name, error));
    TRY(json_get_string(json, "digest", &digest, error));
    TRY(json_get_i64(json, "bytes", 0, INT64_MAX, &bytes, error));
    return manifest_add(manifest, arena, name, digest, bytes, error);
}

enum status manifest_parse(struct arena *arena, const void *data, size_t size,
                           struct manifest *manifest_out, bool *is_manifest_out,
                           struct error *error)
{
    json_t *root = NULL;
    *is_manifest_out = false;
    manifest_out->count = 0;
    manifest_out->bytes = 0;
    if (size == 0 || size > CONFIG_BYTES_MAX || *(const char *)data != '{' ||
        json_read("manifest", data, size, &root, NULL) != STATUS_OK)
        return STATUS_OK;
    const char *kind = json_string_value(json_object_get(root, "kind"));
    const json_t *files = json_object_get(root, "files");
    enum status status = STATUS_OK;
    if (kind != NULL && strcmp(kind, "files") == 0) {
        *is_manifest_out = true;
        if (!json_is_array(files))
            status = error_set(error, STATUS_FORMAT, "a manifest without its list of files");
        for (size_t i = 0; status == STATUS_OK && i < json_array_size(files); i++)
            status = file_parse(arena, json_array_get(files, i), manifest_out, error);
    }
    json_decref(root);
    return status;
}
