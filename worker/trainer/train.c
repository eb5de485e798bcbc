/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop only decides *when*; what a step is stands in step.c, what a checkpoint holds in
 * resume.c, what remains of a run in outcome.c.
 *
 * Invariant: nothing between two steps changes a bit of the next: evaluation, checkpoints, signals
 * and the clock may come and go. So a run that was killed and resumed has the losses it would have
 * had. What depends on a signal or a clock is the leader's decision, told to all ranks: they take
 * every turn of the loop together.
 */
#include "worker/trainer/train.h"

#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/text.h"
#include "worker/trainer/ahead.h"
#include "worker/trainer/continuity.h"
#include "worker/trainer/evaluation.h"
#include "worker/trainer/findings.h"
#include "worker/trainer/journal.h"
#include "worker/trainer/outcome.h"
#include "worker/trainer/progress.h"
#include "worker/trainer/relay.h"
#include "worker/trainer/resume.h"
#include "worker/trainer/stop.h"
#include "worker/trainer/verify.h"

/* Sums since the last line of metrics: lines need not come every step. */
struct since_line {
    int64_t steps, tokens, nonfinite;
    double reduce_bytes;
};

/* One run of the loop. */
struct training {
    struct session *session;
    const struct train_options *options;
    struct journal journal;
    struct progress progress;
    struct findings findings;
    struct train_state state;
    struct since_line since;
    double checkpoint_at; /* monotonic time of the last checkpoint */
    struct ahead *ahead;  /* while steps are taken */
};

/* ---- evaluation
 * ---------------------------------------------------------------------------------------- */

static bool evaluation_progress(void *argument, int64_t rows_done, int64_t rows)
{
    struct training *t = argument;
    char detail[64];
    snprintf(detail, sizeof(detail), "rows of %s",
             gang_world(t->session->gang) > 1 ? "rank 0's part of this set" : "this set");
    t->progress.total = rows;
    progress_update(&t->progress, rows_done, detail);
    return !stop_requested();
}

static enum status evaluate_full(struct training *t, enum evaluation_when when, struct error *error)
{
    if (t->session->eval_count == 0) {
        return STATUS_OK;
    }
    progress_start(&t->progress, when == EVALUATION_BEFORE ? "evaluate before" : "evaluate after",
                   0, 0, t->options->quiet);
    enum status status = evaluation_full(t->session, when, evaluation_progress, t, error);
    progress_end(&t->progress);
    return status;
}

/* Higher is better; NaN: this figure does not exist here. */
static double figure_of_merit(const struct session *s, const struct evaluation_summary *summary)
{
    switch (s->spec->checkpoint.keep_best.by) {
    case SPEC_KEEP_BEST_ACCURACY:
        return summary->accuracy;
    case SPEC_KEEP_BEST_CUSTOM_ACCURACY:
        return isfinite(summary->custom_accuracy) ? summary->custom_accuracy : summary->accuracy;
    case SPEC_KEEP_BEST_LOSS:
        return -summary->loss;
    default:
        return NAN;
    }
}

static bool drop_is_allowed(const struct training *t, const struct evaluation_summary *summary)
{
    const struct spec *spec = t->session->spec;
    if (spec->checkpoint.keep_best.subject_to != SPEC_SUBJECT_TO_GENERAL_DROP ||
        !isfinite(t->state.general_accuracy_before) || !isfinite(summary->general_accuracy)) {
        return true;
    }
    double drop = t->state.general_accuracy_before - summary->general_accuracy;
    return drop <= spec->gate.general_drop_max;
}

static enum status evaluate_now(struct training *t, struct error *error)
{
    struct evaluation_summary summary;
    json_t *line;
    const enum evaluation_when when = t->state.step == 0 ? EVALUATION_BEFORE : EVALUATION_AFTER;
    TRY(evaluation_sample(t->session, when, &summary, &line, error));
    json_object_set_new(line, "step", json_integer(t->state.step));
    TRY(journal_metrics(&t->journal, line, error));
    if (t->state.step == 0) {
        t->state.general_accuracy_before = summary.general_accuracy;
        return STATUS_OK;
    }
    TRY(findings_on_evaluation(&t->findings, &t->journal, t->state.step,
                               t->state.general_accuracy_before, summary.general_accuracy, error));
    double merit = figure_of_merit(t->session, &summary);
    if (!isfinite(merit) || !drop_is_allowed(t, &summary) ||
        (t->state.best_step > 0 && merit <= t->state.best_merit)) {
        return STATUS_OK;
    }
    t->state.best_step = t->state.step;
    t->state.best_merit = merit;
    return best_save(t->session, &t->state, error);
}

static bool evaluation_due(const struct training *t)
{
    int64_t every = t->session->spec->evaluate.every_steps;
    if (every == 0 || t->session->eval_count == 0) {
        return false;
    }
    return t->state.step % every == 0 || t->state.step == t->session->sampler.steps;
}

/* ---- checkpoints
 * --------------------------------------------------------------------------------------- */

static enum status compare_weights(struct training *t, struct error *error)
{
    const struct model *model = t->session->model;
    return gang_compare(t->session->gang, model->device, model_trained_weights(model),
                        model_trained_table(model)->elements, t->state.step, error);
}

/* Weights that the ranks do not agree on are never kept. */
static enum status checkpoint_now(struct training *t, struct error *error)
{
    TRY(compare_weights(t, error));
    double began = monotonic_s();
    TRY(resume_save(t->session, &t->state, error));
    t->checkpoint_at = monotonic_s();
    if (gang_keeps(t->session->gang)) {
        relay_checkpoint(t->state.step, t->checkpoint_at - began);
    }
    return journal_event(&t->journal, t->state.step, "checkpoint", error,
                         "checkpoint written at step %lld", (long long)t->state.step);
}

/* What is done after a step, beside evaluations. */
struct turn {
    bool stop, checkpoint;
};

static enum status turn_decide(struct training *t, struct turn *turn_out, struct error *error)
{
    double every_s = t->session->spec->checkpoint.every;
    int64_t every_steps = t->session->spec->checkpoint.every_steps;
    bool last = t->state.step == t->session->sampler.steps;
    struct turn turn = {.stop = stop_requested() && !last,
                        .checkpoint =
                            last || (every_s > 0 && monotonic_s() - t->checkpoint_at >= every_s) ||
                            (every_steps > 0 && t->state.step % every_steps == 0)};
    TRY(gang_broadcast(t->session->gang, &turn, sizeof(turn), 0, error));
    *turn_out = turn;
    return STATUS_OK;
}

/* ---- one step
 * ------------------------------------------------------------------------------------------- */

static void put(json_t *line, const char *key, double value)
{
    json_object_set_new(line, key, isfinite(value) ? json_real(value) : json_null());
}

/* own_… and general_…: loss, accuracy and tokens of each source apart. */
static void put_part(json_t *line, const char *part, const struct part_sums *sums)
{
    char key[64];
    double pairs = (double)sums->ranking.pairs;
    snprintf(key, sizeof(key), "%s_accuracy", part);
    put(line, key, (double)sums->ranking.correct / pairs);
    snprintf(key, sizeof(key), "%s_rank_loss", part);
    put(line, key, sums->ranking.rank / pairs);
    snprintf(key, sizeof(key), "%s_pairs", part);
    json_object_set_new(line, key, json_integer(sums->ranking.pairs));
    snprintf(key, sizeof(key), "%s_tokens", part);
    json_object_set_new(line, key, json_integer(sums->tokens));
}

/* What adds up over lines: for counters. */
static json_t *since_json(const struct training *t)
{
    json_t *since = json_object();
    json_object_set_new(since, "steps", json_integer(t->since.steps));
    json_object_set_new(since, "tokens", json_integer(t->since.tokens));
    json_object_set_new(since, "nonfinite_steps", json_integer(t->since.nonfinite));
    return since;
}

static json_t *metrics_line(const struct training *t, const struct step_result *result,
                            double epoch, double seconds)
{
    struct ranking_sums all;
    ranking_sums_clear(&all);
    for (int part = 0; part < MIX_PARTS; part++) {
        ranking_sums_add(&all, &result->part[part].ranking);
    }
    json_t *line = json_object();
    json_object_set_new(line, "step", json_integer(t->state.step));
    put(line, "epoch", epoch);
    put(line, "loss", result->loss);
    if (!t->session->loss.language_model) {
        put(line, "rank_loss", result->rank_loss);
        put(line, "accuracy", (double)all.correct / (double)all.pairs);
        put(line, "margin", all.margin / (double)all.pairs);
        put(line, "mean_reward", all.reward / (double)all.rewards);
        put(line, "min_reward", all.reward_min);
        put(line, "max_reward", all.reward_max);
    }
    if (result->imitated > 0) {
        put(line, "lm_loss", result->lm_loss);
    }
    put(line, "grad_norm", result->gradient_norm);
    put(line, "learning_rate", result->learning_rate);
    json_object_set_new(line, "num_tokens", json_integer(t->state.tokens));
    put(line, "tokens_per_second", (double)result->tokens / seconds);
    put(line, "pairs_per_second", (double)result->pairs / seconds);
    put(line, "shared_token_ratio", 1 - (double)result->tokens_packed / (double)result->tokens);
    put(line, "packed_fill_ratio", result->packed_fill);
    if (t->session->part[MIX_GENERAL] != NULL) {
        put_part(line, "own", &result->part[MIX_OWN]);
        put_part(line, "general", &result->part[MIX_GENERAL]);
    }
    json_t *phases = json_object();
    put(phases, "data", result->data_seconds);
    put(phases, "forward", result->forward_seconds);
    put(phases, "backward", result->backward_seconds);
    put(phases, "reduce", result->reduce_seconds);
    put(phases, "optimizer", result->optimizer_seconds);
    json_object_set_new(line, "step_seconds", phases);
    if (gang_world(t->session->gang) > 1) {
        put(line, "reduce_hidden_seconds", result->reduce_hidden_seconds);
        put(line, "reduce_bytes", t->since.reduce_bytes); /* since the last line, too */
    }
    json_object_set_new(line, "since_line", since_json(t));
    return line;
}

/* What a person sees of a step. */
static void show_step(struct training *t, const struct step_result *result, double seconds)
{
    int64_t pairs = 0, correct = 0;
    for (int part = 0; part < MIX_PARTS; part++) {
        pairs += result->part[part].ranking.pairs;
        correct += result->part[part].ranking.correct;
    }
    char rate[16], detail[160], accuracy[32] = "";
    format_count((double)result->tokens / seconds, rate);
    if (pairs > 0) {
        snprintf(accuracy, sizeof(accuracy), "  accuracy %.1f %%",
                 100.0 * (double)correct / (double)pairs);
    }
    snprintf(detail, sizeof(detail), "loss %.4f%s  %s tokens/s", result->loss, accuracy, rate);
    progress_update(&t->progress, t->state.step, detail);
}

/* Too many in a row: names the groups of the last one, so that a person can look at them. */
static enum status fail_on_nonfinite(const struct training *t, const struct batch *batch,
                                     struct error *error)
{
    struct buf lines = {0};
    for (int32_t i = 0; i < batch->count && i < 8; i++) {
        const struct dataset *dataset = batch->groups[i].dataset;
        const struct data_group *group = &dataset->groups[batch->groups[i].group];
        buf_printf(&lines, "%s%s:%lld", i > 0 ? ", " : "", dataset->source_names[group->source],
                   (long long)group->line);
    }
    enum status status = error_set(
        error, STATUS_NUMERIC,
        "loss or gradient was not finite %d steps in a row, last at step %lld (groups %s%s); lower "
        "train.learning_rate, or look at those lines",
        NONFINITE_STEPS_MAX, (long long)t->state.step + 1, lines.data,
        batch->count > 8 ? ", …" : "");
    buf_release(&lines);
    return status;
}

/* What the state knows of a step that was done. */
static void state_advance(struct train_state *state, const struct step_result *result,
                          double seconds)
{
    state->step++;
    state->tokens += result->tokens;
    state->seconds += seconds;
    for (int part = 0; part < MIX_PARTS; part++) {
        state->part_tokens[part] += result->part[part].tokens;
        state->part_pairs[part] += result->part[part].ranking.pairs;
    }
}

/* The gradients of every trained weight are summed over the ranks once a step. */
static void since_advance(struct training *t, const struct step_result *result)
{
    t->since.steps++;
    t->since.tokens += result->tokens;
    t->since.nonfinite += result->skipped;
    t->since.reduce_bytes +=
        (double)model_trained_table(t->session->model)->elements * sizeof(float);
}

static enum status one_step(struct training *t, struct error *error)
{
    struct session *s = t->session;
    struct step_result result;
    double start = monotonic_s();
    const struct portion *portion = ahead_take(t->ahead, t->state.step);
    double taken = monotonic_s();
    TRY(stepper_step_portion(&s->stepper, portion, &result, error));
    result.data_seconds += taken - start;
    double seconds = monotonic_s() - start;
    enum status status = STATUS_OK;
    t->state.nonfinite_in_a_row = result.skipped ? t->state.nonfinite_in_a_row + 1 : 0;
    t->state.nonfinite += result.skipped;
    if (result.skipped) {
        log_warn("step %lld skipped: loss or gradient not finite", (long long)t->state.step + 1);
    }
    if (t->state.nonfinite_in_a_row >= NONFINITE_STEPS_MAX) {
        status = fail_on_nonfinite(t, &portion->batch, error);
    }
    state_advance(&t->state, &result, seconds);
    since_advance(t, &result);
    if (status == STATUS_OK && t->state.step % s->spec->train.logging_steps == 0) {
        status =
            journal_metrics(&t->journal, metrics_line(t, &result, portion->epoch, seconds), error);
        t->since = (struct since_line){0};
    }
    if (status == STATUS_OK) {
        status = findings_on_step(&t->findings, &t->journal, t->state.step, &result, error);
    }
    show_step(t, &result, seconds);
    return status;
}

static enum status stopped(struct training *t, struct error *error)
{
    progress_end(&t->progress);
    TRY(checkpoint_now(t, error));
    return error_set(error, STATUS_CANCELLED,
                     "stopped at step %lld of %lld; a checkpoint was written: go on with --resume",
                     (long long)t->state.step, (long long)t->session->sampler.steps);
}

static enum status steps_take(struct training *t, struct error *error)
{
    int64_t steps = t->session->sampler.steps;
    struct turn turn;
    progress_start(&t->progress, "train", t->state.step, steps, t->options->quiet);
    t->checkpoint_at = monotonic_s();
    relay_running(t->state.step, steps);
    while (t->state.step < steps) {
        TRY(one_step(t, error));
        if (evaluation_due(t)) {
            TRY(evaluate_now(t, error));
        }
        TRY(turn_decide(t, &turn, error));
        if (turn.stop) {
            return stopped(t, error);
        }
        if (turn.checkpoint) {
            TRY(checkpoint_now(t, error));
        } else if (t->state.step % GANG_COMPARE_STEPS == 0) {
            TRY(compare_weights(t, error));
        }
    }
    progress_end(&t->progress);
    return STATUS_OK;
}

static enum status loop(struct training *t, struct error *error)
{
    const struct session *s = t->session;
    TRY(ahead_open(&s->stepper, &s->sampler, s->part, &t->ahead, error));
    enum status status = steps_take(t, error);
    ahead_close(t->ahead);
    return status;
}

/* ---- the whole
 * ------------------------------------------------------------------------------------------ */

/* Restores the newest checkpoint if there is one and it is wanted. */
static enum status begin(struct training *t, struct error *error)
{
    struct session *s = t->session;
    t->state = (struct train_state){.general_accuracy_before = NAN};
    if (t->options->resume) {
        TRY(resume_load(s, &t->state, error));
    }
    TRY(journal_open(&t->journal, s->run, t->state.step, !gang_leads(s->gang), error));
    if (t->state.step > 0) {
        fprintf(stderr, "resuming at step %lld of %lld\n", (long long)t->state.step,
                (long long)s->sampler.steps);
        return journal_event(&t->journal, t->state.step, "resume", error, "resumed at step %lld",
                             (long long)t->state.step);
    }
    int probes = 0;
    struct scorer scorer = session_scorer(s);
    if (s->parent_card != NULL && !session_is_lm(s)) {
        TRY(continuity_check(&scorer, s->parent_card, &probes, error));
    }
    if (probes > 0 && !t->options->quiet) {
        fprintf(stderr, "head continuity: %d probes score as when the parent was saved\n", probes);
    }
    if (t->options->verify_packing) {
        TRY(verify_packing(s, stderr, error));
    }
    if (s->spec->evaluate.every_steps > 0 && s->eval_count > 0) {
        return evaluate_now(t, error);
    }
    return STATUS_OK;
}

enum status train_run(struct session *session, const struct train_options *options,
                      struct error *error)
{
    struct training t = {.session = session, .options = options};
    stop_watch(gang_leads(session->gang));
    findings_init(&t.findings);
    enum status status = outcome_begin(session, error);
    /* Before training the adapter's B is zero and the weights are the parent's: measured first,
     * also on resume (from the cache), since the checkpoint replaces them. */
    if (status == STATUS_OK) {
        status = evaluate_full(&t, EVALUATION_BEFORE, error);
    }
    if (status == STATUS_OK) {
        status = begin(&t, error);
    }
    if (status == STATUS_OK) {
        status = loop(&t, error);
    }
    if (status == STATUS_OK && t.state.best_step > 0 && t.state.best_step != t.state.step) {
        status = best_load(session, &t.state, error);
    }
    if (status == STATUS_OK) {
        status = evaluate_full(&t, EVALUATION_AFTER, error);
    }
    if (status == STATUS_OK && gang_leads(session->gang)) {
        status = outcome_write(session, &t.state, &t.findings, error);
    }
    return status;
}
