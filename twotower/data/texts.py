"""A folder of text, Markdown, HTML or PDF files, and nothing else: no queries, no judgements.

Files are cut into passages that overlap; headings are titles. What is evaluated on are pseudo-queries: a few words of a
passage, drawn by how rare they are, which that passage answers. Files are divided into training and evaluation:
passages that are evaluated are kept from training on the corpus, and their queries from that on pairs. The splits are
called `pseudo_train` and `pseudo_dev`, so that no figure of theirs can pass for, or be compared with, one of real
questions.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np

from twotower.core.errors import UserError
from twotower.core.validators import check_count, check_number
from twotower.data.collection import Collection, Judgements, normalised
from twotower.data.splits import divide
from twotower.data.text_files import ENDINGS, UnreadableError, read_sections
from twotower.lexical.bm25 import STOP_WORDS
from twotower.lexical.words import words_of
from twotower.text.segment import BLOCKS

log = logging.getLogger(__name__)

TRAIN, DEV = "pseudo_train", "pseudo_dev"
PSEUDO = "Queries are pseudo-queries, words of a passage: figures say little of real questions, and favour BM25."
UNIT = re.compile(rf"[{BLOCKS}]{{1,2}}|[^\s{BLOCKS}]+")
FEWEST_WORDS = 5
"""Passages of fewer words are no passages."""


def load(
    path: str | Path | None,
    *,
    words: int = 120,
    overlap: int = 20,
    queries: int = 4,
    dev: float = 0.1,
    skip_unreadable: bool = False,
    seed: int = 0,
    name: str | None = None,
) -> Collection:
    """Reads a folder, all its subfolders included.

    Args:
        path: the folder.
        words: words of a passage.
        overlap: words that a passage shares with the one before it.
        queries: pseudo-queries drawn from each passage that is trained on; one is drawn of each that is evaluated.
        dev: share of the files (of the passages, for a single file) that is evaluated and not trained on.
        skip_unreadable: leave out files that can't be read, which the log names, instead of stopping.
        seed: another number gives other pseudo-queries and another division.
        name: what to call the collection (the folder's name otherwise).

    Raises:
        UserError: for a folder without any such file, files that can't be read, or a setting out of range.
    """
    check_count("data.source.words", words, at_least=FEWEST_WORDS)
    check_number("data.source.overlap", check_count("data.source.overlap", overlap, at_least=0), below=words)
    check_count("data.source.queries", queries)
    check_number("data.source.dev", dev, above=0, below=1)
    if path is None:
        raise UserError("data=texts needs data.path=FOLDER with text, Markdown, HTML or PDF files.")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"data.path={folder} is not a folder.")
    passages = _passages(folder, words, overlap, skip_unreadable)
    if len(passages) < 2:
        raise UserError(f"data.path={folder} holds {len(passages)} passages of {FEWEST_WORDS} words; it takes 2.")
    return _collect(name or folder.resolve().name, passages, queries, dev, seed)


def _passages(folder: Path, words: int, overlap: int, skip_unreadable: bool) -> list[tuple[str, str, str]]:
    """Returns (file, title, text) of every passage, in the order of the files."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
    if not files:
        raise UserError(f"data.path={folder} holds no file ending in {', '.join(ENDINGS)}.")
    passages, unreadable = [], []
    for file in files:
        name = file.relative_to(folder).as_posix()
        try:
            for heading, text in read_sections(file):
                passages += [(name, heading or file.stem, part) for part in cut(text, words, overlap)]
        except UnreadableError as error:
            unreadable.append(str(error))
    if unreadable:
        problem = f"{len(unreadable)} of {len(files)} files can't be read, the first: {unreadable[0]}"
        if not skip_unreadable:
            raise UserError(f"data.path={folder}: {problem}. Remove them, or set data.source.skip_unreadable=true.")
        log.warning("data.path=%s: %s. They are left out.", folder, problem)
    return passages


def cut(text: str, words: int, overlap: int) -> list[str]:
    """Cuts a text into passages of so many words, each sharing `overlap` of them with the one before it.

    Where no blanks part words, two characters count as one.
    """
    spans = [match.span() for match in UNIT.finditer(text)]
    last = max(1, len(spans) - overlap)
    cuts = [spans[start : start + words] for start in range(0, last, words - overlap)]
    return [" ".join(text[part[0][0] : part[-1][1]].split()) for part in cuts if len(part) >= FEWEST_WORDS]


def _collect(name: str, passages: list[tuple[str, str, str]], queries: int, dev: float, seed: int) -> Collection:
    files = [file for file, _, _ in passages]
    number: dict[str, int] = {}
    ids = []
    for file in files:
        number[file] = number.get(file, 0) + 1
        ids.append(f"{file}#{number[file]}")
    keys = files if len(number) > 1 else ids
    sides = divide(list(dict.fromkeys(keys)), {TRAIN: 1 - dev, DEV: dev}, seed)
    bags = [_words(title, text) for _, title, text in passages]
    counts: dict[str, int] = {}
    for bag in bags:
        for word in bag:
            counts[word] = counts.get(word, 0) + 1
    texts: dict[str, int] = {}
    pairs: dict[str, list[tuple[int, int]]] = {TRAIN: [], DEV: []}
    for row, (key, bag) in enumerate(zip(keys, bags, strict=True)):
        split = sides[key]
        generator = np.random.default_rng([seed, row])
        for _ in range(queries if split == TRAIN else 1):
            drawn = normalised(draw(bag, counts, len(passages), generator))
            if drawn and drawn not in texts:
                pairs[split].append((len(texts), row))
                texts[drawn] = len(texts)
    if not pairs[TRAIN] or not pairs[DEV]:
        raise UserError(f"{name}: its passages hold too few different words to draw pseudo-queries from.")
    return Collection(
        name=name,
        document_ids=ids,
        titles=[title for _, title, _ in passages],
        texts=[text for _, _, text in passages],
        metadata=[{"file": file} for file in files],
        query_ids=[f"pseudo-{row}" for row in range(len(texts))],
        query_texts=list(texts),
        judgements={
            split: Judgements.of([query for query, _ in judged], [row for _, row in judged], np.ones(len(judged)))
            for split, judged in pairs.items()
        },
        notes=(PSEUDO,),
        pseudo=True,
    )


def _words(title: str, text: str) -> list[str]:
    return list(dict.fromkeys(word for word in words_of(f"{title} {text}") if word not in STOP_WORDS))


def draw(bag: list[str], counts: dict[str, int], passages: int, generator: np.random.Generator) -> str:
    """Draws 3 to 8 of a passage's distinct words, in their order, each with a chance that grows with its rarity.

    Args:
        bag: its distinct words.
        counts: passages that hold each word.
        passages: how many passages there are.
        generator: of the draw.

    Returns:
        The words with blanks between, "" for a passage of fewer than three.
    """
    if len(bag) < 3:
        return ""
    idf_W = np.log(1 + passages / np.array([counts[word] for word in bag]))
    size = min(int(generator.integers(3, 9)), len(bag))
    places = np.sort(generator.choice(len(bag), size, replace=False, p=idf_W / idf_W.sum()))
    return " ".join(bag[place] for place in places)
