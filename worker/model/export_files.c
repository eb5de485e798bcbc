/* SPDX-License-Identifier: Apache-2.0
 *
 * export_files: scoring.json, which lets anybody check an installation, and README.md.
 */
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "worker/model/export_parts.h"
#include "worker/model/staging.h"

static json_t *scoring_json(const struct exporting *exporting)
{
    json_t *probes = json_array();
    for (int i = 0; i < PROBES_COUNT; i++) {
        const struct export_probe *probe = &exporting->probes[i];
        json_t *ids = json_array();
        for (size_t j = 0; j < probe->ids.count; j++) {
            json_array_append_new(ids, json_integer(probe->ids.items[j]));
        }
        json_t *entry = json_pack("{s:s%, s:o, s:f}", "text", probe->text.data, probe->text.length,
                                  "ids", ids, "score", probe->score);
        CHECK(entry != NULL);
        json_array_append_new(probes, entry);
    }
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:o}", "model", exporting->model->digest, "weights",
                  weight_dtype_torch_name(exporting->options->dtype), "note",
                  "score = logits[0, 0] of tokenizer(text), computed in float32", "probes", probes);
    CHECK(root != NULL);
    return root;
}

static void snippet_append(const struct exporting *exporting, const char *final, struct buf *out)
{
    bool peft = exporting->options->format == EXPORT_PEFT;
    buf_append_string(out, "```python\nimport torch\n");
    buf_append_string(
        out, "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n");
    if (peft) {
        buf_append_string(out, "from peft import PeftModel\n");
    }
    buf_printf(out, "path = \"%s%s\"\n", final, peft ? "/parent" : "");
    buf_append_string(out, "tokenizer = AutoTokenizer.from_pretrained(path)\n"
                           "model = AutoModelForSequenceClassification.from_pretrained(path)\n");
    if (peft) {
        buf_printf(out, "model = PeftModel.from_pretrained(model, \"%s/adapter\")\n", final);
    }
    buf_append_string(out, "model = model.float().eval()\n");
    buf_append_string(out, "batch = tokenizer([\"first text\", \"second text\"], "
                           "return_tensors=\"pt\", padding=True)\n"
                           "with torch.no_grad():\n"
                           "    print(model(**batch).logits[:, 0])  # one reward a text\n```\n");
}

static void text_append(const struct exporting *exporting, struct buf *out)
{
    const struct text_format *format = &exporting->model->format;
    buf_printf(out,
               "\n## Texts\n\nTemplate `%s`; rows of at most %d tokens (%s); the reward is read at "
               "the last token. ",
               template_name(format->template_kind), format->max_length,
               overlong_name(format->overlong));
    if (template_is_chat(format->template_kind)) {
        buf_append_string(out, "Render messages with `tokenizer.apply_chat_template(messages, "
                               "tokenize=False)` and pass the text to `tokenizer`, which adds "
                               "nothing.\n");
        return;
    }
    buf_printf(out, "`tokenizer(text)` adds %s%s%s. ", export_adds_bos(exporting) ? "BOS" : "",
               export_adds_bos(exporting) && export_adds_eos(exporting) ? " and " : "",
               export_adds_eos(exporting)   ? "EOS"
               : export_adds_bos(exporting) ? " and no EOS"
                                            : "nothing");
    buf_append_string(out, "A text of this model's kind:\n\n```\n");
    buf_append(out, exporting->probes[0].text.data, exporting->probes[0].text.length);
    buf_append_string(out, "\n```\n");
}

static void readme_build(const struct exporting *exporting, const char *final, struct buf *out)
{
    bool peft = exporting->options->format == EXPORT_PEFT;
    buf_append_string(out, "---\nlibrary_name: ");
    buf_append_string(out, peft ? "peft" : "transformers");
    buf_append_string(out, "\npipeline_tag: text-classification\ntags:\n- reward-model\n---\n\n");
    buf_printf(out, "# %s\n\nA reward model, trained and exported by tailor %s. Higher is better; ",
               path_base(final), TAILOR_VERSION);
    buf_append_string(out, "rewards are comparable for answers to the same prompt.\n\n");
    snippet_append(exporting, final, out);
    buf_append_string(out, "\n`scoring.json` has eight texts with their tokens and scores to check "
                           "an installation by.\n\n## Serving\n\n```\n");
    if (peft) {
        buf_append_string(out, "# merge first: tailor model export --format hf --merge\n");
    }
    buf_printf(out, "vllm serve %s%s --runner pooling --convert classify\n```\n", final,
               peft ? "-merged" : "");
    buf_append_string(out, "`problem_type` is `regression`, so vLLM returns the raw reward.\n");
    text_append(exporting, out);
    buf_printf(out, "\nPadding is token %d, `%s`, which no text of this template holds.\n",
               exporting->pad.id, exporting->pad.text);
    buf_printf(out, "Source model: `%s`.\n", exporting->model->digest);
}

enum status export_files_write(const struct exporting *exporting, const char *dir,
                               const char *final, struct error *error)
{
    char path[MODEL_PATH_MAX];
    struct buf readme = {0};
    TRY(staging_json(dir, "scoring.json", scoring_json(exporting), error));
    path_join(path, sizeof(path), dir, "README.md");
    readme_build(exporting, final, &readme);
    enum status status = file_write_atomic(path, readme.data, readme.length, error);
    buf_release(&readme);
    return status;
}
