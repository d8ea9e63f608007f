"""The files of a run: folders that are refused, the run and the checkpoint that are found."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from stylellm.errors import OutputError, TrainingError
from stylellm.training.run import (
    CHECKPOINT_FILES,
    CONFIG_FILE,
    check_apart,
    check_output,
    clear_output,
    find_run,
    git_commit,
    last_checkpoint,
    save_final,
    versions,
    write_json,
)


@pytest.fixture
def a_run(tmp_path):
    folder = tmp_path / "输出" / "my run"
    folder.mkdir(parents=True)
    (folder / CONFIG_FILE).write_text("training: {}\n", encoding="utf-8")
    return folder


def refusal(error, function, *args, **options):
    with pytest.raises(error) as raised:
        function(*args, **options)
    message = str(raised.value)
    assert "\n" not in message
    return message


# Output folders.


def test_a_new_and_an_empty_folder_are_accepted(tmp_path):
    check_output(tmp_path / "new", overwrite=False)
    assert not (tmp_path / "new").exists()  # nothing is made before the run can start
    check_output(tmp_path, overwrite=False)
    clear_output(tmp_path / "deep" / "new")
    assert (tmp_path / "deep" / "new").is_dir()


def test_a_former_run_is_refused_unless_it_is_to_be_overwritten(a_run):
    message = refusal(OutputError, check_output, a_run, overwrite=False)
    assert str(a_run) in message
    assert "--resume" in message
    assert "--overwrite_output_dir" in message
    check_output(a_run, overwrite=True)
    assert (a_run / CONFIG_FILE).is_file()  # checking removes nothing
    clear_output(a_run)
    assert list(a_run.iterdir()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_files_is_never_overwritten(tmp_path, overwrite):
    (tmp_path / "thesis.doc").write_text("years of work", encoding="utf-8")
    message = refusal(OutputError, check_output, tmp_path, overwrite=overwrite)
    assert "no run of stylellm" in message
    assert "--overwrite_output_dir" not in message
    assert (tmp_path / "thesis.doc").is_file()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_no_output_folder(a_run, overwrite):
    message = refusal(OutputError, check_output, a_run / CONFIG_FILE, overwrite=overwrite)
    assert "is a file" in message


def test_prepared_windows_must_lie_outside_the_output_folder(tmp_path):
    check_apart(tmp_path / "prepared", tmp_path / "output")
    for inside in (tmp_path / "output", tmp_path / "output" / "x" / ".." / "prepared"):
        message = refusal(OutputError, check_apart, inside, tmp_path / "output")
        assert "prepared_dir" in message


# Finding a run.


def test_a_run_is_found_in_its_folder_or_alone_below_it(a_run):
    assert find_run(a_run) == a_run
    assert find_run(a_run.parent) == a_run


def test_no_run_and_several_runs_are_errors(a_run, tmp_path):
    assert "does not exist" in refusal(OutputError, find_run, tmp_path / "none")
    assert "holds no run" in refusal(OutputError, find_run, tmp_path)
    (a_run.parent / "two").mkdir()
    (a_run.parent / "two" / CONFIG_FILE).write_text("", encoding="utf-8")
    message = refusal(OutputError, find_run, a_run.parent)
    assert "2 runs (my run, two)" in message


# Finding a checkpoint.


def checkpoint(folder, step, state="{}", files=CHECKPOINT_FILES):
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    for name in files:
        (path / name).write_bytes(b"")
    if state is not None:
        (path / "trainer_state.json").write_text(state, encoding="utf-8")
    return path


def test_the_newest_checkpoint_is_the_one_of_the_highest_step(a_run):
    for step in (9, 100, 20):
        checkpoint(a_run, step)
    assert last_checkpoint(a_run).name == "checkpoint-100"


def test_checkpoints_that_were_cut_off_are_passed_over(a_run):
    checkpoint(a_run, 10)
    checkpoint(a_run, 20, state=None)
    checkpoint(a_run, 30, state='{"global_step": 3')
    for i, missing in enumerate(CHECKPOINT_FILES):
        checkpoint(a_run, 40 + i, files=[n for n in CHECKPOINT_FILES if n != missing])
    (a_run / "checkpoint-final").mkdir()
    (a_run / "checkpoint-99").write_bytes(b"")
    assert last_checkpoint(a_run).name == "checkpoint-10"


def test_no_complete_checkpoint_is_an_error(a_run):
    checkpoint(a_run, 20, state=None)
    message = refusal(TrainingError, last_checkpoint, a_run)
    assert "no complete checkpoint" in message
    assert "--resume" in message


# What a run writes.


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"author": "无名"})
    with pytest.raises(TypeError):
        write_json(path, {"author": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"author": "无名"}
    assert list(tmp_path.iterdir()) == [path]


def test_versions_name_what_a_result_depends_on():
    import torch
    import transformers

    found = versions()
    assert found["torch"] == torch.__version__
    assert found["transformers"] == transformers.__version__
    assert {"python", "platform", "peft", "stylellm"} <= found.keys()


def test_the_commit_is_a_full_hash_where_there_is_a_checkout():
    commit = git_commit()
    assert commit is None or (len(commit) == 40 and set(commit) <= set("0123456789abcdef"))


class FakeTrainer:
    """A trainer that can be made to fail while it saves."""

    def __init__(self, main=True, fails=False):
        self.args = SimpleNamespace(should_save=main)
        self.state = SimpleNamespace(save_to_json=self.save_state)
        self.fails = fails

    def save_model(self, folder):
        from pathlib import Path

        Path(folder).mkdir(exist_ok=True)
        (Path(folder) / "adapter_config.json").write_text("new", encoding="utf-8")
        if self.fails:
            raise OSError("no space left on device")
        (Path(folder) / "adapter_model.safetensors").write_text("new", encoding="utf-8")

    def save_state(self, path):
        with open(path, "w", encoding="utf-8") as file:
            file.write("{}")


def test_the_final_files_replace_former_ones_together(a_run):
    (a_run / "adapter_config.json").write_text("old", encoding="utf-8")
    with pytest.raises(OSError, match="no space"):
        save_final(FakeTrainer(fails=True), a_run)
    assert (a_run / "adapter_config.json").read_text(encoding="utf-8") == "old"
    save_final(FakeTrainer(), a_run)
    names = {path.name for path in a_run.iterdir()}
    assert names == {
        CONFIG_FILE, "adapter_config.json", "adapter_model.safetensors", "trainer_state.json"
    }  # fmt: skip
    assert (a_run / "adapter_config.json").read_text(encoding="utf-8") == "new"
