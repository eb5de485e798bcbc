/* SPDX-License-Identifier: Apache-2.0
 *
 * check: our own bugs stop the process, always, with file and line.
 *
 * CHECK is for facts that hold unless this program is wrong. It stays on in release builds. What
 * the world may get wrong is a status (status.h). `fatal` is for main.c alone: cannot start.
 */
#ifndef TAILOR_LIB_CHECK_H
#define TAILOR_LIB_CHECK_H

#include <stddef.h>

#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__, __func__))

void check_failed(const char *condition, const char *file, int line, const char *function)
    __attribute__((noreturn));

/* Prints "program: sentence" to standard error and exits with `code`. main.c only. */
void fatal(int code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* Size arithmetic that must not wrap: CHECKs on overflow. Use the _try forms on untrusted
 * sizes; they return 0 on overflow and leave *out alone. */
size_t size_add(size_t a, size_t b);
size_t size_mul(size_t a, size_t b);
int size_add_try(size_t a, size_t b, size_t *out);
int size_mul_try(size_t a, size_t b, size_t *out);

#endif
