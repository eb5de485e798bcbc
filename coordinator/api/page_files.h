/* SPDX-License-Identifier: Apache-2.0
 *
 * page_files: the dashboard's files (coordinator/dashboard, and Debian's Chart.js), as the build
 * found them.
 */
#ifndef TAILOR_COORDINATOR_API_PAGE_FILES_H
#define TAILOR_COORDINATOR_API_PAGE_FILES_H

#include <stddef.h>

struct page_file {
    const char *name, *type; /* "jobs.js", its Content-Type */
    const char *begin, *end;
};

/* NULL: there is none of that name. */
const struct page_file *page_file_find(const char *name);
/* Of its bytes, 64 hex digits, computed once. Loop thread. */
const char *page_file_digest(const struct page_file *file);

#endif
