"""The manifest beside every index: which model, vocabulary and documents it belongs to, and how good it is.

It is written last, into a folder that then takes its place as a whole, and checked before the first query.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from twotower.core.errors import UserError
from twotower.core.files import read_json, sha256_file, write_json
from twotower.core.reading import Each, conform

if TYPE_CHECKING:
    from twotower.data.documents import DocumentStore
    from twotower.text.tokenizer import Tokenizer

FILE = "manifest.json"
SCHEMA = 1
SHAPE: dict[str, Any] = {
    "schema": int,
    "name": str,
    "kind": str,
    "config": Each(object),
    "model": {"checkpoint": str, "sha256": str},
    "vocabulary": {"hash": str},
    "documents": {"hash": str, "count": int},
    "files": Each({"bytes": int, "modified_ns": int, "sha256": str}),
    "count": int,
    "dim": int,
    "recall_at_10?": float,
    "recall_measured_on?": {"source": str, "queries": int, "depth": int},
    "build_seconds?": float,
    "bytes?": int,
    "settings?": Each(object),
    "notes?": [str],
}


def identity_of(
    *,
    checkpoint: str,
    checkpoint_sha256: str,
    vocabulary_hash: str,
    documents_hash: str,
    documents_count: int,
    indexed_as: str = "",
) -> dict[str, Any]:
    """Returns what ties an index to its model and documents, in the manifest's own shape.

    Args:
        checkpoint: file name of the exported checkpoint.
        checkpoint_sha256: its hash.
        vocabulary_hash: hash of the tokenizer's vocabulary.
        documents_hash: hash of the documents in their order (`DocumentStore.hash`).
        documents_count: how many documents.
        indexed_as: what their texts are, where training and evaluation read others.
    """
    text = {"text": indexed_as} if indexed_as else {}
    return {
        "model": {"checkpoint": checkpoint, "sha256": checkpoint_sha256},
        "vocabulary": {"hash": vocabulary_hash},
        "documents": {"hash": documents_hash, "count": documents_count, **text},
    }


class ExportedModel(Protocol):
    """What of an exported model an index is tied to; the whole model has it, and so has the part that reads queries."""

    @property
    def path(self) -> Path:
        """Its file."""

    @property
    def sha256(self) -> str:
        """The file's hash."""

    @property
    def tokenizer(self) -> Tokenizer:
        """What it reads text with."""


def run_identity(checkpoint: ExportedModel, documents: DocumentStore) -> dict[str, Any]:
    """Returns what an index of this model over these documents must carry in its manifest."""
    return identity_of(
        checkpoint=checkpoint.path.name,
        checkpoint_sha256=checkpoint.sha256,
        vocabulary_hash=checkpoint.tokenizer.hash,
        documents_hash=documents.hash,
        documents_count=documents.count,
        indexed_as=documents.indexed_as,
    )


def write(folder: Path, *, identity: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the manifest of a built index, with the size and hash of every file beside it.

    Args:
        folder: the index's folder, everything else already in it.
        identity: from `identity_of`.
        facts: name, kind, dim, count, recall, seconds, config and what else is worth knowing.
    """
    files = {item.name: _stamp(item) for item in sorted(folder.iterdir()) if item.name != FILE and item.is_file()}
    manifest = {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "metric": "cosine",
        "normalised": True,
        **facts,
        **identity,
        "bytes": sum(item["bytes"] for item in files.values()) + int(facts.get("bytes_elsewhere", 0)),
        "files": files,
    }
    write_json(folder / FILE, manifest)
    return manifest


def _stamp(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, "sha256": sha256_file(path)}


def read(folder: Path) -> dict[str, Any]:
    """Reads a manifest.

    Raises:
        UserError: when there is none, it is cut short, or it comes from a newer version.
    """
    if not (folder / FILE).is_file():
        raise UserError(f"{folder} holds no index (no {FILE}). Build one with `twotower index --run RUN --index NAME`.")
    manifest = read_json(folder / FILE)
    needed = [key for key in SHAPE if not key.endswith("?")]
    missing = [key for key in needed if not isinstance(manifest, dict) or key not in manifest]
    if missing:
        raise UserError(
            f"{folder / FILE} lacks {', '.join(missing)}: not one of our manifests, or damaged. Build it again."
        )
    conform(manifest, SHAPE, str(folder / FILE))
    if any(Path(name).name != name for name in manifest["files"]):
        raise UserError(f"{folder / FILE} names a file outside its folder: not one of our manifests. Build it again.")
    if manifest["schema"] > SCHEMA:
        raise UserError(
            f"{folder / FILE} has schema {manifest['schema']}, newer than this program's {SCHEMA}: update it."
        )
    return manifest  # type: ignore[no-any-return]


def recall_line(facts: Mapping[str, Any], k: int) -> str:
    """Returns what is known of an index's recall for so many hits, such as `recall@100 .951`.

    What is measured at the next depth is said; deeper than was measured, that is said instead.
    """
    known = facts.get("recall_at")
    measured = {int(depth): float(value) for depth, value in known.items()} if isinstance(known, dict) else {}
    measured = measured or {10: float(facts.get("recall_at_10") or 0.0)}
    k = min(k, int(facts["count"]))
    depth = min((depth for depth in measured if depth >= k), default=max(measured))
    line = f"recall@{depth} {measured[depth]:.3f}"
    return line if depth >= k else f"{line}, not measured for {k}"


def verify(folder: Path, manifest: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuses an index that belongs to something else or whose files changed.

    A file of the recorded size and time of writing is taken as unchanged, so that opening stays instant at any size;
    any other is hashed.

    Raises:
        UserError: saying what does not match.
    """
    rebuild = "Build it again with `twotower index`."
    for part, what in (("model", "sha256"), ("vocabulary", "hash"), ("documents", "hash"), ("documents", "count")):
        built, now = manifest[part].get(what), identity[part].get(what)
        if built != now:
            noun = {"model": "another model", "vocabulary": "another vocabulary", "documents": "other documents"}[part]
            raise UserError(
                f"The index in {folder} was built from {noun} ({_short(built)}) than this run's ({_short(now)}). "
                f"{rebuild}"
            )
    for name, stamp in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"The index in {folder} lacks its file {name}. {rebuild}")
        status = path.stat()
        if status.st_size != stamp["bytes"]:
            raise UserError(
                f"{path} has {status.st_size} bytes instead of {stamp['bytes']}: changed or cut short. {rebuild}"
            )
        if status.st_mtime_ns != stamp["modified_ns"] and sha256_file(path) != stamp["sha256"]:
            raise UserError(f"{path} changed after it was built. {rebuild}")


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else str(value)
