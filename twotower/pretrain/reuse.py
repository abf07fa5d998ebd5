"""What the corpus taught an earlier run is not learnt again: weights after pre-training, kept by all that decides them.

A sweep over settings of the training on pairs, or a run repeated, starts from the very same weights; so its corpus is
trained on once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from twotower.core.cache import CacheClosedError, cached_folder, content_key
from twotower.core.errors import UserError
from twotower.core.files import read_json, write_json
from twotower.kernels.identity import device_of, is_ours, machine, weights
from twotower.text.tokens import Tokens

logger = logging.getLogger(__name__)

KIND, WEIGHTS, FACTS = "pretrained", "weights.safetensors", "facts.json"


def key_of(
    method: Any,
    encoder: nn.Module,
    documents: Tokens,
    *,
    model: Any,
    size: int,
    seed: int,
    groups: np.ndarray | None,
) -> str | None:
    """Returns the key of everything that decides the weights after pre-training, their last bits included.

    None where that can't be known: for a method that does not say, or towers of somebody's own, whose code may change.

    Args:
        method: says by `decided_by()` which of its settings do, as plain data.
        encoder: as it is before.
        documents: the corpus.
        model: the config of the model, for what its weights don't show.
        size: number of words V.
        seed: of everything random.
        groups: numbers of the documents, equal for those of the same text.
    """
    if not is_ours(encoder.modules()) or not callable(getattr(method, "decided_by", None)):
        return None
    state: list[Any] = [[parameter.requires_grad for parameter in encoder.parameters()], *weights(encoder)]
    corpus = [np.asarray(documents.ids_T), np.asarray(documents.offsets)]
    same = "none" if groups is None else np.asarray(groups)
    kind = f"{type(method).__module__}.{type(method).__qualname__}"
    settings = [kind, method.decided_by(), model, size, seed]
    return content_key("pretrained 2", *machine(), device_of(encoder), *settings, *corpus, same, *state)


def train_or_reuse(encoder: nn.Module, key: str | None, train: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Brings an encoder to the weights it has after pre-training.

    Args:
        encoder: is changed in place.
        key: from `key_of`; None trains in any case.
        train: trains it and returns plain data for the record.

    Returns:
        What `train` returned, now or in the run that trained; `reused` says which.

    Raises:
        UserError: when what was kept can't be read.
    """
    facts: dict[str, Any] | None = None

    def fill(folder: Path) -> None:
        nonlocal facts
        facts = train()
        state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in encoder.state_dict().items()}
        save_file(state, folder / WEIGHTS)
        write_json(folder / FACTS, facts)

    if key is None:
        return {**train(), "reused": False}
    try:
        folder = cached_folder(KIND, key, fill)
    except CacheClosedError as error:
        logger.info("What the corpus taught is not kept. %s", error)
        return {**train(), "reused": False}
    if facts is not None:
        return {**facts, "reused": False}
    encoder.load_state_dict(_read(folder / WEIGHTS, encoder))
    return {**read_json(folder / FACTS), "reused": True}


def _read(path: Path, encoder: nn.Module) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} can't be read ({error}); remove it with `twotower cache clear {KIND}`.") from error
    shapes = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    if {name: tensor.shape for name, tensor in state.items()} != shapes:
        raise UserError(f"{path} holds other weights than it should; remove it with `twotower cache clear {KIND}`.")
    return state
