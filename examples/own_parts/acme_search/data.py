"""Questions and answers as lines of two columns, the layout of many FAQ exports."""

from __future__ import annotations

import zlib
from pathlib import Path

from twotower.data.collection import Collection, Judgements


def load_faq(path: str | Path, *, held_out: float = 0.1) -> Collection:
    """Reads `question <tab> answer` lines.

    Args:
        path: the file, UTF-8.
        held_out: share of the questions that are kept from training, chosen by a hash of their text.
    """
    lines = [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    pairs = [line.split("\t", 1) for line in lines]
    wrong = next((number for number, pair in enumerate(pairs, start=1) if len(pair) != 2), None)
    if wrong is not None:
        raise ValueError(f"{path}:{wrong}: expected a question, a tab and an answer")
    questions, answers = list(dict.fromkeys(pair[0] for pair in pairs)), list(dict.fromkeys(pair[1] for pair in pairs))
    row_of_question = {text: row for row, text in enumerate(questions)}
    row_of_answer = {text: row for row, text in enumerate(answers)}
    kept = [zlib.crc32(question.encode()) % 1000 < 1000 * held_out for question, _ in pairs]
    judgements = {}
    for split, held in (("train", False), ("dev", True)):
        rows = [pair for pair, is_held in zip(pairs, kept, strict=True) if is_held == held]
        query = [row_of_question[question] for question, _ in rows]
        judgements[split] = Judgements.of(query, [row_of_answer[answer] for _, answer in rows], [1.0] * len(rows))
    return Collection(
        name=Path(path).stem,
        document_ids=[f"answer-{row}" for row in range(len(answers))],
        titles=[""] * len(answers),
        texts=answers,
        query_ids=[f"question-{row}" for row in range(len(questions))],
        query_texts=questions,
        judgements=judgements,
    )
