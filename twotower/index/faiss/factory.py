"""FAISS factory strings: checked before training, fitted to the number of vectors, with every change told.

FAISS can only train k centroids on at least k vectors, and IVF lists need some tens of vectors each to be worth
having. A string written for millions of documents must still work on a thousand, so lists and code bits shrink to fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss

from twotower.core.errors import UserError

POINTS_PER_LIST = 39
"""Vectors per IVF centroid below which FAISS itself calls the clustering poor."""

_IVF = re.compile(r"(?<![A-Z])IVF(\d+)")
_PQ = re.compile(r"(?<![A-Z])PQ(\d+|\{dim/\d+\})(?:x(\d+))?(?=$|[,+fn])")
_PART = re.compile(r"\{dim/(\d+)\}")
_OPQ = re.compile(r"OPQ\d+(?:_\d+)?,")


def sized(factory: str, dim: int) -> str:
    """Puts a number for `{dim/4}` in a factory string: what divides the width and is nearest to a quarter of it."""

    def part(match: re.Match[str]) -> str:
        divisors = (number for number in range(1, dim + 1) if dim % number == 0)
        return str(min(divisors, key=lambda number: abs(number - dim / max(1, int(match[1])))))

    return _PART.sub(part, factory)


def make(factory: str, dim: int, name: str) -> faiss.Index:
    """Returns the empty inner-product index that a factory string describes.

    Args:
        factory: as in FAISS's index_factory ("Flat", "HNSW32", "OPQ16,IVF1024,PQ32"), or with numbers as for `sized`.
        dim: width of the vectors.
        name: the index's name in the config, for messages.

    Raises:
        UserError: for a string FAISS does not understand or that does not fit the dimension.
    """
    if "IDMap" in factory:
        raise UserError(f"index.{name}.factory={factory}: leave IDMap out; row numbers are the ids here.")
    try:
        index = faiss.index_factory(dim, sized(factory, dim), faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        if "multiple of the number of subquantizers" in str(error):
            works = ", ".join(f"PQ{m}" for m in range(1, dim + 1) if dim % m == 0 and m >= dim // 16)
            raise UserError(
                f"index.{name}.factory={factory}: the PQ count must divide the vector's {dim} dimensions; "
                f"these would: {works}."
            ) from error
        reason = str(error).rsplit(": ", 1)[-1]
        raise UserError(
            f"index.{name}.factory={factory}: FAISS says: {reason}. "
            "Examples that work: Flat, HNSW32, IVF1024,Flat, IVF1024,PQ32, SQ8."
        ) from error
    return index


def fit(factory: str, count: int) -> tuple[str, list[str]]:
    """Fits a factory string to the number of vectors.

    Args:
        factory: the string from the config.
        count: how many vectors there will be.

    Returns:
        The string to build, and one sentence for every change made.
    """
    notes: list[str] = []

    def lists(match: re.Match[str]) -> str:
        wanted, most = int(match[1]), max(1, count // POINTS_PER_LIST)
        if wanted <= most:
            return match[0]
        notes.append(f"IVF{wanted} shrunk to IVF{most}: {count} vectors fill no more lists than that")
        return f"IVF{most}"

    def codes(match: re.Match[str]) -> str:
        bits = int(match[2] or 8)
        fitting = next((b for b in (bits, 8, 6, 4) if b <= bits and 2**b <= count), None)
        if fitting == bits:
            return match[0]
        if fitting is None:
            notes.append(f"{match[0]} replaced by Flat: {count} vectors cannot train a code book of {2**bits}")
            return "Flat"
        notes.append(f"{match[0]} shrunk to {fitting} bits: {count} vectors cannot train a code book of {2**bits}")
        return f"PQ{match[1]}x{fitting}"

    fitted = _IVF.sub(lists, factory)
    if _OPQ.search(fitted) and count < 256:
        notes.append(f"OPQ left out: {count} vectors cannot train its code book of 256")
        fitted = _OPQ.sub("", fitted)
    fitted = _PQ.sub(codes, fitted)
    return re.sub(r"Flat(?:fsr?|np)", "Flat", fitted), notes


def reserve(index: faiss.Index, count: int) -> None:
    """Asks at once for the memory of all vectors to come, where an index holds them one after the other.

    Added block by block they would be moved into twice as much memory again and again; what the C library then keeps of
    the old places came to as much as the index.

    Args:
        index: on the CPU.
        count: how many vectors it will hold.
    """
    held = faiss.downcast_index(getattr(index, "storage", index))
    if isinstance(held, faiss.IndexFlatCodes) and held.codes.is_owned:
        size = held.codes.size()
        held.codes.resize(max(size, count * held.code_size))
        held.codes.resize(size)  # what was asked for stays


def prepare(index: faiss.Index) -> list[faiss.ProductQuantizer]:
    """Makes training quick and quiet.

    FAISS orders PQ codes for Hamming distances by simulated annealing, which takes 20 times as long as the training
    itself and is never used here; and it writes a line to stderr for every clustering with few points.

    Returns:
        Code books that the index borrows: keep them until it is trained.
    """
    borrowed = []
    if isinstance(index, faiss.IndexPreTransform):
        chain: Any = index.chain
        for position in range(chain.size()):
            transform = faiss.downcast_VectorTransform(chain.at(position))
            if isinstance(transform, faiss.OPQMatrix):
                # Left alone, OPQ makes a code book of its own, whose settings cannot be reached.
                transform.pq = faiss.ProductQuantizer(transform.d_out, transform.M, 8)
                borrowed.append(transform.pq)
        index = faiss.downcast_index(index.index)
    if hasattr(index, "do_polysemous_training"):
        index.do_polysemous_training = False
    holders = [index, *(getattr(index, part, None) for part in ("pq",)), *borrowed]
    for clustering in (getattr(holder, "cp", None) for holder in holders):
        if clustering is not None:
            clustering.min_points_per_centroid = 1
    return borrowed


def list_count(factory: str) -> int:
    """Returns the number of IVF lists a factory string asks for, 0 for none."""
    match = _IVF.search(factory)
    return int(match[1]) if match else 0


def search_parameter(index: faiss.Index) -> str | None:
    """Returns "nprobe" or "efSearch", whichever trades this index's speed for recall, or None if neither does."""
    if isinstance(index, faiss.IndexPreTransform):
        index = faiss.downcast_index(index.index)
    if faiss.try_extract_index_ivf(index) is not None:
        return "nprobe"
    return "efSearch" if hasattr(index, "hnsw") else None


def largest(index: faiss.Index, parameter: str, k: int = 10) -> int:
    """Returns the value of a search parameter beyond which nothing more can be found, or not worth the time for k."""
    if parameter == "nprobe":
        return int(faiss.extract_index_ivf(index).nlist)
    return most_efforts(index.ntotal, k)


def most_efforts(count: int, k: int) -> int:
    """Returns the largest efSearch that is worth its time for k hits of so many documents."""
    return max(16, min(max(4096, 16 * k), count))


def read_file(path: Path, flags: int = 0) -> faiss.Index:
    """Reads an index from its file, and from no other that the file may name: lists kept elsewhere are refused.

    Args:
        path: the file.
        flags: FAISS's, such as IO_FLAG_MMAP_IFC.

    Raises:
        RuntimeError: for what is no index.
        UserError: for lists in another file; it was opened, for reading at most.
    """
    index = faiss.read_index(str(path), flags | faiss.IO_FLAG_READ_ONLY)
    for part in _parts(index):
        lists = part.invlists if isinstance(part, faiss.IndexIVF) else None
        if lists is not None and isinstance(faiss.downcast_InvertedLists(lists), faiss.OnDiskInvertedLists):
            raise UserError(f"{path} names another file that holds its lists: not one of our indexes. Build it again.")
    return index


def _parts(index: faiss.Index) -> Iterator[faiss.Index]:
    """Yields an index and those that it is made of."""
    index = faiss.downcast_index(index)
    yield index
    for name in ("index", "base_index", "refine_index", "quantizer", "storage"):
        if isinstance(part := getattr(index, name, None), faiss.Index):
            yield from _parts(part)
