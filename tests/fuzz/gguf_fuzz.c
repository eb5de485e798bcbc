/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf_fuzz: any bytes as a GGUF file; what opens is read in full, and imported.
 *
 * The import needs files; they lie in memory (/dev/shm) and are removed after each run.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/file.h"
#include "worker/model/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/dev/shm/gguf-fuzz-XXXXXX";
static volatile float touched;

static void dir_forget(void)
{
    dir_remove(dir, NULL);
}

static void import_try(const uint8_t *data, size_t size)
{
    static bool made;
    if (!made) {
        CHECK(mkdtemp(dir) != NULL && atexit(dir_forget) == 0);
        made = true;
    }
    char path[64], out[64];
    snprintf(path, sizeof(path), "%s/f.gguf", dir);
    snprintf(out, sizeof(out), "%s/out", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
    struct error error = {0};
    if (gguf_import(path, out, &error) == STATUS_OK) {
        CHECK(dir_remove(out, NULL) == STATUS_OK);
    }
    CHECK(!dir_exists(out));
}

static void tensor_touch(const struct gguf_tensor *tensor)
{
    float values[100]; /* no multiple of a block */
    for (size_t first = 0; first < tensor->elements; first += 100) {
        size_t count = tensor->elements - first < 100 ? tensor->elements - first : 100;
        gguf_read(tensor, first, count, values);
        touched = values[count - 1];
    }
}

static void field_touch(const struct gguf_field *field)
{
    enum { STRING = 8 };
    size_t cursor = 0;
    for (uint64_t i = 0; field->type == STRING && i < field->count; i++) {
        size_t length;
        const char *text = gguf_array_string(field, &cursor, &length);
        touched = length > 0 ? (float)text[length - 1] : 0;
    }
    for (uint64_t i = 0; field->type != STRING && i < field->count; i++) {
        touched = (float)gguf_array_i64(field, i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf file;
    struct error error = {0};
    if (gguf_open_memory("fuzz", data, size, &file, &error) != STATUS_OK) {
        CHECK(strncmp(error.text, "fuzz", 4) == 0);
        return 0;
    }
    for (size_t i = 0; i < file.field_count; i++) {
        field_touch(&file.fields[i]);
    }
    for (size_t i = 0; i < file.tensor_count; i++) {
        const struct gguf_tensor *tensor = &file.tensors[i];
        CHECK(tensor->data >= data && tensor->data + tensor->bytes <= data + size);
        CHECK(gguf_find(&file, tensor->name) == tensor);
        tensor_touch(tensor);
    }
    gguf_close(&file);
    import_try(data, size);
    return 0;
}
