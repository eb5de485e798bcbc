/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf_sample: writes a whole tiny GGUF model to its output, for the scripts beside it.
 */
#include <stdio.h>

#include "tests/gguf_fixture.h"

int main(void)
{
    struct gguf_build build = {0};
    struct buf file = {0};
    gguf_build_model(&build);
    gguf_build_finish(&build, &file);
    return fwrite(file.data, 1, file.length, stdout) == file.length ? 0 : 1;
}
