/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_fuzz: any bytes as YAML, as JSON and as --set give a spec or a sentence, never a crash; and
 * a spec that is accepted reads back to the same text.
 */
#include <stdint.h>
#include <string.h>

#include "lib/check.h"
#include "proto/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_text(const char *name, const char *text, size_t length,
                     const struct spec_override *overrides, int count)
{
    struct arena arena = {0};
    struct error error = {0};
    struct spec *spec;
    enum status status = spec_parse(&arena, name, text, length, overrides, count, &spec, &error);
    if (status != STATUS_OK) {
        CHECK(status == STATUS_USAGE && error.text[0] != '\0');
    } else {
        struct buf first = {0};
        struct buf second = {0};
        spec_json(spec, &first);
        CHECK(spec_parse(&arena, "resolved.json", first.data, first.length, NULL, 0, &spec,
                         &error) == STATUS_OK);
        spec_json(spec, &second);
        CHECK(strcmp(first.data, second.data) == 0);
        buf_release(&first);
        buf_release(&second);
    }
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char base[] = "stage: customize\nfrom: b\ndata: {train: t}\n";
    struct arena arena = {0};
    struct error error = {0};
    struct spec_override override;
    const char *text = arena_strndup(&arena, (const char *)data, size);
    try_text("fuzz.yaml", text, size, NULL, 0);
    try_text("fuzz.json", text, size, NULL, 0);
    if (spec_override_parse(&arena, text, &override, &error) == STATUS_OK) {
        try_text("base.yaml", base, sizeof(base) - 1, &override, 1);
    }
    arena_release(&arena);
    return 0;
}
