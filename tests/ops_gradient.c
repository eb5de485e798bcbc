/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/ops_gradient.h"

#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "tests/test.h"

enum { DIRECTIONS_DENSE = 6, DIRECTIONS_SINGLE = 24 };

/* The step along a direction of length one, and how far from the difference quotient a right
 * gradient may be, relative to its largest entry. Rounding of fp32 outputs divided by the step is
 * about 1e-4; the quotient's own error is of fourth order. */
static const double step = 0.02;
static const double tolerance = 2e-3;

static float *entry(struct matrix matrix, int64_t index)
{
    return &matrix.at[(index / matrix.width) * matrix.ld + index % matrix.width];
}

/* A random direction of length one: all entries, or a single one. */
static void draw_direction(struct fixture *fixture, double *direction, int64_t count, bool dense)
{
    memset(direction, 0, (size_t)count * sizeof(*direction));
    if (!dense) {
        direction[draw_int(fixture, 0, (int32_t)count - 1)] = 1.0;
        return;
    }
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        direction[i] = (double)draw_normal(fixture);
        sum += direction[i] * direction[i];
    }
    for (int64_t i = 0; i < count; i++) {
        direction[i] /= sqrt(sum);
    }
}

/* The loss at x0 + distance·direction. */
static double loss_at(gradient_loss *loss, void *context, struct matrix x, const double *x0,
                      const double *direction, double distance)
{
    const int64_t count = (int64_t)x.rows * x.width;
    for (int64_t i = 0; i < count; i++) {
        *entry(x, i) = (float)(x0[i] + distance * direction[i]);
    }
    double value = loss(context);
    for (int64_t i = 0; i < count; i++) {
        *entry(x, i) = (float)x0[i];
    }
    return value;
}

void expect_gradient(struct fixture *fixture, const char *what, gradient_loss *loss, void *context,
                     struct matrix x, struct matrix dx)
{
    const int64_t count = (int64_t)x.rows * x.width;
    CHECK(dx.rows == x.rows && dx.width == x.width);
    double *x0 = arena_array(&fixture->arena, double, count);
    double *direction = arena_array(&fixture->arena, double, count);
    for (int64_t i = 0; i < count; i++) {
        x0[i] = (double)*entry(x, i);
    }
    const double allowed = tolerance * fmax(matrix_largest(dx), 0.1);
    for (int t = 0; t < DIRECTIONS_DENSE + DIRECTIONS_SINGLE; t++) {
        draw_direction(fixture, direction, count, t < DIRECTIONS_DENSE);
        double expected = 0.0;
        for (int64_t i = 0; i < count; i++) {
            expected += direction[i] * (double)*entry(dx, i);
        }
        /* (8·(L(h) − L(−h)) − (L(2h) − L(−2h))) / 12h = L' + O(h⁴) */
        double near = loss_at(loss, context, x, x0, direction, step) -
                      loss_at(loss, context, x, x0, direction, -step);
        double far = loss_at(loss, context, x, x0, direction, 2.0 * step) -
                     loss_at(loss, context, x, x0, direction, -2.0 * step);
        double slope = (8.0 * near - far) / (12.0 * step);
        if (!(fabs(slope - expected) <= allowed)) {
            test_fail(__FILE__, __LINE__,
                      "seed %llu: %s (%d, %d) along %s: finite difference %.6g, gradient %.6g, "
                      "allowed %.2g",
                      (unsigned long long)fixture->seed, what, x.rows, x.width,
                      t < DIRECTIONS_DENSE ? "all entries" : "one entry", slope, expected, allowed);
            return;
        }
    }
}

void expect_gradient_added(struct fixture *fixture, const char *what, gradient_loss *loss,
                           void *context, struct matrix x, struct matrix dx, struct matrix before)
{
    struct matrix added = copy_matrix(fixture, dx);
    for (int64_t i = 0; i < (int64_t)dx.rows * dx.width; i++) {
        *entry(added, i) -= *entry(before, i);
    }
    expect_gradient(fixture, what, loss, context, x, added);
}

struct device *gradient_device(void)
{
    static struct device *device;
    if (!device) {
        struct error error;
        struct device_options options = {.isa = "ref", .threads = 1};
        CHECK(device_open(&options, &device, &error) == STATUS_OK);
        struct scratch_shape shape = {
            .V = 1024, .row_tokens_max = 1024, .lora_rank = 64, .cross_entropy = true};
        CHECK(device->ops->scratch_reserve(device, &shape, &error) == STATUS_OK);
    }
    return device;
}
