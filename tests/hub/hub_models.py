"""A repository as it lies on a hub, and which of its files are needed."""

from __future__ import annotations

NAME = "Qwen/Qwen2.5-0.1B"


def model_files(weights: bytes = b"") -> dict[str, bytes]:
    """A repository with more than is needed."""
    weights = weights or bytes(range(256)) * 1200
    return {
        ".gitattributes": b"*.safetensors filter=lfs",
        "LICENSE": b"Apache License",
        "README.md": b"# a model",
        "config.json": b'{"model_type": "qwen2"}',
        "generation_config.json": b"{}",
        "merges.txt": b"a b\n",
        "model-00001-of-00002.safetensors": weights,
        "model-00002-of-00002.safetensors": weights[::-1],
        "model.safetensors.index.json": b'{"weight_map": {}}',
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": b"{}",
        "vocab.json": b"{}",
        "pytorch_model-00001-of-00001.bin": weights + b"again",
        "pytorch_model.bin.index.json": b"{}",
        "qwen-q4_k_m.gguf": weights + b"gguf",
        "onnx/model.onnx": weights + b"onnx",
        "modeling_qwen.py": b"print(1)",
    }


NEEDED = [
    "LICENSE", "config.json", "generation_config.json", "merges.txt",
    "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json", "vocab.json",
]  # fmt: skip
