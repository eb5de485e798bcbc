/* SPDX-License-Identifier: Apache-2.0
 *
 * arena: a list of chunks, newest first; allocation moves a mark within the newest.
 *
 * Invariants: bytes handed out are zero and lie within one chunk; a chunk's data begins on a
 * 64-byte line; under AddressSanitizer everything not handed out is poisoned, so an overrun is
 * still found. Chunks double up to CHUNK_MAX; a larger request gets a chunk of its own. Rejected:
 * one growing block (pointers would move) and freeing single objects (lifetimes here are named, not
 * counted).
 */
#include "lib/arena.h"

#include <errno.h>
#include <sanitizer/asan_interface.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/limits.h"
#include "lib/text.h"

enum { LINE = 64, SMALL_ALIGN = 16, HUGE_PAGE = 2 << 20 };

#define CHUNK_MIN (64 * KIB)
#define CHUNK_MAX (4 * MIB)

struct arena_chunk {
    struct arena_chunk *previous;
    size_t size; /* of data */
    size_t used;
    _Alignas(LINE) unsigned char data[];
};

static struct arena_chunk *chunk_add(struct arena *arena, size_t size)
{
    size_t wanted = arena->last ? arena->last->size * 2 : CHUNK_MIN;
    if (wanted > CHUNK_MAX) {
        wanted = CHUNK_MAX;
    }
    if (wanted < size) {
        wanted = size;
    }
    wanted = size_add(wanted, LINE - 1) / LINE * LINE;
    struct arena_chunk *chunk = aligned_alloc(LINE, size_add(sizeof(*chunk), wanted));
    CHECK(chunk != NULL);
    chunk->previous = arena->last;
    chunk->size = wanted;
    chunk->used = 0;
    ASAN_POISON_MEMORY_REGION(chunk->data, chunk->size);
    arena->last = chunk;
    return chunk;
}

static void chunk_drop(struct arena *arena)
{
    struct arena_chunk *chunk = arena->last;
    arena->last = chunk->previous;
    ASAN_UNPOISON_MEMORY_REGION(chunk->data, chunk->size);
    free(chunk);
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t align = size >= LINE ? LINE : SMALL_ALIGN;
    struct arena_chunk *chunk = arena->last;
    size_t start = chunk ? (chunk->used + align - 1) / align * align : 0;
    if (!chunk || start > chunk->size || size > chunk->size - start) {
        chunk = chunk_add(arena, size);
        start = 0;
    }
    /* Empty requests get an address of their own too, so that NULL never means "empty". */
    chunk->used = start + (size > 0 ? size : 1);
    if (chunk->used > chunk->size) {
        chunk->used = chunk->size;
    }
    void *memory = chunk->data + start;
    ASAN_UNPOISON_MEMORY_REGION(memory, size);
    memset(memory, 0, size);
    return memory;
}

char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_alloc(arena, size_add(length, 1));
    if (length > 0) {
        memcpy(copy, text, length);
    }
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_list again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    CHECK(length >= 0);
    char *text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(arguments);
    return text;
}

struct arena_mark arena_mark(const struct arena *arena)
{
    return (struct arena_mark){arena->last, arena->last ? arena->last->used : 0};
}

void arena_reset(struct arena *arena, struct arena_mark mark)
{
    while (arena->last != mark.chunk) {
        CHECK(arena->last != NULL); /* the mark is of another arena, or older than a release */
        chunk_drop(arena);
    }
    if (arena->last) {
        CHECK(mark.used <= arena->last->used);
        arena->last->used = mark.used;
        ASAN_POISON_MEMORY_REGION(arena->last->data + mark.used, arena->last->size - mark.used);
    }
}

void arena_release(struct arena *arena)
{
    while (arena->last) {
        chunk_drop(arena);
    }
}

void *mem_alloc(size_t size)
{
    void *memory = calloc(1, size > 0 ? size : 1);
    CHECK(memory != NULL);
    return memory;
}

void *mem_grow(void *memory, size_t size)
{
    void *grown = realloc(memory, size > 0 ? size : 1);
    CHECK(grown != NULL);
    return grown;
}

char *mem_strdup(const char *text)
{
    char *copy = strdup(text);
    CHECK(copy != NULL);
    return copy;
}

void mem_free(void *memory)
{
    free(memory);
}

static size_t map_size(size_t size)
{
    enum { PAGE = 4096 };
    return size == 0 ? PAGE : size_add(size, PAGE - 1) / PAGE * PAGE;
}

enum status mem_map(size_t size, const char *purpose, void **memory_out, struct error *error)
{
    size_t slack = size >= HUGE_PAGE ? HUGE_PAGE : 0;
    char text[16];
    format_bytes((double)size, text);
    if (size > SIZE_MAX / 2) {
        return error_set(error, STATUS_MEMORY, "%s: %s do not fit an address space", purpose, text);
    }
    size_t wanted = map_size(size);
    uint8_t *memory =
        mmap(NULL, wanted + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return error_set(error, STATUS_MEMORY, "%s: cannot get %s of memory: %s", purpose, text,
                         strerror(errno));
    }
    if (slack > 0) {
        /* Kernels before 6.7 do not align by themselves, and an unaligned start costs the first
         * and last huge page: map more and give the ends back. */
        size_t before = (HUGE_PAGE - (uintptr_t)memory % HUGE_PAGE) % HUGE_PAGE;
        if (before > 0) {
            munmap(memory, before);
        }
        if (slack > before) {
            munmap(memory + before + wanted, slack - before);
        }
        memory += before;
        madvise(memory, wanted, MADV_HUGEPAGE); /* a wish: without it, only slower */
    }
    *memory_out = memory;
    return STATUS_OK;
}

void mem_unmap(void *memory, size_t size)
{
    if (memory) {
        CHECK(munmap(memory, map_size(size)) == 0);
    }
}
