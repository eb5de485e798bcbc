/* SPDX-License-Identifier: Apache-2.0
 *
 * Records are gathered into packs; since scores are batch-invariant, the same text has the same
 * bits whatever stands beside it, in which pack and in which shard.
 */
#include "worker/trainer/score.h"

#include <math.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "worker/data/pack.h"
#include "worker/data/record.h"
#include "worker/model/transformer.h"
#include "worker/trainer/score_row.h"

enum { SCORE_ROWS_MAX = 512 };

/* One response waiting for its score. */
struct waiting {
    int64_t line;
    int32_t response, responses; /* of its record */
    int32_t *ids;                /* owned */
    int32_t tokens;
    bool truncated, dropped;
    float score;
};

struct scoring {
    struct examiner *examiner;
    const struct score_options *options;
    struct arena arena; /* of the present pack */
    struct waiting waiting[SCORE_ROWS_MAX + GROUP_RESPONSES_MAX];
    int32_t count;
    int64_t tokens;
    int32_t capacity_tokens;
};

/* ---- one pack
 * --------------------------------------------------------------------------------------------- */

/* Responses of one record make a group (their prompt is computed once) if they fit a pack together.
 */
static int32_t groups_make(struct scoring *s, int32_t waiting, struct pack_group *groups)
{
    int32_t count = 0;
    for (int32_t i = 0; i < waiting;) {
        int32_t K = 1;
        while (i + K < waiting && s->waiting[i + K].line == s->waiting[i].line) {
            K++;
        }
        const int32_t **ids = arena_array(&s->arena, const int32_t *, K);
        int32_t *counts = arena_array(&s->arena, int32_t, K);
        int32_t rows = 0;
        for (int32_t k = 0; k < K; k++) {
            if (s->waiting[i + k].dropped) {
                continue;
            }
            ids[rows] = s->waiting[i + k].ids;
            counts[rows++] = s->waiting[i + k].tokens;
        }
        if (rows > 0) {
            groups[count++] = (struct pack_group){.ids = ids, .counts = counts, .rows = rows};
        }
        i += K;
    }
    return count;
}

static void print_line(const struct waiting *first, int32_t K, FILE *out)
{
    json_t *line = json_object();
    json_t *scores = json_array(), *tokens = json_array(), *truncated = json_array();
    const struct waiting *dropped = NULL;
    for (int32_t k = 0; k < K; k++) {
        const struct waiting *w = &first[k];
        dropped = w->dropped ? w : dropped;
        json_array_append_new(scores, w->dropped || !isfinite(w->score) ? json_null()
                                                                        : json_real(w->score));
        json_array_append_new(tokens, json_integer(w->tokens));
        json_array_append_new(truncated, json_boolean(w->truncated));
    }
    json_object_set_new(line, "line", json_integer(first->line));
    bool one = first->responses == 1;
    json_object_set(line, one ? "score" : "scores", one ? json_array_get(scores, 0) : scores);
    json_object_set(line, "tokens", one ? json_array_get(tokens, 0) : tokens);
    json_object_set(line, "truncated", one ? json_array_get(truncated, 0) : truncated);
    if (dropped != NULL) {
        char text[96];
        score_row_dropped(dropped->tokens, text);
        json_object_set_new(line, "error", json_string(text));
    }
    struct buf buf = {0};
    json_append(&buf, line);
    fprintf(out, "%s\n", buf.data);
    buf_release(&buf);
    json_decref(line);
    json_decref(scores);
    json_decref(tokens);
    json_decref(truncated);
}

static void print_all(const struct scoring *s, int32_t waiting)
{
    for (int32_t i = 0; i < waiting;) {
        int32_t K = 1;
        while (i + K < waiting && s->waiting[i + K].line == s->waiting[i].line) {
            K++;
        }
        print_line(&s->waiting[i], K, s->options->out);
        i += K;
    }
}

/* Scores and prints the first `waiting` responses (whole records), and moves the others up. */
static void flush_pack(struct scoring *s, int32_t waiting)
{
    struct pack_group *groups = arena_array(&s->arena, struct pack_group, waiting + 1);
    int32_t count = groups_make(s, waiting, groups);
    if (count > 0) {
        struct pack pack;
        struct reading reading;
        float reward[SCORE_ROWS_MAX + GROUP_RESPONSES_MAX];
        pack_build(&s->arena, groups, count, PACK_SHARED, &pack);
        reading_build(&s->arena, &pack, s->examiner->format.pooling, s->examiner->model->config.eos,
                      NULL, true, true, &reading);
        activations_stage(s->examiner->acts, &pack, &reading);
        transformer_forward(s->examiner->model, s->examiner->acts, &reading, 0, NULL, reward, NULL);
        for (int32_t i = 0, row = 0; i < waiting; i++) {
            if (!s->waiting[i].dropped) {
                s->waiting[i].score = reward[row++];
            }
        }
    }
    print_all(s, waiting);
    for (int32_t i = 0; i < waiting; i++) {
        s->tokens -= s->waiting[i].dropped ? 0 : s->waiting[i].tokens;
        mem_free(s->waiting[i].ids);
    }
    s->count -= waiting;
    memmove(s->waiting, s->waiting + waiting, sizeof(*s->waiting) * (size_t)s->count);
    arena_release(&s->arena);
}

/* ---- records
 * ------------------------------------------------------------------------------------------------
 */

static enum status record_add(struct scoring *s, const struct record *record, const char *where,
                              struct error *error)
{
    const struct examiner *e = s->examiner;
    for (int32_t k = 0; k < record->response_count; k++) {
        struct score_row row;
        if (score_row_make(&e->format, e->tokenizer, e->model->config.V, record,
                           &record->responses[k], &row, error) != STATUS_OK) {
            return error_prefix(error, "%s", where);
        }
        s->waiting[s->count++] = (struct waiting){.line = record->number,
                                                  .response = k,
                                                  .responses = record->response_count,
                                                  .ids = row.ids,
                                                  .tokens = row.tokens,
                                                  .truncated = row.truncated,
                                                  .dropped = row.dropped};
        s->tokens += row.dropped ? 0 : row.tokens;
    }
    return STATUS_OK;
}

/* Room for all that waits: a record that is larger than any pack so far gets larger packs. */
static enum status room_make(struct scoring *s, struct error *error)
{
    if (s->tokens <= s->capacity_tokens) {
        return STATUS_OK;
    }
    s->capacity_tokens = (int32_t)s->tokens;
    return examiner_reserve(s->examiner, s->capacity_tokens, SCORE_ROWS_MAX + GROUP_RESPONSES_MAX,
                            s->examiner->format.max_length, error);
}

static enum status after_record(const struct score_options *options, struct error *error)
{
    return options->on_record != NULL ? options->on_record(options->argument, error) : STATUS_OK;
}

static enum status score_file(struct scoring *s, const struct data_source *source,
                              struct error *error)
{
    struct record_reader *reader;
    struct record record;
    TRY(record_reader_open(source, &reader, error));
    enum status status;
    while ((status = record_reader_next(reader, &record, error)) == STATUS_OK &&
           record.number > 0) {
        if (record.invalid_utf8) {
            status =
                error_set(error, STATUS_FORMAT, "%s: not valid UTF-8", record_reader_where(reader));
            break;
        }
        int32_t before = s->count;
        status = record_add(s, &record, record_reader_where(reader), error);
        if (status != STATUS_OK) {
            break;
        }
        if (before > 0 && (s->tokens > s->capacity_tokens || s->count > SCORE_ROWS_MAX)) {
            flush_pack(s, before);
        }
        status = room_make(s, error);
        if (status == STATUS_OK) {
            status = after_record(s->options, error);
        }
        if (status != STATUS_OK) {
            break;
        }
    }
    if (status == STATUS_OK && s->count > 0) {
        flush_pack(s, s->count);
    }
    record_reader_close(reader);
    return status;
}

enum status score_source(struct examiner *examiner, const struct data_source *source,
                         const struct score_options *options, struct error *error)
{
    struct scoring *s = mem_alloc(sizeof(*s));
    *s = (struct scoring){.examiner = examiner,
                          .options = options,
                          .capacity_tokens = (int32_t)options->batch_tokens};
    enum status status =
        examiner_reserve(examiner, s->capacity_tokens, SCORE_ROWS_MAX + GROUP_RESPONSES_MAX,
                         examiner->format.max_length, error);
    if (status == STATUS_OK) {
        status = score_file(s, source, error);
    }
    for (int32_t i = 0; i < s->count; i++) {
        mem_free(s->waiting[i].ids);
    }
    arena_release(&s->arena);
    mem_free(s);
    return status;
}
