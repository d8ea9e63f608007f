"""Peak memory of one training step, predicted from the shape and the settings alone.

The step is the one of `training.trainer`: the reference's pass, the policy's pass, the chunked
loss, the backward pass. What is alive at its peak:

- the frozen weights; the adapter (float32, as peft keeps it beside 16-bit weights), its gradients
  and the optimizer's state;
- what autograd keeps of the policy's pass: read off transformers' decoder layer and peft's LoRA
  layer (`_kept_per_token`), or one copy of each layer's input with gradient checkpointing;
- the largest working space: of the last linear layer of a layer (`_work`), or of the loss.

tests/doctor/test_doctor_memory.py holds every term against the tensors that a real step keeps.

Legend: B sequences, T tokens, N = B * T, H hidden, V vocabulary. Sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stylellm.doctor.setup import DTYPES, Setup, check_setup
from stylellm.doctor.shapes import Shape

GB = 10**9
MIB = 2**20

# objective.chunking: the most that one [R, V] buffer holds, and the elements of a block.
CHUNK_ELEMENTS_CPU, CHUNK_BYTES_CUDA = 2**25, 128 * MIB
MIN_CHUNK = 16
BLOCK = {"cpu": 2**18, "cuda": 2**23}
# objective.compiled: from this vocabulary and this many logits on, a CPU compiles the loss, in blocks
# of COMPILED_BLOCK. A GPU compiles always, but is counted as if its compiler failed.
COMPILED_VOCABULARY, COMPILED_LOGITS, COMPILED_BLOCK = 2**15, 2**25, 2**21

# NF4 with double quantisation (Dettmers et al. 2023): 4 bits, a byte per 64 weights for their
# scale, and a float32 per 256 such scales.
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)

# Not part of the model: what a process takes on the card before the first tensor, and what the
# caching allocator holds beyond what is in use. Both are assumptions, stated as such.
CUDA_CONTEXT = 500 * MIB
FRAGMENTATION = 0.05

OPTIMIZER_BYTES = {"adamw_torch": 8, "adamw_torch_fused": 8, "paged_adamw_32bit": 8,
                   "adamw_bnb_8bit": 2, "adamw_8bit": 2, "paged_adamw_8bit": 2,
                   "sgd": 0, "adafactor": 0.1, "lion_8bit": 1}  # fmt: skip


@dataclass(frozen=True)
class Prediction:
    """Bytes alive at the peak of a step, by part, and where the peak lies."""

    parts: dict[str, float] = field(default_factory=dict)
    phase: str = ""
    outside: float = 0.0

    @property
    def peak(self) -> float:
        """What torch has allocated at the peak (`torch.cuda.max_memory_allocated`)."""
        return sum(self.parts.values())

    @property
    def needed(self) -> float:
        """The peak with what lies outside the tensors: CUDA context and fragmentation."""
        return self.peak + self.outside


def predict(shape: Shape, setup: Setup) -> Prediction:
    """The peak of one step in its steady state (optimizer states and gradients exist).

    Raises:
        StyleLLMError: see `check_setup`.
    """
    check_setup(shape, setup)
    phases = {
        "loss": _at_loss(shape, setup),
        "forward": _at_forward(shape, setup),
        "backward": _at_backward(shape, setup),
    }
    name = max(phases, key=lambda phase: sum(phases[phase].values()))
    parts = {k: float(v) for k, v in (_standing(shape, setup) | phases[name]).items() if v}
    peak, outside = sum(parts.values()), 0.0
    if setup.device == "cuda":
        outside = CUDA_CONTEXT + FRAGMENTATION * (peak - parts["weights"])
    return Prediction(parts, name, outside)


def adapter_parameters(shape: Shape, setup: Setup) -> int:
    """Trained parameters of the LoRA adapter."""
    return setup.adapted(shape) * sum(setup.lora_r * sum(shape.linear(t)) for t in setup.targets)


def weight_bytes(shape: Shape, setup: Setup) -> float:
    """The frozen base; quantised are its linear layers, embedding and head are not."""
    linear = shape.layers * shape.linear_per_layer
    size = DTYPES[setup.weights]
    per_weight = NF4 if setup.load_in_4bit else 1.0 if setup.load_in_8bit else size
    return linear * per_weight + shape.other * size


def _standing(shape: Shape, setup: Setup) -> dict[str, float]:
    """What is there at any time of a step."""
    adapter = adapter_parameters(shape, setup)
    per_parameter = OPTIMIZER_BYTES.get(setup.optimizer, 8)
    return {
        "weights": weight_bytes(shape, setup),
        "adapter": 4.0 * adapter,
        "optimizer": per_parameter * adapter,
    }


def _old_gradients(shape: Shape, setup: Setup) -> float:
    """Those of former micro-batches of the step, which are there during the forward pass."""
    return 4.0 * adapter_parameters(shape, setup) if setup.accumulation > 1 else 0.0


def _final_hidden(shape: Shape, setup: Setup) -> float:
    """One [N, H] after the final norm."""
    return setup.tokens * shape.hidden * setup.stream_bytes


def _activations(shape: Shape, setup: Setup) -> dict[str, float]:
    """What autograd holds once the policy's pass is done."""
    n, held = setup.tokens, {}
    if setup.checkpointing:
        held["layer inputs"] = float(n * setup.adapted(shape) * shape.hidden * setup.stream_bytes)
    else:
        held["activations"] = setup.adapted(shape) * n * _kept_per_token(shape, setup)
        held["activations"] -= n * _not_kept_of_first(shape, setup)
        held["weight copies"] = setup.adapted(shape) * _weight_copies(shape, setup)
    norm_and_rope = n * (4 * shape.hidden + 4) + 2 * setup.max_length * shape.head_size * 4
    held["final norm"] = float(norm_and_rope)
    return held


def _at_forward(shape: Shape, setup: Setup) -> dict[str, float]:
    """In the last layer of the policy's pass."""
    reference = _final_hidden(shape, setup) if setup.kl else 0.0
    parts = _activations(shape, setup) | {"reference hidden": reference}
    parts.pop("final norm")
    space = {"working space": _work(shape, setup), "gradients": _old_gradients(shape, setup)}
    return parts | space


def _at_backward(shape: Shape, setup: Setup) -> dict[str, float]:
    """At its beginning; with checkpointing a layer is computed once more, and the peak may lie at
    the last one, where few inputs but all gradients are there."""
    parts = _activations(shape, setup)
    parts.pop("final norm")
    gradients = 4.0 * adapter_parameters(shape, setup)
    share = 1.0 if setup.accumulation > 1 else 1 / setup.adapted(shape)
    if setup.checkpointing:
        if share < 1 and gradients > parts["layer inputs"]:
            parts["layer inputs"] *= share
            share = 1.0
        parts["one layer"] = setup.tokens * _kept_per_token(shape, setup)
        parts["weight copies"] = _weight_copies(shape, setup)
    incoming = setup.tokens * shape.hidden * setup.stream_bytes
    work = max(_work(shape, setup), _work_of_mlp_gradient(shape, setup))
    return parts | {"working space": work + incoming, "gradients": share * gradients}


def _at_loss(shape: Shape, setup: Setup) -> dict[str, float]:
    """All activations, both hidden states, the gradient made in the forward, the chunk's buffers."""
    hidden = _final_hidden(shape, setup)
    head = DTYPES[setup.compute or setup.weights]
    kept = hidden if setup.weights != "float16" else 2 * hidden
    copy = shape.vocabulary * shape.hidden * 2 if _casts_weights(setup) else 0
    return _activations(shape, setup) | {
        "hidden states": hidden + (hidden if setup.kl else 0.0) + kept,
        "head copy": float(copy),
        "loss buffers": _loss_buffers(shape, setup, head),
        "gradients": _old_gradients(shape, setup),
    }


def _loss_buffers(shape: Shape, setup: Setup, head: int) -> float:
    """Logits and delta of one chunk in the head's format, and the float32 buffers of one block."""
    v = shape.vocabulary
    held = CHUNK_ELEMENTS_CPU if setup.device == "cpu" else CHUNK_BYTES_CUDA // head
    rows = min(setup.chunk_size or max(MIN_CHUNK, held // v), setup.tokens)
    two = 2 if setup.kl else 1
    compiled = v >= COMPILED_VOCABULARY and setup.tokens * v >= COMPILED_LOGITS
    if setup.device == "cpu" and compiled:
        copies = two * min(rows, max(1, COMPILED_BLOCK // v)) * v * 4
    else:
        block = min(rows, max(1, BLOCK[setup.device] // v)) * v * 4
        copies = block * (3 if setup.kl else 1)
        if head == 2:  # z and delta of a block are copied to float32
            copies += two * block
    small = 5 * rows * shape.hidden * 4
    return float(two * rows * v * head + copies + small)


def _casts_weights(setup: Setup) -> bool:
    """autocast makes a 16-bit copy of a float32 weight at each use; frozen ones are not cached."""
    quantised = setup.load_in_4bit or setup.load_in_8bit
    return setup.compute is not None and setup.weights == "float32" and not quantised


def _weight_copies(shape: Shape, setup: Setup) -> float:
    """Of one layer: copies that autograd keeps for the backward pass."""
    adapter = adapter_parameters(shape, setup) / setup.adapted(shape)
    frozen = shape.linear_per_layer * 2 if _casts_weights(setup) else 0
    return frozen + (2 * adapter if setup.compute else 0)


def _kept_per_token(shape: Shape, setup: Setup) -> float:
    """What autograd keeps of one decoder layer, per token."""
    linear = setup.linear_bytes
    norms = 2 * (4 * shape.hidden + 4)  # float32 input and its inverse deviation
    if shape.qk_norm:
        norms += 4 * (shape.query + shape.key) + 4 * (shape.heads + shape.kv_heads)
    mlp = 3 * shape.intermediate * linear  # gate, silu(gate), up
    return norms + _attention_per_token(shape, setup) + mlp + _lora_per_token(shape, setup)


def _attention_per_token(shape: Shape, setup: Setup) -> float:
    """Query, key, value, output and the log-sum-exp; a mask repeats key and value per head."""
    linear, t = setup.linear_bytes, setup.max_length
    if setup.attention == "eager":
        # query, key and value repeated per head, the scores in float32 and as they were cast
        scores = shape.heads * t * (4 + (linear if linear < 4 else 0))
        return linear * 3 * shape.query + scores
    kv = shape.query if setup.packed and setup.attention == "sdpa" else shape.key
    mask = linear * t if setup.packed and setup.attention == "sdpa" else 0
    return linear * 2 * (shape.query + kv) + 4 * shape.heads + mask


INPUTS = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))


def _lora_per_token(shape: Shape, setup: Setup) -> float:
    """Of each adapted layer: the dropout's mask, the adapter's input, what lies between A and B."""
    kept, total = setup.lora_bytes, 0.0
    if setup.lean:  # one tensor serves the layers that read it, unless each casts it for itself
        for group in INPUTS:
            adapted = [name for name in group if name in setup.targets]
            size, mask = shape.linear(group[0])[0], _dropout_mask(setup)
            casts = _casts_weights(setup) and group[0] in ("q_proj", "gate_proj")
            copies = len(adapted) if casts else min(1, len(adapted))
            if group[0] == "o_proj" and setup.attention != "eager":  # attention keeps its output
                copies = 0
            total += len(adapted) * (kept * setup.lora_r + mask * size) + copies * kept * size
        return total
    mask = _dropout_mask(setup)
    for name in setup.targets:
        total += kept * setup.lora_r
        if setup.dropout > 0 or _copies_input(setup):
            total += (kept + mask) * shape.linear(name)[0]
    if setup.dropout == 0 and not _copies_input(setup):  # then one tensor serves several layers
        for group in (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("down_proj",)):
            if any(name in setup.targets for name in group):
                total += kept * shape.linear(group[0])[0]
    return total


def _dropout_mask(setup: Setup) -> int:
    """Per element: a byte on a GPU; on a CPU a number in the format of its input."""
    if setup.dropout == 0:
        return 0
    if setup.device == "cuda" or setup.lean:
        return 1
    return 4 if setup.lora_casts else setup.linear_bytes


def _copies_input(setup: Setup) -> bool:
    """Whether each adapted layer casts its input to a copy of its own."""
    if not setup.lora_casts:
        return False
    return setup.compute is not None or setup.weights != "float32"


def _not_kept_of_first(shape: Shape, setup: Setup) -> float:
    """Per token: the first layer's input needs no gradient, so norm and dropout keep nothing."""
    first = [t for t in ("q_proj", "k_proj", "v_proj") if t in setup.targets and not setup.lean]
    return 4 * shape.hidden + 4 + _dropout_mask(setup) * shape.hidden * len(first)


def _work(shape: Shape, setup: Setup) -> float:
    """Largest working space of a layer: its last projection, with the adapter's float32 copies."""
    n, linear, stream = setup.tokens, setup.linear_bytes, setup.stream_bytes
    wide = linear  # the product of the gated MLP
    if "down_proj" in setup.targets and setup.lean:  # kept then; dropout makes another
        wide = linear if setup.dropout > 0 else 0
    elif "down_proj" in setup.targets:
        if setup.lora_casts and linear == 2:
            wide += 4  # cast for the adapter
        if setup.dropout > 0 and setup.lora_casts and setup.compute:
            wide += 4  # the dropped input before autocast brings it to 16 bits
    narrow = stream + linear + (2 * stream if stream == 2 else 0)
    space = n * (wide * shape.intermediate + narrow * shape.hidden)
    if setup.load_in_4bit:  # a layer's weights are unpacked whole
        unpacked = linear * (n + shape.hidden) * shape.intermediate
        space = max(space, unpacked + n * narrow * shape.hidden)
    return float(space)


def _work_of_mlp_gradient(shape: Shape, setup: Setup) -> float:
    """Gradients of product, gate and up, once what the last projection kept is free again."""
    if "down_proj" in setup.targets and setup.lean:
        return float(setup.tokens * 2 * setup.linear_bytes * shape.intermediate)
    freed = 0
    if "down_proj" in setup.targets:
        freed = setup.lora_bytes + _dropout_mask(setup)
    wide = 3 * setup.linear_bytes - freed
    return float(setup.tokens * wide * shape.intermediate)
