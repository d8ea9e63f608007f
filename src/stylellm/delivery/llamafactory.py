"""What LLaMA-Factory needs to train on the prepared books: two ways, each with its configuration.

``pt.yaml``: plain continued pretraining on whole chapters (LLaMA-Factory ends each row with an
end-of-text token, so that windows would teach the model to stop in the middle). ``masked.yaml``: the
sequences of `stylellm train`, masks included, tokenised here and read with ``tokenized_path``.
Neither has the KL term: LLaMA-Factory knows no reference in these stages.

Checked against LLaMA-Factory 0.9.5. No ``template`` (it may change the end-of-text token), no
``packing``, one preprocessing worker.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stylellm.delivery.folder import new_folder
from stylellm.errors import ConfigError, DataError
from stylellm.files import write_text
from stylellm.masking.formats import IGNORE, Example

CHAPTERS, INFO, TOKENISED = "chapters.jsonl", "dataset_info.json", "tokenised"
PLAIN, MASKED = "pt.yaml", "masked.yaml"
NAME = "stylellm"

README = """\
# For LLaMA-Factory

    cd {folder}
    llamafactory-cli train {plain}      # plain pretraining on {chapters} whole chapters -> ./pt
    llamafactory-cli train {masked}     # {rows} masked sequences, {epochs} epochs of masks -> ./masked

Afterwards: `stylellm write {folder}/masked --prompt ...`, `stylellm evaluate {folder}/masked --data ...`.
Neither has StyleLLM's KL term: nothing but a low learning rate holds the model to its base.
"""


def export_llamafactory(
    output: Path,
    *,
    config: Any,
    model_path: str,
    chapters: Iterable[Mapping[str, Any]],
    epochs: Iterable[Iterable[Example]],
) -> tuple[int, int]:
    """Writes the folder.

    Args:
        output: a new folder.
        config: the training's configuration.
        model_path: what LLaMA-Factory loads as the base.
        chapters: rows of the prepared ``chapters.jsonl``; those of the train split are taken.
        epochs: the training sequences, epoch by epoch.

    Returns:
        How many chapters and sequences were written.

    Raises:
        ConfigError: settings that LLaMA-Factory cannot follow.
        DataError: no chapter of the train split.
        OutputError: the output exists.
    """
    check(config)
    with new_folder(output) as path:
        texts = [row["text"] for row in chapters if row["split"] == "train"]
        if not texts:
            raise DataError("the prepared data has no chapter to train on", "at least one")
        lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
        write_text(path / CHAPTERS, "".join(lines))
        info = {NAME: {"file_name": CHAPTERS, "columns": {"prompt": "text"}}}
        write_text(path / INFO, json.dumps(info, indent=2) + "\n")
        rows, number = _save_tokenised(epochs, path / TOKENISED)
        write_text(path / PLAIN, to_yaml(plain_recipe(config, model_path)))
        write_text(path / MASKED, to_yaml(masked_recipe(config, model_path)))
        words = {"folder": output, "plain": PLAIN, "masked": MASKED, "chapters": len(texts),
                 "rows": rows, "epochs": number}  # fmt: skip
        write_text(path / "README.md", README.format(**words))
    return len(texts), rows


def check(config: Any) -> None:
    """Refuses what LLaMA-Factory would leave out without a word.

    Raises:
        ConfigError: all such settings at once.
    """
    problems = []
    if config.masking.context_loss_weight not in (0, 1):
        problems.append(
            f"masking.context_loss_weight is {config.masking.context_loss_weight}; LLaMA-Factory has "
            "no weights of single tokens, expected 0 or 1"
        )
    if config.data.pack:
        problems.append(
            "data.pack is true; sequences of several documents would see each other, expected false"
        )
    if config.lora.train_sentinels:
        problems.append(
            "lora.train_sentinels is true; LLaMA-Factory trains no single rows of the embedding, "
            "expected false"
        )
    if problems:
        raise ConfigError(problems, "the configuration, for LLaMA-Factory")


def shifted(example: Example) -> dict[str, list[int]]:
    """A sequence as transformers' models read it: labels stand where their token stands.

    `Example.labels` holds what each position predicts; a model shifts them itself.
    """
    scored = [
        label if weight > 0 else IGNORE
        for label, weight in zip(example.labels, example.label_weight, strict=True)
    ]
    return {
        "input_ids": example.input_ids,
        "attention_mask": [1] * len(example.input_ids),
        "labels": [IGNORE, *scored[:-1]],
    }


def _save_tokenised(epochs: Iterable[Iterable[Example]], path: Path) -> tuple[int, int]:
    from datasets import Dataset, DatasetDict, Features, Sequence, Value

    number = 0

    def rows() -> Iterator[dict[str, list[int]]]:
        nonlocal number
        for epoch in epochs:
            number += 1
            yield from map(shifted, epoch)

    ints = Sequence(Value("int32"))
    features = Features(input_ids=ints, attention_mask=ints, labels=ints)
    data = Dataset.from_list(list(rows()), features=features)
    DatasetDict(train=data).save_to_disk(str(path), num_proc=None)
    return len(data), number


def plain_recipe(config: Any, model_path: str) -> dict[str, Any]:
    """Continued pretraining on chapters."""
    return {
        **_model(config, model_path),
        "stage": "pt",
        **_adapter(config),
        "dataset": NAME,
        "dataset_dir": ".",
        "cutoff_len": config.data.max_length,
        "overwrite_cache": True,
        "preprocessing_num_workers": 1,
        "output_dir": "pt",
        **_training(config),
        **_length(config),
    }


def masked_recipe(config: Any, model_path: str) -> dict[str, Any]:
    """Supervised training on the tokenised sequences; their epochs are all in the data."""
    length = _length(config)
    if "num_train_epochs" in length:
        length["num_train_epochs"] = 1.0
    return {
        **_model(config, model_path),
        "stage": "sft",
        **_adapter(config),
        "dataset": NAME,  # asked for, and then left aside for what is tokenised
        "dataset_dir": ".",
        "tokenized_path": TOKENISED,
        "cutoff_len": config.data.max_length,
        "output_dir": "masked",
        **_training(config),
        **length,
    }


def _model(config: Any, model_path: str) -> dict[str, Any]:
    found: dict[str, Any] = {"model_name_or_path": model_path}
    if config.model.revision:
        found["model_revision"] = config.model.revision
    if config.model.load_in_4bit or config.model.load_in_8bit:
        found |= {"quantization_bit": 4 if config.model.load_in_4bit else 8,
                  "quantization_method": "bnb"}  # fmt: skip
    return found


def _adapter(config: Any) -> dict[str, Any]:
    lora = config.lora
    targets = lora.target_modules
    return {
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": lora.lora_r,
        "lora_alpha": lora.lora_alpha,
        "lora_dropout": lora.lora_dropout,
        "lora_target": "all" if targets == "all-linear" else
                       targets if isinstance(targets, str) else ",".join(targets),
        "use_rslora": lora.use_rslora,
        "use_dora": lora.use_dora,
    }  # fmt: skip


def _training(config: Any) -> dict[str, Any]:
    t = config.training
    names = (
        "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate",
        "lr_scheduler_type", "warmup_steps", "weight_decay", "max_grad_norm", "bf16", "fp16", "seed",
        "logging_steps", "save_steps",
    )  # fmt: skip
    found = {name: getattr(t, name) for name in names if getattr(t, name, None) is not None}
    found["disable_gradient_checkpointing"] = t.gradient_checkpointing is False
    return found | {"save_total_limit": 1, "report_to": "none"}


def _length(config: Any) -> dict[str, Any]:
    t = config.training
    if t.max_steps > 0:
        return {"max_steps": t.max_steps}
    return {"num_train_epochs": float(t.num_train_epochs)}


def to_yaml(recipe: Mapping[str, Any]) -> str:
    """The recipe as LLaMA-Factory reads it."""
    import yaml

    return yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True)
