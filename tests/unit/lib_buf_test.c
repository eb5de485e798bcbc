/* SPDX-License-Identifier: Apache-2.0
 *
 * buf and arena: memory that grows, and memory with a lifetime.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/limits.h"
#include "tests/test.h"

TEST(a_buf_is_a_c_string_at_every_length)
{
    struct buf buf = {0};
    for (size_t i = 0; i < 1000; i++) {
        buf_append_char(&buf, 'x');
        EXPECT(buf.length == i + 1 && buf.capacity > buf.length && buf.data[buf.length] == '\0');
    }
    buf_clear(&buf);
    EXPECT_STR("", buf.data);
    EXPECT(buf.capacity > 1000);
    buf_release(&buf);
    EXPECT(buf.data == NULL && buf.length == 0 && buf.capacity == 0);
}

TEST(appending_nothing_makes_an_empty_string)
{
    struct buf buf = {0};
    buf_clear(&buf);
    EXPECT(buf.data == NULL);
    buf_append(&buf, NULL, 0);
    EXPECT_STR("", buf.data);
    buf_release(&buf);
}

TEST(a_buf_takes_bytes_strings_and_formats)
{
    struct buf buf = {0};
    buf_append(&buf, "a\0b", 3);
    buf_append_string(&buf, "cd");
    buf_printf(&buf, "[%d %s]", 42, "z");
    EXPECT_I64(11, (int64_t)buf.length);
    EXPECT_BYTES("a\0bcd[42 z]", buf.data, 12);
    buf_clear(&buf);
    buf_printf(&buf, "%0500d", 7);
    EXPECT_I64(500, (int64_t)strlen(buf.data));
    buf_release(&buf);
}

static void json_is(const char *expected, const char *text, size_t length)
{
    struct buf buf = {0};
    buf_append_json_string(&buf, text, length);
    EXPECT_STR(expected, buf.data);
    buf_release(&buf);
}

TEST(json_strings_are_quoted_and_escaped)
{
    json_is("\"\"", "", 0);
    json_is("\"plain\"", "plain", 5);
    json_is("\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001b\"", "a\"b\\c\n\r\t\x01\x1b", 10);
    json_is("\"a\\u0000b\"", "a\0b", 3);
    json_is("\"\\u007f\\u009b\"", "\x7f\xc2\x9b", 3);
    json_is("\"\xc3\xa9\xf0\x9f\x98\x80\"", "\xc3\xa9\xf0\x9f\x98\x80", 6);
}

TEST(json_strings_replace_what_is_not_utf8)
{
    json_is("\"a\xef\xbf\xbd"
            "b\"",
            "a\xff"
            "b",
            3);
    json_is("\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"", "\xed\xa0\x80", 3); /* a surrogate */
    json_is("\"\xef\xbf\xbd\"", "\xc3", 1);                                 /* cut short */
}

TEST(html_is_escaped)
{
    struct buf buf = {0};
    const char text[] = "<a href=\"x\">'&'</a>\n\x1b\xff";
    buf_append_html(&buf, text, sizeof(text) - 1);
    EXPECT_STR("&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;\n\xef\xbf\xbd\xef\xbf\xbd",
               buf.data);
    buf_clear(&buf);
    buf_append_html(&buf, "", 0);
    EXPECT_STR("", buf.data);
    buf_release(&buf);
}

TEST(arena_memory_is_zeroed_and_aligned)
{
    struct arena arena = {0};
    for (size_t size = 0; size < 5000; size += 7) {
        unsigned char *memory = arena_alloc(&arena, size);
        EXPECT((uintptr_t)memory % (size >= 64 ? 64 : 16) == 0);
        for (size_t i = 0; i < size; i++) {
            EXPECT(memory[i] == 0);
        }
        memset(memory, 0xab, size);
    }
    arena_release(&arena);
    EXPECT(arena.last == NULL);
}

TEST(a_reset_gives_back_what_came_after_the_mark)
{
    struct arena arena = {0};
    struct arena_mark start = arena_mark(&arena);
    char *kept = arena_strdup(&arena, "kept");
    struct arena_mark mark = arena_mark(&arena);
    char *first = arena_alloc(&arena, 100);
    memset(first, 1, 100);
    arena_alloc(&arena, 10 * MIB); /* a chunk of its own, freed by the reset */
    arena_reset(&arena, mark);
    char *again = arena_alloc(&arena, 100);
    EXPECT(again == first);
    EXPECT_I64(0, again[50]);
    EXPECT_STR("kept", kept);
    arena_reset(&arena, start);
    EXPECT(arena.last == NULL);
}

TEST(arena_objects_do_not_overlap)
{
    enum { COUNT = 3000 };
    struct arena arena = {0};
    unsigned char *blocks[COUNT];
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = arena_alloc(&arena, (size_t)(i % 300) + 1);
        memset(blocks[i], i & 255, (size_t)(i % 300) + 1);
    }
    for (int i = 0; i < COUNT; i++) {
        EXPECT(blocks[i][0] == (i & 255) && blocks[i][i % 300] == (i & 255));
    }
    arena_release(&arena);
}

TEST(arena_strings_and_typed_objects)
{
    struct arena arena = {0};
    EXPECT_STR("support", arena_strdup(&arena, "support"));
    EXPECT_STR("sup", arena_strndup(&arena, "support", 3));
    EXPECT_STR("", arena_strndup(&arena, NULL, 0));
    EXPECT_STR("step 3 of 10", arena_printf(&arena, "step %d of %d", 3, 10));
    double *numbers = arena_array(&arena, double, 1000);
    EXPECT(numbers[999] == 0.0 && (uintptr_t)numbers % 64 == 0);
    int *one = arena_new(&arena, int);
    EXPECT_I64(0, *one);
    arena_release(&arena);
}

TEST(heap_helpers_never_return_null)
{
    unsigned char *memory = mem_alloc(0);
    EXPECT(memory != NULL);
    mem_free(memory);
    memory = mem_alloc(100);
    EXPECT_I64(0, memory[99]);
    memory[0] = 5;
    memory = mem_grow(memory, 100000);
    EXPECT_I64(5, memory[0]);
    mem_free(memory);
    char *copy = mem_strdup("copy");
    EXPECT_STR("copy", copy);
    mem_free(copy);
    mem_free(NULL);
}

TEST(big_blocks_are_zeroed_and_aligned_to_huge_pages)
{
    static const size_t sizes[] = {0, 1, 4096, 5000, 2 * MIB, 2 * MIB + 1, 7 * MIB};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct error error = {0};
        void *memory = NULL;
        REQUIRE(mem_map(sizes[i], "a test", &memory, &error) == STATUS_OK);
        EXPECT((uintptr_t)memory % (sizes[i] >= 2 * MIB ? 2 * MIB : 4096) == 0);
        unsigned char *bytes = memory;
        if (sizes[i] > 0) {
            EXPECT_I64(0, bytes[0] | bytes[sizes[i] - 1]);
            memset(bytes, 1, sizes[i]);
        }
        mem_unmap(memory, sizes[i]);
    }
    mem_unmap(NULL, 5);
}

TEST(a_block_that_cannot_fit_is_refused_by_name)
{
    struct error error = {0};
    void *memory = NULL;
    EXPECT_I64(STATUS_MEMORY, mem_map((size_t)1 << 55, "the weights", &memory, &error));
    EXPECT_CONTAINS("the weights", error.text);
    EXPECT_CONTAINS("32.0 PiB", error.text);
    EXPECT_I64(STATUS_MEMORY, mem_map(SIZE_MAX, "the weights", &memory, &error));
    EXPECT(memory == NULL);
}

TEST_MAIN()
