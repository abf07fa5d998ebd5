"""What keys and parts of a config are called: those that tell nothing of a result, and our parts. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twotower.core.errors import UserError, nearest

NOT_IN_HASH = ("run_name", "ckpt_path", "logger", "sweep", "paths", "tags", "print_config")
"""Top-level keys that say where and how a run is watched, not what it computes: left out of its hash, of comparisons
and of what a sweep varies."""

EARLIER_KEYS = {"embedding.learn_from": "embedding.alpha"}
"""Key of earlier versions -> today's: recorded runs and command lines may still use it."""

MODULE = "twotower.model.module.TwoTowerModule"
"""The LightningModule of a config that names none."""

TOWERS = {
    "mlp": "twotower.model.mlp.MlpTower",
    "gru": "twotower.model.rnn.GruTower",
    "lstm": "twotower.model.rnn.LstmTower",
    "rnn": "twotower.model.rnn.RnnTower",
}
"""Short name -> `_target_`: `model.query_tower=gru` is `model.query_tower._target_=twotower.model.rnn.GruTower`."""


SCHEDULERS = {
    "cosine": "twotower.scheduler.schedules.cosine",
    "linear": "twotower.scheduler.schedules.linear",
    "step": "twotower.scheduler.schedules.step",
    "none": "twotower.scheduler.schedules.constant",
    "reduce_on_plateau": "twotower.scheduler.schedules.reduce_on_plateau",
}
"""`scheduler.name` -> `_target_`, for records that name a schedule by its name alone."""

EMBEDDINGS = {
    "random": "twotower.embedding.sources.RandomVectors",
    "cbow": "twotower.embedding.sources.Cbow",
    "skipgram": "twotower.embedding.sources.SkipGram",
    "lsa": "twotower.embedding.sources.Lsa",
    "glove": "twotower.embedding.sources.Glove",
    "file": "twotower.embedding.sources.VectorFile",
}
"""`embedding.kind` -> `_target_`, for records that name a source by its kind alone."""

TOKENIZER = "twotower.text.tokenizer.Tokenizer"
"""The tokenizer of a config that names none."""


def tower_settings(key: str, tower: Any) -> dict[str, Any]:
    """Returns what a config says of a tower as a part: `_target_` and its own settings.

    Args:
        key: where it stands, such as model.query_tower.
        tower: a short name, the dotted name of a class, or a mapping with `_target_`.

    Raises:
        UserError: for a name that is none of ours.
    """
    if isinstance(tower, Mapping) and "_target_" in tower:
        return dict(tower)
    if isinstance(tower, str) and "." in tower:
        return {"_target_": tower}
    if not isinstance(tower, str) or tower not in TOWERS:
        names = ", ".join(TOWERS)
        raise UserError(
            f"{key}={tower} is unknown; choose one of: {names}; an own tower by its class: {key}=mypackage.Tower."
            f"{nearest(str(tower), TOWERS)}"
        )
    return {"_target_": TOWERS[tower]}
