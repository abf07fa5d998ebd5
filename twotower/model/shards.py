"""Texts of any number from a file to vectors on disk: a shard at a time, in constant memory, going on after a stop.

A folder holds `vectors-00000.npy` (one row a text, float16 or float32, to be memory-mapped), `ids-00000.txt` (a text's
id a line) for every shard, and `manifest.json`. Which texts are in a shard depends on the file and the shard's size
alone, so several processes, each taking every n-th shard, write together what one would have written.

Shapes: C texts of a shard, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from twotower.core.errors import UserError
from twotower.core.files import atomic_path, read_json, write_json, write_text
from twotower.core.reading import Each, conform, read_array
from twotower.core.validators import check_choice, check_count
from twotower.data.rows import find_table, is_saved
from twotower.data.text_list import Text, read_texts
from twotower.model.checkpoint import Checkpoint
from twotower.model.encoding import SIDES, encode

DTYPES = ("float16", "float32")
SHARD_ROWS = 65_536
"""Texts of a shard unless told otherwise: 32 MiB of float16 at 256 dimensions."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is encoded, how, and into which folder.

    Attributes:
        source: .txt (a text a line, its id the line's number, counted from 0), a table with named columns (.jsonl,
            .json, .csv, .tsv, .parquet), either packed, or a folder in BEIR layout or of save_to_disk.
        folder: where the shards go.
        side: query or document.
        dtype: float16 or float32.
        shard_rows: texts of a shard.
        column: the column that holds the text, where it is not called as usual.
    """

    source: Path
    folder: Path
    side: str = "document"
    dtype: str = "float16"
    shard_rows: int = SHARD_ROWS
    column: str | None = None

    def __post_init__(self) -> None:
        """Checks the choices.

        Raises:
            UserError: for one that does not exist.
        """
        check_choice("--side", self.side, SIDES)
        check_choice("--dtype", self.dtype, DTYPES)
        check_count("--shard-rows", self.shard_rows)

    @property
    def file(self) -> Path:
        """The file that is read."""
        if not self.source.is_dir() or is_saved(self.source):
            return self.source
        name = "queries" if self.side == "query" else "corpus"
        return find_table(self.source, name) or self.source / f"{name}.jsonl"

    def vectors(self, shard: int) -> Path:
        """The vectors of a shard."""
        return self.folder / f"vectors-{shard:05d}.npy"

    def ids(self, shard: int) -> Path:
        """The ids of a shard's texts; written last, so where it is the shard is whole."""
        return self.folder / f"ids-{shard:05d}.txt"


def encode_shards(
    checkpoint: Checkpoint,
    plan: Plan,
    *,
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Encodes the shards that fall to this process and that are not there yet.

    Args:
        checkpoint: the model.
        plan: what and where to.
        rank: this process's number.
        world_size: number of processes.
        progress: called with the number of texts just done, or found done or left to others.

    Returns:
        Number of texts of the whole file.

    Raises:
        UserError: as `read_texts`; where there is no text, an id is given twice, or the folder holds shards of other
            texts, another model or other settings.
    """
    claim(checkpoint, plan)
    texts, rows, shard = read_texts(plan.file, plan.side, plan.column), 0, 0
    known = np.empty(0, dtype=np.uint64)
    while part := list(islice(texts, plan.shard_rows)):
        known = _with_ids(known, part, plan)
        if shard % world_size == rank and not plan.ids(shard).is_file():
            write_shard(checkpoint, plan, shard, part, progress)
        elif progress is not None:
            progress(len(part))
        rows, shard = rows + len(part), shard + 1
    if not rows:
        raise UserError(f"{plan.file} holds no text to encode.")
    return rows


def _with_ids(known: np.ndarray, part: list[Text], plan: Plan) -> np.ndarray:
    """Returns the sorted hashes of all ids so far: eight bytes a text, as the ids themselves would fill the memory.

    Raises:
        UserError: for an id that was there before, in this shard or in one before it.
    """
    hashes = [int.from_bytes(blake2b(item.encode(), digest_size=8).digest(), "little") for item, _ in part]
    known = np.sort(np.concatenate([known, np.array(hashes, dtype=np.uint64)]), kind="stable")
    again = {int(value) for value in known[1:][known[1:] == known[:-1]]}
    for item in dict.fromkeys(item for (item, _), value in zip(part, hashes, strict=True) if value in again):
        same = (None for other, _ in read_texts(plan.file, plan.side, plan.column) if other == item)
        if len(list(islice(same, 2))) == 2:  # and not two ids of one hash
            raise UserError(f"{plan.file}: id '{item}' is given twice, and no search could tell the two apart.")
    return known


def write_shard(
    checkpoint: Checkpoint, plan: Plan, shard: int, part: list[Text], progress: Callable[[int], None] | None = None
) -> None:
    """Encodes one shard and writes it, the vectors before the ids."""
    longest = checkpoint.max_query_length if plan.side == "query" else checkpoint.max_document_length
    tokens = checkpoint.tokenizer.encode([text for _, text in part], longest)
    vectors_CD = encode(checkpoint.model, tokens, side=plan.side, progress=progress)
    with atomic_path(plan.vectors(shard)) as temporary, open(temporary, "wb") as file:
        np.save(file, vectors_CD.astype(plan.dtype, copy=False))
    write_text(plan.ids(shard), "".join(f"{identity}\n" for identity, _ in part))


def claim(checkpoint: Checkpoint, plan: Plan) -> None:
    """Notes in the folder what is being encoded; refuses one that holds something else.

    Raises:
        UserError: naming what differs.
    """
    path, wanted = plan.folder / "manifest.json", identity(checkpoint, plan)
    if not path.is_file():
        if any(plan.folder.glob("*.npy")):
            raise UserError(f"{plan.folder} holds vectors but no manifest.json: choose another --out.")
        write_json(path, {**wanted, "complete": False})
        return
    held = conform(read_json(path), Each(object), str(path))
    differ = [key for key, value in wanted.items() if held.get(key) != value]
    if differ:
        gaps = ", ".join(f"{key} {held.get(key)} instead of {wanted[key]}" for key in differ)
        raise UserError(f"{plan.folder} holds vectors of something else ({gaps}): choose another --out or remove it.")


def identity(checkpoint: Checkpoint, plan: Plan) -> dict[str, Any]:
    """Returns what decides the content of the shards, plain data."""
    if not plan.file.exists():
        raise UserError(f"No file {plan.file} to encode.")
    state = plan.file.stat()
    return {
        "schema": 1,
        "checkpoint": checkpoint.path.name,
        "checkpoint_sha256": checkpoint.sha256,
        "source": plan.file.name,
        "source_bytes": state.st_size,
        "source_changed": state.st_mtime_ns,
        "side": plan.side,
        **({"column": plan.column} if plan.column is not None else {}),
        "dtype": plan.dtype,
        "dimensions": checkpoint.model.output_dim,
        "shard_rows": plan.shard_rows,
    }


def complete(checkpoint: Checkpoint, plan: Plan, rows: int) -> list[Path]:
    """Writes the final manifest once every shard is there, and returns the shards' vector files in order.

    Raises:
        UserError: if a shard is missing.
    """
    count = -(-rows // plan.shard_rows)
    missing = [shard for shard in range(count) if not plan.ids(shard).is_file()]
    if missing:
        raise UserError(f"{plan.folder}: shards {missing[:5]} are missing; the same command goes on where it stopped.")
    paths = [plan.vectors(shard) for shard in range(count)]
    manifest = {**identity(checkpoint, plan), "complete": True, "rows": rows, "shards": [path.name for path in paths]}
    write_json(plan.folder / "manifest.json", manifest)
    return paths


def open_shards(folder: Path) -> tuple[list[np.ndarray], list[str]]:
    """Returns the memory-mapped shards of a complete folder, in order, and the ids of all their rows.

    Raises:
        UserError: if the folder is not complete.
    """
    path = folder / "manifest.json"
    manifest = conform(read_json(path) if path.is_file() else {}, Each(object), str(path))
    if manifest.get("complete") is not True:
        raise UserError(f"{folder} does not hold a complete set of vectors; `twotower encode` writes and completes it.")
    conform(manifest, {"shards": [str], "dimensions": int, "dtype": str, "rows": int}, str(path))
    if any(Path(name).name != name for name in manifest["shards"]):
        raise UserError(f"{path} names a shard outside its folder; it is damaged or not one of ours.")
    shape = (None, manifest["dimensions"])
    parts = [read_array(folder / name, dtype=DTYPES, shape=shape, mapped=True) for name in manifest["shards"]]
    names = [name.replace("vectors", "ids").replace(".npy", ".txt") for name in manifest["shards"]]
    ids = [line for name in names for line in _lines(folder / name)]
    if not len(ids) == sum(map(len, parts)) == manifest["rows"]:
        held = f"{sum(map(len, parts))} vectors and {len(ids)} ids, not {manifest['rows']}"
        raise UserError(f"{folder} holds {held}; encode it again into another --out.")
    return parts, ids


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {path}: {error}.") from error
