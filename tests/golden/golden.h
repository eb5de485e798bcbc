/* SPDX-License-Identifier: Apache-2.0
 *
 * golden: reading a directory of reference values (tests/golden/README.md) into our own structures.
 *
 * TAILOR_GOLDEN names the directory (default: tests/golden/data); TAILOR_ISA the implementation
 * under test. Nothing here knows sizes: models, cases and their shapes are whatever the directory
 * holds.
 */
#ifndef TAILOR_TESTS_GOLDEN_H
#define TAILOR_TESTS_GOLDEN_H

#include <jansson.h>
#include <stdbool.h>

#include "lib/arena.h"
#include "worker/data/dataset.h"
#include "worker/model/model.h"
#include "worker/trainer/step.h"

enum { GOLDEN_PATH_MAX = 4096 };

/* The tolerances of the golden README, one table. */
struct golden_tolerance {
    double relative, floor; /* |got − expected| <= max(floor, relative · |expected|) */
};
extern const struct golden_tolerance GOLDEN_REWARD, GOLDEN_LOSS, GOLDEN_NORM, GOLDEN_CURVE_NORM;
#define GOLDEN_GRADIENT_OF_LARGEST 1e-3 /* of the largest entry of its tensor */
#define GOLDEN_FINAL_WORST         2e-4
#define GOLDEN_FINAL_MEAN          4e-6

const char *golden_path(const char *format, ...)
    __attribute__((format(printf, 1, 2))); /* static buffer */
/* Loads DIR/…; NULL (and a named skip) when the directory lacks it. */
json_t *golden_load(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Sorted names of the entries of a folder of the golden directory; count 0 when it is missing. */
int golden_list(struct arena *arena, const char *folder, const char ***names_out);

void golden_expect(double expected, double got, struct golden_tolerance tolerance,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));
double golden_number(const json_t *value); /* NaN for null */

/* The device under test, opened once. */
struct device *golden_device(void);

/* Groups of token rows as a dataset: rows[G·K], scores[G][K]; rows with a negative score are left
 * out. Scores are taken as they are, raw and normalised. place_out[i]: index of row i in rows[]. */
struct dataset *golden_dataset(struct arena *arena, const json_t *rows, const json_t *scores,
                               const int32_t **place_out);

/* base with an LM head and a score head from its rm directory. NULL (skip) where the models are
 * missing. */
struct model *golden_model(const char *name);

/* A stepper over fresh blocks; free with golden_stepper_free. */
struct golden_stepper {
    struct stepper stepper;
    struct loss_config loss;
    struct schedule schedule;
};
struct golden_stepper *golden_stepper(struct model *model, const struct dataset *dataset,
                                      enum pooling pooling, double lm_coefficient,
                                      double lm_threshold,
                                      const struct optimizer_config *optimizer);
void golden_stepper_free(struct golden_stepper *stepper);
/* All groups of a dataset as one batch. */
struct batch_group *golden_batch(struct arena *arena, const struct dataset *dataset,
                                 int32_t *count_out);
/* A tensor of a safetensors file as floats (malloc'ed; NULL if the file lacks it). */
float *golden_tensor(const char *path, const char *name, size_t *elements_out);

enum { GOLDEN_POOLINGS = 4 };
extern const struct golden_pooling {
    const char *name; /* as the goldens call it */
    enum pooling pooling;
} GOLDEN_POOLING[GOLDEN_POOLINGS];

#endif
