# SPDX-License-Identifier: Apache-2.0
"""TRL's RewardTrainer over one epoch of rows; prints one JSON object, its figures, as the last line.

    trl_steps.py BASE ROWS BATCH_PAIRS BATCH DTYPE ADAPTER CHECKPOINTING

BATCH pairs go through the model at once, BATCH_PAIRS make a step. Padding is the trainer's own; its sampler that puts
rows of like length together is on, since without it there is more padding. DEVICE=cuda runs it on a GPU.
"""
import json
import os
import sys
import tempfile
import time

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import AutoTokenizer, TrainerCallback  # noqa: E402
from trl import RewardConfig, RewardTrainer  # noqa: E402

from lora import lora_config  # noqa: E402


clock = time.process_time if os.environ["CLOCK"] == "processor" else time.perf_counter


class Steps(TrainerCallback):
    """Seconds of each step, and when the first began."""

    def __init__(self):
        self.first_at, self.begun, self.seconds = 0.0, 0.0, []

    def on_step_begin(self, args, state, control, **rest):
        self.first_at = self.first_at or time.time()
        self.begun = clock()

    def on_step_end(self, args, state, control, **rest):
        self.seconds.append(clock() - self.begun)


def pairs_of(path):
    """Every pair of a group that its scores order."""
    for line in open(path, encoding="utf-8"):
        g = json.loads(line)
        for i, better in enumerate(g["scores"]):
            for j, worse in enumerate(g["scores"]):
                if better > worse:
                    chosen, rejected = g["responses"][i], g["responses"][j]
                    yield {"prompt": g["prompt"], "chosen": chosen, "rejected": rejected,
                           "length": len(g["prompt"]) + max(len(chosen), len(rejected))}


def main():
    base, rows, batch_pairs, batch, dtype, adapter, checkpointing = sys.argv[1:]
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    tokenizer = AutoTokenizer.from_pretrained(base)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    data = Dataset.from_list(list(pairs_of(rows)))
    steps = Steps()
    config = RewardConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=int(batch),
        gradient_accumulation_steps=int(batch_pairs) // int(batch), num_train_epochs=1, learning_rate=1e-5,
        bf16=dtype == "bf16", gradient_checkpointing=checkpointing == "checkpointing", max_length=1024,
        use_cpu=os.environ.get("DEVICE", "cpu") == "cpu",
        save_strategy="no", report_to="none", logging_strategy="no", disable_tqdm=True,
        train_sampling_strategy="group_by_length", remove_unused_columns=False)
    trainer = RewardTrainer(model=base, args=config, train_dataset=data, processing_class=tokenizer,
                            peft_config=lora_config() if adapter == "lora" else None, callbacks=[steps])
    counts = {"tokens": 0, "computed": 0}
    collate = trainer.data_collator

    def counted(examples):
        inputs = collate(examples)
        counts["tokens"] += int(inputs["attention_mask"].sum())
        counts["computed"] += inputs["attention_mask"].numel()
        return inputs

    trainer.data_collator = counted
    trainer.train()
    print(json.dumps({"first_step_at": steps.first_at, "steps": steps.seconds, "pairs": len(trainer.train_dataset), **counts}))


main()
