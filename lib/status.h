/* SPDX-License-Identifier: Apache-2.0
 *
 * status: how the world's failures travel.
 *
 * A function that can fail because of the world (a file, a user's spec, a full disk) returns
 * `enum status` and takes `struct error *error` as its last parameter. The first function that
 * knows the cause writes the sentence with error_set(); its callers return the status unchanged
 * and main() prints the sentence once. Outputs are named `_out` and are written on success only.
 *
 *     if (fd < 0)
 *         return error_set(error, STATUS_NOT_FOUND, "%s: %s", path, strerror(errno));
 *     TRY(config_read(dir, &config, error));
 *
 * A mistake in our own code is not a status: see check.h.
 */
#ifndef TAILOR_LIB_STATUS_H
#define TAILOR_LIB_STATUS_H

enum status {
    STATUS_OK = 0,
    STATUS_FAILED,        /* the work itself failed (a job, a verification) */
    STATUS_USAGE,         /* the command line or the spec is wrong */
    STATUS_NOT_FOUND,     /* a file, a model, a tensor that was named does not exist */
    STATUS_DENIED,        /* permission */
    STATUS_CONFLICT,      /* something is already there, or two facts disagree */
    STATUS_FORMAT,        /* the bytes of an input are malformed: names file and line or field */
    STATUS_UNSUPPORTED,   /* well-formed, but not something this program can do */
    STATUS_LIMIT,         /* a named limit of limits.h would be exceeded */
    STATUS_IO,            /* the operating system failed: EIO */
    STATUS_MEMORY,        /* a planned block does not fit */
    STATUS_NUMERIC,       /* NaN or infinity where a number must be finite */
    STATUS_CANCELLED,     /* a signal or a person stopped it */
    STATUS_COMMUNICATION, /* another rank failed, or cannot be reached */
    STATUS_TIMEOUT,       /* what was waited for has not come within the time that was given */
    STATUS_HELD,          /* done, but a gate holds the result back */
    STATUS_FULL,          /* no space is left on a disk: the same works when there is some */
    STATUS_COUNT
};

enum { ERROR_TEXT_MAX = 1024 };

struct error {
    enum status status;
    char text[ERROR_TEXT_MAX]; /* one sentence, no newline: what, where, and the likely fix */
};

/* Writes the sentence (printf style; truncated at ERROR_TEXT_MAX) and returns `status`.
 * `error` may be NULL when the caller does not care for the sentence. */
enum status error_set(struct error *error, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the sentence that is already there: a caller that knows the file
 * completes what a parser said about a field. Returns error->status. */
enum status error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "not found", "bad format", …: a static string for logs and JSON. */
const char *status_name(enum status status);

/* The command line's exit code for a status: 0 done, 1 failed, 2 usage, 3 not found, 4 denied,
 * 5 conflict, 6 unreachable, 7 a wait timed out, 8 cancelled, 9 held by a gate. */
int status_exit_code(enum status status);

#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum status status_of_try_ = (call);                                                       \
        if (status_of_try_ != STATUS_OK)                                                           \
            return status_of_try_;                                                                 \
    } while (0)

#endif
