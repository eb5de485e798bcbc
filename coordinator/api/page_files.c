/* SPDX-License-Identifier: Apache-2.0
 *
 * page_files: every file is put into the program by the assembler. Rejected: a generated array of
 * bytes, which takes the compiler longer than all the rest of the folder.
 */
#include "coordinator/api/page_files.h"

#include <string.h>

#include "lib/sha256.h"

#define JAVASCRIPT "text/javascript; charset=utf-8"

/* clang-format off */
#define EACH_FILE(X) \
    X(index, "index.html", DASHBOARD_DIR "/index.html", "text/html; charset=utf-8") \
    X(style, "style.css", DASHBOARD_DIR "/style.css", "text/css; charset=utf-8") \
    X(api, "api.js", DASHBOARD_DIR "/api.js", JAVASCRIPT) \
    X(dom, "dom.js", DASHBOARD_DIR "/dom.js", JAVASCRIPT) \
    X(stream, "stream.js", DASHBOARD_DIR "/stream.js", JAVASCRIPT) \
    X(charts, "charts.js", DASHBOARD_DIR "/charts.js", JAVASCRIPT) \
    X(table, "table.js", DASHBOARD_DIR "/table.js", JAVASCRIPT) \
    X(view_cluster, "view_cluster.js", DASHBOARD_DIR "/view_cluster.js", JAVASCRIPT) \
    X(view_jobs, "view_jobs.js", DASHBOARD_DIR "/view_jobs.js", JAVASCRIPT) \
    X(view_job, "view_job.js", DASHBOARD_DIR "/view_job.js", JAVASCRIPT) \
    X(figures, "figures.js", DASHBOARD_DIR "/figures.js", JAVASCRIPT) \
    X(curves, "curves.js", DASHBOARD_DIR "/curves.js", JAVASCRIPT) \
    X(view_compare, "view_compare.js", DASHBOARD_DIR "/view_compare.js", JAVASCRIPT) \
    X(view_models, "view_models.js", DASHBOARD_DIR "/view_models.js", JAVASCRIPT) \
    X(app, "app.js", DASHBOARD_DIR "/app.js", JAVASCRIPT) \
    X(chart, "chart.min.js", CHART_JS, JAVASCRIPT)
/* clang-format on */

#define EMBED(symbol, name, path, type)                                                            \
    extern const char page_##symbol##_begin[], page_##symbol##_end[];                              \
    __asm__(".pushsection .rodata\n"                                                               \
            "page_" #symbol "_begin:\n"                                                            \
            ".incbin \"" path "\"\n"                                                               \
            "page_" #symbol "_end:\n"                                                              \
            ".byte 0\n"                                                                            \
            ".popsection\n");
EACH_FILE(EMBED)

#define ROW(symbol, name, path, type) {name, type, page_##symbol##_begin, page_##symbol##_end},
static const struct page_file files[] = {EACH_FILE(ROW)};

const struct page_file *page_file_find(const char *name)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    return NULL;
}

const char *page_file_digest(const struct page_file *file)
{
    static char digests[sizeof(files) / sizeof(*files)][SHA256_HEX_SIZE];
    char *digest = digests[file - files];
    if (digest[0] == '\0')
        sha256_hex(file->begin, (size_t)(file->end - file->begin), digest);
    return digest;
}
