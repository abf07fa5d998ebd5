"""Two-tower document search: train, compare honestly, index and search.

    import twotower

    run = twotower.train(["model=gru", "data=beir", "data.path=DIR"])
    model = twotower.load(run)
    vectors_ND = model.encode_queries(["how do I sort a list"])
    hits = twotower.SearchEngine.open(run).search("how do I sort a list", k=10).hits
    table = twotower.Ledger("outputs").to_frame()

Everything here is loaded when it is first used: the import itself takes milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from twotower.core.version import __version__ as __version__

if TYPE_CHECKING:
    from twotower.api import Model as Model
    from twotower.api import export as export
    from twotower.api import load as load
    from twotower.api import train as train
    from twotower.core.errors import UserError as UserError
    from twotower.runs.ledger import Ledger as Ledger
    from twotower.runs.run import Run as Run
    from twotower.search.engine import SearchEngine as SearchEngine

__all__ = ["Ledger", "Model", "Run", "SearchEngine", "UserError", "__version__", "export", "load", "train"]

_HOMES = {
    "Ledger": "twotower.runs.ledger",
    "Model": "twotower.api",
    "Run": "twotower.runs.run",
    "SearchEngine": "twotower.search.engine",
    "UserError": "twotower.core.errors",
    "export": "twotower.api",
    "load": "twotower.api",
    "train": "twotower.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
