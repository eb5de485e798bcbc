/* SPDX-License-Identifier: Apache-2.0
 *
 * A pass: which responses, laid side by side by adapter, computed at once.
 *
 * Responses of one row stand together, so that their prompt is computed once. Rows of one adapter
 * stand together too: its products are then one range and not many.
 */
#include <string.h>

#include "lib/arena.h"
#include "worker/data/pack.h"
#include "worker/model/pass.h"
#include "worker/model/transformer.h"
#include "worker/trainer/serve.h"

struct pick {
    struct serve_request *request;
    struct serve_response *response;
    int32_t adapter; /* index; −1: none */
};

struct choice {
    struct pick picks[SERVE_ROWS_MAX]; /* in the order of the requests */
    int32_t count, tokens;
    const struct adapter *adapters[PASS_ADAPTERS_MAX];
    int32_t adapter_count;
    enum pooling pooling;
};

/* ---- which ----------------------------------------------------------------------------------- */

static const struct text_format *format_of(const struct server *server,
                                           const struct serve_request *request)
{
    return request->with != NULL ? &request->with->format : &server->examiner.format;
}

/* Can its responses be in this pass? Then *adapter_out is their adapter's index. */
static bool request_fits(const struct server *server, const struct serve_request *request,
                         struct choice *choice, int32_t *adapter_out)
{
    const struct adapter *adapter = request->with;
    *adapter_out = -1;
    if (choice->count > 0 && format_of(server, request)->pooling != choice->pooling) {
        return false;
    }
    if (adapter == NULL) {
        return true;
    }
    for (int32_t i = 0; i < choice->adapter_count; i++) {
        if (choice->adapters[i] == adapter) {
            *adapter_out = i;
            return true;
        }
    }
    if (choice->adapter_count == PASS_ADAPTERS_MAX ||
        (choice->adapter_count > 0 && choice->adapters[0]->lora.targets != adapter->lora.targets)) {
        return false;
    }
    *adapter_out = choice->adapter_count;
    choice->adapters[choice->adapter_count++] = adapter;
    return true;
}

/* False: the pass is full. */
static bool responses_add(const struct server *server, struct serve_request *request,
                          int32_t adapter, struct choice *choice)
{
    for (int32_t i = 0; i < request->count; i++) {
        struct serve_response *response = &request->responses[i];
        const int32_t tokens = response->tokens.tokens;
        if (response->tokens.ids == NULL) {
            continue; /* scored already, or dropped */
        }
        if (choice->count == SERVE_ROWS_MAX ||
            (choice->count > 0 && choice->tokens + tokens > server->wanted.tokens)) {
            return false;
        }
        choice->pooling = format_of(server, request)->pooling;
        choice->picks[choice->count++] = (struct pick){request, response, adapter};
        choice->tokens += tokens;
    }
    return true;
}

static void choose(const struct server *server, struct choice *choice)
{
    for (struct serve_request *it = server->requests; it != NULL; it = it->next) {
        int32_t adapter;
        if (request_fits(server, it, choice, &adapter) &&
            !responses_add(server, it, adapter, choice)) {
            return;
        }
    }
}

/* ---- how they lie ---------------------------------------------------------------------------- */

struct lying {
    struct pack_group groups[SERVE_ROWS_MAX];
    int32_t adapter_of_group[SERVE_ROWS_MAX];
    int32_t group_count;
    struct pick *rows[SERVE_ROWS_MAX]; /* in the order of the pack */
    int32_t row_count;
    const int32_t *ids[SERVE_ROWS_MAX];
    int32_t counts[SERVE_ROWS_MAX];
};

static void lay_row(struct lying *lying, struct pick *pick)
{
    const struct pick *before = lying->row_count > 0 ? lying->rows[lying->row_count - 1] : NULL;
    const int32_t at = lying->row_count;
    bool same = before != NULL && before->request == pick->request &&
                before->response->row == pick->response->row;
    lying->rows[lying->row_count++] = pick;
    lying->ids[at] = pick->response->tokens.ids;
    lying->counts[at] = pick->response->tokens.tokens;
    if (same) {
        lying->groups[lying->group_count - 1].rows++;
        return;
    }
    lying->adapter_of_group[lying->group_count] = pick->adapter;
    lying->groups[lying->group_count++] =
        (struct pack_group){.ids = &lying->ids[at], .counts = &lying->counts[at], .rows = 1};
}

static void lay(struct choice *choice, struct lying *lying)
{
    for (int32_t adapter = -1; adapter < choice->adapter_count; adapter++) {
        for (int32_t i = 0; i < choice->count; i++) {
            if (choice->picks[i].adapter == adapter) {
                lay_row(lying, &choice->picks[i]);
            }
        }
    }
}

/* ---- the pass -------------------------------------------------------------------------------- */

/* Buffers for what is wanted, when it has grown, and for a row that is longer than a pass. */
static enum status reserve(struct server *server, int32_t tokens, struct error *error)
{
    struct examiner *e = &server->examiner;
    struct serve_sizes *wanted = &server->wanted;
    wanted->tokens = tokens > wanted->tokens ? tokens : wanted->tokens;
    if (e->acts != NULL && memcmp(wanted, &server->reserved, sizeof(*wanted)) == 0) {
        return STATUS_OK;
    }
    server->reserved = *wanted;
    e->lora_rank = wanted->lora_rank;
    e->any_pooling = wanted->all_tokens;
    return examiner_reserve(e, wanted->tokens, SERVE_ROWS_MAX, wanted->row_tokens, error);
}

static void compute(struct server *server, struct arena *arena, const struct choice *choice,
                    const struct lying *lying)
{
    const struct examiner *e = &server->examiner;
    struct pack pack;
    struct reading reading;
    float reward[SERVE_ROWS_MAX];
    pack_build(arena, lying->groups, lying->group_count, PACK_SHARED, &pack);
    reading_build(arena, &pack, choice->pooling, e->model->config.eos, NULL, true, true, &reading);
    reading_adapt(arena, &pack, choice->adapters, choice->adapter_count, e->lora_rank,
                  lying->adapter_of_group, &reading);
    activations_stage(e->acts, &pack, &reading);
    transformer_forward(e->model, e->acts, &reading, 0, NULL, reward, NULL);
    for (int32_t i = 0; i < lying->row_count; i++) {
        struct pick *pick = lying->rows[i];
        pick->response->score = reward[i];
        mem_free(pick->response->tokens.ids);
        pick->response->tokens.ids = NULL;
        pick->request->waiting--;
    }
    server->passes++;
    server->scored += lying->row_count;
}

enum status serve_pass(struct server *server, struct error *error)
{
    struct arena arena = {0};
    struct choice *choice = arena_new(&arena, struct choice);
    struct lying *lying = arena_new(&arena, struct lying);
    choose(server, choice);
    lay(choice, lying);
    enum status status = reserve(server, choice->tokens, error);
    if (status == STATUS_OK) {
        compute(server, &arena, choice, lying);
    }
    arena_release(&arena);
    return status;
}
