"""From the configuration to the parts: the only place where config objects meet components."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stylellm.errors import DataError, TrainingError
from stylellm.masking.plan import MaskSettings

LIVE_TOKENS = 100
"""Tokens of a text written at an evaluation during training."""


def mask_settings(masking: Any) -> MaskSettings:
    """The plan's settings of a ``masking`` section."""
    return MaskSettings(
        span_mask_ratio=masking.span_mask_ratio,
        token_mask_ratio=masking.token_mask_ratio,
        no_mask_ratio=masking.no_mask_ratio,
        mask_rate=masking.mask_rate,
        span_length_mean=masking.span_length_mean,
        span_length_max=masking.span_length_max,
        function_word_bias=masking.function_word_bias,
    )


def _prepare_arguments(config: Any, tokenizer: Any) -> dict[str, Any]:
    data = config.data
    return {
        "books": data.books,
        "tokenizer": tokenizer,
        "output_dir": data.prepared_dir,
        "author": data.author,
        "general_text": data.general_text,
        "other_author": data.other_author,
        "max_length": data.max_length,
        "script": data.script,
        "split_by": data.split_by,
        "validation_fraction": data.validation_fraction,
        "test_fraction": data.test_fraction,
        "held_out": data.held_out,
        "held_out_works": data.held_out_works,
        "clean_rules": data.clean_rules,
        "accept_damaged": data.accept_damaged,
        "modern_words": data.modern_words,
        "modern_word_list": data.modern_word_list,
        "near_duplicates": data.near_duplicates,
        "max_characters_per_work": data.max_characters_per_work,
        "max_characters_per_author": data.max_characters_per_author,
        "author_weights": data.author_weights,
        "pack": data.pack,
        "seed": data.seed,
    }


def _how_to_prepare(config: Any) -> dict[str, Any]:
    """What changes how preparing goes, not what comes out."""
    from stylellm.cli.anchors import cache_folder

    return {
        "num_workers": config.data.num_workers,
        "cache_dir": cache_folder(config),
    }


def prepare_books(config: Any, *, overwrite: bool = False, progress: bool = True) -> dict:
    """Runs the prepare stage of a configuration."""
    from stylellm.corpus.prepare import prepare
    from stylellm.model.load import load_tokenizer

    if not config.data.books:
        raise DataError(
            "no books were given",
            "files or folders of the author's books",
            "stylellm prepare data/金庸, or data.books in the configuration.",
        )
    tokenizer = load_tokenizer(config.model.model_name_or_path, revision=config.model.revision)
    arguments = _prepare_arguments(config, tokenizer)
    how = _how_to_prepare(config)
    return prepare(**arguments, **how, overwrite=overwrite, progress=progress)


def ensure_prepared(config: Any, tokenizer: Any, *, progress: bool = True) -> None:
    """Prepares the books unless the prepared folder already holds exactly this preparation."""
    from stylellm.corpus.prepare import is_current, load_manifest, prepare

    if not config.data.books:
        load_manifest(config.data.prepared_dir)  # raises if there is none
        return
    arguments = _prepare_arguments(config, tokenizer)
    if is_current(**arguments):
        print(f"prepared: {config.data.prepared_dir} is up to date")
        return
    prepare(**arguments, **_how_to_prepare(config), overwrite=True, progress=progress)


def wants_general(config: Any) -> bool:
    """Whether general windows are mixed in at all."""
    return config.objective.general_ratio > 0 and config.objective.general_beta > 0


def style_dataset(config: Any, tokenizer: Any, general: Any = ()) -> Any:
    """The training set: author windows with fresh masks, general windows mixed in.

    Args:
        general: general windows; where none were prepared, the base may have written some.
    """
    from stylellm.corpus.prepare import load_windows
    from stylellm.masking.collate import StyleDataset
    from stylellm.masking.formats import Sentinels

    m, o, prepared = config.masking, config.objective, config.data.prepared_dir
    author = load_windows(prepared, "train")
    if wants_general(config) and not len(general):
        print(
            "general anchor: off, no general text was prepared (data.general_text) and none is to be "
            "sampled (objective.general_samples)"
        )
    dataset = StyleDataset(
        author,
        general if wants_general(config) else [],
        tokenizer,
        Sentinels.from_tokenizer(tokenizer, format=None if m.no_mask_ratio == 1 else m.format),
        mask_settings(m),
        max_length=config.data.max_length,
        seed=config.training.seed,
        general_ratio=o.general_ratio,
        format=m.format,
        order=m.order,
        context_loss_weight=m.context_loss_weight,
        kl_positions=o.kl_positions,
    )
    check_kl_positions(dataset, o.kl_beta)
    return dataset


def general_windows(config: Any, policy: Any, tokenizer: Any, arguments: Any) -> Any:
    """The general windows of the training: the prepared ones, else what the base writes."""
    from stylellm.cli.anchors import num_samples, sampled_general

    prepared = windows_of(config.data.prepared_dir, "general_train")
    if len(prepared) or not wants_general(config) or not config.objective.general_samples:
        return prepared
    if not getattr(policy, "is_quantized", False):
        policy.to(arguments.device)
    number = num_samples(
        config, len(windows_of(config.data.prepared_dir, "train")), arguments.world_size
    )
    return sampled_general(config, policy, tokenizer, number, arguments.process_index == 0)


def check_kl_positions(dataset: Any, kl_beta: float) -> None:
    """Refuses a KL term that would never be computed (|K| = 0 with kl_beta > 0)."""
    count = min(len(dataset.author), 512)
    if kl_beta > 0 and not any(any(dataset.example(i).kl_mask) for i in range(count)):
        raise TrainingError(
            f"kl_beta is {kl_beta} but no position of the first {count} windows has a clean left "
            "context, so the KL term would be empty",
            "masking.order: prefix_first, or some windows without masks",
            "Set masking.order: prefix_first, masking.no_mask_ratio above 0, "
            "objective.kl_positions: all, or objective.kl_beta: 0.",
        )


def has_split(prepared: str | Path, split: str) -> bool:
    """Whether the prepared folder holds windows of ``split``."""
    from stylellm.corpus.prepare import load_manifest

    counts = load_manifest(prepared)["splits"].get(split)
    return bool(counts and counts["windows"])


def windows_of(prepared: str | Path, split: str) -> Any:
    """The windows of a split, an empty list where there are none."""
    from stylellm.corpus.prepare import load_windows

    return load_windows(prepared, split) if has_split(prepared, split) else []


def build_policy(config: Any, tokenizer: Any) -> Any:
    """The base with a fresh adapter."""
    import torch

    from stylellm.cli.anchors import adapted_layers, attention_of, sentinel_ids
    from stylellm.model.load import check_max_length, load_base
    from stylellm.model.policy import add_lora

    m, lora = config.model, config.lora
    base = load_base(
        m.model_name_or_path,
        revision=m.revision,
        dtype=m.dtype,
        attn_implementation=attention_of(config),
        load_in_4bit=m.load_in_4bit,
        load_in_8bit=m.load_in_8bit,
    )
    check_max_length(base, config.data.max_length)
    torch.manual_seed(config.training.seed)  # the adapter's first weights
    return add_lora(
        base,
        base_name=m.model_name_or_path,
        r=lora.lora_r,
        alpha=lora.lora_alpha,
        dropout=lora.lora_dropout,
        target_modules=lora.target_modules,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        trained_tokens=sentinel_ids(config, tokenizer),
        layers=adapted_layers(config, base),
    )


def load_run(config: Any, folder: Path, base: str | None = None) -> tuple[Any, Any]:
    """The trained policy of a run, on the accelerator if there is one, and its tokenizer."""
    from stylellm.model.policy import load_policy

    m = config.model
    policy, tokenizer = load_policy(
        folder,
        base=base,
        revision=m.revision,
        dtype=m.dtype,
        attn_implementation="sdpa" if m.attn_implementation == "auto" else m.attn_implementation,
        load_in_4bit=m.load_in_4bit,
        load_in_8bit=m.load_in_8bit,
    )
    _to_device(policy)
    return policy, tokenizer


def _to_device(policy: Any) -> None:
    """Moves a policy to the accelerator, if there is one."""
    import torch

    if torch.cuda.is_available() and not getattr(policy, "is_quantized", False):
        policy.to("cuda")
    elif torch.backends.mps.is_available():
        policy.to("mps")


def sampling(config: Any, **changes: Any) -> Any:
    """How texts are drawn, from the ``generation`` section."""
    from dataclasses import replace

    from stylellm.generation.sampler import Sampling

    g = config.generation
    base = Sampling(
        max_new_tokens=g.max_new_tokens,
        do_sample=g.do_sample,
        temperature=g.temperature,
        top_p=g.top_p,
        top_k=g.top_k,
        repetition_penalty=g.repetition_penalty,
    )
    return replace(base, **changes)


def measure_callable(config: Any, tokenizer: Any) -> Any:
    """What the trainer calls at every evaluation: likelihoods, drift, and a few written texts."""
    from stylellm.evaluation.likelihood import window_likelihood
    from stylellm.evaluation.texts import spread

    prepared, e = config.data.prepared_dir, config.evaluation
    size = config.training.per_device_eval_batch_size
    author = spread(windows_of(prepared, "validation"), e.num_windows)
    general = spread(windows_of(prepared, "general_test"), e.num_windows)
    style = live_style_callable(config, tokenizer) if author else None

    def measure(policy: Any) -> dict[str, float]:
        score = window_likelihood(policy, tokenizer, author, batch_size=size)
        result = {"author_nll": score.summary("policy")["nll_per_token"]}
        result["loss"] = result["author_nll"]
        if general:
            drift = window_likelihood(policy, tokenizer, general, batch_size=size)
            result["general_nll"] = drift.summary("policy")["nll_per_token"]
            result["drift_kl"] = drift.kl_per_token
        return result | (style(policy) if style else {})

    return measure if author else None


def live_style_callable(config: Any, tokenizer: Any) -> Any:
    """The part of ``measure_callable`` that looks at written texts; None where none are wanted."""
    from stylellm.evaluation.live import live_style

    e, g = config.evaluation, config.generation
    if not e.live_samples:
        return None
    return live_style(
        tokenizer,
        list(windows_of(config.data.prepared_dir, "train")),
        sampling(config, max_new_tokens=min(LIVE_TOKENS, g.max_new_tokens)),
        num_samples=e.live_samples,
        batch_size=e.batch_size,
        seed=e.seed,
    )


def sample_callable(config: Any, tokenizer: Any) -> Any:
    """What the trainer calls for sample texts; None where no prompts are set."""
    from stylellm.generation.sampler import generate

    prompts = list(config.evaluation.sample_prompts_during_training)
    if not prompts:
        return None
    drawing = sampling(config, max_new_tokens=min(60, config.generation.max_new_tokens))

    def sample(policy: Any) -> list[dict[str, str]]:
        texts = generate(policy, tokenizer, prompts, drawing, seed=config.evaluation.seed)
        return [{"prompt": p, "text": t} for p, t in zip(prompts, texts, strict=True)]

    return sample
