/* SPDX-License-Identifier: Apache-2.0
 *
 * score: lines of JSON in, lines of JSON out, in the same order.
 *
 *     {"line": 3, "scores": [1.25, -0.5], "tokens": [118, 97], "truncated": [false, false]}
 *
 * One response gives "score" and so on without lists. A row over max_length under the policy drop
 * has no score but an "error". Records are gathered into packs; since scores are batch-invariant,
 * the same text has the same bits whatever stands beside it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "worker/data/pack.h"
#include "worker/data/record.h"
#include "worker/model/transformer.h"
#include "worker/trainer/examiner.h"
#include "worker/trainer/verbs.h"

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
    struct examiner examiner;
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

static void print_line(const struct waiting *first, int32_t K)
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
        snprintf(text, sizeof(text), "%d tokens are more than max_length (overlong: drop)",
                 dropped->tokens);
        json_object_set_new(line, "error", json_string(text));
    }
    struct buf buf = {0};
    json_append(&buf, line);
    puts(buf.data);
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
        print_line(&s->waiting[i], K);
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
        reading_build(&s->arena, &pack, s->examiner.format.pooling, s->examiner.model->config.eos,
                      NULL, true, true, &reading);
        activations_stage(s->examiner.acts, &pack, &reading);
        transformer_forward(s->examiner.model, s->examiner.acts, &reading, 0, NULL, reward, NULL);
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

static enum status response_ids(struct scoring *s, const struct record *record,
                                const struct response *response, const char *where, struct ids *ids,
                                struct error *error)
{
    const struct examiner *e = &s->examiner;
    if (response->ids != NULL) {
        for (int32_t i = 0; i < response->id_count; i++) {
            if (response->ids[i] < 0 || response->ids[i] >= e->model->config.V) {
                return error_set(error, STATUS_FORMAT, "%s: id %d is not in the vocabulary", where,
                                 response->ids[i]);
            }
            ids_push(ids, response->ids[i]);
        }
        return STATUS_OK;
    }
    struct buf text = {0};
    enum status status = record_render(record, response, &e->format, e->tokenizer, &text, error);
    if (status == STATUS_OK) {
        template_encode_text(&e->format, e->tokenizer, text.data, text.length, ids);
    } else {
        error_prefix(error, "%s", where);
    }
    buf_release(&text);
    return status;
}

static enum status record_add(struct scoring *s, const struct record *record, const char *where,
                              struct error *error)
{
    for (int32_t k = 0; k < record->response_count; k++) {
        struct ids ids = {0};
        TRY(response_ids(s, record, &record->responses[k], where, &ids, error));
        if (ids.count == 0) {
            ids_release(&ids);
            return error_set(error, STATUS_FORMAT, "%s: response %d has no tokens", where, k + 1);
        }
        int64_t fits = row_fit(&s->examiner.format, ids.items, (int64_t)ids.count);
        struct waiting *w = &s->waiting[s->count++];
        *w = (struct waiting){.line = record->number,
                              .response = k,
                              .responses = record->response_count,
                              .tokens = (int32_t)(fits < 0 ? (int64_t)ids.count : fits),
                              .truncated = fits >= 0 && fits < (int64_t)ids.count,
                              .dropped = fits < 0};
        if (!w->dropped) {
            w->ids = mem_alloc(sizeof(int32_t) * (size_t)w->tokens);
            memcpy(w->ids, ids.items, sizeof(int32_t) * (size_t)w->tokens);
            s->tokens += w->tokens;
        }
        ids_release(&ids);
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
    return examiner_reserve(&s->examiner, s->capacity_tokens, SCORE_ROWS_MAX + GROUP_RESPONSES_MAX,
                            s->examiner.format.max_length, error);
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

/* Standard input becomes a file, since data are read from regular files only. */
static enum status spool_stdin(char path[64], struct error *error)
{
    char block[65536];
    snprintf(path, 64, "/tmp/tailor-score-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0) {
        return error_set(error, STATUS_IO, "cannot make a temporary file: %s", path);
    }
    ssize_t got;
    while ((got = read(STDIN_FILENO, block, sizeof(block))) > 0) {
        if (write(fd, block, (size_t)got) != got) {
            break;
        }
    }
    close(fd);
    return got == 0 ? STATUS_OK
                    : error_set(error, STATUS_IO, "cannot keep standard input in %s", path);
}

static enum status score_source(const struct arguments *arguments, const char *dir,
                                const char *file, struct error *error)
{
    struct data_source source;
    TRY(arguments_source(arguments, file, &source, error));
    source.any_form = true;
    static struct scoring scoring; /* too big for a stack; one run a process */
    TRY(examiner_open(dir, arguments, NULL, &scoring.examiner, error));
    scoring.capacity_tokens = (int32_t)arguments->batch_tokens;
    enum status status = examiner_reserve(&scoring.examiner, scoring.capacity_tokens,
                                          SCORE_ROWS_MAX + GROUP_RESPONSES_MAX,
                                          scoring.examiner.format.max_length, error);
    if (status == STATUS_OK) {
        status = score_file(&scoring, &source, error);
    }
    examiner_close(&scoring.examiner, true);
    return status;
}

enum status verb_score(const struct arguments *arguments, struct error *error)
{
    const char *dir, *file = "-";
    char spool[64] = "";
    TRY(arguments_need(arguments, 0, "the model's directory", &dir, error));
    if (arguments->positional.count > 1) {
        file = arguments->positional.items[1];
    }
    if (strcmp(file, "-") == 0) {
        TRY(spool_stdin(spool, error));
        file = spool;
    }
    enum status status = score_source(arguments, dir, file, error);
    if (spool[0] != '\0') {
        unlink(spool);
    }
    return status;
}
