"""What the training needs besides policy and windows: general text, attention, passes, adapted
layers."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from stylellm.errors import ConfigError

SAMPLE_TOKENS = 256
SAMPLE_BATCH = 32


def cache_folder(config: Any) -> Path | None:
    """Where work is kept for the next run; None where data.cache_dir is off."""
    data = config.data
    if data.cache_dir == "off":
        return None
    beside = Path(data.prepared_dir).absolute().parent / ".stylellm-cache"
    return beside if data.cache_dir is None else Path(data.cache_dir)


def _model_settings(config: Any) -> dict[str, Any]:
    """What the reference's numbers depend on besides its weights."""
    import transformers

    m, t = config.model, config.training
    return {
        "dtype": m.dtype,
        "attn_implementation": attention_of(config),
        "load_in_4bit": m.load_in_4bit,
        "load_in_8bit": m.load_in_8bit,
        "bf16": t.bf16,
        "fp16": t.fp16,
        "use_liger_kernel": t.use_liger_kernel,
        "transformers": transformers.__version__,
    }


def attention_of(config: Any) -> str:
    """The attention that the training takes."""
    from stylellm.model.attention import chosen_attention

    m = config.model
    # Autocast alone is not enough: evaluation computes in the format of the weights.
    sixteen_bits = m.dtype != "float32" and not config.training.use_cpu
    return chosen_attention(m.attn_implementation, sixteen_bits=sixteen_bits)


def num_samples(config: Any, num_author: int, world: int = 1) -> int:
    """How many windows the base should write: no more than the run will use."""
    o, t = config.objective, config.training
    per_epoch = max(1, round(o.general_ratio / (1 - o.general_ratio) * num_author))
    epochs = float(t.num_train_epochs)
    if t.max_steps > 0:
        step = t.per_device_train_batch_size * t.gradient_accumulation_steps * world
        epochs = t.max_steps * step / (num_author + per_epoch)
    return min(o.general_samples, math.ceil(per_epoch * max(epochs, 1)))


def sampled_general(config: Any, policy: Any, tokenizer: Any, number: int, progress: bool) -> list:
    """General windows that the base writes; kept in the cache folder under model and settings."""
    from stylellm.generation.sampler import Sampling, generate
    from stylellm.masking.collate import encoder
    from stylellm.model.hidden_cache import fingerprint
    from stylellm.training.anchor import sampled_texts

    length = min(config.data.max_length, SAMPLE_TOKENS)
    drawing = Sampling(
        max_new_tokens=length - 1, temperature=1.0, top_p=1.0, top_k=0, repetition_penalty=1.0
    )
    seed = config.training.seed

    def draw(start: int, count: int) -> list[str]:
        return generate(
            policy, tokenizer, [""] * count, drawing,
            seed=seed + start, use_adapter=False, batch_size=count,
        )  # fmt: skip

    folder, file = cache_folder(config), None
    if folder is not None:
        told = {"seed": seed, "length": length, "batch": SAMPLE_BATCH, **_model_settings(config)}
        name = fingerprint(policy, told)
        name += hashlib.sha256(
            json.dumps(tokenizer.get_vocab(), sort_keys=True).encode()
        ).hexdigest()[:8]
        file = folder / "anchor" / f"{name}.jsonl"
    texts = sampled_texts(draw, number, batch_size=SAMPLE_BATCH, file=file, progress=progress)
    encode = encoder(tokenizer)
    windows = []
    for text in texts:
        while len(encode(text)) > config.data.max_length:  # tokenised again it may be longer
            text = text[:-8]
        if len(encode(text)) > 1:
            windows.append({"text": text, "ends_document": False})
    return windows


def passes_of(config: Any, policy: Any) -> Any:
    """How the hidden states of both models are computed (lora.lora_layers, objective.reference).

    Raises:
        ConfigError: objective.reference: cached without a folder to cache in.
    """
    from stylellm.model.hidden_cache import HiddenCache, fingerprint
    from stylellm.model.passes import Passes, shared_layers_of

    shared = shared_layers_of(policy) if config.lora.lora_layers != "all" else 0
    cache = None
    if config.objective.reference == "cached":
        folder = cache_folder(config)
        if folder is None:
            raise ConfigError(
                [
                    "objective.reference: found cached, but data.cache_dir is off; expected a folder there"
                ]
            )
        name = fingerprint(policy, _model_settings(config))
        cache = HiddenCache(folder / "reference" / name)
    return Passes(shared, cache)


def adapted_layers(config: Any, base: Any) -> list[int] | None:
    """Numbers of the decoder layers that get an adapter; None: all."""
    if config.lora.lora_layers == "all":
        return None
    count = base.config.get_text_config().num_hidden_layers
    share = {"top_half": 2, "top_quarter": 4}[config.lora.lora_layers]
    return list(range(count - max(1, count // share), count))


def sentinel_ids(config: Any, tokenizer: Any) -> list[int]:
    """The control tokens of the infill format whose embeddings are trained, if any are."""
    from stylellm.masking.formats import Sentinels

    if not config.lora.train_sentinels:
        return []
    s = Sentinels.from_tokenizer(tokenizer)
    ids = {s.suffix, s.middle, s.pad}
    if config.masking.order == "native":
        ids.add(s.prefix)
    return sorted(ids)
