/* SPDX-License-Identifier: Apache-2.0
 *
 * upload_spec: the paths of a spec become digests. What is there on this machine is a path, and so
 * is what looks like one; other names are the service's.
 */
#include <string.h>

#include "client/path.h"
#include "client/upload.h"
#include "lib/file.h"
#include "proto/ident.h"

#define DIGEST_PREFIX "sha256:"

/* A file that is not there is told so, rather than looked for in the service. */
static bool is_path(const char *text, bool directory)
{
    if (strncmp(text, DIGEST_PREFIX, strlen(DIGEST_PREFIX)) == 0) {
        return false;
    }
    if (strchr("./~", text[0])) {
        return true;
    }
    return directory ? dir_exists(text) : file_size(text) >= 0 || path_names_data(text);
}

static enum status upload_sources(const struct upload *upload, const char *field,
                                  const struct spec_sources *sources, struct error *error)
{
    char digest[SHA256_HEX_SIZE];
    for (int i = 0; i < sources->count; i++) {
        struct spec_source *source = &sources->items[i];
        if (!source->dataset || !is_path(source->dataset, false)) {
            continue;
        }
        if (path_check("FILE", source->dataset, error) != STATUS_OK) {
            return error_prefix(error, "%s[%d]", field, i);
        }
        if (!source->name) { /* what people call it, in tables and reports */
            char name[NAME_BYTES_MAX + 1];
            label_make(path_base(source->dataset), name);
            source->name = arena_strdup(upload->service->arena, name);
        }
        TRY(upload_file(upload, source->dataset, digest, error));
        source->dataset = arena_printf(upload->service->arena, DIGEST_PREFIX "%s", digest);
    }
    return STATUS_OK;
}

static enum status upload_from(const struct upload *upload, struct spec *spec, struct error *error)
{
    char digest[SHA256_HEX_SIZE], adapter[4096];
    if (!is_path(spec->from, true)) {
        return STATUS_OK;
    }
    if (path_check("DIR", spec->from, error) != STATUS_OK) {
        return error_prefix(error, "from");
    }
    path_join(adapter, sizeof(adapter), spec->from, "adapter_config.json");
    if (file_exists(adapter)) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "from: %s is an adapter, which is no model without its parent: start from "
                         "a model of the service (tailor model add --parent makes it one)",
                         spec->from);
    }
    TRY(upload_dir(upload, spec->from, digest, error));
    spec->from = arena_printf(upload->service->arena, DIGEST_PREFIX "%s", digest);
    return STATUS_OK;
}

enum status upload_spec(const struct upload *upload, struct spec *spec, struct error *error)
{
    TRY(upload_from(upload, spec, error));
    TRY(upload_sources(upload, "data.train", &spec->data.train, error));
    TRY(upload_sources(upload, "data.eval", &spec->data.eval, error));
    return upload_sources(upload, "data.enrich.sources", &spec->data.enrich.sources, error);
}
