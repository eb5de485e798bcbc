/* SPDX-License-Identifier: Apache-2.0
 *
 * data_fixture: files, a tokenizer and datasets for the tests of worker/data.
 *
 * Everything lies in one temporary directory that goes away when the process ends. The tokenizer is
 * a byte-level BPE without merges: the ids of a text are its bytes, BOS is 256 and EOS 257, so that
 * a test can say the expected tokens as a string.
 */
#ifndef TAILOR_TESTS_DATA_FIXTURE_H
#define TAILOR_TESTS_DATA_FIXTURE_H

#include <stddef.h>

#include "worker/data/admission.h"
#include "worker/data/dataset.h"

enum { FIXTURE_BOS = 256, FIXTURE_EOS = 257 };

/* Paths live until the process ends. */
const char *fixture_path(const char *name);
const char *fixture_write(const char *name, const char *text);
const char *fixture_write_bytes(const char *name, const void *data, size_t size);
const char *fixture_write_gz(const char *name, const char *text);
const char *fixture_write_zst(const char *name, const char *text);

const struct tokenizer *fixture_tokenizer(void);
struct text_format fixture_format(void); /* dsp, 512, drop */

/* An opened source with its report, and the error if it failed (dataset is then NULL). */
struct fixture_data {
    struct dataset *dataset;
    struct admission *admission;
    struct admission_source *report; /* of the first source */
    struct error error;
};

struct fixture_data fixture_open(const struct data_source *source, const struct text_format *format,
                                 const char *cache_dir);
/* Writes `text` to a file and opens it with the defaults. */
struct fixture_data fixture_text(const char *text);
void fixture_close(struct fixture_data *data);

/* A row's tokens as text, "<s>" and "</s>" for BOS and EOS. Valid until the next call. */
const char *fixture_row(const struct dataset *dataset, int64_t row);

#endif
