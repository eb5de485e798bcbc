/* SPDX-License-Identifier: Apache-2.0
 *
 * Order matters: what can be refused cheaply comes first. The data are admitted before the model's
 * weights are read, and head continuity is checked before the blocks of training are allocated.
 */
#include "worker/trainer/session.h"

#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/json.h"
#include "worker/model/card.h"
#include "worker/model/tokenizer_dir.h"
#include "worker/trainer/continuity.h"

bool session_is_lm(const struct session *session)
{
    return session->spec->stage == SPEC_STAGE_LM;
}

double session_confidence(const struct session *session)
{
    double confidence = session->spec->gate.confidence;
    return confidence > 0 ? confidence : 0.95;
}

/* ---- text format: from the spec for a base, inherited from a model
 * -------------------------------- */

struct template_prefixes prefixes_from_spec(const struct spec *spec)
{
    return (struct template_prefixes){
        .system_prefix = spec->model.prefixes.system_prefix,
        .system_suffix = spec->model.prefixes.system_suffix,
        .user_prefix = spec->model.prefixes.user_prefix,
        .user_suffix = spec->model.prefixes.user_suffix,
        .assistant_prefix = spec->model.prefixes.assistant_prefix,
        .assistant_suffix = spec->model.prefixes.assistant_suffix,
    };
}

static enum status format_from_spec(struct session *s, struct error *error)
{
    const struct spec *spec = s->spec;
    struct text_format *f = &s->format;
    if (spec->model.template == SPEC_TEMPLATE_UNSET || spec->model.template == SPEC_TEMPLATE_AUTO) {
        TRY(template_recognise(s->tokenizer, &f->template_kind, error));
    } else {
        TRY(template_parse(spec_choice_name("model.template", spec->model.template),
                           &f->template_kind, error));
    }
    f->max_length = spec->model.max_length > 0 ? (int32_t)spec->model.max_length : 512;
    f->overlong = OVERLONG_DROP;
    f->pooling = POOLING_LAST_TOKEN;
    if (spec->model.overlong != SPEC_OVERLONG_UNSET) {
        TRY(overlong_parse(spec_choice_name("model.overlong", spec->model.overlong), &f->overlong,
                           error));
    }
    if (spec->model.pooling != SPEC_POOLING_UNSET) {
        TRY(pooling_parse(spec_choice_name("model.pooling", spec->model.pooling), &f->pooling,
                          error));
    }
    f->prefixes = prefixes_from_spec(spec);
    return STATUS_OK;
}

static enum status refuse_differing(const char *field, const char *wanted, const char *has,
                                    struct error *error)
{
    return error_set(error, STATUS_CONFLICT,
                     "%s: the spec says %s, but the model was trained with %s; it belongs to the "
                     "model: leave it out, or start from a base",
                     field, wanted, has);
}

/* A customized model inherits; a value of the spec that differs is an error. */
static enum status format_check_spec(const struct session *s, struct error *error)
{
    const struct spec *spec = s->spec;
    const struct text_format *f = &s->format;
    const char *template = spec_choice_name("model.template", spec->model.template);
    const char *overlong = spec_choice_name("model.overlong", spec->model.overlong);
    const char *pooling = spec_choice_name("model.pooling", spec->model.pooling);
    if (template != NULL && spec->model.template != SPEC_TEMPLATE_AUTO &&
        strcmp(template, template_name(f->template_kind)) != 0) {
        return refuse_differing("model.template", template, template_name(f->template_kind), error);
    }
    if (overlong != NULL && strcmp(overlong, overlong_name(f->overlong)) != 0) {
        return refuse_differing("model.overlong", overlong, overlong_name(f->overlong), error);
    }
    if (pooling != NULL && strcmp(pooling, pooling_name(f->pooling)) != 0) {
        return refuse_differing("model.pooling", pooling, pooling_name(f->pooling), error);
    }
    if (spec->model.max_length > 0 && spec->model.max_length != f->max_length) {
        char wanted[32], has[32];
        snprintf(wanted, sizeof(wanted), "%lld", (long long)spec->model.max_length);
        snprintf(has, sizeof(has), "%d", f->max_length);
        return refuse_differing("model.max_length", wanted, has, error);
    }
    return STATUS_OK;
}

/* Stage lm leaves a format that later stages may refine; a reward model's binds. */
static enum status session_open_format(struct session *s, struct error *error)
{
    bool has = false;
    TRY(card_read(s->spec->from, &s->parent_card, error));
    if (s->parent_card != NULL) {
        TRY(card_format(s->spec->from, s->parent_card, &s->format, &has, error));
    }
    const char *kind = NULL;
    if (s->parent_card != NULL) {
        TRY(json_get_string(s->parent_card, "kind", &kind, error));
    }
    bool binding = has && kind != NULL && strcmp(kind, "base") != 0;
    if (binding) {
        return format_check_spec(s, error);
    }
    return format_from_spec(s, error);
}

/* ---- model
 * ------------------------------------------------------------------------------------------ */

static struct lora_config lora_from_spec(const struct spec *spec)
{
    static const enum tensor_kind kinds[] = {
        [SPEC_TARGET_Q] = TENSOR_Q,       [SPEC_TARGET_K] = TENSOR_K,
        [SPEC_TARGET_V] = TENSOR_V,       [SPEC_TARGET_O] = TENSOR_O,
        [SPEC_TARGET_GATE] = TENSOR_GATE, [SPEC_TARGET_UP] = TENSOR_UP,
        [SPEC_TARGET_DOWN] = TENSOR_DOWN};
    struct lora_config lora = {.r = (int32_t)spec->adapter.r,
                               .alpha = (float)spec->adapter.alpha,
                               .rslora = spec->adapter.rslora};
    for (int target = SPEC_TARGET_Q; target <= SPEC_TARGET_DOWN; target++) {
        if (spec->adapter.targets & (1u << target)) {
            lora.targets |= 1u << kinds[target];
        }
    }
    return lora;
}

static bool needs_lm_head(const struct spec *spec)
{
    return spec->stage == SPEC_STAGE_LM || spec->loss.lm_loss_coeff > 0;
}

static enum status session_open_model(struct session *s, struct error *error)
{
    const struct spec *spec = s->spec;
    struct model_open_options options = {
        .merge_adapter = true,
        .need_score = !session_is_lm(s),
        .init_score = spec->init_head,
        .need_lm_head = needs_lm_head(spec),
        .keep_lm_head = true,
        .seed = (uint64_t)spec->train.seed,
        .positions = s->format.max_length,
    };
    TRY(model_open(s->device, spec->from, &options, &s->model, error));
    snprintf(s->parent_digest, sizeof(s->parent_digest), "%s", s->model->digest);
    s->model->format = s->format;
    s->model->has_format = true;
    if (spec->adapter.type != SPEC_ADAPTER_LORA) {
        return STATUS_OK;
    }
    struct lora_config lora = lora_from_spec(spec);
    return model_add_adapter(s->model, &lora, (uint64_t)spec->train.seed, error);
}

/* ---- numbers of the run
 * ------------------------------------------------------------------------------ */

static enum schedule_kind schedule_kind(enum spec_scheduler scheduler)
{
    static const enum schedule_kind kinds[] = {
        [SPEC_SCHEDULER_LINEAR] = SCHEDULE_LINEAR,
        [SPEC_SCHEDULER_COSINE] = SCHEDULE_COSINE,
        [SPEC_SCHEDULER_COSINE_WITH_MIN_LR] = SCHEDULE_COSINE_WITH_MIN_LR,
        [SPEC_SCHEDULER_CONSTANT] = SCHEDULE_CONSTANT,
        [SPEC_SCHEDULER_CONSTANT_WITH_WARMUP] = SCHEDULE_CONSTANT_WITH_WARMUP};
    return kinds[scheduler];
}

static enum mix_by mix_by(enum spec_share_by by)
{
    return by == SPEC_SHARE_BY_GROUPS   ? MIX_BY_GROUPS
           : by == SPEC_SHARE_BY_TOKENS ? MIX_BY_TOKENS
                                        : MIX_BY_PAIRS;
}

static void session_set_numbers(struct session *s)
{
    const struct spec *spec = s->spec;
    s->loss = (struct loss_config){
        .lm_loss_coeff = spec->loss.lm_loss_coeff,
        .lm_score_thresh = spec->loss.lm_score_thresh,
        .center_rewards_coefficient = spec->loss.center_rewards_coefficient,
        .lm_on_response = spec->loss.lm_loss_on == SPEC_LM_LOSS_ON_RESPONSE,
        .lm_own_only = spec->loss.lm_loss_data != SPEC_LM_LOSS_DATA_ALL,
        .language_model = session_is_lm(s),
    };
    double share = s->part[MIX_GENERAL] != NULL ? spec->data.enrich.share : 0;
    sampler_init(&s->sampler, s->part[MIX_OWN], s->part[MIX_GENERAL], share,
                 mix_by(spec->data.enrich.by), spec->train.batch_groups, (double)spec->train.epochs,
                 spec->train.max_steps, (uint64_t)spec->train.seed);
    int64_t steps = s->sampler.steps;
    s->schedule = (struct schedule){
        .kind = schedule_kind(spec->train.lr_scheduler_type),
        .peak = spec->train.learning_rate,
        .min_rate = spec->train.min_lr_rate,
        .steps = steps,
        .warmup_steps = spec->train.warmup_steps > 0
                            ? spec->train.warmup_steps
                            : schedule_warmup_steps(steps, spec->train.warmup_ratio)};
    s->optimizer_config = (struct optimizer_config){.beta1 = spec->train.adam_beta1,
                                                    .beta2 = spec->train.adam_beta2,
                                                    .epsilon = spec->train.adam_epsilon,
                                                    .weight_decay = spec->train.weight_decay,
                                                    .max_grad_norm = spec->train.max_grad_norm,
                                                    .cut_state = spec->train.zero_stage == 1};
}

static enum status open_data_in_turn(struct session *s, FILE *notes, struct error *error)
{
    if (!gang_leads(s->gang)) {
        TRY(gang_barrier(s->gang, error));
        return session_open_data(s, notes, error);
    }
    TRY(session_open_data(s, notes, error));
    return gang_barrier(s->gang, error);
}

/* The spec decides between processor and GPU; TAILOR_ISA among what a processor can be asked for,
 * and in tests for a GPU. */
static const char *isa_of(const struct spec *spec)
{
    if (spec->resources.device == SPEC_DEVICE_CUDA) {
        return "cuda";
    }
    return getenv("TAILOR_ISA") != NULL ? NULL : "cpu";
}

enum status session_open(const struct spec *spec, const char *run, const struct gang *gang,
                         int threads, FILE *notes, struct session **session_out,
                         struct error *error)
{
    struct session *s = mem_alloc(sizeof(*s));
    s->spec = spec;
    s->run = run;
    s->gang = gang;
    struct device_options options = {.isa = isa_of(spec),
                                     .threads = threads,
                                     .dtype = spec->train.dtype == SPEC_DTYPE_BF16 ? DTYPE_BF16
                                                                                   : DTYPE_FP32};
    enum status status = device_open(&options, &s->device, error);
    if (status == STATUS_OK) {
        status = model_tokenizer_open(spec->from, &s->tokenizer, error);
    }
    if (status == STATUS_OK) {
        status = session_open_format(s, error);
    }
    if (status == STATUS_OK) {
        status = open_data_in_turn(s, notes, error);
    }
    if (status == STATUS_OK) {
        status = session_open_model(s, error);
    }
    if (status == STATUS_OK && tokenizer_size(s->tokenizer) > s->model->config.V) {
        status = error_set(error, STATUS_CONFLICT,
                           "%s: tokenizer.json has ids up to %d, but the embedding has %d rows",
                           spec->from, tokenizer_size(s->tokenizer) - 1, s->model->config.V);
    }
    if (status != STATUS_OK) {
        session_close(s);
        return status;
    }
    session_set_numbers(s);
    *session_out = s;
    return STATUS_OK;
}

void session_close(struct session *s)
{
    if (s == NULL) {
        return;
    }
    optimizer_free(s->optimizer);
    slice_tree_free(s->tree);
    activations_free(s->acts);
    model_free(s->model);
    for (int i = 0; i < s->eval_count; i++) {
        if (s->eval[i].sample != s->eval[i].dataset) {
            dataset_free(s->eval[i].sample);
        }
        dataset_free(s->eval[i].dataset);
        mem_free(s->eval[i].reward_before);
        mem_free(s->eval[i].reward_after);
    }
    for (int part = 0; part < MIX_PARTS; part++) {
        dataset_free(s->part[part]);
    }
    dataset_free(s->whole);
    admission_free(s->admission);
    json_decref(s->parent_card);
    tokenizer_free(s->tokenizer);
    if (s->device != NULL) {
        device_close(s->device);
    }
    arena_release(&s->arena);
    mem_free(s);
}
