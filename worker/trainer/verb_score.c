/* SPDX-License-Identifier: Apache-2.0
 *
 * score: rewards of the texts of a file, or of standard input (score.h).
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/trainer/score.h"
#include "worker/trainer/verbs.h"

/* Standard input becomes a file, since data are read from regular files only. */
static enum status spool_stdin(char path[64], struct error *error)
{
    char block[65536];
    snprintf(path, 64, "/tmp/tailor-score-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0) {
        return error_set(error, STATUS_IO, "cannot make a temporary file: %s", path);
    }
    ssize_t got;
    while ((got = read(STDIN_FILENO, block, sizeof(block))) > 0) {
        if (write(fd, block, (size_t)got) != got) {
            break;
        }
    }
    close(fd);
    return got == 0 ? STATUS_OK
                    : error_set(error, STATUS_IO, "cannot keep standard input in %s", path);
}

static enum status score(const struct arguments *arguments, const char *dir, const char *file,
                         struct error *error)
{
    struct data_source source;
    struct examiner examiner;
    const struct score_options options = {.batch_tokens = arguments->batch_tokens, .out = stdout};
    TRY(arguments_source(arguments, file, &source, error));
    source.any_form = true;
    TRY(examiner_open(dir, arguments, NULL, &examiner, error));
    enum status status = score_source(&examiner, &source, &options, error);
    examiner_close(&examiner, true);
    return status;
}

enum status verb_score(const struct arguments *arguments, struct error *error)
{
    const char *dir, *file = "-";
    char spool[64] = "";
    TRY(arguments_need(arguments, 0, "the model's directory", &dir, error));
    if (arguments->positional.count > 1) {
        file = arguments->positional.items[1];
    }
    if (strcmp(file, "-") == 0) {
        TRY(spool_stdin(spool, error));
        file = spool;
    }
    enum status status = score(arguments, dir, file, error);
    if (spool[0] != '\0') {
        unlink(spool);
    }
    return status;
}
