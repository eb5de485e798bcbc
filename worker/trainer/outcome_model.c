/* SPDX-License-Identifier: Apache-2.0
 *
 * The model's directory and its card. The card's probes are scored by the directory itself, opened
 * again as its user will open it (adapters merged): so writing verifies reading.
 */
#include <string.h>
#include <time.h>

#include "lib/file.h"
#include "lib/json.h"
#include "worker/model/card.h"
#include "worker/model/tokenizer_dir.h"
#include "worker/trainer/continuity.h"
#include "worker/trainer/outcome.h"

static json_t *sources_json(const struct data_source *sources, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        json_array_append_new(list, source_json(&sources[i]));
    }
    return list;
}

/* What a child of this model inherits: where the data are. */
static json_t *data_json(const struct session *s)
{
    json_t *data = json_object(), *eval = json_array();
    for (int i = 0; i < s->eval_count; i++) {
        if (s->eval[i].general && (s->whole == NULL || i > 0)) {
            json_array_append_new(eval, source_json(&s->eval[i].source));
        }
    }
    json_object_set_new(data, "train", sources_json(s->own_sources, s->own_source_count));
    json_object_set_new(data, "eval", eval);
    json_object_set_new(data, "enrich", sources_json(s->general_sources, s->general_source_count));
    json_object_set_new(data, "digest", json_string(s->part[MIX_OWN]->digest));
    return data;
}

static json_t *parent_json(const struct session *s)
{
    json_t *parent = json_object();
    json_object_set_new(parent, "path", json_string(s->spec->from));
    json_object_set_new(parent, "digest", json_string(s->parent_digest));
    return parent;
}

static json_t *card_json(const struct session *s, const struct train_state *state,
                         const json_t *result)
{
    char digest[SHA256_HEX_SIZE];
    spec_digest(s->spec, digest);
    json_t *card = json_object();
    const char *kind = session_is_lm(s) ? "base" : s->model->adapter != NULL ? "adapter" : "full";
    json_object_set_new(card, "format_version", json_integer(CARD_FORMAT_VERSION));
    json_object_set_new(card, "kind", json_string(kind));
    json_object_set_new(card, "name",
                        s->spec->name != NULL ? json_string(s->spec->name) : json_null());
    json_object_set_new(card, "stage", json_string(spec_choice_name("stage", s->spec->stage)));
    json_object_set_new(card, "text", card_text_json(&s->format));
    json_object_set_new(card, "parent", parent_json(s));
    json_object_set_new(card, "data", data_json(s));
    json_object_set_new(card, "spec_digest", json_string(digest));
    json_object_set_new(card, "numerics", json_string(device_numerics(s->device)));
    json_object_set_new(card, "engine_version", json_string(TAILOR_VERSION));
    json_object_set_new(card, "created", json_integer((json_int_t)time(NULL)));
    json_object_set_new(card, "step",
                        json_integer(state->best_step > 0 ? state->best_step : state->step));
    json_object_set(card, "metrics", json_object_get(result, "sets"));
    return card;
}

/* Gives back what training needed, so that the model can be opened a second time in the same
 * memory. */
static void release_training(struct session *s)
{
    optimizer_free(s->optimizer);
    slice_tree_free(s->tree);
    model_free(s->model);
    s->optimizer = NULL;
    s->tree = NULL;
    s->model = NULL;
}

static enum status add_probes(struct session *s, const char *dir, json_t *card, struct error *error)
{
    struct model_open_options options = {
        .merge_adapter = true, .need_score = true, .positions = s->format.max_length};
    TRY(model_open(s->device, dir, &options, &s->model, error));
    struct scorer scorer = session_scorer(s);
    json_object_set_new(card, "probes", continuity_probes(&scorer, s->part[MIX_OWN]));
    char path[4096];
    path_join(path, sizeof(path), dir, CARD_FILE);
    return json_write_file(path, card, error);
}

enum status outcome_model_save(struct session *s, const struct train_state *state,
                               const json_t *result, struct error *error)
{
    char dir[4096], tokenizer_dir[MODEL_PATH_MAX];
    path_join(dir, sizeof(dir), s->run, "model");
    if (dir_exists(dir)) { /* of an attempt that was killed while writing its probes */
        TRY(dir_remove(dir, error));
    }
    json_t *card = card_json(s, state, result);
    bool head = !session_is_lm(s);
    enum status status = model_tokenizer_dir(s->spec->from, tokenizer_dir, error);
    if (status == STATUS_OK) {
        status = model_save(s->model, dir, tokenizer_dir,
                            s->model->adapter != NULL ? s->spec->from : NULL, card, error);
    }
    release_training(s);
    if (status == STATUS_OK && head) {
        status = add_probes(s, dir, card, error);
    }
    json_decref(card);
    return status;
}
