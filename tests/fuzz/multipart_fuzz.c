/* SPDX-License-Identifier: Apache-2.0
 *
 * multipart_fuzz: the first line is a Content-Type, the rest a body. Parts lie in the body, one
 * behind the other, and have a name.
 */
#include <stdint.h>
#include <string.h>

#include "coordinator/api/multipart.h"
#include "lib/arena.h"
#include "lib/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct multipart_part parts[MULTIPART_PARTS_MAX];
    struct error error;
    int count;
    char type[256];
    const uint8_t *end = memchr(data, '\n', size);
    size_t line = end != NULL ? (size_t)(end - data) : size;
    if (line >= sizeof(type))
        return 0;
    memcpy(type, data, line);
    type[line] = '\0';
    size_t length = end != NULL ? size - line - 1 : 0;
    char *body = mem_alloc(length + 1); /* its own block: what is read behind it is noticed */
    memcpy(body, data + size - length, length);
    const char *at = body;
    if (multipart_read(type, body, length, parts, &count, &error) == STATUS_OK)
        for (int i = 0; i < count; i++) {
            CHECK(parts[i].name[0] != '\0');
            CHECK(parts[i].data >= at && parts[i].data + parts[i].length <= body + length);
            at = parts[i].data + parts[i].length;
        }
    mem_free(body);
    return 0;
}
