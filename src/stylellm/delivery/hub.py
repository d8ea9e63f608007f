"""A folder to upload: the adapter (or the merged model), its tokenizer, and a model card with figures.

The card is filled from what the run recorded: the manifest of the prepared books, the configuration,
evaluation.json. No text of the books and no path of this machine is written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stylellm.delivery.folder import check_new, new_folder
from stylellm.delivery.merge import merge
from stylellm.errors import DataError, ModelError
from stylellm.files import read_json, write_text

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
CARD = "README.md"
TEMPLATE = "model_card.md.j2"


def export_hub(
    folder: Path,
    output: Path,
    *,
    config: Any,
    repo_id: str,
    base_model: str | None = None,
    base: str | None = None,
    merged: bool = False,
    license: str = "other",
) -> None:
    """Writes the folder that ``hf upload`` takes as it is.

    Args:
        folder: an adapter folder of a run.
        output: a new folder.
        config: the run's configuration.
        repo_id: owner/name under which it will lie.
        base_model: the base's id on the hub, if the run names a local folder.
        base: where the base lies here, if not where the run found it.
        merged: the merged model instead of the adapter.
        license: of the weights, as hubs spell it.

    Raises:
        ModelError: no adapter, or a base that nobody else could find.
        OutputError: the output exists.
    """
    from stylellm.hub.names import model_id

    check_new(output)
    repo_id = model_id(repo_id)
    if "/" not in repo_id:
        raise ModelError(f"the repository {repo_id!r} names no owner", "--repo_id USER/NAME")
    adapter = _adapter_config(folder)
    named = base_model or str(adapter.get("base_model_name_or_path"))
    public = _public_base(named)
    if not (public or merged):
        raise ModelError(
            f"the adapter's base is {named}, which is no id on a hub",
            "a base that others can load",
            "Name its id with --base_model USER/NAME, or export the whole model with --merged.",
        )
    with new_folder(output) as path:
        if merged:
            merge(folder, path / "model", base=base, revision=config.model.revision)
            for file in (path / "model").iterdir():
                file.rename(path / file.name)
            (path / "model").rmdir()
        else:
            _copy_adapter(folder, path, {**adapter, "base_model_name_or_path": public},
                          base or config.model.model_name_or_path, config.model.revision)  # fmt: skip
        card = model_card(
            folder, config, adapter, repo_id=repo_id, base_model=public or None,
            base_name=public or Path(named).name, merged=merged, license=license,
        )  # fmt: skip
        write_text(path / CARD, card)


def model_card(
    folder: Path,
    config: Any,
    adapter: Mapping[str, Any],
    *,
    repo_id: str,
    base_model: str | None,
    base_name: str,
    merged: bool,
    license: str,
) -> str:
    """The card in Markdown, with the metadata that hubs read on top.

    Args:
        base_model: the base's id on a hub; None where it has none.
        base_name: how the text calls it.
    """
    from huggingface_hub import ModelCardData
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from stylellm.training.run import RUN_FILE

    data = ModelCardData(
        language="zh",
        license=license,
        library_name="transformers" if merged else "peft",
        pipeline_tag="text-generation",
        base_model=base_model,
        tags=["stylellm", "style", "author-style", *([] if merged else ["lora"])],
    )
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, autoescape=False, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment.get_template(TEMPLATE).render(
        metadata=data.to_yaml(),
        repo_id=repo_id,
        base_model=base_name,
        merged=merged,
        config=config,
        adapter=adapter,
        data=_data(config),
        measured=_measured(folder),
        run=read_json(folder / RUN_FILE),
    )


def _adapter_config(folder: Path) -> dict[str, Any]:
    found = read_json(folder / ADAPTER_FILES[0])
    if not found or not (folder / ADAPTER_FILES[1]).is_file():
        raise ModelError(
            f"the folder {folder} holds no adapter",
            "adapter_config.json and adapter_model.safetensors",
            "Name the output folder of a training run.",
        )
    return found


def _public_base(name: str) -> str:
    """The id of the base; empty for a folder of this machine, which means nothing elsewhere."""
    from stylellm.hub.names import model_id

    try:
        return model_id(name)
    except ModelError:
        return ""


def _copy_adapter(
    folder: Path, path: Path, adapter: dict[str, Any], base: str, revision: Any
) -> None:
    from stylellm.model.load import load_tokenizer

    shutil.copyfile(folder / ADAPTER_FILES[1], path / ADAPTER_FILES[1])
    write_text(path / ADAPTER_FILES[0], json.dumps(adapter, ensure_ascii=False, indent=2) + "\n")
    load_tokenizer(base, revision=revision).save_pretrained(path)


def _data(config: Any) -> dict[str, Any] | None:
    """Works and sizes of the prepared books; None where they are no longer there."""
    from stylellm.corpus.prepare import load_manifest

    try:
        manifest = load_manifest(config.data.prepared_dir)
    except DataError:
        return None
    works = [
        {"title": s["title"], "chapters": s["chapters"], "characters": s["characters"]["in"]}
        for s in manifest["sources"]
        if s["role"] == "author"
    ]
    return {
        "author": manifest["author"],
        "works": works,
        "splits": manifest["splits"],
        "fingerprint": manifest["fingerprint"],
        "settings": manifest["settings"],
    }


def _measured(folder: Path) -> dict[str, Any] | None:
    """The verdict and tables of the run's own evaluation; None where there is none."""
    from stylellm.evaluation import verdict
    from stylellm.evaluation.gate_table import gate_rows
    from stylellm.evaluation.measure_table import measure_rows
    from stylellm.evaluation.report import JSON_FILE, markdown_table
    from stylellm.evaluation.tables import likelihood_rows

    result = read_json(folder / JSON_FILE)
    if not result:
        return None
    judged = verdict.judge(result)
    tables = {
        "Likelihood": likelihood_rows(result),
        "Style, copying, repetition": measure_rows(result),
        "Limits that were checked": gate_rows(result),
    }
    return {
        "zh": "".join(s.zh for s in judged.sentences),
        "en": " ".join(s.en for s in judged.sentences),
        "tables": {name: markdown_table(table) for name, table in tables.items() if table},
        "small": bool(result.get("small_sample")),
    }
