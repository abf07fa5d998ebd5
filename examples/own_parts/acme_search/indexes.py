"""An index of 8-bit codes: a quarter of the memory, every document compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from twotower.index.base import Build, Index
from twotower.index.vectors import normalise

FILE = "codes.npz"


class CodesIndex(Index):
    """Vectors scaled to whole numbers from -127 to 127, each dimension by the largest there is.

    Args:
        name: its name in the config.
        block: documents decoded at a time.
    """

    kind = "codes"

    def __init__(self, *, name: str = "codes", block: int = 65_536) -> None:
        super().__init__(name=name)
        self.block = block

    def _build(self, build: Build) -> None:
        """Codes the vectors and writes them."""
        unit_ND = normalise(np.asarray(build.vectors[:], dtype=np.float32))
        scale_D = np.maximum(np.abs(unit_ND).max(0), 1e-9) / 127
        np.savez(build.folder / FILE, codes=np.rint(unit_ND / scale_D).astype(np.int8), scale=scale_D)
        self.load(build.folder)

    def load(self, folder: Path) -> None:
        """Reads the codes."""
        with np.load(folder / FILE) as content:
            self.codes_ND, self.scale_D = content["codes"], content["scale"]
        self.count, self.dim = self.codes_ND.shape

    def _search(self, query_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scaled_QD = query_QD * self.scale_D
        blocks = (self.codes_ND[start : start + self.block] for start in range(0, self.count, self.block))
        scores_QN = np.concatenate([scaled_QD @ block.astype(np.float32).T for block in blocks], axis=1)
        rows_QK = np.argsort(-scores_QN, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores_QN, rows_QK, axis=1).astype(np.float32), rows_QK

    def describe(self) -> dict[str, Any]:
        """Tells the memory that the codes take."""
        return {"settings": {"bits": 8}, "notes": [], "bytes": 0}
