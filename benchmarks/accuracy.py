"""How far the KL and its gradient are from the truth in bf16, here and elsewhere.

Two questions, at true KLs of 2e-5, 1e-3 and 0.1 nats per position:

1. Given the bf16 hidden states: this project's loss, full logits, Liger's and TRL's against the
   definition in float64. What is not installed is printed as not run, with the command.
2. End to end: a Qwen2 model with a LoRA adapter in bf16 against the same weights in float64, value
   and gradients of the adapter. The body's own rounding is in these numbers, whatever the loss.

    python benchmarks/accuracy.py                       # V 151936, H 896, 64 positions
    python benchmarks/accuracy.py --device cuda --part given
    python benchmarks/accuracy.py --model Qwen/Qwen2.5-0.5B --part end_to_end
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from loss_forms import FORMS, NotInstalled, make

TARGETS = (2e-5, 1e-3, 0.1)
SLICE = 8192  # rows of the head that are in float64 at a time


class Problem(NamedTuple):
    """policy [N, H], reference [N, H], head [V, H], all in one dtype; N labels, not scored."""

    policy: Tensor
    reference: Tensor
    head: Tensor


class Truth(NamedTuple):
    """Mean KL over the positions, and its gradient with respect to the policy's hidden states."""

    kl: float
    gradient: Tensor


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    torch.set_default_device(args.device)
    if args.part in ("given", "both"):
        given_hidden_states(args)
    if args.part in ("end_to_end", "both"):
        end_to_end(args)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", default="both", choices=["given", "end_to_end", "both"])
    parser.add_argument("--positions", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--vocabulary", type=int, default=151936)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--direction", default="policy_ref", choices=["policy_ref", "ref_policy"])
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=list(FORMS))
    parser.add_argument("--model", default="stylellm-tiny", help="a Qwen2 model for part 2")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    return parser.parse_args()


# Given the hidden states.


def make_head(vocabulary: int, hidden: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """A head whose logits have a standard deviation of 3 for hidden states of size 1."""
    torch.manual_seed(seed)
    return torch.empty(vocabulary, hidden, dtype=dtype).normal_(0, 3 / hidden**0.5)


def make_problem(head: Tensor, positions: int, target: float, seed: int = 0) -> Problem:
    """Hidden states, rounded to the head's dtype, whose KL is near ``target`` nats a position."""
    torch.manual_seed(seed + 1)
    policy = torch.randn(positions, head.shape[1], dtype=torch.float64)
    noise = torch.randn_like(policy)
    step = (2 * target) ** 0.5 / 3  # KL is near half the variance of the difference of the logits

    def at(size: float) -> Problem:
        return Problem(policy.to(head.dtype), (policy + size * noise).to(head.dtype), head)

    for _ in range(8):  # rounding swallows part of a small step
        kl = measured_kl(at(step), rows=16)
        if kl > 0 and abs(kl / target - 1) < 0.1:
            break
        step *= min(max((target / kl) ** 0.5, 0.5), 2.0) if kl > 0 else 2.0
    return at(step)


def measured_kl(problem: Problem, rows: int) -> float:
    from stylellm.objective.chunked import style_alignment_loss

    rows = min(rows, len(problem.policy))
    none = torch.full((rows,), -100)
    policy, reference = problem.policy[:rows], problem.reference[:rows]
    options = {"labels": none, "kl_weight": torch.ones(rows), "kl_beta": 1.0}
    return style_alignment_loss(policy, reference, problem.head, **options).loss.item()


def true_kl(problem: Problem, direction: str = "policy_ref") -> Truth:
    """The definition in float64, from the very numbers that the 16-bit forms get.

    Only the head goes through float64 slice by slice; the logits are whole.
    """
    from stylellm.objective.dense import kl_divergence

    slices = problem.head.split(SLICE)
    policy, reference = problem.policy.double(), problem.reference.double()
    z = torch.cat([policy @ part.double().T for part in slices], 1).requires_grad_()
    base = torch.cat([reference @ part.double().T for part in slices], 1).log_softmax(1)
    kl = kl_divergence(z.log_softmax(1), base, direction).mean()
    (slope,) = torch.autograd.grad(kl, z)
    pieces = zip(slope.split(SLICE, 1), slices, strict=True)
    gradient = sum(piece @ part.double() for piece, part in pieces)
    return Truth(kl.item(), gradient)


def errors(name: str, problem: Problem, truth: Truth, direction: str) -> tuple[float, float]:
    """Relative errors of the value, and of the gradient by norm.

    Raises:
        NotInstalled: the form's package is missing.
    """
    form = make(name, direction)
    hidden = problem.policy.clone().requires_grad_()
    labels = torch.zeros(len(hidden), dtype=torch.int64)
    loss = form(hidden, problem.reference, problem.head, labels, 1.0, False)
    loss.backward()
    value = abs(loss.item() / truth.kl - 1)
    slope = (hidden.grad.double() - truth.gradient).norm() / truth.gradient.norm()
    return value, slope.item()


def given_hidden_states(args: argparse.Namespace) -> None:
    print(
        f"Given the hidden states: N={args.positions} H={args.hidden} V={args.vocabulary}, "
        f"{args.dtype}, {args.direction}, {args.device}, against float64"
    )
    head = make_head(args.vocabulary, args.hidden, getattr(torch, args.dtype), args.seed)
    print(f"{'true KL':>9}  {'loss':22} {'value':>10} {'gradient':>10}")
    for target in TARGETS:
        problem = make_problem(head, args.positions, target, args.seed)
        truth = true_kl(problem, args.direction)
        for name in args.forms:
            title = FORMS[name][0]
            try:
                value, slope = errors(name, problem, truth, args.direction)
            except NotInstalled as missing:
                print(f"{truth.kl:9.2e}  {title:22} not run: {missing}")
                continue
            print(f"{truth.kl:9.2e}  {title:22} {value:>10.3%} {slope:>10.2%}", flush=True)


# End to end.


class Run(NamedTuple):
    """Mean KL over all positions of a text, and the gradients of the adapter in one vector."""

    kl: float
    gradient: Tensor


def make_policy(model: str, dtype: torch.dtype, seed: int = 0) -> Any:
    """A LoRA policy on the model, its B random so that policy and reference differ."""
    from stylellm.model.load import load_base
    from stylellm.model.policy import add_lora

    base = load_base(model, dtype=str(dtype).removeprefix("torch."))
    torch.manual_seed(seed)
    policy = add_lora(base, base_name=model, r=8, dropout=0.0).eval()
    for weight in b_weights(policy):
        torch.nn.init.normal_(weight)
    return policy


def b_weights(policy: Any) -> list[Tensor]:
    return [weight for name, weight in policy.named_parameters() if "lora_B" in name]


def run(policy: Any, ids: Tensor, form: str, direction: str) -> Run:
    """KL and gradients by a form of the loss."""
    from stylellm.model.policy import output_weight, policy_hidden
    from stylellm.model.reference import reference_hidden

    policy.zero_grad()
    mask = torch.ones_like(ids)
    loss = make(form, direction)(
        policy_hidden(policy, policy, ids, mask).flatten(0, 1),
        reference_hidden(policy, ids, mask).flatten(0, 1),
        output_weight(policy),
        ids.flatten(),
        1.0,
        False,
    )
    loss.backward()
    parts = [w.grad.double().flatten() for w in policy.parameters() if w.grad is not None]
    return Run(loss.item(), torch.cat(parts))


def set_kl(policy: Any, exact: Any, ids: Tensor, target: float, direction: str) -> Run:
    """Scale B in both until the float64 model's KL is near ``target``; that model's run."""
    for _ in range(8):
        truth = run(exact, ids, "full", direction)
        if abs(truth.kl / target - 1) < 0.1:
            break
        factor = (target / truth.kl) ** 0.5
        for mine, theirs in zip(b_weights(policy), b_weights(exact), strict=True):
            mine.data.mul_(factor)
            theirs.data.copy_(mine.data)  # from the rounded one, so that both stay equal
    return truth


def end_to_end(args: argparse.Namespace) -> None:
    policy = make_policy(args.model, getattr(torch, args.dtype), args.seed)
    exact = copy.deepcopy(policy).double()
    ids = tokens_of(args.model, args.tokens)
    print(
        f"End to end: {args.model}, {ids.numel()} tokens, body and loss in {args.dtype}, "
        f"{args.direction}, against the same weights in float64"
    )
    print(f"{'true KL':>9}  {'loss':22} {'value':>10} {'gradient':>10}")
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            weight.data.mul_(0.01)
            dict(exact.named_parameters())[name].data.copy_(weight.data)
    for target in TARGETS:
        truth = set_kl(policy, exact, ids, target, args.direction)
        for name in args.forms:
            title = FORMS[name][0]
            try:
                found = run(policy, ids, name, args.direction)
            except NotInstalled as missing:
                print(f"{truth.kl:9.2e}  {title:22} not run: {missing}")
                continue
            value, slope = beside(found, truth)
            print(f"{truth.kl:9.2e}  {title:22} {value:>10.2%} {slope:>10.2%}", flush=True)


def beside(found: Run, truth: Run) -> tuple[float, float]:
    """Relative errors of the value, and of the gradient by norm."""
    slope = (found.gradient - truth.gradient).norm() / truth.gradient.norm()
    return abs(found.kl / truth.kl - 1), slope.item()


def tokens_of(model: str, count: int) -> Tensor:
    """[1, T] of the demo corpus."""
    from stylellm.corpus.read import decode
    from stylellm.model.load import load_tokenizer

    demo = Path(__file__).resolve().parent.parent / "data" / "demo" / "author"
    text = decode(sorted(demo.rglob("*.txt"))[0].read_bytes()).text[: 2 * count]
    return torch.tensor([load_tokenizer(model)(text)["input_ids"][:count]])


if __name__ == "__main__":
    main()
