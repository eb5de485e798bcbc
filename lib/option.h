/* SPDX-License-Identifier: Apache-2.0
 *
 * option: one table of command-line options gives the parser, --help and completion.
 *
 *     static const struct option_row rows[] = {
 *         {"from", 'f', OPTION_STRING, offsetof(struct run_options, from), "DIR", "base or model"},
 *         {"set", 's', OPTION_LIST, offsetof(struct run_options, set), "KEY=VALUE", "may repeat"},
 *         {"plan", 0, OPTION_FLAG, offsetof(struct run_options, plan), NULL, "plan and stop"},
 *     };
 *
 * "--name value", "--name=value", "-n value", "-nvalue"; "--" ends options; options and positional
 * arguments may mix. An unknown option is STATUS_USAGE with the nearest name.
 */
#ifndef TAILOR_LIB_OPTION_H
#define TAILOR_LIB_OPTION_H

#include <stddef.h>
#include <stdio.h>

#include "lib/status.h"

enum option_type {
    OPTION_FLAG,   /* bool */
    OPTION_STRING, /* const char * (borrowed from argv) */
    OPTION_I64,    /* int64_t */
    OPTION_F64,    /* double */
    OPTION_LIST    /* struct option_list: may repeat */
};

enum { OPTION_LIST_MAX = 256 };

struct option_list {
    const char *items[OPTION_LIST_MAX]; /* borrowed from argv */
    int count;
};

struct option_row {
    const char *name; /* long name without dashes */
    char letter;      /* 0: none */
    enum option_type type;
    size_t offset;           /* of the field in the caller's struct */
    const char *placeholder; /* "DIR"; NULL for a flag */
    const char *help;        /* one line */
};

/* Parses argv[0 … argc) (without the program's and verb's names) into `target`; the positional
 * arguments go to `positional`. "--help" gives STATUS_CANCELLED after printing nothing: the
 * caller prints its usage and exits 0. */
enum status option_parse(const struct option_row *rows, size_t row_count, int argc,
                         const char *const *argv, void *target, struct option_list *positional,
                         struct error *error);
void option_print_help(FILE *out, const struct option_row *rows, size_t row_count);

#endif
