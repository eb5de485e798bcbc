/* SPDX-License-Identifier: Apache-2.0
 *
 * Rewards of a whole set are kept (a float a row): the difference between before and after is
 * paired over the same groups, and the worst rows can be named.
 */
#include "worker/trainer/evaluation.h"

#include <math.h>
#include <string.h>

#include "lib/arena.h"
#include "worker/trainer/reward_cache.h"

/* All customers of a parent measure it on the same general data: once is enough. Whether it was
 * measured is for the leader to say: ranks may not see the same files at the same time. */
static enum status rewards_before(const struct scorer *scorer, struct session *session,
                                  const struct dataset *dataset, float *reward_out,
                                  struct error *error)
{
    const char *dir = token_cache_dir(&session->arena);
    char key[SHA256_HEX_SIZE];
    bool leads = gang_leads(session->gang), hit = false;
    if (leads) {
        reward_cache_key(scorer->model, scorer->pooling, dataset, key);
        hit = reward_cache_load(dir, key, reward_out, dataset->row_count);
    }
    TRY(gang_broadcast(session->gang, &hit, sizeof(hit), 0, error));
    if (hit) {
        return gang_broadcast(session->gang, reward_out,
                              sizeof(*reward_out) * (size_t)dataset->row_count, 0, error);
    }
    TRY(scorer_rewards(scorer, dataset, reward_out, error));
    if (leads) {
        reward_cache_store(dir, key, reward_out, dataset->row_count);
    }
    return STATUS_OK;
}

static enum status evaluate_set(const struct scorer *scorer, struct session *session,
                                struct eval_set *set, enum evaluation_when when,
                                struct error *error)
{
    double *nll = when == EVALUATION_BEFORE ? &set->nll_before : &set->nll_after;
    if (session_is_lm(session)) {
        return scorer_nll(scorer, set->dataset, NULL, nll, error);
    }
    float **reward = when == EVALUATION_BEFORE ? &set->reward_before : &set->reward_after;
    if (*reward == NULL) {
        *reward = mem_alloc(sizeof(float) * (size_t)(set->dataset->row_count + 1));
    }
    if (when == EVALUATION_BEFORE) {
        TRY(rewards_before(scorer, session, set->dataset, *reward, error));
    } else {
        TRY(scorer_rewards(scorer, set->dataset, *reward, error));
    }
    figures_compute(set->dataset, *reward, session_confidence(session),
                    (uint64_t)session->spec->train.seed,
                    when == EVALUATION_BEFORE ? &set->before : &set->after);
    return STATUS_OK;
}

enum status evaluation_full(struct session *session, enum evaluation_when when,
                            scorer_progress *progress, void *argument, struct error *error)
{
    struct scorer scorer = session_scorer(session);
    scorer.progress = progress;
    scorer.progress_argument = argument;
    for (int i = 0; i < session->eval_count; i++) {
        TRY(evaluate_set(&scorer, session, &session->eval[i], when, error));
    }
    return STATUS_OK;
}

/* Accuracy over the pairs of several sets together. */
struct pooled {
    int64_t pairs, correct;
    double nll;
};

static void pooled_add(struct pooled *pooled, const struct figures *figures)
{
    pooled->pairs += figures->pairs;
    pooled->correct += figures->correct;
    if (figures->pairs > 0) {
        pooled->nll += figures->nll * (double)figures->pairs;
    }
}

static double pooled_accuracy(const struct pooled *pooled)
{
    return pooled->pairs > 0 ? (double)pooled->correct / (double)pooled->pairs : NAN;
}

static void put_real(json_t *line, const char *key, double value)
{
    json_object_set_new(line, key, isfinite(value) ? json_real(value) : json_null());
}

/* "eval_accuracy/helpful" */
static void put_of_set(json_t *line, const char *key, const char *set, double value)
{
    char name[256];
    snprintf(name, sizeof(name), "eval_%s/%s", key, set);
    put_real(line, name, value);
}

static enum status sample_rewards(const struct scorer *scorer, struct session *session,
                                  enum evaluation_when when, struct pooled *all,
                                  struct pooled *custom, struct pooled *general, json_t *line,
                                  struct error *error)
{
    for (int i = 0; i < session->eval_count; i++) {
        const struct eval_set *set = &session->eval[i];
        float *reward = mem_alloc(sizeof(float) * (size_t)(set->sample->row_count + 1));
        enum status status = when == EVALUATION_BEFORE
                                 ? rewards_before(scorer, session, set->sample, reward, error)
                                 : scorer_rewards(scorer, set->sample, reward, error);
        struct figures figures = {0};
        if (status == STATUS_OK) {
            figures_compute(set->sample, reward, session_confidence(session),
                            (uint64_t)session->spec->train.seed, &figures);
        }
        mem_free(reward);
        if (status != STATUS_OK) {
            return status;
        }
        pooled_add(all, &figures);
        pooled_add(set->general ? general : custom, &figures);
        put_of_set(line, "accuracy", set->name, figures.accuracy);
        put_of_set(line, "margin", set->name, figures.margin);
        put_of_set(line, "loss", set->name, figures.nll);
    }
    return STATUS_OK;
}

static enum status sample_nll(const struct scorer *scorer, struct session *session,
                              double *loss_out, json_t *line, struct error *error)
{
    double sum = 0, rows = 0;
    for (int i = 0; i < session->eval_count; i++) {
        double nll;
        const struct eval_set *set = &session->eval[i];
        TRY(scorer_nll(scorer, set->sample, NULL, &nll, error));
        sum += nll * (double)set->sample->row_count;
        rows += (double)set->sample->row_count;
        put_of_set(line, "loss", set->name, nll);
    }
    *loss_out = rows > 0 ? sum / rows : NAN;
    return STATUS_OK;
}

enum status evaluation_sample(struct session *session, enum evaluation_when when,
                              struct evaluation_summary *summary_out, json_t **line_out,
                              struct error *error)
{
    struct scorer scorer = session_scorer(session);
    json_t *line = json_object();
    struct pooled all = {0}, custom = {0}, general = {0};
    struct evaluation_summary summary = {NAN, NAN, NAN, NAN};
    enum status status;
    if (session_is_lm(session)) {
        status = sample_nll(&scorer, session, &summary.loss, line, error);
    } else {
        status = sample_rewards(&scorer, session, when, &all, &custom, &general, line, error);
        summary.accuracy = pooled_accuracy(&all);
        summary.custom_accuracy = pooled_accuracy(&custom);
        summary.general_accuracy = pooled_accuracy(&general);
        summary.loss = all.pairs > 0 ? all.nll / (double)all.pairs : NAN;
        put_real(line, "eval_accuracy", summary.accuracy);
        put_real(line, "eval_custom_accuracy", summary.custom_accuracy);
        put_real(line, "eval_general_accuracy", summary.general_accuracy);
    }
    put_real(line, "eval_loss", summary.loss);
    if (status != STATUS_OK) {
        json_decref(line);
        return status;
    }
    *summary_out = summary;
    *line_out = line;
    return STATUS_OK;
}
