"""What reading queries takes of an exported model, in a safetensors file beside it: searching then needs no torch.

Importing torch and filling a model take seconds, which a process that only asks a query need not spend. The file holds
the arrays of an mlp query tower, and as metadata the vocabulary, the `text` settings, the hash of the .pt it belongs to
and one of its own arrays. Other towers are read through torch. For a model exported before there were any, the first
search keeps one in the cache (`twotower.search.query`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from twotower.config.names import MODULE, TOWERS, tower_settings
from twotower.core.errors import UserError, in_one_line
from twotower.core.files import write_bytes
from twotower.core.reading import Each, conform
from twotower.data.settings import DataSettings

FORMAT = "twotower query model 1"
SHAPE = {
    "format": str,
    "model_sha256": str,
    "arrays_sha256": str,
    "word_to_index": Each(int),
    "text": dict,
    "max_query_length": (int, type(None)),
    "count_power": float,
}


@dataclass(frozen=True, kw_only=True)
class QueryFile:
    """The content of such a file.

    Attributes:
        state: the model's arrays by their names in its state dict, float32.
        word_to_index: the vocabulary.
        text: the `text` group of the run's config.
        max_query_length: the most words of a query the model was trained to read; None for all.
        count_power: how much repeated words count.
    """

    state: dict[str, np.ndarray]
    word_to_index: dict[str, int]
    text: dict[str, Any]
    max_query_length: int | None
    count_power: float


def query_file_of(path: Path) -> Path:
    """Returns where such a file of an exported model stands: beside the .pt, with another ending."""
    return path.with_suffix(".safetensors")


def write_query_file(
    path: Path, content: Mapping[str, Any], model_sha256: str, *, target: Path | None = None
) -> Path | None:
    """Writes the file beside an exported model, atomically.

    Args:
        path: the .pt file.
        content: what it holds.
        model_sha256: its hash.
        target: where to write instead.

    Returns:
        The file; None where the model's query tower is no mlp of ours, or counts words as BM25 does (`k1`), and nothing
        is written: such queries are read through torch.
    """
    model, config = content["model_config"], (content["training_stats"].get("config") or {}).get("resolved")
    tower = tower_settings("model.query_tower", model.get("query_tower", "mlp"))
    if config is None or tower["_target_"] != TOWERS["mlp"] or model.get("_target_", MODULE) != MODULE:
        return None
    if tower.get("k1", model.get("k1")) is not None:
        return None
    state = {
        name: np.ascontiguousarray(tensor.float().numpy())
        for name, tensor in content["model_state_dict"].items()
        if name == "embedding.weight" or name.startswith("query_tower.")
    }
    about = {
        "format": FORMAT,
        "model_sha256": model_sha256,
        "arrays_sha256": _digest(state),
        "word_to_index": content["word_to_index"],
        "text": config["text"],
        "max_query_length": DataSettings.recorded(config["data"]).max_query_length,
        "count_power": float(tower.get("count_power", model.get("count_power", 0.5))),
    }
    target = target or query_file_of(path)
    write_bytes(target, save(state, metadata={key: json.dumps(value) for key, value in about.items()}))
    return target


def read_query_file(path: Path, model_sha256: str, *, source: Path | None = None) -> QueryFile | None:
    """Reads the file beside an exported model.

    Args:
        path: the .pt file.
        model_sha256: its hash.
        source: where to read instead.

    Returns:
        Its content; None where there is no such file, or it belongs to a model that stood here before.

    Raises:
        UserError: when it is damaged.
    """
    file = source or query_file_of(path)
    if not file.is_file():
        return None
    remedy = f"Remove {file}: the model is then read from {path.name}, through torch"
    try:
        with safe_open(str(file), framework="numpy") as opened:
            about = {key: json.loads(text) for key, text in (opened.metadata() or {}).items() if key in SHAPE}
            conform(about, SHAPE, str(file))
            if about["model_sha256"] != model_sha256 or about["format"] != FORMAT:
                return None
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
    except UserError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file} can't be read ({in_one_line(error, limit=120)}). {remedy}.") from error
    if _digest(state) != about["arrays_sha256"]:
        raise UserError(f"{file} is damaged: its arrays are not what was written. {remedy}.")
    return QueryFile(
        state=state,
        word_to_index=about["word_to_index"],
        text=about["text"],
        max_query_length=about["max_query_length"],
        count_power=about["count_power"],
    )


def _digest(state: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {state[name].dtype} {state[name].shape};".encode())
        digest.update(np.ascontiguousarray(state[name]).data)
    return digest.hexdigest()
