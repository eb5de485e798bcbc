/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonl_fuzz: any bytes as a data file: a record or an error with its place, never more.
 *
 * The first byte chooses the options, the rest is the file, in a memfd so that the code under test
 * is the one that reads files. Every record's text is touched, so that a bad pointer is seen.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/check.h"
#include "worker/data/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t touched;

static void messages_touch(const struct message *messages, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        CHECK(messages[i].content[messages[i].content_length] == '\0');
        touched += strlen(messages[i].role);
    }
}

static void record_touch(const struct record *record)
{
    messages_touch(record->prompt, record->prompt_count);
    for (int32_t i = 0; i < record->response_count; i++) {
        const struct response *response = &record->responses[i];
        CHECK((response->messages != NULL) + (response->text != NULL) + (response->ids != NULL) ==
              1);
        CHECK(response->messages == NULL || response->message_count >= 1);
        messages_touch(response->messages, response->message_count);
        touched += response_empty(response);
        touched += response->text != NULL ? (size_t)response->text[response->text_length] : 0;
        for (int32_t id = 0; id < response->id_count; id++) {
            CHECK(response->ids[id] >= 0);
        }
    }
    for (int32_t i = 0; i < record->unknown_count; i++) {
        touched += strlen(record->unknown[i]);
    }
    touched += record_prompt_empty(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    int fd = memfd_create("jsonl", MFD_CLOEXEC);
    char path[64];
    CHECK(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)(size - 1));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct data_source source = {.path = path,
                                 .language_model = data[0] & 1,
                                 .domain = data[0] & 2 ? "a" : NULL,
                                 .columns = {.prompt = data[0] & 4 ? "q" : NULL}};
    struct record_reader *reader = NULL;
    struct record record = {0};
    struct error error = {0};
    enum status status = record_reader_open(&source, &reader, &error);
    int64_t last = 0;
    while (status == STATUS_OK) {
        status = record_reader_next(reader, &record, &error);
        if (status != STATUS_OK || record.number == 0) {
            break;
        }
        CHECK(record.number > last);
        last = record.number;
        record_touch(&record);
    }
    CHECK(status == STATUS_OK || strstr(error.text, path) != NULL);
    record_reader_close(reader);
    close(fd);
    return 0;
}
