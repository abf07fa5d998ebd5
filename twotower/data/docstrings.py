"""Real text that every user has: summaries of documented functions and classes, and the docstrings they belong to.

Query: the first sentence of a docstring. Document: what follows it, titled with its qualified name split into words.
People who search want the whole docstring found, so that is what the exported index holds (`indexed_text`); training
and evaluation go on withholding the first sentence. The text is read from installed source files, nothing is imported.

How wrong answers are kept from being counted, and the training data from reaching the evaluation:

- Every module belongs to one split, decided by a hash of its name, so adding packages moves no module.
- Docstrings whose rests share at least `near_duplicate` of their four-word shingles form a group. A group lives in the
  split of its first member; members in other splits are left out altogether. Within the split, members with the same
  summary are collapsed into one document, and all others are judged relevant to each other's summaries.
- Functions of one split with the same summary share one query, to which all of them are relevant. A summary that
  occurs in train as well is no query of dev, and one of train or dev is none of test.

The corpus is that of all splits together: a model is not spared the documents it was trained on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from twotower.core.cache import cached_folder, content_key
from twotower.core.errors import UserError
from twotower.core.validators import check_choice
from twotower.data import serialize as stored
from twotower.data.collection import Collection, Judgements
from twotower.data.docstring_files import Docstring, Package, find_package, name_words, read_docstrings
from twotower.data.near_duplicates import WORD, near_duplicate_groups
from twotower.data.splits import check_shares, split_of

VERSION = 3
"""Goes into the cache key; to be raised when the same files would give another collection."""
WHOLE = "the whole docstring (training and evaluation withhold its first sentence, the query; the index reads it twice)"
log = logging.getLogger(__name__)


def load(
    *,
    packages: Sequence[str],
    splits: dict[str, float] | None = None,
    split_seed: int = 0,
    min_words: int = 10,
    min_summary_words: int = 3,
    near_duplicate: float = 0.8,
    private: bool = False,
    indexed_text: str = "whole",
) -> Collection:
    """Reads docstrings of installed packages, once for each set of files and settings.

    Args:
        packages: names as one would import them; "stdlib" is the standard library.
        splits: share of the modules of each split, by default 80 % train, 10 % dev, 10 % test.
        split_seed: another number gives another division into splits.
        min_words: the fewest words after the summary that make a document.
        min_summary_words: the fewest words of a summary.
        near_duplicate: share of shingles from which on two docstrings count as the same.
        private: take functions and classes whose name starts with an underscore too.
        indexed_text: what the exported index and its documents hold: "whole", the docstring with its first sentence,
            which is read as a question too, or "withheld", the same as training and evaluation read.

    Raises:
        UserError: for a package that is not installed, or a setting out of range.
    """
    shares = splits or {"train": 0.8, "dev": 0.1, "test": 0.1}
    _check(packages, shares, near_duplicate)
    check_choice("data.source.indexed_text", indexed_text, ("whole", "withheld"))
    paths = [find_package(name) for name in packages]
    settings = [list(shares.items()), split_seed, min_words, min_summary_words, near_duplicate, private]
    key = content_key("docstrings", VERSION, settings, [_state(package) for package in paths])

    def fill(folder: object) -> None:
        log.info("Reading the docstrings of %s; done once.", ", ".join(packages))
        kept = [
            item
            for item in _read(paths)
            if len(item.rest.split()) >= min_words
            and len(item.summary.split()) >= min_summary_words
            and (private or not item.name.rpartition(".")[2].startswith("_"))
        ]
        if not kept:
            raise UserError(f"data.source.packages={list(packages)} hold no docstring of at least {min_words} words.")
        module_split = {item.module: split_of(item.module, shares, split_seed) for item in kept}
        stored.save(folder, assemble(kept, module_split, list(shares), near_duplicate))  # type: ignore[arg-type]

    collection = stored.load(cached_folder("docstrings", key, fill))
    return (
        collection
        if indexed_text == "whole"
        else replace(collection, indexed_texts=None, indexed_as="", indexed_leads=False)
    )


def _check(packages: Sequence[str], shares: dict[str, float], near_duplicate: float) -> None:
    if not packages or isinstance(packages, str):
        raise UserError("data.source.packages must be a list of packages, such as [stdlib,numpy].")
    for name in packages:
        if list(packages).count(name) > 1:
            raise UserError(f"data.source.packages names '{name}' more than once.")
    check_shares(shares)
    if not 0.7 <= near_duplicate <= 1:  # below, banding would overlook pairs
        raise UserError(f"data.source.near_duplicate={near_duplicate} must lie from 0.7 to 1.")


def _state(package: Package) -> list[object]:
    stats = [(module, path.stat()) for module, path in package.files]
    return [package.name, package.version, [[module, stat.st_size, stat.st_mtime_ns] for module, stat in stats]]


def _read(packages: Sequence[Package]) -> list[Docstring]:
    return [item for package in packages for module, path in package.files for item in read_docstrings(module, path)]


def assemble(
    docstrings: Sequence[Docstring], module_split: dict[str, str], splits: Sequence[str], near_duplicate: float
) -> Collection:
    """Makes the collection: near-identical docstrings grouped, equal summaries joined, splits kept apart.

    Args:
        docstrings: what was read, in a fixed order.
        module_split: the split of each module.
        splits: the names of the splits; a summary stays a query of the first of them that has it.
        near_duplicate: share of shingles from which on two docstrings count as the same.
    """
    group = near_duplicate_groups([item.rest for item in docstrings], threshold=near_duplicate)
    split = [module_split[item.module] for item in docstrings]
    summary = [" ".join(WORD.findall(item.summary.lower())) for item in docstrings]
    first_of_group = dict(zip(group[::-1].tolist(), range(len(group) - 1, -1, -1), strict=True))
    seen: set[tuple[int, str]] = set()
    kept: list[int] = []
    for row, number in enumerate(group.tolist()):
        if split[row] == split[first_of_group[number]] and (number, summary[row]) not in seen:
            seen.add((number, summary[row]))
            kept.append(row)
    ids = _distinct([docstrings[row].name for row in kept])
    chosen_split, chosen_summary = [split[row] for row in kept], [summary[row] for row in kept]
    queries = _queries(chosen_split, chosen_summary, splits)
    return Collection(
        name="docstrings",
        document_ids=ids,
        titles=[name_words(docstrings[row].name) for row in kept],
        texts=[docstrings[row].rest for row in kept],
        metadata=[{"module": docstrings[row].module, "kind": docstrings[row].kind} for row in kept],
        query_ids=[ids[rows[0]] for rows in queries.values()],
        query_texts=[docstrings[kept[rows[0]]].summary for rows in queries.values()],
        judgements=_judge(queries, group[kept], splits),
        indexed_texts=[f"{docstrings[row].summary}\n\n{docstrings[row].rest}" for row in kept],
        indexed_as=WHOLE,
        indexed_leads=True,
    )


def _distinct(names: Sequence[str]) -> list[str]:
    counts: dict[str, int] = {}
    ids = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        ids.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return ids


def _queries(split: list[str], summary: list[str], splits: Sequence[str]) -> dict[tuple[str, str], list[int]]:
    """Returns the documents of each query, the query being (split, normalised summary)."""
    home: dict[str, str] = {}
    for name in splits:
        for row_split, text in zip(split, summary, strict=True):
            if row_split == name:
                home.setdefault(text, name)
    queries: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(split, summary, strict=True)):
        if home[key[1]] == key[0]:
            queries.setdefault(key, []).append(row)
    return queries


def _judge(
    queries: dict[tuple[str, str], list[int]], group: np.ndarray, splits: Sequence[str]
) -> dict[str, Judgements]:
    members: dict[int, list[int]] = {}
    for row, number in enumerate(group.tolist()):
        members.setdefault(number, []).append(row)
    pairs: dict[str, list[tuple[int, int]]] = {name: [] for name in splits}
    for number, ((name, _), rows) in enumerate(queries.items()):
        relevant = {other for row in rows for other in members[int(group[row])]}
        pairs[name] += [(number, row) for row in sorted(relevant)]
    return {
        name: Judgements.of([query for query, _ in judged], [row for _, row in judged], np.ones(len(judged)))
        for name, judged in pairs.items()
    }
