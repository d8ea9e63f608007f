"""The generated guide, the shipped YAML files, and what importing the package costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stylellm.config import SECTIONS, SKETCH_FLAGS, load_config, parse_config
from stylellm.config.guide import FILES, TITLES, config_guide
from stylellm.config.training_fields import DROPPED, FIXED, REFUSED
from stylellm.config.yaml_io import load_yaml

RECIPES = ["qwen2.5-0.5b", "qwen2.5-1.5b", "qwen2.5-7b", "qwen2.5-14b", "qwen2.5-7b-4bit"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_docs_are_current(repo_root, language):
    path = repo_root / "docs" / FILES[language]
    current = path.read_text(encoding="utf-8") if path.is_file() else ""
    assert current == config_guide(language), (
        f"docs/{FILES[language]} does not match the classes: run python -m stylellm.config.guide"
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_guide_names_every_key(language):
    guide = config_guide(language)
    assert set(TITLES) == set(SECTIONS)
    for name, section in SECTIONS.items():
        part = guide.split(f"\n## {name}: ")[1].split("\n## ")[0]
        for key in section.model_fields:
            assert f"\n| `{key}` |" in part, (name, key)
    for name in [*REFUSED, *FIXED, *DROPPED]:
        assert f"\n| `{name}` |" in guide
    for flag in SKETCH_FLAGS:
        assert f"`--{flag} VALUE`" in guide


def test_every_field_has_a_chinese_meaning():
    for section in SECTIONS.values():
        for key, field in section.model_fields.items():
            assert field.description, key
            assert field.description.isascii(), key
            chinese = field.json_schema_extra["zh"]
            assert any("\u4e00" <= char <= "\u9fff" for char in chinese), key
            assert "\n" not in field.description + chinese


def test_table_rows_have_four_cells():
    for language in FILES:
        for section in SECTIONS:
            part = config_guide(language).split(f"\n## {section}: ")[1].split("\n\n")[1]
            for row in part.splitlines():
                assert row.replace("\\|", "").count("|") == 5, row


def test_example_of_the_guide_is_valid(repo_root):
    for language in FILES:
        example = config_guide(language).split("```yaml\n")[1].split("```")[0]
        config = parse_config(load_yaml(example, "guide").values)
        assert config.model.model_name_or_path == "Qwen/Qwen2.5-7B"


def test_guide_command_writes_both_languages(tmp_path):
    command = [sys.executable, "-m", "stylellm.config.guide", str(tmp_path / "文档")]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert done.stderr == ""
    for language, name in FILES.items():
        text = (tmp_path / "文档" / name).read_text(encoding="utf-8")
        assert text == config_guide(language)


def test_train_config_holds_the_defaults_of_the_sketch(repo_root):
    config = load_config(repo_root / "train_config.yaml")
    defaults = parse_config({})
    assert config.data.books == ["data/demo/author"]
    assert config.data.general_text == ["data/demo/general"]
    assert config.data.other_author == ["data/demo/other_author"]
    assert config.data.model_copy(update=defaults_of_books()) == defaults.data
    for name in set(SECTIONS) - {"data"}:
        assert getattr(config, name) == getattr(defaults, name), name


def defaults_of_books() -> dict:
    return {"books": [], "general_text": [], "other_author": []}


def test_recipes_are_all_there(repo_root):
    found = {path.stem for path in (repo_root / "configs").glob("*.yaml")}
    assert set(RECIPES) <= found


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_has_the_sketch_s_rank_and_batch(repo_root, name):
    config = load_config(repo_root / "configs" / f"{name}.yaml")
    size = name.removeprefix("qwen2.5-").partition("-")[0].upper()
    assert config.model.model_name_or_path == f"Qwen/Qwen2.5-{size}"
    assert config.model.load_in_4bit is name.endswith("4bit")
    assert config.lora.lora_r == (16 if size == "14B" else 8)
    assert config.lora.lora_alpha == 2 * config.lora.lora_r
    assert config.training.per_device_train_batch_size == 4
    assert config.training.bf16
    assert config.training.gradient_checkpointing


def test_every_shipped_config_loads(repo_root):
    paths = [repo_root / "train_config.yaml", *(repo_root / "configs").glob("*.yaml")]
    assert len(paths) > 5
    for path in paths:
        load_config(path)


def test_importing_and_loading_stay_light(repo_root):
    code = (
        "import sys; from stylellm.config import load_config, dump_config; "
        f"dump_config(load_config({str(repo_root / 'train_config.yaml')!r})); "
        "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
