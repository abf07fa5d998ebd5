"""Questions worth asking a run: drawn from the evaluation, put as a person would ask them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from twotower.core.errors import UserError
from twotower.data.documents import DocumentStore
from twotower.runs.per_query import read_per_query
from twotower.runs.run import Run

T = TypeVar("T")
SHORTEST, LONGEST = 3, 9
"""Words of a question that one would type."""
PSEUDO = "pseudo_"
"""How the name of a split of made-up queries begins."""
LONGEST_TITLE, TITLES_READ = 5, 400
LONGEST_AS_IT_IS = 90
"""Characters of a query that is shown as it stands, where none can be put better."""
_ASKING = "how what when where which who whom whose why can do does did is are was were will"
ASKING = frozenset(_ASKING.split())
_DOING = (
    "add append apply build calculate change check clean clear clone close combine compare compile compress compute "
    "concatenate connect convert copy count create decode delete detect disable display download draw edit enable "
    "encode encrypt execute export extract fetch filter find fit flatten format generate get group import insert "
    "install invert join kill launch list load locate lock log make map measure merge monitor mount move normalize "
    "open parse plot print query read remove rename repeat replace reset resize restart restore reverse rotate "
    "round run sample save scan search select send set show shuffle sort split start stop store sum swap sync take "
    "test transform trim uninstall unmount update upload use validate verify view wait watch write"
)
DOING = frozenset(_DOING.split())
"""First words of a description of something that is done; "how do I" before them makes a question."""
PLAIN = re.compile(r"[^\W\d_][\w'-]*[,?]?(?: [\w'-]+[,?]?)*", re.UNICODE)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question of the evaluation split.

    Attributes:
        text: as a person would ask it.
        query: as it stands in the data.
        answer: id of a right document among the model's first ten, "" where none is known.
    """

    text: str
    query: str
    answer: str = ""


def phrased(query: str) -> str | None:
    """Returns a query as a person would ask it, None for what nobody types (code, long sentences, single words)."""
    text = " ".join(query.split()).rstrip(".:;! ")
    words = text.split()
    if not SHORTEST <= len(words) <= LONGEST or not PLAIN.fullmatch(text):
        return None
    first = words[0].lower()
    if first in ASKING:
        return text
    rest = text if text[1:2].isupper() else text[0].lower() + text[1:]
    return f"how do I {rest}" if first in DOING else rest


def everyday(queries: Iterable[str], count: int) -> list[str]:
    """Returns questions as a person would ask them: those that ask or tell of a deed first, evenly drawn.

    Where no query can be put so, the shortest ones are given as they are.
    """
    known = list(dict.fromkeys(query for query in queries if query.strip()))
    asked = [text for query in known if (text := phrased(query)) is not None]
    best = [text for text in asked if text.split()[0].lower() in ASKING] or asked
    return spread_out(best or sorted(known, key=len), count)


def about(title: str) -> str | None:
    """Returns a question about what a document's title names, None for a title that isn't a few plain words."""
    named = " ".join(re.sub(r"[-_/.]+", " ", title).split())
    if len(named.split()) > LONGEST_TITLE or not PLAIN.fullmatch(named):
        return None
    asked = phrased(named)
    if asked is not None and asked.split()[0].lower() in ASKING:
        return asked
    several = named.endswith("s") and not named.endswith(("ss", "is", "us"))
    return f"what {'are' if several else 'is'} {named if named[1:2].isupper() else named[0].lower() + named[1:]}"


def spread_out(items: Sequence[T], count: int) -> list[T]:
    """Returns at most so many of the items, evenly drawn."""
    return list(items[:: max(1, len(items) // max(1, count))][:count])


def questions(run: Run, count: int) -> list[Question]:
    """Returns questions of a run's evaluation whose right answer it knows; none where none are kept.

    Where the evaluation's queries are made up (words of a passage), nobody asks like that: the documents' titles are
    asked about, without a known answer.

    Args:
        run: a finished run.
        count: how many.
    """
    if str((run.record.get("evaluation") or {}).get("split") or "").startswith(PSEUDO):
        return _about_titles(run, count)
    try:
        table = read_per_query(run, "full")
    except UserError:
        return []
    if "query" not in table.column_names:
        return []
    known: dict[str, Question] = {}
    others: dict[str, Question] = {}
    columns = (table[name].to_pylist() for name in ("query", "first_relevant_rank", "top_ids"))
    for query, rank, top in zip(*columns, strict=True):
        if not query or not rank or not top or rank > len(top):
            continue
        text, answer = phrased(query), str(top[rank - 1])
        if text is not None:
            known.setdefault(text, Question(text=text, query=query, answer=answer))
        elif len(query) <= LONGEST_AS_IT_IS:
            others.setdefault(query, Question(text=query, query=query, answer=answer))
    asking = {text: item for text, item in known.items() if text.split()[0].lower() in ASKING}
    return spread_out(list((asking or known or others).values()), count)


def _about_titles(run: Run, count: int) -> list[Question]:
    try:
        with DocumentStore(run.path / "documents.db") as store:
            drawn = spread_out(range(store.count), TITLES_READ)
            titles = dict.fromkeys(item.title for item in store.fetch(drawn))
    except UserError:
        return []
    asked = [Question(text=text, query=title) for title in titles if (text := about(title)) is not None]
    return spread_out(asked, count)
