"""The index that compares every document with every query: with numpy where that is quicker, else with torch.

Legend: N documents, D dimension, Q queries, K ranks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower.core.errors import UserError
from twotower.core.reading import read_array
from twotower.index.base import Build, Index, need
from twotower.index.exact.on_numpy import search_arrays, threads_for
from twotower.index.vectors import normalise, write_npy

if TYPE_CHECKING:
    from twotower.evaluation.nominate import VectorRows

FILE = "vectors.npy"
GPU_NODES = ("nvidia*", "nvhost*", "nvmap", "dxg", "kfd")
"""What stands in /dev wherever torch could find a GPU: NVIDIA's, those of its boards, of Windows, and AMD's."""

WORTH_TORCH = 1 << 32
"""Products (queries x documents x dimensions) in batches after which importing torch for its speed has paid."""


class ExactIndex(Index):
    """All documents are compared with every query.

    On a CPU the vectors are memory-mapped, so opening takes no time and processes share them; on a GPU they are
    loaded once. Results are exact for `dtype=float32`; `float16` halves the file and rounds scores to about 1e-3.

    A single query on a CPU goes through numpy, which is at least as quick; so do small batches while torch is not
    loaded, so that a process that only searches a little is done before it would have been.
    """

    kind = "exact"

    def __init__(self, *, name: str = "exact", device: str = "auto", dtype: str = "float32") -> None:
        super().__init__(name=name)
        need(dtype in ("float32", "float16"), name, "dtype", dtype, "float32 or float16")
        self.device, self.dtype = device, dtype
        self._vectors_ND: np.ndarray | None = None
        self._documents: VectorRows | None = None
        self._on_cpu = True
        self._work = 0

    def check(self, *, dim: int | None = None) -> None:
        """Raises UserError for a device this machine does not have."""
        self._device()

    def _device(self) -> str:
        if self.device == "auto":
            return "cuda" if _gpu_found() else "cpu"
        if self.device == "cpu":
            return "cpu"
        import torch

        try:
            device = torch.device(self.device)
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise UserError(
                f"index.{self.name}.device={self.device}: no such device on this machine; use auto or cpu."
            ) from error
        return str(device)

    def _build(self, build: Build) -> None:
        """Writes the vectors, normalised, as one .npy file."""
        write_npy(build.folder / FILE, build.vectors, dtype=self.dtype, progress=build.progress, stage="write")
        self.load(build.folder)

    def load(self, folder: Path) -> None:
        """Memory-maps the vectors, or moves them to the GPU."""
        array = read_array(folder / FILE, dtype=("float32", "float16"), shape=(None, None), mapped=True)
        self.count, self.dim = array.shape
        self._vectors_ND, self._documents, device = array, None, self._device()
        self._on_cpu = device.startswith("cpu")
        if not self._on_cpu:
            from twotower.index.exact.on_torch import documents_of

            self._documents = documents_of(np.asarray(array), device)

    def _search(self, query_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        assert self._vectors_ND is not None, "search before load"
        if self._on_cpu and self._numpy_is_quicker(len(query_QD)):
            return search_arrays(query_QD, self._vectors_ND, k)
        import torch

        from twotower.index.exact.on_torch import documents_of, search_tensor

        if self._documents is None:
            self._documents = documents_of(self._vectors_ND)
        with torch.inference_mode():
            return search_tensor(torch.from_numpy(query_QD).to(self._documents.device), self._documents, k)

    def vectors_at(self, rows_K: np.ndarray, document_ids: Callable[[], Sequence[str]]) -> np.ndarray:
        """Reads the vectors of some rows from the file [K, D]."""
        assert self._vectors_ND is not None, "load first"
        return normalise(np.asarray(self._vectors_ND[rows_K], dtype=np.float32))

    def _numpy_is_quicker(self, queries: int) -> bool:
        """Says whether numpy is the quicker way for a batch, the import of torch counted."""
        if queries == 1:
            return True
        if sys.modules.get("torch"):
            return False
        self._work += queries * self.count * self.dim
        return self._work <= WORTH_TORCH

    def threads(self, count: int) -> int:
        """Returns how many threads of ours one query over so many vectors takes; on a GPU always 1."""
        return threads_for(count * self.dim) if self._on_cpu else 1

    def describe(self) -> dict[str, Any]:
        """Names the device and the stored precision."""
        return {"settings": {"device": self._device(), "dtype": self.dtype}, "notes": [], "bytes": 0}


def _gpu_found() -> bool:
    """Says whether torch has a GPU to use; it is loaded only where one may be there."""
    if not sys.modules.get("torch"):
        nodes = Path("/dev")
        if sys.platform == "linux" and not any(any(nodes.glob(name)) for name in GPU_NODES):
            return False
    import torch

    return torch.cuda.is_available()
