"""Files: encodings, syntax, and the way back to YAML."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.config import dump_config, load_config, parse_config, save_config, to_mapping
from stylellm.config.yaml_io import dump_yaml, load_yaml
from stylellm.errors import ConfigError, OutputError

TEXT = "# 作者的书\ndata:\n  author: 金庸\n  books: [data/金庸]\n"


def refusal(call) -> list[str]:
    """The problems, or none; anything but a ConfigError fails the test."""
    try:
        call()
    except ConfigError as error:
        return error.problems
    return []


def problem_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_yaml(text, "x.yaml")
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_files_as_editors_save_them(tmp_path, encoding, newline):
    path = tmp_path / "我的 配置.yaml"
    path.write_bytes(TEXT.replace("\n", newline).encode(encoding))
    assert load_config(path).data.author == "金庸"


def test_numbers_as_people_write_them(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        "training:\n  learning_rate: 2e-4\n  adam_epsilon: 1E-8\n"
        "  lr_scheduler_type: cosine_with_min_lr\n  lr_scheduler_kwargs: {min_lr: 1e-5}\n"
        "objective:\n  kl_beta: 1\n",
        encoding="utf-8",
    )
    training = load_config(path).training
    assert training.learning_rate == 2e-4
    assert training.other_fields()["adam_epsilon"] == 1e-8
    assert training.other_fields()["lr_scheduler_kwargs"] == {"min_lr": 1e-5}


def test_scientific_text_is_a_number_for_number_keys_only():
    config = parse_config({"training": {"learning_rate": "2e-4"}, "data": {"author": "2e-4"}})
    assert config.training.learning_rate == 2e-4
    assert config.data.author == "2e-4"


def test_a_bare_no_is_the_word_no(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("training:\n  eval_strategy: no\n  save_strategy: no\n", encoding="utf-8")
    training = load_config(path).training
    assert (training.eval_strategy, training.save_strategy) == ("no", "no")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lora: {lora_r: 3", "line 1"),
        ("lora:\n\tlora_r: 3\n", "indent with spaces, not with tabs"),
        ("lora:\n  lora_r: 3\n  lora_alpha：4\n", "Chinese colon"),
        ('data:\n  prepared_dir: "D:\\我的书"\n', "write Windows paths with / or in single quotes"),
        ("lora:\n  lora_r: 3\n   lora_alpha: 4\n", "line 3"),
        ("a: 1\n---\nb: 2\n", "line 2"),
        ("kl_beta：0.2", "Chinese colon"),
        ("kl_beta:0.2", "a space must follow the colon"),
        ("- model\n- data\n", "expected sections"),
        ("# nothing\n", "nothing but comments"),
        ("a: \x07\n", "not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("[" * 3000, "nested too deeply"),
    ],
)
def test_bad_syntax_says_where_and_why(text, expected):
    assert expected in problem_of(text)


def test_duplicate_keys_are_refused_with_both_lines(tmp_path):
    path = tmp_path / "a.yaml"
    text = "lora:\n  lora_r: 8\n  lora_r: 16\ndata: {}\nlora:\n  lora_alpha: 1\n  nope: 1\n"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    problems = caught.value.problems
    assert any("lora.lora_r: stands twice (lines 2 and 3)" in problem for problem in problems)
    assert any("lora: stands twice (lines 1 and 5)" in problem for problem in problems)
    assert any("lora.nope: unknown key" in problem for problem in problems)


def test_anchors_work_and_bombs_do_not_hang():
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(20)
    )
    assert "far too many values" in problem_of(bomb)
    assert "contains itself" in problem_of("lora: &a [*a]")
    document = load_yaml("x: &d {lora_r: 4}\nlora: {<<: *d, lora_alpha: 8}\n", "x")
    assert document.values["lora"] == {"lora_r": 4, "lora_alpha": 8}
    assert not document.problems


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"  \n \n", "empty"),
        (b"\x7fELF\x00\x00\x01\xff", "not text"),
        (b"a: \xff\xff\n", "not text"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, data, expected):
    path = tmp_path / "a.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=expected) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(tmp_path)


@given(st.text(max_size=60) | st.text(alphabet="ab:-[]{}&*!|>'\"#%@ \n\t：", max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_text_is_parsed_or_refused(text):
    problems = refusal(lambda: load_yaml(text, "x"))
    assert all("\n" not in problem for problem in problems)


@given(st.binary(max_size=60))
@settings(max_examples=80, deadline=None)
def test_any_file_is_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "a.yaml"
    path.write_bytes(data)
    problems = refusal(lambda: load_config(path))
    assert problems or data.strip()


WORDS = st.text(min_size=1, max_size=12) | st.sampled_from(
    ["no", "null", "~", "1e5", "2e-4", "1_0", "0x1", "12:30", "2024-01-01", "a: b", "#x", "- a"]
)
PATHS = WORDS.filter(lambda text: text.strip() and all(ord(char) >= 32 for char in text))
CONFIGS = st.fixed_dictionaries(
    {
        "model": st.fixed_dictionaries(
            {
                "model_name_or_path": PATHS,
                "revision": st.none() | WORDS,
                "load_in_4bit": st.booleans(),
            }
        ),
        "data": st.fixed_dictionaries(
            {"books": st.lists(PATHS, max_size=3), "author": st.none() | WORDS}
        ),
        "lora": st.fixed_dictionaries(
            {
                "lora_r": st.integers(1, 1024),
                "lora_dropout": st.floats(0, 0.99),
                "target_modules": st.just("all-linear") | st.lists(WORDS, min_size=1, max_size=3),
            }
        ),
        "objective": st.fixed_dictionaries(
            {"kl_beta": st.floats(0, 100), "general_beta": st.floats(0, 100)}
        ),
        "training": st.fixed_dictionaries(
            {
                "learning_rate": st.floats(0, 1),
                "warmup_steps": st.integers(0, 100) | st.floats(0, 0.99),
                "eval_strategy": st.sampled_from(["no", "steps", "epoch"]),
                "report_to": st.lists(st.sampled_from(["tensorboard", "wandb"]), max_size=2),
            }
        ),
        "evaluation": st.fixed_dictionaries({"prompts": st.none() | st.lists(WORDS, max_size=3)}),
    }
)


@given(CONFIGS)
@settings(max_examples=100, deadline=None)
def test_what_is_dumped_reads_back_the_same(mapping):
    config = parse_config(mapping)
    text = dump_config(config)
    again = parse_config(load_yaml(text, "dump").values)
    assert again == config
    assert to_mapping(again) == to_mapping(config)
    assert dump_config(again) == text


def test_fields_of_training_arguments_survive_the_dump():
    config = parse_config(
        {"training": {"adam_beta2": 0.95, "run_name": "2e-4", "lr_scheduler_kwargs": {"a": [1]}}}
    )
    again = parse_config(load_yaml(dump_config(config), "dump").values)
    assert again == config
    assert again.training.other_fields() == config.training.other_fields()


def test_characters_escaped_in_halves_are_joined_and_lone_halves_refused():
    values = load_yaml('data: {author: "\\ud83d\\ude00金"}', "x").values
    assert values["data"]["author"] == "😀金"
    assert "half of a character" in problem_of('data: {author: "\\ud83d"}')


def test_plain_pyyaml_reads_the_dump_too():
    config = parse_config({})
    assert yaml.safe_load(dump_config(config)) == to_mapping(config)


def test_dump_keeps_chinese_readable():
    assert "剑光一闪" in dump_yaml(to_mapping(parse_config({})))


def test_save_is_whole_or_nothing(tmp_path):
    path = tmp_path / "新 文件夹" / "config.yaml"
    config = parse_config({"lora": {"lora_r": 4}})
    save_config(config, path)
    assert load_config(path) == config
    save_config(parse_config({}), path)
    assert load_config(path) == parse_config({})
    assert [child.name for child in path.parent.iterdir()] == ["config.yaml"]


def test_save_where_nothing_can_be_written(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("x", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot write"):
        save_config(parse_config({}), blocker / "config.yaml")
    folder = tmp_path / "config.yaml"
    folder.mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        save_config(parse_config({}), folder)
    assert sorted(child.name for child in tmp_path.iterdir()) == ["config.yaml", "file"]
