/* SPDX-License-Identifier: Apache-2.0
 *
 * rope: the rotation's frequencies and its table of cosines and sines.
 *
 * The frequencies are fp32, because Transformers keeps them so and a table from double frequencies
 * would be "better" and different; angle, cosine and sine are double and rounded once. Against
 * Transformers, which also multiplies and takes cos in fp32, that moves a reward by less than the
 * golden tolerance and makes the table the same on every machine.
 */
#include <math.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "worker/model/model.h"

/* LLaMA 3.1: wavelengths beyond original/low are stretched by `factor`, those below original/high
 * are left alone, and between them the two are blended. */
static double llama3_rescale(const struct model_config *config, double frequency)
{
    const double pi = 3.14159265358979323846;
    double wavelength = 2 * pi / frequency;
    double original = (double)config->rope_original_positions;
    if (wavelength < original / config->rope_high_factor) {
        return frequency;
    }
    if (wavelength > original / config->rope_low_factor) {
        return frequency / config->rope_factor;
    }
    double blend = (original / wavelength - config->rope_low_factor) /
                   (config->rope_high_factor - config->rope_low_factor);
    return (1 - blend) * frequency / config->rope_factor + blend * frequency;
}

void model_rope_inverse_frequencies(const struct model_config *config, float *out /*(D/2)*/)
{
    CHECK(config->D > 0 && config->D % 2 == 0);
    for (int32_t j = 0; j < config->D / 2; j++) {
        double frequency = 1 / pow(config->rope_theta, 2.0 * j / config->D);
        out[j] = (float)(config->rope_llama3 ? llama3_rescale(config, frequency) : frequency);
    }
}

void model_rope_table(const struct model_config *config, int32_t positions, float *out)
{
    float frequency[MODEL_HEAD_DIM_MAX / 2];
    CHECK(config->D <= MODEL_HEAD_DIM_MAX);
    model_rope_inverse_frequencies(config, frequency);
    for (int32_t position = 0; position < positions; position++) {
        for (int32_t j = 0; j < config->D / 2; j++) {
            double angle = (double)position * (double)frequency[j];
            *out++ = (float)cos(angle);
            *out++ = (float)sin(angle);
        }
    }
}
