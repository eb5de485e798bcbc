/* SPDX-License-Identifier: Apache-2.0
 *
 * memory: what the kernel says about this machine's memory and about this process's.
 *
 * Anonymous memory is what a process cannot be run without: heap, stacks, mapped blocks. Pages of
 * files that are mapped or were read are the kernel's cache; it takes them back when it needs them.
 */
#ifndef TAILOR_LIB_MEMORY_H
#define TAILOR_LIB_MEMORY_H

#include <stddef.h>

/* Bytes that this process may still take: what the machine has free or can make free, or what a
 * control group (its own or an ancestor) leaves, whichever is less. 0: not known. `root` goes
 * before /proc and /sys ("" outside tests). */
size_t memory_available(const char *root);
/* Bytes of memory in the machine; 0: not known. */
size_t memory_total(const char *root);
/* Anonymous bytes that this process has in memory. */
size_t memory_anonymous(const char *root);
/* Gives what the heap has free back to the kernel: after loading, before the big blocks. */
void memory_trim(void);

#endif
