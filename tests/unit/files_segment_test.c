/* SPDX-License-Identifier: Apache-2.0
 *
 * segment: entries come back as they were written, from any cursor, and old ones go.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/file.h"
#include "storage/files/segment.h"
#include "tests/test.h"

static const struct segment_options options = {.segment_bytes = 1000, .keep = 2};
static char dir[64];
static struct error error;

static void dir_make(void)
{
    strcpy(dir, "/tmp/files_segment_test.XXXXXX");
    if (mkdtemp(dir) == NULL)
        test_fail(__FILE__, __LINE__, "cannot create %s", dir);
}

static struct segment_writer *open_writer(void)
{
    struct segment_writer *writer = NULL;
    if (segment_open(dir, &options, &writer, &error) != STATUS_OK)
        test_fail(__FILE__, __LINE__, "%s", error.text);
    return writer;
}

/* Appends "entry N" for each N; returns the last number. */
static int64_t append(struct segment_writer *writer, int count)
{
    int64_t number = 0;
    for (int i = 0; i < count; i++) {
        char text[32] = "entry ?";
        int64_t expected = number + 1;
        if (segment_append(writer, 7, text, strlen(text), &number, &error) != STATUS_OK ||
            (i > 0 && number != expected))
            test_fail(__FILE__, __LINE__, "%s", error.text);
    }
    return number;
}

struct seen {
    int64_t first, last, count, limit;
};

static bool look(const struct segment_entry *entry, void *argument)
{
    struct seen *seen = argument;
    if (seen->count == 0)
        seen->first = entry->number;
    else
        EXPECT_I64(seen->last + 1, entry->number);
    seen->last = entry->number;
    EXPECT_I64(7, entry->time_ms);
    EXPECT_STR("entry ?", entry->data);
    return ++seen->count < seen->limit;
}

static struct seen read_from(int64_t after, int64_t limit)
{
    struct seen seen = {.limit = limit};
    EXPECT_I64(STATUS_OK, segment_read(dir, after, look, &seen, &error));
    return seen;
}

static int files(char last_out[PATH_MAX])
{
    int count = 0;
    char last[NAME_MAX + 1] = "";
    DIR *entries = opendir(dir);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        count += entry->d_name[0] != '.';
        if (strcmp(entry->d_name, last) > 0)
            strcpy(last, entry->d_name);
    }
    closedir(entries);
    path_join(last_out, PATH_MAX, dir, last);
    return count;
}

TEST(entries_are_read_from_any_cursor_also_after_a_restart)
{
    dir_make();
    struct segment_writer *writer = open_writer();
    EXPECT_I64(40, append(writer, 40));
    EXPECT_I64(40, read_from(0, 1000).count);
    EXPECT_I64(31, read_from(30, 1000).first);
    EXPECT_I64(35, read_from(30, 5).last);
    EXPECT_I64(0, read_from(40, 5).count);
    segment_close(writer);
    writer = open_writer();
    EXPECT_I64(41, append(writer, 1));
    EXPECT_I64(41, read_from(0, 1000).last);
    segment_close(writer);
    EXPECT_I64(STATUS_OK, dir_remove(dir, NULL));
    EXPECT_I64(0, read_from(0, 10).count);
}

TEST(old_files_go_and_the_disk_taken_is_bounded)
{
    char last[PATH_MAX];
    int64_t number;
    dir_make();
    struct segment_writer *writer = open_writer();
    EXPECT_I64(1000, append(writer, 1000));
    EXPECT_I64(3, files(last));
    struct seen seen = read_from(0, 100000);
    EXPECT_I64(1000, seen.last);
    EXPECT(seen.count >= 50 && seen.count < 100);
    static char big[SEGMENT_ENTRY_MAX + 1];
    EXPECT_I64(STATUS_LIMIT, segment_append(writer, 0, big, sizeof(big), &number, &error));
    segment_close(writer);
    EXPECT_I64(STATUS_OK, dir_remove(dir, NULL));
}

TEST(a_torn_tail_of_any_length_is_cut_off_and_writing_goes_on)
{
    char last[PATH_MAX];
    for (int cut = 1; cut <= 39; cut++) { /* an entry has 39 bytes */
        dir_make();
        struct segment_writer *writer = open_writer();
        append(writer, 10);
        segment_close(writer);
        files(last);
        EXPECT_I64(0, truncate(last, file_size(last) - cut));
        EXPECT_I64(9, read_from(0, 100).last);
        writer = open_writer();
        EXPECT_I64(10, append(writer, 1));
        EXPECT_I64(10, read_from(0, 100).last);
        segment_close(writer);
        EXPECT_I64(STATUS_OK, dir_remove(dir, NULL));
    }
}

TEST(a_flipped_bit_ends_what_is_read_and_is_never_read)
{
    char last[PATH_MAX];
    struct buf content = {0};
    dir_make();
    struct segment_writer *writer = open_writer();
    append(writer, 10);
    segment_close(writer);
    files(last);
    EXPECT_I64(STATUS_OK, file_read(last, 100000, &content, &error));
    for (size_t bit = 0; bit < content.length * 8; bit += 5) {
        content.data[bit / 8] ^= (char)(1 << bit % 8);
        EXPECT_I64(STATUS_OK, file_write_atomic(last, content.data, content.length, &error));
        EXPECT_I64((int64_t)(bit / 8 / 39), read_from(0, 100).count);
        content.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    buf_release(&content);
    EXPECT_I64(STATUS_OK, dir_remove(dir, NULL));
}

TEST(a_full_disk_is_reported_and_writing_goes_on_when_there_is_room)
{
    dir_make();
    pid_t child = fork(); /* the limit is the child's */
    if (child == 0) {
        struct segment_writer *writer = open_writer();
        int64_t number = 0;
        enum status full = STATUS_OK;
        signal(SIGXFSZ, SIG_IGN);
        append(writer, 5);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 210, .rlim_max = RLIM_INFINITY});
        full = segment_append(writer, 7, "entry ?", 7, &number, &error);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
        append(writer, 1);
        segment_close(writer);
        _exit(full == STATUS_IO && !test_failed() ? 0 : 1);
    }
    int state;
    waitpid(child, &state, 0);
    EXPECT(WIFEXITED(state) && WEXITSTATUS(state) == 0);
    EXPECT_I64(6, read_from(0, 100).count);
    EXPECT_I64(STATUS_OK, dir_remove(dir, NULL));
}

TEST_MAIN()
