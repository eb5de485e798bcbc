/* SPDX-License-Identifier: Apache-2.0
 *
 * export_chat: the model's template as Jinja, for apply_chat_template and vLLM.
 *
 * apply_chat_template adds no special tokens by itself, so where the post-processor adds BOS and
 * EOS to a plain text, the template spells them out. A preset whose own text came with the model is
 * kept as it came; the texts below are for models that got a preset from their spec, in the words
 * in which the presets were published (Qwen's without its tools).
 */
#include <string.h>

#include "lib/check.h"
#include "worker/model/export_parts.h"

#define ROLES_ALTERNATE                                                                            \
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"                               \
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') "   \
    "}}{% endif %}"

static const char *const presets[] = {
    [TEMPLATE_CHATML] =
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "
        "'<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
        "Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + "
        "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ "
        "'<|im_start|>assistant\n' }}{% endif %}",
    [TEMPLATE_LLAMA3] =
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
        "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | "
        "trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% "
        "endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ "
        "'<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    [TEMPLATE_LLAMA2] =
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set "
        "system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% "
        "set system_message = false %}{% endif %}{% for message in loop_messages %}" ROLES_ALTERNATE
        "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + "
        "system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = "
        "message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] "
        "' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + "
        "content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    [TEMPLATE_MISTRAL] =
        "{{ bos_token }}{% for message in messages %}" ROLES_ALTERNATE
        "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% "
        "elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ "
        "raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor "
        "%}",
    [TEMPLATE_QWEN25] =
        "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are Qwen, created by "
        "Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}{% endif %}{% for message in "
        "messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
        "'<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ "
        "'<|im_start|>assistant\n' }}{% endif %}",
    [TEMPLATE_ZEPHYR] =
        "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + "
        "message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ "
        "'<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == "
        "'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif "
        "%}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% "
        "endfor %}",
};

/* The text a template puts around the messages of each role; for dsp and plain too. */
struct affixes {
    const char *role, *prefix, *suffix;
};

/* {% if role … %}{{ "prefix" + message['content'] + "suffix" }}{% elif … */
static void messages_append(const struct affixes affixes[3], const char *separator, struct buf *out)
{
    buf_append_string(out, "{% for message in messages %}");
    if (separator[0] != '\0') {
        buf_append_string(out, "{% if not loop.first %}{{ ");
        buf_append_json_string(out, separator, strlen(separator));
        buf_append_string(out, " }}{% endif %}");
    }
    for (int i = 0; i < 3; i++) {
        buf_printf(out, "{%% %s message['role'] == '%s' %%}{{ ", i == 0 ? "if" : "elif",
                   affixes[i].role);
        buf_append_json_string(out, affixes[i].prefix, strlen(affixes[i].prefix));
        buf_append_string(out, " + message['content'] + ");
        buf_append_json_string(out, affixes[i].suffix, strlen(affixes[i].suffix));
        buf_append_string(out, " }}");
    }
    buf_append_string(out, "{% endif %}{% endfor %}");
}

static void generation_append(const char *prefix, bool eos, struct buf *out)
{
    if (prefix[0] != '\0') {
        buf_append_string(out, "{% if add_generation_prompt %}{{ ");
        buf_append_json_string(out, prefix, strlen(prefix));
        buf_append_string(out, " }}{% endif %}");
    }
    if (eos) {
        buf_append_string(out, "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}");
    }
}

void export_chat_template(const struct exporting *exporting, struct buf *out)
{
    const struct text_format *format = &exporting->model->format;
    const struct template_prefixes *given = &format->prefixes;
    enum template_kind own;
    if (tokenizer_chat_template(exporting->tokenizer) != NULL &&
        template_recognise(exporting->tokenizer, &own, NULL) == STATUS_OK &&
        own == format->template_kind) {
        buf_append_string(out, tokenizer_chat_template(exporting->tokenizer));
        return;
    }
    if (export_adds_bos(exporting)) {
        buf_append_string(out, "{{ bos_token }}");
    }
    bool eos = export_adds_eos(exporting);
    switch (format->template_kind) {
    case TEMPLATE_DSP:
        messages_append((const struct affixes[3]){{"system", "", ""},
                                                  {"user", "## Human:\n", ""},
                                                  {"assistant", "## Assistant:\n", ""}},
                        "\n\n", out);
        generation_append("\n\n## Assistant:\n", eos, out);
        break;
    case TEMPLATE_PLAIN:
        messages_append(
            (const struct affixes[3]){{"system", "", ""}, {"user", "", ""}, {"assistant", "", ""}},
            "", out);
        generation_append("", eos, out);
        break;
    case TEMPLATE_PREFIXES:
        messages_append(
            (const struct affixes[3]){
                {"system", given->system_prefix, given->system_suffix},
                {"user", given->user_prefix, given->user_suffix},
                {"assistant", given->assistant_prefix, given->assistant_suffix}},
            "", out);
        generation_append(given->assistant_prefix, eos, out);
        break;
    default:
        CHECK(presets[format->template_kind] != NULL);
        buf_append_string(out, presets[format->template_kind]);
    }
}
