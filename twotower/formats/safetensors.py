"""A trained model as plain weights and JSON, for other languages: model.safetensors, config.json, vocabulary.json."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save

from twotower.core.files import write_bytes, write_json
from twotower.model.checkpoint import load, read


def export(checkpoint_path: Path, out: Path) -> None:
    """Writes weights by their names in the state dict, the settings that shape the model, and the vocabulary.

    Args:
        checkpoint_path: the .pt file.
        out: the folder.
    """
    checkpoint, content = load(checkpoint_path), read(checkpoint_path)
    state = {name: tensor.detach().clone().contiguous() for name, tensor in content["model_state_dict"].items()}
    write_bytes(out / "model.safetensors", save(state, {"format": "pt"}))
    settings = {
        "model": content["model_config"],
        "text": checkpoint.config["text"],
        "max_query_length": checkpoint.max_query_length,
        "max_document_length": checkpoint.max_document_length,
        "model_sha256": checkpoint.sha256,
    }
    write_json(out / "config.json", settings)
    write_json(out / "vocabulary.json", checkpoint.tokenizer.index_to_word)
