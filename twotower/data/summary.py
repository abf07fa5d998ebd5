"""What is told of the data before training, and the check that the evaluation was not trained on.

A leak is a query judged in both splits (by id), or the same pair of query text and relevant document text in both. What
is common and harmless is only reported: a document relevant to queries of both splits, and two queries that share their
text but not their answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from twotower.core.errors import UserError
from twotower.data.collection import Collection, Judgements, bare
from twotower.data.datamodule import RetrievalData
from twotower.data.settings import DataSettings
from twotower.text.tokenizer import Tokenizer
from twotower.text.tokens import Tokens

SPECIAL_WORDS, ALL_UNKNOWN = 2, 0.9
"""Words of every vocabulary that stand for none, and the share of unknown words of documents that stops a run."""
MANY_CUT, MANY_UNKNOWN = 0.2, 0.1
"""Shares of cut texts and of unknown tokens above which the report says what to change."""


def make_report(data: RetrievalData) -> dict[str, Any]:
    """Gathers sizes, judgements per query, unknown words, cut texts, duplicates, and what the splits share.

    Returns:
        plain data, kept in the run record; `notes` holds sentences for the reader.

    Raises:
        UserError: when training and evaluation split share queries and `data.allow_leak` is false.
    """
    collection, settings = data.collection, data.settings
    train, evaluation = settings.train_split, settings.eval_split
    shared = shared_between(collection, train, evaluation, data.tokenizer)
    if is_leak(shared) and not settings.allow_leak:
        raise UserError(leak_message(collection.name, train, evaluation, shared))
    report: dict[str, Any] = {
        "name": collection.name,
        "fingerprint": collection.fingerprint,
        "documents": len(collection.document_ids),
        "queries": len(collection.query_ids),
        "candidates": None if collection.candidates is None else len(collection.candidates),
        "given_negatives": given_negatives(collection, train),
        "train_split": train,
        "eval_split": evaluation,
        "splits": {name: describe_split(judgements) for name, judgements in collection.judgements.items()},
        "duplicates": describe_duplicates(collection, train, evaluation),
        "shared": shared,
        "vocabulary": {"size": data.tokenizer.size, "hash": data.tokenizer.hash},
        "document_tokens": describe_tokens(data.document_tokens),
        "indexed": {"text": collection.indexed_as, "tokens": describe_tokens(data.searched_tokens)}
        if collection.indexed_texts is not None
        else None,
        "query_tokens": describe_tokens(data.query_tokens),
        "train_query_oov_rate": oov_rate(data.query_tokens, collection.split(train).queries),
        "eval_query_oov_rate": oov_rate(data.query_tokens, collection.split(evaluation).queries),
    }
    _check_vocabulary(report)
    report["notes"] = [*collection.notes, *_notes(report, settings)]
    return report


def _check_vocabulary(report: dict[str, Any]) -> None:
    size, unknown = report["vocabulary"]["size"], report["document_tokens"]["oov_rate"]
    if size <= SPECIAL_WORDS or unknown > ALL_UNKNOWN:
        raise UserError(
            f"{report['name']}: the vocabulary holds {size - SPECIAL_WORDS} words, and {unknown:.0%} of the documents' "
            "words are none of them: a script that needs another way of cutting words (text.segmentation=icu, "
            "text=wordpiece), a word list of another language, or too small a collection for text.min_frequency?"
        )


def describe_split(judgements: Judgements) -> dict[str, Any]:
    """Counts the queries, judgements and grades of a split, and the relevant documents of a query."""
    relevant = judgements.positive
    per_query = np.unique(judgements.query[relevant], return_counts=True)[1]
    return {
        "queries": len(judgements.queries),
        "without_relevant": len(np.setdiff1d(judgements.query, judgements.queries)),
        "judgements": len(judgements),
        "relevant": int(relevant.sum()),
        "relevant_per_query": float(per_query.mean()) if len(per_query) else 0.0,
        "most_relevant_per_query": int(per_query.max(initial=0)),
        "judgements_per_query": len(judgements) / max(len(np.unique(judgements.query)), 1),
        "grades": sorted({float(grade) for grade in np.unique(judgements.grade)}),
    }


def given_negatives(collection: Collection, split: str | None) -> int:
    """Counts the queries of a split whose candidate lists hold a document judged as not relevant."""
    if collection.candidates is None:
        return 0
    judged = collection.split(split)
    wrong = judged.query[~judged.positive].astype(np.int64) << 32 | judged.document[~judged.positive]
    listed = collection.candidates.query.astype(np.int64) << 32 | collection.candidates.document
    return len(np.intersect1d(np.unique(wrong[np.isin(wrong, listed)] >> 32), judged.queries))


def describe_duplicates(collection: Collection, train: str | None, evaluation: str) -> dict[str, int]:
    """Counts documents, and queries of each split, whose text another one before them has."""

    def repeated(groups: np.ndarray) -> int:
        return len(groups) - len(np.unique(groups))

    return {
        "documents": repeated(collection.text_group),
        "train_queries": repeated(collection.query_group[collection.split(train).queries]),
        "eval_queries": repeated(collection.query_group[collection.split(evaluation).queries]),
    }


def describe_tokens(tokens: Tokens) -> dict[str, Any]:
    """Rates of unknown tokens and cut texts, and lengths after cutting."""
    lengths = tokens.lengths
    return {
        "oov_rate": tokens.statistics.oov_rate,
        "truncation_rate": tokens.statistics.truncation_rate,
        "cut_token_rate": tokens.statistics.cut_tokens / max(tokens.statistics.tokens, 1),
        "empty": tokens.statistics.empty,
        "mean_length": float(lengths.mean()) if len(lengths) else 0.0,
        "longest": int(lengths.max(initial=0)),
    }


def oov_rate(tokens: Tokens, rows: np.ndarray) -> float:
    """Share of unknown tokens among those kept of some rows."""
    ids_T = tokens.take(rows).ids_T
    return float((ids_T == 1).double().mean()) if len(ids_T) else 0.0


def shared_between(collection: Collection, train: str | None, evaluation: str, tokenizer: Tokenizer) -> dict[str, int]:
    """Counts what the judgements of two splits have in common; texts that the tokenizer reads alike are the same.

    Returns:
        `query_ids`: queries with a relevant document in both; `pairs`: evaluation judgements whose query text and
        document text are a training pair too; `query_texts`: evaluation queries whose text is that of a training query;
        `documents`: documents relevant in both.
    """
    first, second = collection.split(train), collection.split(evaluation)
    queries = read_alike(collection.query_texts, first.queries, second.queries, tokenizer)
    # only the judgements of queries that both splits have can be the same pair
    judged = [_of_queries(split, rows) for split, rows in zip((first, second), queries, strict=True)]
    relevant = [np.unique(document) for _, document in judged]
    documents = read_alike(_Joined(collection), relevant[0], relevant[1], tokenizer)
    pairs = [
        [(queries[side][query], documents[side].get(document)) for query, document in zip(*judged[side], strict=True)]
        for side in (0, 1)
    ]
    known = {pair for pair in pairs[0] if pair[1] is not None}
    return {
        "query_ids": len(np.intersect1d(first.queries, second.queries)),
        "pairs": sum(pair in known for pair in pairs[1]),
        "query_texts": len(queries[1]),
        "documents": len(np.intersect1d(first.document[first.positive], second.document[second.positive])),
    }


def _of_queries(judgements: Judgements, rows: dict[int, int]) -> tuple[list[int], list[int]]:
    """Returns query and document rows of the relevant judgements of some queries."""
    chosen = judgements.positive & np.isin(judgements.query, list(rows))
    return judgements.query[chosen].tolist(), judgements.document[chosen].tolist()


class _Joined:
    """Title and text of a document, joined when asked for."""

    def __init__(self, collection: Collection) -> None:
        self.titles, self.texts = collection.titles, collection.texts

    def __getitem__(self, row: int) -> str:
        return f"{self.titles[row]} {self.texts[row]}" if self.titles[row] else self.texts[row]


def read_alike(
    texts: Sequence[str] | _Joined, first: np.ndarray, second: np.ndarray, tokenizer: Tokenizer
) -> tuple[dict[int, int], dict[int, int]]:
    """Finds the texts of one set of rows that the tokenizer reads as it reads one of another set.

    Texts without the same letters and digits can't be read alike; only the others are put through the tokenizer.

    Returns:
        For each of the two sets, a number for every row whose text occurs in both; the same for the same text.
    """
    bare_of = [{row: bare(texts[row]) for row in rows.tolist()} for rows in (first, second)]
    both = set(bare_of[0].values()) & set(bare_of[1].values())
    numbers: dict[tuple[str, ...], int] = {}
    seen: list[dict[int, int]] = []
    for side in bare_of:
        rows = [row for row, key in side.items() if key in both]
        words = [tuple(tokenizer.words(texts[row])) or (texts[row],) for row in rows]
        seen.append({row: numbers.setdefault(key, len(numbers)) for row, key in zip(rows, words, strict=True)})
    common = set(seen[0].values()) & set(seen[1].values())
    kept = [{row: number for row, number in side.items() if number in common} for side in seen]
    return kept[0], kept[1]


def is_leak(shared: dict[str, int]) -> bool:
    """Says whether what two splits share makes the evaluation worthless."""
    return shared["query_ids"] > 0 or shared["pairs"] > 0


def leak_message(name: str, train: str | None, evaluation: str, shared: dict[str, int]) -> str:
    """Returns the one line that says what leaks and what to do."""
    if train == evaluation:
        return f"{name}: train_split and eval_split are both '{train}'; choose two, or set data.allow_leak=true."
    return (
        f"{name}: splits '{train}' and '{evaluation}' share {shared['query_ids']} queries by id and {shared['pairs']} "
        "pairs of query and relevant document by text, as the tokenizer reads it; take them out of "
        "one, or set data.allow_leak=true."
    )


def _notes(report: dict[str, Any], settings: DataSettings) -> Iterator[str]:
    shared, train, evaluation = report["shared"], report["train_split"], report["eval_split"]
    if is_leak(shared):
        yield "LEAK allowed: " + leak_message(report["name"], train, evaluation, shared).rpartition(";")[0] + "."
    for name in dict.fromkeys((train, evaluation)):
        if name and (bare_queries := report["splits"][name]["without_relevant"]):
            yield f"{bare_queries} judged queries of {name} have no relevant document, and no figure counts them."
    if shared["query_texts"]:
        yield f"{shared['query_texts']} queries of {evaluation} have the text of a query of {train}."
    if report.get("given_negatives") and settings.negatives.kind == "in_batch":
        yield (
            f"The data brings negatives for {report['given_negatives']} {train} queries, which are not trained with; "
            "data.negatives.kind=candidates data.negatives.count=1 uses them."
        )
    if indexed := report["indexed"]:
        length = f"{indexed['tokens']['mean_length']:.0f} words on average"
        cut = f"{indexed['tokens']['truncation_rate']:.1%} cut"
        yield f"Index and documents.db hold {indexed['text']}: {length}, {cut}."
    for side in ("document", "query"):
        tokens = report[f"{side}_tokens"]
        if tokens["truncation_rate"] > MANY_CUT:
            key = f"max_{side}_length"
            yield f"{tokens['truncation_rate']:.0%} of {side} texts are cut at data.{key}={getattr(settings, key)}."
        if tokens["empty"]:
            yield f"{tokens['empty']} {side} texts hold no word."
    if report["eval_query_oov_rate"] > MANY_UNKNOWN:
        rate = f"{report['eval_query_oov_rate']:.0%}"
        yield f"{rate} of the words of {evaluation} queries are unknown; try text=wordpiece."


def report_table(report: dict[str, Any]) -> Table:
    """Lays a report out for the terminal."""
    # as text: brackets in a name are no markup
    title = Text(f"Data: {report['name']} ({report['fingerprint'][:12]})", style="table.title")
    table = Table(title=title, title_justify="left")
    named = [report[key] for key in ("train_split", "eval_split") if report[key] is not None]
    for heading in ("", "documents", *(f"{name} queries" for name in named)):
        table.add_column(heading, justify="left" if not heading else "right")
    splits, only = [report["splits"][name] for name in named], len(named) == 1
    document, query, copies = report["document_tokens"], report["query_tokens"], report["duplicates"]
    table.add_row("number", f"{report['documents']:,}", *(f"{split['queries']:,}" for split in splits))
    table.add_row("judgements", "", *(f"{split['judgements']:,}" for split in splits))
    table.add_row("relevant documents a query", "", *(f"{split['relevant_per_query']:.2f}" for split in splits))
    rates = ("eval_query_oov_rate",) if only else ("train_query_oov_rate", "eval_query_oov_rate")
    table.add_row("unknown words", f"{document['oov_rate']:.2%}", *(f"{report[key]:.2%}" for key in rates))
    table.add_row("cut texts", f"{document['truncation_rate']:.2%}", *[f"{query['truncation_rate']:.2%}"] * len(named))
    counted = ("documents", "eval_queries") if only else ("documents", "train_queries", "eval_queries")
    table.add_row("copies of another", *(f"{copies[key]:,}" for key in counted))
    if not only:
        table.add_row("in both splits", f"{report['shared']['documents']:,}", "", f"{report['shared']['query_ids']:,}")
    table.add_row("vocabulary", f"{report['vocabulary']['size']:,}", *[""] * len(named))
    table.caption = Text("\n".join(report["notes"]), style="table.caption") if report["notes"] else None
    table.caption_justify = "left"
    return table
