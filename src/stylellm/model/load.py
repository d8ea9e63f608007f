"""Finds and loads the base model and its tokenizer; every failure is one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stylellm.errors import ModelError, first_line
from stylellm.hub.record import find

TINY_NAME = "stylellm-tiny"
"""The name of the embedded base model."""


def model_location(name: str, revision: str | None = None) -> str:
    """What transformers loads for ``name``: the embedded folder, a local folder, or a hub id.

    An id that `stylellm download` brought, from whichever source, is its folder on this machine, so
    that no network is asked. Any other id is left to transformers (HF_ENDPOINT, HF_HOME and
    HF_HUB_OFFLINE are honoured there).

    Raises:
        ModelError: ``name`` looks like a path and is no folder, or is a folder without a model.
    """
    if name == TINY_NAME:
        return str(Path(__file__).resolve().parent.parent / "assets" / TINY_NAME)
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"the folder {name} holds no config.json",
                "a model folder with config.json, weights and tokenizer",
                "Point model.model_name_or_path at the folder that holds config.json.",
            )
        return str(path)
    if path.is_file():
        raise ModelError(f"{name} is a file", "a model folder, a hub id, or stylellm-tiny")
    if name.count("/") > 1 or name.startswith((".", "/", "~")) or "\\" in name:
        raise ModelError(
            f"the model folder {name} does not exist",
            "a folder with config.json, a hub id such as Qwen/Qwen2.5-7B, or stylellm-tiny",
            "Check model.model_name_or_path.",
        )
    return str(find(name, revision) or name)


def _not_loaded(name: str, location: str, error: Exception) -> ModelError:
    reason = first_line(error)
    if Path(location).is_dir():
        return ModelError(
            f"the model in the folder {location} cannot be loaded ({reason})",
            "config.json, weights and tokenizer files as transformers saves them",
            "Copy or download the folder again: stylellm download --model ID",
        )
    return ModelError(
        f"the model {name} is neither a local folder nor could it be loaded from the hub ({reason})",
        "a folder with config.json, a reachable hub id such as Qwen/Qwen2.5-7B, or stylellm-tiny",
        f"Bring it first: stylellm download --model {name} (from China with --use-mirror); "
        "or use model_name_or_path: stylellm-tiny.",
    )


def load_tokenizer(name: str, *, revision: str | None = None) -> Any:
    """The fast tokenizer of ``name``, with a padding token.

    Raises:
        ModelError: no such model, or a folder without a tokenizer.
    """
    from transformers import AutoTokenizer

    location = model_location(name, revision)
    if Path(location).is_dir() and not any(
        (Path(location) / file).is_file()
        for file in ("tokenizer.json", "vocab.json", "tokenizer.model", "tokenizer_config.json")
    ):
        raise ModelError(
            f"the folder {name} holds no tokenizer",
            "tokenizer.json (or vocab.json and merges.txt) beside config.json",
            "Copy the tokenizer files of the base model into the folder.",
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(location, revision=revision)
    except (OSError, ValueError, KeyError) as error:
        raise _not_loaded(name, location, error) from error
    if tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer of {name} has no end-of-text token", "one with eos_token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def load_base(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    attn_implementation: str = "sdpa",
    load_in_4bit: bool = False,
    load_in_8bit: bool = False,
) -> Any:
    """The base model, frozen later by the adapter; on the CPU unless quantised.

    Args:
        name: stylellm-tiny, a local folder, or a hub id.
        revision: branch, tag or commit on the hub.
        dtype: float32, bfloat16, float16, or auto (float32 on a CPU; on a GPU bfloat16 where it has
            it, else float16).
        attn_implementation: eager, sdpa or flash_attention_2.
        load_in_4bit: NF4 with bitsandbytes.
        load_in_8bit: LLM.int8() with bitsandbytes.

    Raises:
        ModelError: no such model, or one whose head the objective cannot use.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    kwargs: dict[str, Any] = {"attn_implementation": attn_implementation, "revision": revision}
    kwargs["dtype"] = getattr(torch, dtype) if dtype != "auto" else _auto_dtype()
    if load_in_4bit:
        from transformers import BitsAndBytesConfig

        kwargs["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=kwargs["dtype"],
        )
    elif load_in_8bit:
        from transformers import BitsAndBytesConfig

        kwargs["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
    location = model_location(name, revision)
    try:
        model = AutoModelForCausalLM.from_pretrained(location, **kwargs)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _not_loaded(name, location, error) from error
    except ImportError as error:
        raise ModelError(f"{name} needs a package that is missing ({error})") from error
    _check_head(model, name)
    return model


def _auto_dtype() -> Any:
    import torch

    if not torch.cuda.is_available():
        return torch.float32
    return (
        torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    )


def _check_head(model: Any, name: str) -> None:
    """The delta form of the KL needs logits = hidden @ weight.T and nothing else."""
    head = model.get_output_embeddings()
    if head is None or not hasattr(head, "weight"):
        raise ModelError(f"{name} has no output head", "a causal language model")
    if getattr(head, "bias", None) is not None:
        raise ModelError(
            f"the output head of {name} has a bias", "a head without one, as Qwen2.5's"
        )
    cap = getattr(model.config, "final_logit_softcapping", None)
    if cap:
        raise ModelError(
            f"{name} caps its logits (final_logit_softcapping={cap})",
            "a model without soft-capping, as Qwen2.5",
        )
    for key in ("logit_scale", "logits_scaling"):  # Cohere, Granite
        if getattr(model.config, key, None) not in (None, 1, 1.0):
            raise ModelError(
                f"{name} scales its logits ({key}={getattr(model.config, key)})",
                "a model whose logits are hidden states times head, as Qwen2.5",
            )


def check_max_length(model: Any, max_length: int) -> None:
    """Refuses windows longer than the model's positions."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and max_length > positions:
        raise ModelError(
            f"max_length is {max_length}, the model has {positions} positions",
            f"at most {positions}",
            f"Set data.max_length: {positions} (or --max_length {positions}) and prepare again.",
        )
