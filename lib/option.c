/* SPDX-License-Identifier: Apache-2.0
 *
 * option: a walk over argv that looks names up in the caller's table.
 *
 * Invariants: nothing is printed; strings are borrowed from argv; fields of options that were not
 * given keep the caller's defaults. Rejected: getopt_long, which keeps global state, prints for
 * itself and accepts abbreviations, so that a new option could break an old script.
 */
#include "lib/option.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/text.h"

struct walk {
    const struct option_row *rows;
    size_t row_count;
    int argc;
    const char *const *argv;
    int next; /* index of the argument not looked at yet */
    void *target;
    struct error *error;
};

static enum status list_add(struct option_list *list, const char *item, const char *what,
                            struct error *error)
{
    if (list->count >= OPTION_LIST_MAX) {
        return error_set(error, STATUS_USAGE, "more than %d %s", OPTION_LIST_MAX, what);
    }
    list->items[list->count++] = item;
    return STATUS_OK;
}

static enum status value_store(const struct walk *walk, const struct option_row *row,
                               const char *value)
{
    void *field = (char *)walk->target + row->offset;
    switch (row->type) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return STATUS_OK;
    case OPTION_STRING:
        *(const char **)field = value;
        return STATUS_OK;
    case OPTION_I64:
        if (!parse_i64(value, field)) {
            return error_set(walk->error, STATUS_USAGE, "--%s: '%s' is not an integer", row->name,
                             value);
        }
        return STATUS_OK;
    case OPTION_F64:
        if (!parse_f64(value, field)) {
            return error_set(walk->error, STATUS_USAGE, "--%s: '%s' is not a number", row->name,
                             value);
        }
        return STATUS_OK;
    case OPTION_LIST:
        return list_add(field, value, row->name, walk->error);
    }
    CHECK(!"an option of unknown type");
    return STATUS_OK;
}

/* `attached` is the value that came with the name ("=value", "-nvalue"), or NULL. */
static enum status option_take(struct walk *walk, const struct option_row *row,
                               const char *attached)
{
    if (row->type != OPTION_FLAG && !attached) {
        if (walk->next >= walk->argc) {
            return error_set(walk->error, STATUS_USAGE, "--%s needs a value: --%s %s", row->name,
                             row->name, row->placeholder ? row->placeholder : "VALUE");
        }
        attached = walk->argv[walk->next++];
    }
    return value_store(walk, row, attached);
}

static enum status unknown_long(const struct walk *walk, const char *name)
{
    const char **names = mem_alloc(size_mul(walk->row_count + 1, sizeof(*names)));
    for (size_t i = 0; i < walk->row_count; i++) {
        names[i] = walk->rows[i].name;
    }
    names[walk->row_count] = "help";
    const char *nearest = nearest_name(name, names, walk->row_count + 1);
    enum status status =
        nearest ? error_set(walk->error, STATUS_USAGE, "unknown option --%s: did you mean --%s?",
                            name, nearest)
                : error_set(walk->error, STATUS_USAGE, "unknown option --%s: see --help", name);
    mem_free(names);
    return status;
}

static enum status long_parse(struct walk *walk, const char *text)
{
    const char *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : strlen(text);
    for (size_t i = 0; i < walk->row_count; i++) {
        const struct option_row *row = &walk->rows[i];
        if (strlen(row->name) != length || memcmp(row->name, text, length) != 0) {
            continue;
        }
        if (row->type == OPTION_FLAG && equals) {
            return error_set(walk->error, STATUS_USAGE, "--%s takes no value", row->name);
        }
        return option_take(walk, row, equals ? equals + 1 : NULL);
    }
    if (strcmp(text, "help") == 0) {
        return error_set(walk->error, STATUS_CANCELLED, "help was asked for");
    }
    char name[80];
    size_t kept = length < sizeof(name) ? length : sizeof(name) - 1;
    memcpy(name, text, kept);
    name[kept] = '\0';
    return unknown_long(walk, name);
}

/* "-pf DIR" is "-p -f DIR": flags may share a dash; the first that takes a value ends them. */
static enum status letters_parse(struct walk *walk, const char *text)
{
    for (; *text; text++) {
        const struct option_row *row = NULL;
        for (size_t i = 0; i < walk->row_count && !row; i++) {
            row = walk->rows[i].letter == *text ? &walk->rows[i] : NULL;
        }
        if (!row && *text == 'h') {
            return error_set(walk->error, STATUS_CANCELLED, "help was asked for");
        }
        if (!row) {
            return error_set(walk->error, STATUS_USAGE, "unknown option -%c: see --help", *text);
        }
        if (row->type != OPTION_FLAG) {
            return option_take(walk, row, text[1] ? text + 1 : NULL);
        }
        TRY(option_take(walk, row, NULL));
    }
    return STATUS_OK;
}

enum status option_parse(const struct option_row *rows, size_t row_count, int argc,
                         const char *const *argv, void *target, struct option_list *positional,
                         struct error *error)
{
    struct walk walk = {rows, row_count, argc, argv, 0, target, error};
    bool options_ended = false;
    while (walk.next < argc) {
        const char *text = argv[walk.next++];
        if (options_ended || text[0] != '-' || text[1] == '\0') {
            TRY(list_add(positional, text, "arguments", error));
        } else if (strcmp(text, "--") == 0) {
            options_ended = true;
        } else if (text[1] == '-') {
            TRY(long_parse(&walk, text + 2));
        } else {
            TRY(letters_parse(&walk, text + 1));
        }
    }
    return STATUS_OK;
}

static int head_width(const struct option_row *row)
{
    size_t width = strlen(row->name) + (row->placeholder ? 1 + strlen(row->placeholder) : 0);
    return (int)width;
}

void option_print_help(FILE *out, const struct option_row *rows, size_t row_count)
{
    struct option_row help = {"help", 'h', OPTION_FLAG, 0, NULL, "print this help"};
    int widest = head_width(&help);
    for (size_t i = 0; i < row_count; i++) {
        int width = head_width(&rows[i]);
        help.letter = rows[i].letter == 'h' ? 0 : help.letter;
        widest = width > widest ? width : widest;
    }
    for (size_t i = 0; i <= row_count; i++) {
        const struct option_row *row = i < row_count ? &rows[i] : &help;
        char letter[] = "    ";
        if (row->letter) {
            letter[0] = '-';
            letter[1] = row->letter;
            letter[2] = ',';
        }
        fprintf(out, "  %s--%s%s%s%*s  %s\n", letter, row->name, row->placeholder ? " " : "",
                row->placeholder ? row->placeholder : "", widest - head_width(row), "", row->help);
    }
}
