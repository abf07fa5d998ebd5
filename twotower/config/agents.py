"""Command lines as W&B's agent writes them, in the words of Hydra.

An agent sends Python's `None`, and floats where a whole number is searched among floats. Imports no Hydra.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

WHOLE = (
    *("seed", "sweep.seeds", "trainer.max_epochs", "trainer.devices", "trainer.accumulate_grad_batches"),
    *("trainer.log_every_n_steps", "trainer.threads", "trainer.cache_chunk", "trainer.num_nodes"),
    *("data.batch_size", "data.num_workers", "data.max_query_length", "data.max_document_length"),
    *("data.negatives.count", "data.negatives.depth", "data.negatives.skip"),
    *("data.source.split_seed", "data.source.min_words", "data.source.min_summary_words", "data.source.limit"),
    *("text.min_frequency", "text.max_vocabulary"),
    *("embedding.dim", "embedding.epochs", "embedding.window", "embedding.negative", "embedding.min_count"),
    *(
        "embedding.remove_top",
        "embedding.passes",
        "model.hidden_dim",
        "model.output_dim",
        "model.num_layers",
        "loss.chunk",
    ),
    *("scheduler.step_epochs", "scheduler.patience", "evaluation.k", "evaluation.resamples"),
    *("callbacks.early_stopping.patience", "callbacks.evaluate.every_n_epochs", "callbacks.evaluate.max_queries"),
    *("callbacks.health.patience_steps", "callbacks.prune.warmup_epochs", "callbacks.prune.min_runs"),
)
"""Keys that want whole numbers; those of the model's towers and of indexes are known by their last part."""
WHOLE_ENDS = (
    *("hidden_dim", "output_dim", "num_layers", "ef_construction", "ef_search", "nprobe", "rerank", "train_size", "m"),
    *("batch_size", "hash_tags", "trial_rows"),
)
WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0+")


def in_hydras_words(arguments: Sequence[str]) -> list[str]:
    """Returns a command line with `None` as null, and `32.0` as 32 where a whole number is wanted."""
    return [_in_hydras_words(item) for item in arguments]


def _in_hydras_words(item: str) -> str:
    key, mark, value = item.partition("=")
    if not mark or item.startswith("-"):
        return item
    if value == "None":
        return f"{key}=null"
    name = key.lstrip("+")
    number = WHOLE_FLOAT.fullmatch(value)
    if number and (name in WHOLE or name.rpartition(".")[2] in WHOLE_ENDS):
        return f"{key}={number[1]}"
    return item


def nested_hint(arguments: Sequence[str]) -> str:
    """Returns what to do where a command line holds a dict as Python writes it; "" where it holds none."""
    for item in arguments:
        key, mark, value = item.partition("=")
        if mark and not item.startswith("-") and re.match(r"\{\s*['\"]", value):
            inner = re.match(r"\{\s*['\"]([\w.]+)", value)
            name = f"{key.lstrip('+')}.{inner[1]}" if inner else f"{key}.KEY"
            return (
                f"{item[:80]} is a nested parameter, which Hydra can't read: in a W&B sweep file write dotted keys, "
                f"such as {name}: {{values: [...]}}."
            )
    return ""
