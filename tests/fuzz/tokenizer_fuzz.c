/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_fuzz: any bytes as tokenizer.json; what opens encodes its own text.
 *
 * The reader takes a directory; it lies in memory (/dev/shm).
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/text.h"
#include "worker/data/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/dev/shm/tokenizer-fuzz-XXXXXX";

static void dir_forget(void)
{
    dir_remove(dir, NULL);
}

static void encode_try(const struct tokenizer *tokenizer, const char *text, size_t length)
{
    struct ids ids = {0};
    tokenizer_encode(tokenizer, text, length, &ids);
    tokenizer_encode_special(tokenizer, text, length, &ids);
    for (size_t i = 0; i < ids.count; i++) {
        size_t bytes;
        CHECK(ids.items[i] >= 0 && ids.items[i] < tokenizer_size(tokenizer));
        CHECK(tokenizer_text(tokenizer, ids.items[i], &bytes) != NULL);
    }
    ids_release(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool made;
    if (!made) {
        CHECK(mkdtemp(dir) != NULL && atexit(dir_forget) == 0);
        made = true;
    }
    char path[64];
    snprintf(path, sizeof(path), "%s/tokenizer.json", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
    struct tokenizer *tokenizer;
    struct error error = {0};
    if (tokenizer_open(dir, &tokenizer, &error) != STATUS_OK) {
        CHECK(error.text[0] != '\0');
        return 0;
    }
    static const char sample[] = " Don't 12345 \t\n\n  “été” 北京 \xf0\x9f\x98\x80 ab\r\n</s>";
    encode_try(tokenizer, sample, sizeof(sample) - 1);
    size_t valid = utf8_valid_prefix((const char *)data, size);
    encode_try(tokenizer, (const char *)data, valid < 4096 ? valid : 0);
    tokenizer_free(tokenizer);
    return 0;
}
