"""A collection of the users' size out of the text at hand: passages of real sentences, judged queries, in BEIR layout.

    python experiments/benchmarks/passages.py DIR [--passages 758553] [--queries 84000] [--seed 0]

A passage takes sentences from a stretch of neighbouring ones (an article, the answers to one question) until it has
about 74 words, so it is about one thing, as real passages are; many passages of one stretch are alike, which makes them
hard to tell apart. A query holds 4 to 8 words of two sentences of its one relevant passage, no stop words. There are
about 220,000 sentences, so each one occurs a dozen times and the vocabulary does not grow with the passages.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import common
import numpy as np

PASSAGES, QUERIES, DEV_SHARE = 758_553, 84_000, 42
"""The users' numbers; one query of so many is for evaluation, 2,000 of theirs."""
SOURCES = ("msmarco-passage-mini", "msmarco-qa-mini", "squad-mini", "wikiqa", "tldr", "cranfield")
STRETCH, WORDS = 14, (58, 90)
"""Sentences of a stretch, and the fewest and most words a passage is filled up to (a last sentence may go beyond)."""
SENTENCE_END, WORD = re.compile(r"(?<=[.!?;])\s+|\n+"), re.compile(r"\w{3,}")
NEEDED = 3 << 30
"""Bytes that texts, caches and one run take on the disk at full size, several times over."""


def sentences() -> list[str]:
    """Returns the distinct sentences of 5 to 40 words of all collections, neighbours side by side."""
    found: dict[str, None] = {}
    for name in SOURCES:
        path = common.DATA / name / "corpus.jsonl"
        if not path.is_file():
            raise SystemExit(f"{path} is missing: the passages are made of the collections there.")
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            pieces = SENTENCE_END.split(" ".join(row["text"].split()))
            found.update(dict.fromkeys(piece for piece in pieces if 5 <= len(piece.split()) <= 40))
    return list(found)


def draw(pool: list[str], count: int, seed: int) -> Iterator[np.ndarray]:
    """Yields the rows of the sentences of each passage, in order."""
    generator = np.random.default_rng([seed, 0])
    lengths = np.array([len(item.split()) for item in pool])
    homes = generator.integers(0, len(pool) - STRETCH, count)
    aims = generator.integers(*WORDS, count)
    for start in range(0, count, 50_000):
        homes_B, aims_B = homes[start : start + 50_000], aims[start : start + 50_000]
        order_BS = homes_B[:, None] + generator.random((len(homes_B), STRETCH)).argsort(axis=1)
        before_BS = lengths[order_BS].cumsum(axis=1) - lengths[order_BS]
        taken_BS = before_BS + lengths[order_BS] / 2 < aims_B[:, None]
        taken_BS[:, :2] = True
        for rows_S, taken_S in zip(order_BS, taken_BS, strict=True):
            yield rows_S[taken_S]


def query_of(rows: np.ndarray, pool: list[str], generator: np.random.Generator, stop_words: frozenset[str]) -> str:
    """Returns 4 to 8 different words of two sentences of a passage, in their order."""
    words: dict[str, None] = {}
    for row in generator.choice(rows, 2, replace=False).tolist():
        own = [word for word in dict.fromkeys(WORD.findall(pool[row].lower())) if word not in stop_words]
        kept = sorted(generator.permutation(len(own))[: int(generator.integers(2, 5))].tolist())
        words.update(dict.fromkeys(own[at] for at in kept))
    return " ".join(words) or pool[int(rows[0])].lower()


def write(folder: Path, *, passages: int = PASSAGES, queries: int = QUERIES, seed: int = 0) -> Path:
    """Writes the collection unless it is there; a folder that was being written when it stopped is written anew.

    Args:
        folder: where to.
        passages: how many.
        queries: how many, each with one relevant passage; one in 42 belongs to the dev split.
        seed: of everything drawn.
    """
    if (folder / "done.json").is_file():
        return folder
    free = shutil.disk_usage(next(item for item in (folder, *folder.parents) if item.is_dir())).free
    if free < NEEDED:
        raise SystemExit(f"{folder}: {free / 1e9:.1f} GB are free on that disk, and {NEEDED / 1e9:.1f} GB are needed.")
    from twotower.lexical.bm25 import STOP_WORDS

    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    pool, generator = sentences(), np.random.default_rng([seed, 1])
    asked = np.sort(generator.choice(passages, queries, replace=False))
    place = dict(zip(asked.tolist(), generator.permutation(queries).tolist(), strict=True))
    dev = queries // DEV_SHARE
    judged: list[tuple[int, int]] = []
    with (folder / "corpus.jsonl").open("w") as corpus, (folder / "queries.jsonl").open("w") as texts:
        for number, rows in enumerate(draw(pool, passages, seed)):
            text = " ".join(pool[row] for row in rows.tolist())
            corpus.write(json.dumps({"_id": f"p{number}", "title": "", "text": text}) + "\n")
            if number in place:
                judged.append((place[number], number))
                text = query_of(rows, pool, generator, STOP_WORDS)
                texts.write(json.dumps({"_id": f"q{place[number]}", "text": text}) + "\n")
    for split, chosen in (("train", range(dev, queries)), ("dev", range(dev))):
        lines = [f"q{query}\tp{document}\t1" for query, document in judged if query in chosen]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")
    facts = {"passages": passages, "queries": queries, "dev": dev, "seed": seed, "sentences": len(pool)}
    (folder / "done.json").write_text(json.dumps(facts) + "\n")
    return folder


def main() -> None:
    """Writes a collection."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in (("passages", PASSAGES), ("queries", QUERIES), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    print(write(options.folder, passages=options.passages, queries=options.queries, seed=options.seed))


if __name__ == "__main__":
    main()
