/* SPDX-License-Identifier: Apache-2.0
 *
 * admission_print: the verdict, and the report for people and for programs.
 *
 * One table of findings holds the name, the share at which a finding is worth a look, the bound of
 * the policy, and the sentence that says what it most likely means.
 */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "lib/check.h"
#include "lib/json.h"
#include "lib/table.h"
#include "worker/data/admission.h"
#include "worker/data/admission_parts.h"

enum { LENGTH_PAIRS_MIN = 100, LINES_SHOWN_MAX = 5 };

static const double LENGTH_SHARE_LOOK = 0.7;

#define NO_BOUND SIZE_MAX

static const struct finding_row {
    const char *name;
    double look;      /* a share of groups above this is worth a look */
    size_t bound;     /* offset in struct admission_policy, or NO_BOUND */
    const char *what; /* "12 of 300 groups (4 %): <what>; <meaning>" */
    const char *meaning;
} finding_rows[FINDING_COUNT] = {
    [FINDING_DUPLICATE] = {"duplicate", 0.01, offsetof(struct admission_policy, duplicates_max),
                           "the prompt, responses and order of an earlier group",
                           "they are kept and weigh double; was a file concatenated twice?"},
    [FINDING_CONTRADICTION] = {"contradiction", 0,
                               offsetof(struct admission_policy, contradictions_max),
                               "the responses of an earlier group in the opposite order",
                               "they are kept and cancel out; annotators disagree, or two columns "
                               "were swapped"},
    [FINDING_TIE] = {"tie", 0.01, offsetof(struct admission_policy, ties_max),
                     "no two different scores",
                     "they teach no preference and are kept for imitation only"},
    [FINDING_EMPTY] = {"empty", 0, NO_BOUND, "an empty prompt or response",
                       "they are kept unless no token is left; an export may have lost a column"},
    [FINDING_IDENTICAL] = {"identical", 0, offsetof(struct admission_policy, identical_max),
                           "responses with the same tokens",
                           "they are left out where nothing else is left to compare; if truncation "
                           "did it, raise max_length or truncate the left"},
    [FINDING_OVERLONG] = {"overlong", 0.01, offsetof(struct admission_policy, overlong_max),
                          "longer than max_length",
                          "they are left out or cut, as overlong says; see the row lengths above"},
    [FINDING_INVALID_UTF8] = {"invalid_utf8", 0, NO_BOUND, "not valid UTF-8",
                              "they are left out; if the file is in another encoding, iconv "
                              "converts it"},
    [FINDING_ONE_RESPONSE] = {"one_response", 0, NO_BOUND, "fewer than two responses present",
                              "they are left out; a negative score marks an absent response"},
    [FINDING_OVERLAP] = {"overlap", 0, offsetof(struct admission_policy, overlap_max),
                         "a prompt that the training data have too",
                         "their figures will look better than they are"},
    [FINDING_UNKNOWN_COLUMN] = {"unknown_column", INFINITY, NO_BOUND, "", ""}, /* only listed */
};

const char *finding_name(enum finding finding)
{
    CHECK((unsigned)finding < FINDING_COUNT);
    return finding_rows[finding].name;
}

const char *verdict_name(enum verdict verdict)
{
    static const char *const names[] = {"accepted", "accepted with warnings", "rejected"};
    CHECK((unsigned)verdict < sizeof(names) / sizeof(names[0]));
    return names[verdict];
}

bool admission_is_verdict(enum status status)
{
    return status == STATUS_FORMAT || status == STATUS_LIMIT || status == STATUS_CONFLICT;
}

static double share(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

static double policy_bound(const struct admission_policy *policy, const struct finding_row *row)
{
    return policy == NULL || row->bound == NO_BOUND
               ? -1
               : *(const double *)((const char *)policy + row->bound);
}

static void raise_to(enum verdict *verdict, enum verdict least)
{
    *verdict = *verdict < least ? least : *verdict;
}

/* Appends "17, 44, 91, …"; for unknown columns their names. */
static void lines_cell(const struct admission_part *part, enum finding finding, struct buf *cell)
{
    const struct finding_list *list = &part->lists[finding];
    for (int64_t i = 0; i < list->count && i < LINES_SHOWN_MAX; i++) {
        buf_append_string(cell, i == 0 ? "" : ", ");
        if (finding == FINDING_UNKNOWN_COLUMN) {
            buf_append_string(cell, part->columns[i]);
        } else {
            buf_printf(cell, "%lld", (long long)list->lines[i]);
        }
    }
    buf_append_string(cell, list->count > LINES_SHOWN_MAX ? ", …" : "");
}

static void part_judge(const struct admission_part *part, const struct admission_policy *policy,
                       enum verdict *verdict, struct buf *reasons)
{
    const struct admission_source *source = &part->source;
    for (int finding = 0; finding < FINDING_COUNT; finding++) {
        const struct finding_row *row = &finding_rows[finding];
        int64_t count = source->findings[finding];
        double of_groups = share(count, source->groups_read);
        double bound = policy_bound(policy, row);
        bool broken = bound >= 0 && of_groups > bound;
        if (!broken && of_groups <= row->look) {
            continue;
        }
        raise_to(verdict, broken ? VERDICT_REJECTED : VERDICT_WARNINGS);
        buf_printf(reasons, "%s: %lld of %lld groups (%.3g %%): %s", source->name, (long long)count,
                   (long long)source->groups_read, 100 * of_groups, row->what);
        if (broken) {
            buf_printf(reasons, ", and at most %.3g %% are allowed (%s ", 100 * bound,
                       finding == FINDING_UNKNOWN_COLUMN ? "columns" : "lines");
            lines_cell(part, finding, reasons);
            buf_append_char(reasons, ')');
        }
        buf_printf(reasons, "; %s\n", row->meaning);
    }
    double longer = share(source->longer_preferred, source->length_pairs);
    if (source->length_pairs >= LENGTH_PAIRS_MIN && longer > LENGTH_SHARE_LOOK) {
        raise_to(verdict, VERDICT_WARNINGS);
        buf_printf(reasons,
                   "%s: the longer response is preferred in %.0f %% of the pairs: the model may "
                   "learn length instead of taste\n",
                   source->name, 100 * longer);
    }
}

enum verdict admission_judge(const struct admission *admission,
                             const struct admission_policy *policy, struct buf *reasons)
{
    enum verdict verdict = VERDICT_ACCEPTED;
    struct buf unwanted = {0};
    struct buf *out = reasons != NULL ? reasons : &unwanted;
    int64_t groups = 0, pairs = 0;
    for (int i = 0; i < admission->count; i++) {
        part_judge(&admission->parts[i], policy, &verdict, out);
        groups += admission->parts[i].source.groups_kept;
        pairs += admission->parts[i].source.pairs;
    }
    if (groups == 0) {
        raise_to(&verdict, VERDICT_REJECTED);
        buf_append_string(out, "no group is left to train on\n");
    }
    if (policy != NULL && groups < policy->min_groups) {
        raise_to(&verdict, VERDICT_REJECTED);
        buf_printf(out, "%lld groups are left, at least %lld are asked for\n", (long long)groups,
                   (long long)policy->min_groups);
    }
    if (policy != NULL && pairs < policy->min_pairs) {
        raise_to(&verdict, VERDICT_REJECTED);
        buf_printf(out, "%lld pairs are left, at least %lld are asked for\n", (long long)pairs,
                   (long long)policy->min_pairs);
    }
    buf_release(&unwanted);
    return verdict;
}

/* Calls `line` for every line of `text`. */
static void lines_each(const char *text,
                       void (*line)(void *argument, const char *from, size_t size), void *argument)
{
    while (text != NULL && *text != '\0') {
        size_t size = strcspn(text, "\n");
        line(argument, text, size);
        text += size + (text[size] == '\n');
    }
}

/* ---- for programs ---- */

static json_t *part_json(const struct admission_part *part)
{
    const struct admission_source *source = &part->source;
    json_t *object = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:i}", "name", source->name,
        "form", source->form, "groups_read", (json_int_t)source->groups_read, "groups_kept",
        (json_int_t)source->groups_kept, "rows", (json_int_t)source->rows, "pairs",
        (json_int_t)source->pairs, "tokens", (json_int_t)source->tokens, "tokens_shared",
        (json_int_t)source->tokens_shared, "length_pairs", (json_int_t)source->length_pairs,
        "longer_preferred", (json_int_t)source->longer_preferred, "row_tokens_median",
        source->row_tokens_median, "row_tokens_p95", source->row_tokens_p95, "row_tokens_max",
        source->row_tokens_max);
    json_t *findings = json_object();
    for (int finding = 0; finding < FINDING_COUNT; finding++) {
        json_t *lines = json_array();
        for (int64_t i = 0; i < part->lists[finding].count; i++) {
            json_array_append_new(lines, json_integer(part->lists[finding].lines[i]));
        }
        json_object_set_new(findings, finding_rows[finding].name,
                            json_pack("{s:I, s:o}", "count", (json_int_t)source->findings[finding],
                                      "lines", lines));
    }
    json_t *columns = json_array();
    for (int32_t i = 0; i < part->column_count; i++) {
        json_array_append_new(columns, json_string(part->columns[i]));
    }
    CHECK(object != NULL);
    json_object_set_new(object, "findings", findings);
    json_object_set_new(object, "unknown_columns", columns);
    return object;
}

static void reason_json(void *argument, const char *from, size_t size)
{
    json_array_append_new(argument, json_stringn(from, size));
}

static void print_json(const struct admission *admission, enum verdict verdict, const char *reasons,
                       FILE *out)
{
    json_t *lines = json_array(), *sources = json_array();
    lines_each(reasons, reason_json, lines);
    for (int i = 0; i < admission->count; i++) {
        json_array_append_new(sources, part_json(&admission->parts[i]));
    }
    json_t *root = json_pack("{s:s, s:o, s:o}", "verdict", verdict_name(verdict), "reasons", lines,
                             "sources", sources);
    CHECK(root != NULL);
    struct buf text = {0};
    json_append(&text, root);
    json_decref(root);
    fprintf(out, "%s\n", text.data);
    buf_release(&text);
}

/* ---- for people ---- */

enum { CELL_MAX = 64 };

static const char *cell_count(char cell[CELL_MAX], int64_t count)
{
    snprintf(cell, CELL_MAX, "%lld", (long long)count);
    return cell;
}

static const char *cell_percent(char cell[CELL_MAX], int64_t part, int64_t whole)
{
    if (whole == 0) {
        return "";
    }
    snprintf(cell, CELL_MAX, "%.1f %%", 100 * share(part, whole));
    return cell;
}

static void print_sources(const struct admission *admission, FILE *out)
{
    struct table *table = table_create("source", "form", "groups", "kept", "rows", "pairs",
                                       "tokens", "shared", "median", "p95", "max", "longer wins");
    for (int i = 0; i < admission->count; i++) {
        const struct admission_source *source = &admission->parts[i].source;
        char cells[10][CELL_MAX];
        table_row(table, source->name, source->form, cell_count(cells[0], source->groups_read),
                  cell_count(cells[1], source->groups_kept), cell_count(cells[2], source->rows),
                  cell_count(cells[3], source->pairs), cell_count(cells[4], source->tokens),
                  cell_count(cells[5], source->tokens_shared),
                  cell_count(cells[6], source->row_tokens_median),
                  cell_count(cells[7], source->row_tokens_p95),
                  cell_count(cells[8], source->row_tokens_max),
                  cell_percent(cells[9], source->longer_preferred, source->length_pairs));
    }
    table_print(table, TABLE_FORMAT_TABLE, out);
    table_free(table);
}

static void print_findings(const struct admission *admission, FILE *out)
{
    struct table *table = table_create("finding", "source", "count", "of groups", "where");
    bool any = false;
    for (int i = 0; i < admission->count; i++) {
        const struct admission_part *part = &admission->parts[i];
        for (int finding = 0; finding < FINDING_COUNT; finding++) {
            int64_t count = part->source.findings[finding];
            bool of_groups = finding != FINDING_UNKNOWN_COLUMN;
            char cells[2][CELL_MAX];
            struct buf lines = {0};
            if (count == 0) {
                continue;
            }
            any = true;
            lines_cell(part, finding, &lines);
            table_row(table, finding_rows[finding].name, part->source.name,
                      cell_count(cells[0], count),
                      of_groups ? cell_percent(cells[1], count, part->source.groups_read) : "",
                      lines.data);
            buf_release(&lines);
        }
    }
    if (any) {
        fputc('\n', out);
        table_print(table, TABLE_FORMAT_TABLE, out);
    }
    table_free(table);
}

static void print_reason(void *argument, const char *from, size_t size)
{
    fprintf(argument, "- %.*s\n", (int)size, from);
}

void admission_print(const struct admission *admission, const struct admission_policy *policy,
                     bool json, FILE *out)
{
    struct buf reasons = {0};
    enum verdict verdict = admission_judge(admission, policy, &reasons);
    if (json) {
        print_json(admission, verdict, reasons.data, out);
    } else {
        print_sources(admission, out);
        print_findings(admission, out);
        fprintf(out, "\n%s\n", verdict_name(verdict));
        lines_each(reasons.data, print_reason, out);
    }
    buf_release(&reasons);
}
