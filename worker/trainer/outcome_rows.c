/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows: one line a group, the worst first. Texts only for the worst, so that the file
 * stays small: a person asks for those.
 */
#include <stdlib.h>

#include "lib/file.h"
#include "lib/json.h"
#include "worker/trainer/outcome.h"

enum { ROWS_WITH_TEXT_MAX = 50 };

/* A group as a person would rank it: by its worst pair. */
struct group_margin {
    int64_t group;
    double margin; /* smallest r_i − r_j over s_i > s_j; +inf without a pair */
    int32_t pairs, wrong;
};

static struct group_margin margin_of(const struct dataset *dataset, const float *reward, int64_t g)
{
    const struct data_group *group = &dataset->groups[g];
    const struct data_row *rows = &dataset->rows[group->row0];
    struct group_margin m = {.group = g, .margin = 1e30};
    for (int32_t i = 0; i < group->rows; i++) {
        for (int32_t j = 0; j < group->rows; j++) {
            if (!(rows[i].score > rows[j].score)) {
                continue;
            }
            double d = (double)reward[group->row0 + i] - reward[group->row0 + j];
            m.margin = d < m.margin ? d : m.margin;
            m.pairs++;
            m.wrong += !(d > 0);
        }
    }
    return m;
}

static int compare_margins(const void *a, const void *b)
{
    const struct group_margin *x = a, *y = b;
    if (x->margin != y->margin) {
        return x->margin < y->margin ? -1 : 1;
    }
    return x->group < y->group ? -1 : x->group > y->group;
}

static json_t *texts_of(const struct rows_set *set, const struct data_group *group)
{
    json_t *texts = json_array();
    for (int32_t i = 0; i < group->rows; i++) {
        struct buf text = {0};
        const struct data_row *row = &set->dataset->rows[group->row0 + i];
        enum status status = dataset_row_text(set->source, set->format, set->tokenizer, group->line,
                                              row->response, &text, NULL);
        json_array_append_new(texts, status == STATUS_OK ? json_stringn(text.data, text.length)
                                                         : json_null());
        buf_release(&text);
    }
    return texts;
}

static json_t *group_json(const struct rows_set *set, const struct group_margin *m, bool with_texts)
{
    const struct data_group *group = &set->dataset->groups[m->group];
    json_t *json = json_object(), *rows = json_array();
    json_object_set_new(json, "set", json_string(set->name));
    json_object_set_new(json, "line", json_integer(group->line));
    json_object_set_new(json, "pairs", json_integer(m->pairs));
    json_object_set_new(json, "wrong", json_integer(m->wrong));
    json_object_set_new(json, "margin", json_real(m->margin));
    for (int32_t i = 0; i < group->rows; i++) {
        const struct data_row *row = &set->dataset->rows[group->row0 + i];
        json_t *one = json_object();
        json_object_set_new(one, "response", json_integer(row->response));
        json_object_set_new(one, "score", json_real(row->score));
        json_object_set_new(one, "reward", json_real(set->reward[group->row0 + i]));
        json_array_append_new(rows, one);
    }
    json_object_set_new(json, "rows", rows);
    if (with_texts) {
        json_object_set_new(json, "texts", texts_of(set, group));
    }
    return json;
}

enum status rows_write(const struct rows_set *set, const char *dir, struct error *error)
{
    int64_t count = set->dataset->group_count;
    struct group_margin *margins = mem_alloc(sizeof(*margins) * (size_t)(count + 1));
    struct buf out = {0};
    for (int64_t g = 0; g < count; g++) {
        margins[g] = margin_of(set->dataset, set->reward, g);
    }
    qsort(margins, (size_t)count, sizeof(*margins), compare_margins);
    for (int64_t i = 0; i < count; i++) {
        if (margins[i].pairs == 0) {
            continue;
        }
        json_t *json = group_json(set, &margins[i], i < ROWS_WITH_TEXT_MAX);
        json_append(&out, json);
        buf_append_char(&out, '\n');
        json_decref(json);
    }
    char name[256], path[4096];
    snprintf(name, sizeof(name), "%s.jsonl", set->name);
    path_join(path, sizeof(path), dir, name);
    enum status status = file_write_atomic(path, out.data, out.length, error);
    buf_release(&out);
    mem_free(margins);
    return status;
}

enum status outcome_rows_write(struct session *s, struct error *error)
{
    char dir[4096];
    path_join(dir, sizeof(dir), s->run, "rows");
    TRY(dir_create(dir, error));
    for (int i = 0; i < s->eval_count; i++) {
        const struct eval_set *it = &s->eval[i];
        if (it->reward_after == NULL) {
            continue;
        }
        const struct rows_set set = {it->name,     &it->source, &s->format,
                                     s->tokenizer, it->dataset, it->reward_after};
        TRY(rows_write(&set, dir, error));
    }
    return STATUS_OK;
}
