"""Builds stylellm-tiny, the embedded base: one command, resumable at every stage.

    python recipes/tiny_base/build.py --corpus ../shared/corpus --work_dir build/tiny_base
    python recipes/tiny_base/build.py ... --stage train --stable_steps 9000
    python recipes/tiny_base/build.py ... --start src/stylellm/assets/stylellm-tiny

Stages: text -> tokenizer -> windows -> train (constant rate) -> decay (a branch) -> export -> card.
A stage whose file exists is skipped; an interrupted training goes on from its checkpoint.
``--start`` begins from the tokenizer and the weights of a model that is there already.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import text as corpus_text
import tokenizer as tiny_tokenizer
import torch
import train
from shards import Shards
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer

STAGES = ("text", "tokenizer", "windows", "train", "decay", "export", "card")


def stage_text(work: Path, corpus: Path) -> None:
    path = work / "text.json"
    if not path.exists():
        corpus_text.save(corpus_text.collect(corpus), path)


def stage_tokenizer(work: Path, start: Path | None) -> None:
    if (work / "tokenizer" / "tokenizer.json").exists():
        return
    if start is not None:
        AutoTokenizer.from_pretrained(str(start)).save_pretrained(str(work / "tokenizer"))
        return
    documents = corpus_text.load(work / "text.json")["train"]
    tiny_tokenizer.train((d.text for d in documents), work / "tokenizer")


def stage_windows(work: Path) -> None:
    """Cuts the training documents into windows at sentence ends, with the project's own chunker."""
    from stylellm.corpus.chunk import cut_windows, token_counter

    count = token_counter(load_tokenizer(work))
    for length in (train.SHORT, train.SEQUENCE):
        path = windows_file(work, length)
        if path.exists():
            continue
        windows = []
        documents = corpus_text.load(work / "text.json")["train"]
        for document in tqdm(documents, desc=f"windows of {length}", mininterval=10):
            cut = cut_windows(document.text, count, max_length=length)
            windows += [(w.text, i + 1 == len(cut)) for i, w in enumerate(cut)]
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(windows, ensure_ascii=False), encoding="utf-8")
        temporary.replace(path)


def windows_file(work: Path, length: int) -> Path:
    return work / f"windows-{length}.json"


def load_tokenizer(work: Path) -> Any:
    return AutoTokenizer.from_pretrained(str(work / "tokenizer"))


def load_shards(work: Path, length: int, seed: int) -> Shards:
    windows = json.loads(windows_file(work, length).read_text(encoding="utf-8"))
    return Shards([tuple(w) for w in windows], load_tokenizer(work), length, seed)


def stage_train(work: Path, steps: int, dtype: torch.dtype, start: Path | None) -> None:
    """The constant-rate part on short sequences; a later call with more steps prolongs it."""
    tokenizer = load_tokenizer(work)
    model = train.new_model(len(tokenizer), tokenizer.eos_token_id)
    if start is not None:
        given = AutoModelForCausalLM.from_pretrained(str(start), dtype=torch.float32)
        model.load_state_dict(given.state_dict())
    folder = work / "stable"
    folder.mkdir(exist_ok=True)
    started = folder / "started_from.txt"
    if start is not None:
        started.write_text(f"{start}\n", encoding="utf-8")
    # Another order than that of the model one starts from, in a resumed call without --start too.
    seed = 3 if started.exists() else 1
    train.run(load_shards(work, train.SHORT, seed=seed), model, folder, steps=steps, dtype=dtype)


def stage_decay(work: Path, steps: int, dtype: torch.dtype) -> None:
    """The falling-rate part at full length, branched from the newest constant-rate checkpoint."""
    tokenizer = load_tokenizer(work)
    model = train.new_model(len(tokenizer), tokenizer.eos_token_id)
    folder = work / "decay"
    folder.mkdir(exist_ok=True)
    start = folder / "start.json"
    if not start.exists():
        state = torch.load(work / "stable" / "checkpoint.pt", weights_only=True)
        first = state["step"]
        torch.save(state | {"place": (0, 0)}, folder / "checkpoint.pt")
        start.write_text(json.dumps({"from": first, "to": first + steps}), encoding="utf-8")
    span = json.loads(start.read_text(encoding="utf-8"))
    shards = load_shards(work, train.SEQUENCE, seed=2)
    train.run(shards, model, folder, steps=span["to"], decay_from=span["from"], dtype=dtype)


def stage_export(work: Path) -> None:
    """Writes the transformers layout, weights in bfloat16."""
    tokenizer = load_tokenizer(work)
    model = train.new_model(len(tokenizer), tokenizer.eos_token_id)
    state = torch.load(work / "decay" / "checkpoint.pt", weights_only=True)
    model.load_state_dict(state["model"])
    folder = work / "stylellm-tiny"
    model.to(torch.bfloat16).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"))
    parser.add_argument("--work_dir", type=Path, default=Path("build/tiny_base"))
    parser.add_argument("--stage", choices=STAGES, action="append", help="default: all, in order")
    parser.add_argument("--start", type=Path, help="a model of this shape to train on from")
    parser.add_argument("--start_steps", type=int, default=0, help="steps it has had, for the card")
    parser.add_argument("--stable_steps", type=int, default=3500)
    parser.add_argument("--decay_steps", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32",
                        help="bfloat16 where the processor has instructions for it")  # fmt: skip
    args = parser.parse_args()
    dtype = getattr(torch, args.dtype)
    torch.set_num_threads(args.threads)
    work: Path = args.work_dir
    work.mkdir(parents=True, exist_ok=True)
    for stage in args.stage or STAGES:
        print(f"== {stage}")
        if stage == "text":
            stage_text(work, args.corpus)
        elif stage == "tokenizer":
            stage_tokenizer(work, args.start)
        elif stage == "windows":
            stage_windows(work)
        elif stage == "train":
            stage_train(work, args.stable_steps, dtype, args.start)
        elif stage == "decay":
            stage_decay(work, args.decay_steps, dtype)
        elif stage == "export":
            stage_export(work)
        else:
            from card import write_card

            write_card(work, args.start_steps)


if __name__ == "__main__":
    main()
