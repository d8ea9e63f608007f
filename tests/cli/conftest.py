"""A shelf of tiny books and a configuration that trains the tiny random model on them in seconds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml


def told_anew(story: str, number: int) -> str:
    """The story with its characters exchanged among themselves: nothing of it is a repeat."""
    kinds = sorted(set(story) - set("，。：；！？“”\n"))
    mixed = random.Random(number).sample(kinds, len(kinds))
    return story.translate(dict(zip(map(ord, kinds), mixed, strict=True)))


def write_shelf(folder: Path, story: str) -> None:
    """Two works of one author in two encodings, general text, another author's book."""
    chapters = [
        f"第{n}章 {name}\n"
        + "".join(f"{line}{name}。\n" for line in told_anew(story, ord(n)).splitlines())
        for n, name in zip(
            "一二三四五六", ("夜雨", "孤灯", "旧剑", "长桥", "落雪", "归人"), strict=True
        )
    ]
    author = folder / "作者"
    author.mkdir(parents=True)
    (author / "《夜雨》作者：某人.txt").write_bytes("\n".join(chapters[:3]).encode("gb18030"))
    (author / "《长桥》作者：某人.txt").write_bytes("\n".join(chapters[3:]).encode("utf-8-sig"))
    (folder / "general").mkdir()
    lines = [
        "面包在烤箱里慢慢鼓起来，因为酵母产生了气体。城市的公共汽车按时刻表运行，乘客在站台等车。"
    ]
    for i in range(6):
        path = folder / "general" / f"文章{i}.txt"
        path.write_text("\n".join(f"{line}这是第{i}篇第{k}段。" for k in range(8) for line in lines),
                        encoding="utf-8")  # fmt: skip
    (folder / "other").mkdir()
    other = "那湖上的灯火一盏一盏地亮了起来，远远望去就像是满天的星星都落到了水里一样好看。\n" * 3
    (folder / "other" / "《湖灯》作者：别人.txt").write_text(
        "".join(f"第{n}章 灯\n{other}{n}又是一夜。\n" for n in "一二三"), encoding="utf-8"
    )


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory, story: str) -> Path:
    """The folder of books; its name has a space and Chinese in it, as users' folders do."""
    folder = tmp_path_factory.mktemp("书 架")
    write_shelf(folder, story)
    return folder


def settings(shelf: Path, model: Path, work: Path) -> dict[str, Any]:
    """A configuration of a run of a few seconds."""
    return {
        "model": {"model_name_or_path": str(model)},
        "data": {
            "books": [str(shelf / "作者")],
            "general_text": [str(shelf / "general")],
            "other_author": [str(shelf / "other")],
            "prepared_dir": str(work / "prepared"),
            "max_length": 96,
            "split_by": "chapter",
            "test_fraction": 0.3,
            "validation_fraction": 0.15,
        },
        "lora": {"lora_r": 4},
        "training": {
            "output_dir": str(work / "run"),
            "num_train_epochs": 2,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2,
            "learning_rate": 1e-3,
            "logging_steps": 2,
            "eval_steps": 5,
            "save_steps": 3,
            "report_to": ["none"],
        },
        "evaluation": {"num_windows": 4, "num_samples": 2, "sample_chars": 30, "batch_size": 2},
        "generation": {"max_new_tokens": 12},
    }


@pytest.fixture(scope="session")
def write_config(shelf: Path, tiny_model_dir: Path) -> Any:
    """Writes a configuration for a work folder and returns its path."""

    def write(work: Path, **changes: Any) -> Path:
        values = settings(shelf, tiny_model_dir, work)
        for section, keys in changes.items():
            values.setdefault(section, {}).update(keys)
        path = work / "config.yaml"
        path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def trained(shelf: Path, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run, trained through the command line; tests read it and change nothing in it."""
    from stylellm.cli.main import main

    work = tmp_path_factory.mktemp("trained")
    path = work / "config.yaml"
    values = settings(shelf, tiny_model_dir, work)
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    assert main(["train", "--config", str(path)]) == 0
    return work
