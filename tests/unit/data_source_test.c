/* SPDX-License-Identifier: Apache-2.0
 *
 * Records out of files: shapes, compression, limits, and what is refused.
 */
#include <string.h>
#include <sys/stat.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "tests/data_fixture.h"
#include "tests/test.h"
#include "worker/data/source_file.h"

static struct error error;

/* Reads all records as "number:text|number:text", or NULL and `error`. Valid until the next call.
 */
static const char *read_all(const char *path)
{
    static struct buf all;
    struct source_file *file;
    struct source_text text;
    error = (struct error){0};
    if (source_file_open(path, &file, &error) != STATUS_OK) {
        return NULL;
    }
    buf_release(&all);
    buf_append_string(&all, "");
    enum status status;
    while ((status = source_file_next(file, &text, &error)) == STATUS_OK && text.bytes != NULL) {
        buf_printf(&all, "%s%lld:%.*s", all.length == 0 ? "" : "|", (long long)text.number,
                   (int)text.length, text.bytes);
    }
    source_file_close(file);
    return status == STATUS_OK ? all.data : NULL;
}

static void expect_refused(enum status status, const char *needle, const char *path)
{
    EXPECT(read_all(path) == NULL);
    EXPECT_I64(status, error.status);
    EXPECT_CONTAINS(path, error.text);
    EXPECT_CONTAINS(needle, error.text);
}

TEST(one_object_a_line)
{
    EXPECT_STR("1:{\"a\":1}|2:{\"b\":2}",
               read_all(fixture_write("a.jsonl", "{\"a\":1}\n{\"b\":2}\n")));
    EXPECT_STR("1:{\"a\":1}", read_all(fixture_write("a.jsonl", "{\"a\":1}")));
}

TEST(blank_lines_are_skipped_and_counted)
{
    EXPECT_STR("3:{\"a\":1}|5:{\"b\":2}",
               read_all(fixture_write("a.jsonl", "\n \t\n{\"a\":1}\n\r\n{\"b\":2}\n\n")));
}

TEST(a_list_is_cut_into_its_objects)
{
    EXPECT_STR("1:{\"a\": [1, {\"x\": \"]}\\\"\"}]}|2:{\n\"b\":2}",
               read_all(fixture_write("a.json",
                                      " [ {\"a\": [1, {\"x\": \"]}\\\"\"}]} ,\n{\n\"b\":2}\n]\n")));
    EXPECT_STR("", read_all(fixture_write("a.json", "[]")));
}

TEST(a_byte_order_mark_and_crlf_are_normalised)
{
    EXPECT_STR("1:{\"a\":1}|2:{\"b\":2}",
               read_all(fixture_write("a.jsonl", "\xef\xbb\xbf{\"a\":1}\r\n{\"b\":2}\r\n")));
    EXPECT_STR("1:{\"a\":1}", read_all(fixture_write("a.json", "\xef\xbb\xbf[{\"a\":1}]")));
}

TEST(gzip_and_zstd_are_told_by_their_bytes)
{
    EXPECT_STR("1:{\"a\":1}", read_all(fixture_write_gz("a.jsonl", "{\"a\":1}\n")));
    EXPECT_STR("1:{\"a\":1}", read_all(fixture_write_zst("b.jsonl", "[{\"a\":1}]")));
}

/* `cat a b > c` for two compressed files. */
static const char *concatenate(const char *name, const char *a, const char *b)
{
    struct buf bytes = {0}, more = {0};
    CHECK(file_read(a, MIB, &bytes, NULL) == STATUS_OK);
    CHECK(file_read(b, MIB, &more, NULL) == STATUS_OK);
    buf_append(&bytes, more.data, more.length);
    const char *path = fixture_write_bytes(name, bytes.data, bytes.length);
    buf_release(&bytes);
    buf_release(&more);
    return path;
}

TEST(several_compressed_members_are_one_file)
{
    EXPECT_STR("1:{\"a\":1}|2:{\"b\":2}",
               read_all(concatenate("c.gz", fixture_write_gz("a.gz", "{\"a\":1}\n"),
                                    fixture_write_gz("b.gz", "{\"b\":2}\n"))));
    EXPECT_STR("1:{\"a\":1}|2:{\"b\":2}",
               read_all(concatenate("c.zst", fixture_write_zst("a.zst", "{\"a\":1}\n"),
                                    fixture_write_zst("b.zst", "{\"b\":2}\n"))));
}

TEST(a_zstd_file_may_begin_with_a_skippable_frame)
{
    static const char skippable[] = "\x50\x2a\x4d\x18\x03\0\0\0abc";
    EXPECT_STR(
        "1:{\"a\":1}",
        read_all(concatenate("s.zst", fixture_write_bytes("head", skippable, sizeof(skippable) - 1),
                             fixture_write_zst("a.zst", "{\"a\":1}\n"))));
}

/* Many records, larger than any window, so that they cross every border. */
static struct buf long_text(void)
{
    struct buf text = {0};
    for (int i = 0; i < 20000; i++) {
        buf_printf(&text, "{\"id\": %d, \"text\": \"%0*d\"}\n", i, 20 + i % 60, i * 7919);
    }
    return text;
}

TEST(windows_do_not_show_in_the_records)
{
    struct buf text = long_text();
    const char *paths[3] = {fixture_write("long.jsonl", text.data),
                            fixture_write_gz("long.gz", text.data),
                            fixture_write_zst("long.zst", text.data)};
    for (int i = 0; i < 3; i++) {
        struct source_file *file;
        REQUIRE(source_file_open(paths[i], &file, &error) == STATUS_OK);
        struct source_text record;
        const char *expected = text.data;
        int64_t line = 0;
        while (source_file_next(file, &record, &error) == STATUS_OK && record.bytes != NULL) {
            line++;
            size_t length = strcspn(expected, "\n");
            REQUIRE(record.number == line);
            REQUIRE(record.length == length && memcmp(record.bytes, expected, length) == 0);
            expected += length + 1;
        }
        EXPECT_I64(20000, line);
        source_file_close(file);
    }
    buf_release(&text);
}

TEST(a_cut_off_compressed_file_is_refused)
{
    struct buf text = long_text();
    const char *whole[2] = {fixture_write_gz("long.gz", text.data),
                            fixture_write_zst("long.zst", text.data)};
    buf_release(&text);
    for (int i = 0; i < 2; i++) {
        struct buf bytes = {0};
        REQUIRE(file_read(whole[i], 16 * MIB, &bytes, &error) == STATUS_OK);
        size_t cuts[] = {bytes.length - 1, bytes.length - 9, bytes.length / 2, 20};
        for (size_t c = 0; c < sizeof(cuts) / sizeof(cuts[0]); c++) {
            expect_refused(STATUS_FORMAT, "is the copy complete?",
                           fixture_write_bytes("cut", bytes.data, cuts[c]));
        }
        buf_release(&bytes);
    }
}

TEST(damaged_compressed_bytes_are_refused)
{
    struct buf text = long_text();
    struct buf bytes = {0};
    REQUIRE(file_read(fixture_write_gz("long.gz", text.data), 16 * MIB, &bytes, &error) ==
            STATUS_OK);
    bytes.data[bytes.length / 2] ^= 0x55;
    expect_refused(STATUS_FORMAT, "gzip data is broken",
                   fixture_write_bytes("bad.gz", bytes.data, bytes.length));
    REQUIRE(file_read(fixture_write_gz("a.gz", "{\"a\":1}\n"), MIB, &bytes, &error) == STATUS_OK);
    buf_append_string(&bytes, "garbage behind");
    expect_refused(STATUS_FORMAT, "gzip data is broken",
                   fixture_write_bytes("behind.gz", bytes.data, bytes.length));
    REQUIRE(file_read(fixture_write_zst("long.zst", text.data), 16 * MIB, &bytes, &error) ==
            STATUS_OK);
    memset(bytes.data + bytes.length / 2, 0x55, 64);
    expect_refused(STATUS_FORMAT, "zstd data is broken",
                   fixture_write_bytes("bad.zst", bytes.data, bytes.length));
    buf_release(&bytes);
    buf_release(&text);
}

TEST(a_line_over_one_mebibyte_is_refused_with_its_line)
{
    struct buf text = {0};
    buf_append_string(&text, "{\"a\":1}\n{\"a\":\"");
    for (size_t i = 0; i < MIB; i++) {
        buf_append_char(&text, 'x');
    }
    buf_append_string(&text, "\"}\n");
    const char *path = fixture_write("big.jsonl", text.data);
    expect_refused(STATUS_LIMIT, "big.jsonl:2: a record of more than 1 MiB", path);
    text.data[7] = ',';
    struct buf list = {0};
    buf_printf(&list, "[%s]", text.data);
    path = fixture_write("big.json", list.data);
    expect_refused(STATUS_LIMIT, "big.json:1 (record 2): a record of more than 1 MiB", path);
    buf_release(&list);
    buf_release(&text);
}

TEST(a_line_of_exactly_one_mebibyte_is_read)
{
    struct buf text = {0};
    buf_append_string(&text, "{\"a\":\"");
    while (text.length < MIB - 2) {
        buf_append_char(&text, 'x');
    }
    buf_append_string(&text, "\"}\n");
    EXPECT(read_all(fixture_write("big.jsonl", text.data)) != NULL);
    buf_release(&text);
}

TEST(foreign_formats_get_their_conversion)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *what, *fix;
    } rows[] = {
        {"PAR1....", 8, "Parquet", "read_parquet"},
        {"\x80\x04\x95....", 7, "pickle", "pickle.load"},
        {"\x80\x02}q", 4, "pickle", "pickle.load"},
        {"PK\x03\x04....", 8, "torch.save", "torch.load"},
        {"ARROW1..", 8, "Arrow", "read_feather"},
        {"BZh9....", 8, "bzip2", "bunzip2"},
        {"\xfd\x37zXZ....", 9, "xz", "xz --decompress"},
        {"\xff\xfe{\0", 4, "UTF-16", "iconv"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *path = fixture_write_bytes("foreign", rows[i].bytes, rows[i].size);
        expect_refused(STATUS_UNSUPPORTED, rows[i].what, path);
        EXPECT_CONTAINS(rows[i].fix, error.text);
    }
    expect_refused(STATUS_UNSUPPORTED, "Parquet", fixture_write_gz("foreign.gz", "PAR1...."));
}

TEST(what_is_no_json_at_all_is_refused)
{
    expect_refused(STATUS_FORMAT, "the file is empty", fixture_write("e", ""));
    expect_refused(STATUS_FORMAT, "the file is empty", fixture_write("e", "\xef\xbb\xbf \n\n"));
    expect_refused(STATUS_FORMAT, ":2: neither a JSON list", fixture_write("e", "\nprompt,chosen"));
}

TEST(a_broken_list_is_refused_with_its_line)
{
    expect_refused(STATUS_FORMAT, "cut:1 (record 1): the file ends inside this record",
                   fixture_write("cut", "[{\"a\":[1,"));
    expect_refused(STATUS_FORMAT, "cut:2: the file ends inside the list",
                   fixture_write("cut", "[{\"a\":1},\n"));
    expect_refused(STATUS_FORMAT, "cut:1: the file ends inside the list",
                   fixture_write("cut", "[{\"a\":1}"));
    expect_refused(STATUS_FORMAT, "l:2: a comma is missing behind record 1",
                   fixture_write("l", "[{\"a\":1}\n{\"b\":1}]"));
    expect_refused(STATUS_FORMAT, "l:1: record 2 is not a JSON object",
                   fixture_write("l", "[{\"a\":1},]"));
    expect_refused(STATUS_FORMAT, "l:1: record 1 is not a JSON object", fixture_write("l", "[[]]"));
    expect_refused(STATUS_FORMAT, "l:2: more bytes behind the list's end",
                   fixture_write("l", "[]\n[]"));
}

TEST(only_regular_files_are_opened)
{
    const char *fifo = fixture_path("fifo");
    REQUIRE(mkfifo(fifo, 0600) == 0);
    expect_refused(STATUS_UNSUPPORTED, "not a regular file", fifo);
    expect_refused(STATUS_UNSUPPORTED, "not a regular file", "/tmp");
    expect_refused(STATUS_NOT_FOUND, "No such file", fixture_path("nowhere"));
}

TEST(a_place_names_line_and_record)
{
    struct source_file *file;
    struct source_text text;
    const char *path = fixture_write("p.json", "[\n{\"a\":1},\n\n{\"b\":\n2}]");
    REQUIRE(source_file_open(path, &file, &error) == STATUS_OK);
    REQUIRE(source_file_next(file, &text, &error) == STATUS_OK);
    REQUIRE(source_file_next(file, &text, &error) == STATUS_OK);
    EXPECT_CONTAINS("p.json:4 (record 2)", source_file_where(file));
    source_file_rename(file, "tickets");
    EXPECT_STR("tickets:4 (record 2)", source_file_where(file));
    REQUIRE(source_file_next(file, &text, &error) == STATUS_OK);
    EXPECT(text.bytes == NULL);
    source_file_close(file);
}

TEST_MAIN()
