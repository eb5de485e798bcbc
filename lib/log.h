/* SPDX-License-Identifier: Apache-2.0
 *
 * log: one line per event on standard error, lowercase, "key value" pairs after a sentence.
 *
 *     log_info("checkpoint written step %ld bytes %zu", step, bytes);
 *
 * The level comes from TAILOR_LOG (debug, info, warn, error; default info). Any thread.
 */
#ifndef TAILOR_LIB_LOG_H
#define TAILOR_LIB_LOG_H

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

void log_level_set(enum log_level level);
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
