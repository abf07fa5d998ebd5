"""The lexical side of an exported run: BM25 over what people search, and how it is fused with the model's scores.

It lies in `index/lexical`: bm25s's own files, mapped into memory, the mean and spread of the document vectors,
which make any query's mean and deviation of cosines a matter of one small product, and `lexical.json`, which says whose
it is, how the sides are fused and what each way of searching was measured to be worth.

Shapes: N documents, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower.core.errors import UserError
from twotower.core.files import atomic_path, sha256_file, write_json
from twotower.core.reading import Each, read_array, read_typed_json
from twotower.core.validators import check_choice
from twotower.index.vectors import Vectors, blocks
from twotower.lexical.fusion import Fusion

if TYPE_CHECKING:
    from twotower.lexical.bm25 import Bm25

FOLDER, FILE, MEAN, SECOND = "lexical", "lexical.json", "mean.npy", "second.npy"
SCHEMA = 2
MODES = ("dense", "lexical", "hybrid")
FACTS = {
    "schema": int,
    "bm25": {"stem?": str, "count": int},
    "fusion": {
        "kind": str,
        "weight": (int, float),
        "pairs": (int, float),
        "exact?": (int, float),
        "stem?": str,
        "k1?": (int, float),
        "b?": (int, float),
        "fitted_on": int,
        "note": str,
    },
    "mode": str,
    "model": {"sha256": str},
    "documents": {"hash": str},
    "files": Each({"bytes": int}),
}
"""The shape of `lexical.json`."""


class LexicalSide:
    """What an engine needs beside its dense index to search by words, and by both.

    Args:
        opened: opens BM25 over the stored documents; called once, when something is searched by words.
        fusion: how the sides are fused.
        mean_D: mean of the document vectors, all of length 1.
        second_DD: mean of their outer products.
        facts: what `lexical.json` says.
    """

    def __init__(
        self,
        *,
        opened: Callable[[], Bm25],
        fusion: Fusion,
        mean_D: np.ndarray,
        second_DD: np.ndarray,
        facts: Mapping[str, Any],
    ) -> None:
        self._opened, self.fusion, self.facts = opened, fusion, facts
        self.mean_D = mean_D.astype(np.float64)
        self._covariance_DD = (second_DD - np.outer(self.mean_D, self.mean_D)).astype(np.float32)
        self._last: tuple[np.ndarray, tuple[float, float]] | None = None

    @cached_property
    def bm25(self) -> Bm25:
        """BM25 over the stored documents.

        Raises:
            UserError: when its files are damaged.
        """
        return self._opened()

    @property
    def mode(self) -> str:
        """How the run was measured to search best."""
        return str(self.facts["mode"])

    def spread(self, query_D: np.ndarray) -> tuple[float, float]:
        """Returns mean and deviation of a unit query's cosines over all documents."""
        last = self._last  # one query asks twice: for its hits, and for their scale
        if last is not None and np.array_equal(last[0], query_D):
            return last[1]
        variance = float(query_D @ (self._covariance_DD @ query_D))
        spread = float(query_D @ self.mean_D), max(variance, 0.0) ** 0.5
        self._last = query_D.copy(), spread
        return spread


def moments(vectors_ND: Vectors) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean [D] and the mean outer product [D, D] of vectors, each brought to length 1."""
    dim = int(vectors_ND.shape[1])
    total_D, outer_DD, count = np.zeros(dim), np.zeros((dim, dim)), 0
    for _, block_BD in blocks(vectors_ND, rows=16_384, start=0):
        total_D += block_BD.sum(axis=0, dtype=np.float64)
        outer_DD += block_BD.T @ block_BD
        count += len(block_BD)
    return total_D / count, outer_DD / count


def write_side(
    run_dir: Path,
    bm25: Bm25,
    vectors_ND: Vectors,
    *,
    fusion: Fusion,
    identity: Mapping[str, Any],
    measured: Mapping[str, float],
    objective: str,
) -> Path:
    """Writes the lexical side of a run, replacing a former one only when complete.

    Args:
        run_dir: the run's folder.
        bm25: over what people search, N documents.
        vectors_ND: the vectors of the same documents, as they are indexed.
        fusion: as it was measured.
        identity: from `index.manifest.identity_of`.
        measured: what each mode reached on the evaluation queries.
        objective: the metric of those figures.
    """
    folder = Path(run_dir) / "index" / FOLDER
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder) as part:
        part.mkdir(parents=True)
        bm25.save(part)
        mean_D, second_DD = moments(vectors_ND)
        np.save(part / MEAN, mean_D.astype(np.float32))
        np.save(part / SECOND, second_DD.astype(np.float32))
        files = {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in sorted(part.iterdir())
        }
        known = {mode: float(value) for mode, value in measured.items()}
        facts = {
            "schema": SCHEMA,
            "bm25": {"stem": bm25.stem, "count": bm25.count},
            "fusion": asdict(fusion),
            "mode": max(known, key=lambda mode: (known[mode], mode == "hybrid")) if known else "hybrid",
            "measured": {"metric": objective, **known},
            **identity,
            "files": files,
        }
        write_json(part / FILE, facts)
    return folder


def open_side(run_dir: Path, identity: Mapping[str, Any]) -> LexicalSide | None:
    """Opens the lexical side of a run; None where it has none, as those trained before there was one.

    Raises:
        UserError: when it belongs to another model or other documents, or is damaged.
    """
    folder = Path(run_dir) / "index" / FOLDER
    if not (folder / FILE).is_file():
        return None
    again = "use --mode dense, or build it again with `twotower index`"
    facts = read_typed_json(folder / FILE, FACTS)
    if facts["schema"] != SCHEMA:
        raise UserError(f"{folder / FILE} is not of this version (schema {SCHEMA}); {again}.")
    check_choice(f"{folder / FILE}: mode", facts["mode"], MODES)
    for part, key in (("model", "sha256"), ("documents", "hash")):
        if facts[part][key] != identity[part][key]:
            what = "another model" if part == "model" else "other documents"
            raise UserError(f"The lexical index in {folder} belongs to {what}; {again}.")
    if facts["bm25"]["count"] != identity["documents"]["count"]:
        raise UserError(f"{folder / FILE} is of {facts['bm25']['count']} documents; {again}.")
    for name, stamp in facts["files"].items():
        path = folder / Path(name).name
        if not path.is_file() or path.stat().st_size != stamp["bytes"]:
            raise UserError(f"{path} is missing or cut short; {again}.")
    mean_D = read_array(folder / MEAN, dtype="float32", shape=(None,), finite=True)
    second_DD = read_array(folder / SECOND, dtype="float32", shape=(len(mean_D), len(mean_D)), finite=True)

    def opened() -> Bm25:
        from twotower.lexical.bm25 import Bm25  # brings bm25s and scipy, a fifth of a second that dense search saves

        return Bm25.load(folder, count=facts["bm25"]["count"], stem=facts["bm25"].get("stem"))

    known = {item.name for item in fields(Fusion)}
    try:
        fusion = Fusion(**{name: value for name, value in facts["fusion"].items() if name in known})
    except UserError as error:
        raise UserError(f"{folder / FILE}: {error} It is damaged; {again}.") from error
    return LexicalSide(opened=opened, fusion=fusion, mean_D=mean_D, second_DD=second_DD, facts=facts)
