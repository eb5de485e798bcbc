/* SPDX-License-Identifier: Apache-2.0
 *
 * arena: memory with a named lifetime (process, job, step), freed in one call.
 *
 *     struct arena arena = {0};
 *     char *name = arena_strdup(&arena, "support");
 *     struct arena_mark mark = arena_mark(&arena);      // a step begins
 *     float *rewards = arena_array(&arena, float, rows);
 *     arena_reset(&arena, mark);                        // the step ends
 *     arena_release(&arena);
 *
 * Memory is zeroed and 64-byte aligned from the chunk's start (allocations of 64 bytes or more
 * are 64-byte aligned, smaller ones 16). Running out of memory for these small things is a CHECK:
 * big blocks are planned and allocated with mem_map(), which returns a status.
 * An arena belongs to one thread at a time.
 */
#ifndef TAILOR_LIB_ARENA_H
#define TAILOR_LIB_ARENA_H

#include <stddef.h>

#include "lib/status.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *last;
};

struct arena_mark {
    struct arena_chunk *chunk;
    size_t used;
};

void *arena_alloc(struct arena *arena, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t length);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct arena_mark arena_mark(const struct arena *arena);
void arena_reset(struct arena *arena, struct arena_mark mark);
void arena_release(struct arena *arena);

#define arena_array(arena, type, count)                                                            \
    ((type *)arena_alloc((arena), size_mul(sizeof(type), (size_t)(count))))
#define arena_new(arena, type) ((type *)arena_alloc((arena), sizeof(type)))

/* Heap memory that grows: never NULL (CHECK), zeroed by mem_alloc, not by mem_grow. */
void *mem_alloc(size_t size);
void *mem_grow(void *memory, size_t size);
char *mem_strdup(const char *text);
void mem_free(void *memory);

/* A big anonymous block straight from the kernel: zeroed, page aligned, huge pages advised.
 * STATUS_MEMORY names what it was for and how much it wanted. Free with mem_unmap(). */
enum status mem_map(size_t size, const char *purpose, void **memory_out, struct error *error);
void mem_unmap(void *memory, size_t size);

#include "lib/check.h" /* size_mul for the macros above */

#endif
