"""Answers to a key that does not exist: where it belongs, or which name was meant.

Besides close spellings this knows the names that other trainers use for the same thing
(LLaMA-Factory, Axolotl, TRL, older transformers), and the flags of the original sketch.
"""

from __future__ import annotations

import difflib
from typing import Any

from stylellm.config.training_fields import DROPPED, FIXED, HONOURED, REFUSED
from stylellm.config.tree import SECTIONS
from stylellm.config.values import show

# Another trainer's name -> our key, or a sentence that says what to do.
FOREIGN: dict[str, str] = {
    "model_name": "model.model_name_or_path",
    "base_model": "model.model_name_or_path",
    "model_path": "model.model_name_or_path",
    "model_id": "model.model_name_or_path",
    "pretrained_model_name_or_path": "model.model_name_or_path",
    "model_revision": "model.revision",
    "torch_dtype": "model.dtype",
    "precision": "model.dtype",
    "flash_attn": "model.attn_implementation",
    "flash_attention": "model.attn_implementation",
    "quantization_bit": "model.load_in_4bit",
    "load_4bit": "model.load_in_4bit",
    "use_4bit": "model.load_in_4bit",
    "qlora": "model.load_in_4bit",
    "load_8bit": "model.load_in_8bit",
    "dataset": "data.books",
    "datasets": "data.books",
    "dataset_dir": "data.books",
    "dataset_path": "data.books",
    "data_dir": "data.books",
    "data_path": "data.books",
    "train_file": "data.books",
    "corpus": "data.books",
    "author_name": "data.author",
    "general_data": "data.general_text",
    "cutoff_len": "data.max_length",
    "max_seq_length": "data.max_length",
    "max_seq_len": "data.max_length",
    "seq_length": "data.max_length",
    "sequence_len": "data.max_length",
    "model_max_length": "data.max_length",
    "block_size": "data.max_length",
    "val_size": "data.validation_fraction",
    "val_set_size": "data.validation_fraction",
    "validation_ratio": "data.validation_fraction",
    "test_size": "data.test_fraction",
    "test_ratio": "data.test_fraction",
    "mask_ratio": "masking.mask_rate",
    "mask_prob": "masking.mask_rate",
    "mlm_probability": "masking.mask_rate",
    "span_ratio": "masking.span_mask_ratio",
    "token_ratio": "masking.token_mask_ratio",
    "span_length": "masking.span_length_mean",
    "mean_span_length": "masking.span_length_mean",
    "max_span_length": "masking.span_length_max",
    "r": "lora.lora_r",
    "rank": "lora.lora_r",
    "lora_rank": "lora.lora_r",
    "alpha": "lora.lora_alpha",
    "dropout": "lora.lora_dropout",
    "lora_target": "lora.target_modules",
    "lora_target_modules": "lora.target_modules",
    "lora_modules": "lora.target_modules",
    "lora_target_linear": "lora.target_modules",
    "beta": "objective.kl_beta",
    "kl_coef": "objective.kl_beta",
    "kl_weight": "objective.kl_beta",
    "kl_lambda": "objective.kl_beta",
    "kl_coefficient": "objective.kl_beta",
    "pref_beta": "objective.kl_beta",
    "kl_type": "objective.kl_direction",
    "kl_target": "objective.target_kl",
    "early_stopping": "training.early_stopping_patience",
    "replay_ratio": "objective.general_ratio",
    "epochs": "training.num_train_epochs",
    "num_epochs": "training.num_train_epochs",
    "n_epochs": "training.num_train_epochs",
    "steps": "training.max_steps",
    "batch_size": "training.per_device_train_batch_size",
    "train_batch_size": "training.per_device_train_batch_size",
    "micro_batch_size": "training.per_device_train_batch_size",
    "eval_batch_size": "training.per_device_eval_batch_size",
    "grad_accum": "training.gradient_accumulation_steps",
    "accumulation_steps": "training.gradient_accumulation_steps",
    "gradient_accumulation": "training.gradient_accumulation_steps",
    "lr": "training.learning_rate",
    "scheduler": "training.lr_scheduler_type",
    "lr_scheduler": "training.lr_scheduler_type",
    "warmup": "training.warmup_steps",
    "optimizer": "training.optim",
    "grad_clip": "training.max_grad_norm",
    "max_norm": "training.max_grad_norm",
    "output": "training.output_dir",
    "output_path": "training.output_dir",
    "save_dir": "training.output_dir",
    "checkpointing": "training.gradient_checkpointing",
    "mixed_precision": "use training.bf16: true or training.fp16: true",
    "device": "the device is found; training.use_cpu: true keeps to the CPU",
    "num_workers": "training.dataloader_num_workers",
    "resume": "leave it out and run stylellm train --resume",
    "max_tokens": "generation.max_new_tokens",
    "max_length_generation": "generation.max_new_tokens",
    "temp": "generation.temperature",
    "repeat_penalty": "generation.repetition_penalty",
    "test_prompts": "evaluation.prompts",
    "stage": "leave it out: there is one way of training",
    "finetuning_type": "leave it out: a LoRA adapter is always trained",
    "adapter": "leave it out: a LoRA adapter is always trained",
    "template": "leave it out: raw text needs no chat template",
    "chat_template": "leave it out: raw text needs no chat template",
    "packing": "data.pack",
    "sample_packing": "data.pack",
    "modules_to_save": "leave it out: the reference is the base itself, so none of it may train",
}

SECTION_ALIASES = {
    "base": "model",
    "dataset": "data",
    "datasets": "data",
    "mask": "masking",
    "peft": "lora",
    "adapter": "lora",
    "loss": "objective",
    "alignment": "objective",
    "train": "training",
    "trainer": "training",
    "training_args": "training",
    "eval": "evaluation",
    "evaluate": "evaluation",
    "generate": "generation",
    "inference": "generation",
    "sampling": "generation",
}


def unknown_key(section: str, name: Any, value: Any) -> str:
    """The text of the problem "this section has no such key"."""
    keys = "the fields of transformers.TrainingArguments"
    if section != "training":
        keys = ", ".join(SECTIONS[section].model_fields)
    return _text(value, suggestion(section, str(name)), f"keys of {section}: {keys}")


def unknown_section(name: Any, value: Any) -> str:
    """The text of the problem "there is no such section"."""
    meant = _section_meant(str(name)) if isinstance(value, dict) else ""
    answer = f"did you mean {meant}?" if meant else suggestion("", str(name))
    return _text(value, answer, "sections: " + ", ".join(SECTIONS))


def path_suggestion(section: str, name: str) -> str:
    """An answer to `section.name` where the section does not exist."""
    meant, plain = _section_meant(section), _normal(name)
    if meant and plain in SECTIONS[meant].model_fields:
        return f"did you mean {meant}.{plain}?"
    if answer := suggestion(meant, name):
        return answer
    return f"did you mean {meant}?" if meant else "expected one of " + ", ".join(SECTIONS)


def _section_meant(name: str) -> str:
    plain = _normal(name)
    near = difflib.get_close_matches(plain, list(SECTIONS), n=1, cutoff=0.6)
    return SECTION_ALIASES.get(plain) or (near[0] if near else "")


def _text(value: Any, answer: str, choices: str) -> str:
    answer = f"; {answer}" if answer else ""
    return f"unknown key (found {show(value)}){answer} ({choices})"


def suggestion(section: str, name: str) -> str:
    """ "use objective.kl_beta", "did you mean lora.lora_r?", or nothing. `section` may be ""."""
    plain = _normal(name)
    if section and plain in SECTIONS[section].model_fields:
        return f"did you mean {section}.{plain}?"
    homes = [f"{other}.{plain}" for other in SECTIONS if plain in SECTIONS[other].model_fields]
    foreign = FOREIGN.get(plain, "")
    if " " in foreign:
        return foreign
    if homes or foreign:
        return "use " + " or ".join(filter(None, [foreign, *homes]))
    if plain in DROPPED:
        return f"transformers 5 dropped {plain}; under training: " + DROPPED[plain].en.format(
            name=plain, value="..."
        )
    if section != "training" and plain in HONOURED | set(REFUSED) | set(FIXED):
        return f"use training.{plain}"
    return _nearest(section, plain)


def _nearest(section: str, plain: str) -> str:
    if section:
        names = list(SECTIONS[section].model_fields)
        names += sorted(HONOURED) if section == "training" else []
        near = difflib.get_close_matches(plain, names, n=1, cutoff=0.6)
        if near:
            return f"did you mean {section}.{near[0]}?"
    else:
        near = difflib.get_close_matches(plain, list(SECTIONS), n=1, cutoff=0.75)
        if near:
            return f"did you mean {near[0]}?"
    homes = {name: f"{other}.{name}" for other in SECTIONS for name in SECTIONS[other].model_fields}
    homes |= {name: home for name, home in FOREIGN.items() if " " not in home}
    near = difflib.get_close_matches(plain, list(homes), n=1, cutoff=0.75)
    return f"did you mean {homes[near[0]]}?" if near else ""


def nearest_value(value: Any, choices: list[str]) -> str:
    """ "did you mean infill?" for a misspelled choice, or nothing."""
    if not isinstance(value, str):
        return ""
    near = difflib.get_close_matches(_normal(value), choices, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


def _normal(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")
