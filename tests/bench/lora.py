# SPDX-License-Identifier: Apache-2.0
"""The adapter that every contender trains: the seven matrices of a block, rank 16, and the head."""
from peft import LoraConfig

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def lora_config():
    return LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=TARGETS, modules_to_save=["score"],
                      task_type="SEQ_CLS")
