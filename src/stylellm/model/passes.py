"""The two passes of a training step through the backbone, and what they can share.

Policy and reference are one set of weights with the adapter on and off. Where only the upper layers
have an adapter, the lower ones give both the same hidden states: they run once, without gradients,
and the backward pass ends above them. Where tokens come again unchanged, the reference's hidden
states can come from a cache.

Rows are padded on the right and attention is causal, so no position sees padding and no padding
mask is needed. Documents of one row are kept apart by their position ids alone: transformers makes
block-diagonal attention of them where there is neither an attention mask nor a key-value cache.

Shapes: B rows, T tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from stylellm.errors import ModelError
from stylellm.model.policy import backbone_of, layers_of, policy_hidden, run_backbone
from stylellm.model.reference import adapter_off

Span = tuple[int, int, int]
"""Row, start and end of one document in a batch."""


class Cache(Protocol):
    """Hidden states of the reference by the tokens they belong to."""

    def get(self, tokens: Tensor) -> Tensor | None: ...

    def put(self, tokens: Tensor, hidden: Tensor) -> None: ...


class Passes:
    """Computes the hidden states of both models for the batches of one policy.

    Args:
        shared_layers: how many lower layers have no adapter and run once for both.
        cache: where the reference's hidden states of repeating documents are kept; None: nowhere.
    """

    def __init__(self, shared_layers: int = 0, cache: Cache | None = None) -> None:
        self.shared_layers = shared_layers
        self.cache = cache

    def __call__(
        self, model: Any, policy: Any, batch: dict[str, Tensor], *, with_reference: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Last hidden states after the final norm, [B, T, H]: the policy's with gradients, and the
        reference's (None unless asked for).

        Args:
            model: the module to call: the policy, or its data-parallel wrapper, whose forward must
                run for gradients to be synchronised.
            policy: the bare peft model.
            batch: what ``masking.collate`` makes.
            with_reference: whether any KL is asked for.
        """
        ids, positions = batch["input_ids"], batch.get("position_ids")
        lower, reference = None, None
        if with_reference:  # first, while no activations of the policy are held
            if self.shared_layers:
                lower = lower_states(policy, ids, positions, self.shared_layers)
            reference = self._reference(policy, batch, lower)
        with _above(policy, lower, self.shared_layers):
            return policy_hidden(model, policy, ids, None, positions), reference

    @torch.no_grad()
    def _reference(self, policy: Any, batch: dict[str, Tensor], lower: Tensor | None) -> Tensor:
        def run(ids: Tensor, positions: Tensor | None, lower: Tensor | None) -> Tensor:
            with adapter_off(policy), _above(policy, lower, self.shared_layers):
                return run_backbone(backbone_of(policy), ids, None, positions)

        ids, positions = batch["input_ids"], batch.get("position_ids")
        if self.cache is None or "repeats" not in batch:
            return run(ids, positions, lower)
        spans: list[Span] = [(row, a, b) for row, a, b in batch["repeats"].tolist()]
        tokens = ids.cpu()
        found = {(row, a, b): self.cache.get(tokens[row, a:b]) for row, a, b in spans}
        known = {span: states for span, states in found.items() if states is not None}
        if not known:
            hidden = run(ids, positions, lower)
        else:
            like = next(iter(known.values()))
            hidden = like.new_zeros((*ids.shape, like.shape[-1]), device=ids.device)
            where, wanted = _unknown(batch["attention_mask"], known)
            if wanted:
                parts = [None if x is None else x[where] for x in (positions, lower)]
                hidden[where] = run(ids[where], *parts).to(hidden.dtype)
            for (row, a, b), states in known.items():
                hidden[row, a:b] = states.to(hidden.device)
        for row, a, b in found.keys() - known.keys():
            self.cache.put(tokens[row, a:b], hidden[row, a:b])
        return hidden


def _unknown(attention_mask: Tensor, known: Iterable[Span]) -> tuple[Any, bool]:
    """An index of what must be computed, and whether that is anything: rows that hold an unknown
    token, or, where all documents are joined in one row, the unknown ones of them."""
    unknown = attention_mask.bool().clone()
    for row, a, b in known:
        unknown[row, a:b] = False
    if len(unknown) > 1:
        rows = unknown.any(1).nonzero().squeeze(1)
        return rows, len(rows) > 0
    return (slice(None), unknown[0].nonzero().squeeze(1)), bool(unknown.any())


# The lower layers once for both.


class _Given(torch.nn.Module):
    """Stands for a layer whose output is known."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, *_args: Any, **_kwargs: Any) -> Tensor:
        return self.hidden


class _Caught(torch.nn.Module):
    """Stands above the last layer that runs, and keeps what comes out of it."""

    hidden: Tensor

    def forward(self, hidden: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
        self.hidden = hidden
        return hidden


@contextmanager
def _layers(backbone: Any, layers: list[Any]) -> Iterator[None]:
    """Within the block these modules are the backbone's layers."""
    kept = backbone.layers
    backbone.layers = torch.nn.ModuleList(layers)
    try:
        yield
    finally:
        backbone.layers = kept


@contextmanager
def _above(policy: Any, lower: Tensor | None, shared: int) -> Iterator[None]:
    """Within the block the backbone goes on from ``lower``, the output of its ``shared`` layers."""
    if lower is None:
        yield
        return
    backbone = backbone_of(policy)
    with _layers(backbone, [_Given(lower)] * shared + list(backbone.layers[shared:])):
        yield


@torch.no_grad()
def lower_states(policy: Any, ids: Tensor, positions: Tensor | None, shared: int) -> Tensor:
    """What comes out of the ``shared`` lowest layers, [B, T, H]."""
    backbone, caught = backbone_of(policy), _Caught()
    with _layers(backbone, [*backbone.layers[:shared], caught]):
        run_backbone(backbone, ids, None, positions)
    return caught.hidden


def shared_layers_of(policy: Any) -> int:
    """How many of the lowest layers have no trained weight, so that both models share them.

    Raises:
        ModelError: the backbone does not hold its layers in a list named ``layers``.
    """
    layers = layers_of(policy, "lora.lora_layers other than all", "lora.lora_layers: all")
    if any(weight.requires_grad for weight in policy.get_input_embeddings().parameters()):
        return 0  # trained token rows: the two models differ from the first layer on
    for number, layer in enumerate(layers):
        if any(weight.requires_grad for weight in layer.parameters()):
            return number
    return len(layers) - 1


# Documents in one row.


@torch.no_grad()
def check_isolation(policy: Any) -> None:
    """Tries out that documents of one row do not see each other.

    Raises:
        ModelError: they do, under this model and attention.
    """
    backbone, was_training = backbone_of(policy), policy.training
    device = policy.get_input_embeddings().weight.device
    first, other, second = torch.arange(15, device=device).reshape(3, 5)
    positions = torch.arange(5, device=device).repeat(2)[None]
    policy.eval()
    try:
        rows = [torch.cat([start, second])[None] for start in (first, other)]
        one, two = (run_backbone(backbone, row, None, positions)[0, 5:] for row in rows)
    finally:
        policy.train(was_training)
    if not torch.equal(one, two):
        raise ModelError(
            f"{type(backbone).__name__} lets the documents of a packed window see each other",
            "a model whose attention follows position_ids (Qwen2 with sdpa or eager does)",
            "Set model.attn_implementation: sdpa, or data.pack: false and prepare again.",
        )
