/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_gradient: a backward pass against central finite differences of its forward pass.
 *
 * The loss is a weighted sum of an op's outputs, added up in double; the weights are the gradient
 * handed to the backward pass. It is differentiated along dense directions, which see every entry a
 * little, and along single entries, which see one fully.
 */
#ifndef TAILOR_TESTS_OPS_GRADIENT_H
#define TAILOR_TESTS_OPS_GRADIENT_H

#include "tests/ops_fixture.h"

typedef double gradient_loss(void *context); /* runs the forward pass on the context's inputs */

/* Is dx the gradient of the loss by x? Changes x and puts it back. */
void expect_gradient(struct fixture *fixture, const char *what, gradient_loss *loss, void *context,
                     struct matrix x, struct matrix dx);
/* The same for a gradient that was added to what `before` holds. */
void expect_gradient_added(struct fixture *fixture, const char *what, gradient_loss *loss,
                           void *context, struct matrix x, struct matrix dx, struct matrix before);

/* The reference on one thread in fp32, with enough scratch for anything a gradient test does. */
struct device *gradient_device(void);

#endif
