"""The command line under Windows' rules: GBK console and locale, spawn, no symlinks, such paths."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from windows_rules import environment, stylellm

from tiny_models import STORY


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rules")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Path:
    """A folder as users have them, with books, a model and a configuration in it."""
    folder = tmp_path_factory.mktemp("work") / "我的 文档" / "Program Files (x86)"
    books = folder / "书 架" / "作者"
    books.mkdir(parents=True)
    for name, title in (("夜雨", "一"), ("长桥", "二")):
        text = f"第{title}章 {name}\n" + "".join(f"{line}{name}。\n" for line in STORY.splitlines())
        chapters = [text, text.replace("风", "云").replace("雪", "雨"), text.replace("剑", "刀")]
        path = books / f"《{name}》作者：某人.txt"
        path.write_bytes("\n".join(chapters).encode("gb18030"))
    shutil.copytree(tiny_model_dir, folder / "模型 tiny")
    values = {
        "model": {"model_name_or_path": "模型 tiny"},
        "data": {"books": ["书 架/作者"], "prepared_dir": "准备 好的", "max_length": 64,
                 "split_by": "chapter", "test_fraction": 0.3, "validation_fraction": 0.2},
        "lora": {"lora_r": 2},
        "training": {"output_dir": "输出 run", "max_steps": 1, "per_device_train_batch_size": 2,
                     "gradient_accumulation_steps": 1, "report_to": ["none"], "save_steps": 1,
                     "dataloader_num_workers": 1, "eval_steps": 1},
        "evaluation": {"num_windows": 2},
        "generation": {"max_new_tokens": 4},
    }  # fmt: skip
    config = yaml.safe_dump(values, allow_unicode=True)
    (folder / "配置.yaml").write_text(config, encoding="utf-8")
    return folder


def sound(done: subprocess.CompletedProcess[str]) -> str:
    """Its output; it went well, and no file of ours was opened in the locale's encoding."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and guessed_encodings(done) == []
    return done.stdout


def guessed_encodings(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Places of ours that open a text file without saying its encoding."""
    return re.findall(r"^.*[\\/]stylellm[\\/].*EncodingWarning.*$", done.stderr, re.MULTILINE)


def test_the_rules_hold(rules: Path) -> None:
    code = (
        "import locale, multiprocessing, os, sys;"
        "print(locale.getencoding(), sys.stdout.encoding, multiprocessing.get_start_method(),"
        " hasattr(os, 'fork'))\n"
        "try: os.symlink('a', 'b')\n"
        "except OSError as error: print(error.errno)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(rules),
                          capture_output=True, encoding="gbk")  # fmt: skip
    assert done.stdout.split()[1:] == ["gbk", "spawn", "False", "1314"], done.stderr


def test_doctor_on_a_gbk_console(rules: Path) -> None:
    done = stylellm(
        "doctor", "--model", "Qwen/Qwen2.5-7B", "--memory", "12", env=environment(rules)
    )
    assert done.returncode == 3, done.stderr
    assert "warning: The console writes gbk" in done.stdout and "PYTHONUTF8" in done.stdout
    assert "load_in_4bit: true" in done.stdout and guessed_encodings(done) == []


def test_help_on_a_gbk_console(rules: Path) -> None:
    assert "剑光一闪" in sound(stylellm("--help", env=environment(rules)))


def test_prepare_in_a_folder_with_spaces_and_chinese(rules: Path, work: Path) -> None:
    env = environment(rules, gbk_files=False)
    text = sound(stylellm("prepare", "--config", "配置.yaml", env=env, cwd=work))
    assert "准备 好的" in text
    assert (work / "准备 好的" / "manifest.json").is_file()
    assert not [p for p in (work / "准备 好的").rglob("*") if p.is_symlink() or p.suffix == ".tmp"]


def test_prepare_under_a_gbk_locale(rules: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    """Files are written in UTF-8 where the locale would make them GBK."""
    book = tmp_path / "book.txt"
    book.write_bytes("".join(f"第{n}章\n{STORY}\n" for n in "一二三四").encode("gb18030"))
    config = {"model": {"model_name_or_path": str(tiny_model_dir)},
              "data": {"books": [str(book)], "prepared_dir": str(tmp_path / "prepared"),
                       "max_length": 64, "split_by": "chapter"}}  # fmt: skip
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config) + "# 注释\n", encoding="utf-8")
    sound(stylellm("prepare", "--config", str(file), env=environment(rules)))
    for name in ("manifest.json", "audit.html"):
        (tmp_path / "prepared" / name).read_bytes().decode("utf-8")
    assert "第一章" in (tmp_path / "prepared" / "audit.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_one_step_of_training(rules: Path, work: Path) -> None:
    """The data loader's worker is spawned."""
    env = environment(rules, gbk_files=False)
    sound(stylellm("train", "--config", "配置.yaml", env=env, cwd=work))
    run = work / "输出 run"
    assert (run / "adapter_model.safetensors").is_file()
    assert not [p for p in run.rglob("*") if p.is_symlink()]
