"""What an earlier run measured before its first step is not measured again: means kept by all that decides them.

The jobs of a sweep over settings of the training on pairs start from the very same model, untrained and pre-trained.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from twotower.core.cache import cached_folder, content_key
from twotower.core.errors import UserError
from twotower.core.files import write_json
from twotower.core.reading import Each, read_typed_json
from twotower.data.collection import Collection
from twotower.evaluation.settings import EvaluationSettings
from twotower.kernels.distributed import world_size
from twotower.kernels.identity import device_of, is_ours, machine, weights
from twotower.text.tokens import Tokens

logger = logging.getLogger(__name__)

KIND, FILE = "evaluations", "means.json"
Means = dict[str, dict[str, float]]


def key_of(
    encoder: nn.Module,
    collection: Collection,
    tokens: tuple[Tokens, Tokens],
    query_rows: np.ndarray,
    split: str,
    settings: EvaluationSettings,
    *,
    model: Any,
    precision: str | None,
) -> str | None:
    """Returns the key of everything that decides a model's means, their last bits included.

    None where that can't be known: for towers or metrics of somebody's own, whose code may change; and where
    several processes share the work, which all have to take part in it.

    Args:
        encoder: the model.
        collection: documents and judgements.
        tokens: of its queries, and of its documents.
        query_rows: rows of the queries under evaluation [Q].
        split: whose judgements count.
        settings: how it is measured.
        model: the config of the model, for what its weights don't show.
        precision: in which the run computes.
    """
    if settings.metrics or world_size() > 1 or not is_ours(encoder.modules()):
        return None
    numbers = [*machine(), device_of(encoder), precision, torch.get_float32_matmul_precision()]
    texts = [np.asarray(part) for side in tokens for part in (side.ids_T, side.offsets)]
    asked = [collection.fingerprint, np.asarray(query_rows), split, settings.to_dict()]
    return content_key("means 1", *numbers, model, *asked, *texts, *weights(encoder))


def measure_or_reuse(key: str | None, measure: Callable[[], Means]) -> Means:
    """Returns protocol -> metric -> value as `measure` does, or as it did in an earlier run.

    Args:
        key: from `key_of`; None measures in any case.
        measure: encodes and ranks.
    """
    started = False
    measured: Means | None = None

    def fill(folder: Path) -> None:
        nonlocal started, measured
        started = True
        measured = measure()
        write_json(folder / FILE, measured)

    if key is None:
        return measure()
    try:
        folder = cached_folder(KIND, key, fill)
    except (UserError, OSError) as error:  # the cache is closed or its disk full, or nothing can be measured
        if started and measured is None:
            raise
        logger.info("What was measured before the first step is not kept. %s", error)
        return measured or measure()
    if measured is not None:
        return measured
    try:
        means: Means = read_typed_json(folder / FILE, Each(Each(float)))
    except UserError as error:
        logger.warning("Measured anew: %s `twotower cache clear %s` removes what is damaged.", error, KIND)
        return measure()
    return means
