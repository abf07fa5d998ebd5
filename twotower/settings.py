"""Settings that no room of the package checks by itself, checked before any data is read."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from twotower.checks import check_choice, check_count, check_flag, check_keys, check_number
from twotower.errors import UserError, nearest

TOP_LEVEL = (
    *("callbacks", "ckpt_path", "data", "embedding", "evaluation", "index", "logger", "loss", "model", "optimizer"),
    *("paths", "run_name", "scheduler", "seed", "sweep", "tags", "text", "trainer"),
)
"""Every key at the top of a config."""

EVALUATION = ("protocols", "objective", "k", "max_memory", "bm25", "confidence", "resamples")
OWN_TRAINER = ("_target_", "threads", "cache_chunk")
NEEDED_CALLBACKS = ("evaluate", "record", "checkpoint", "export")
"""A run without one of these would leave no result; the others may be taken out."""


def check_settings(config: Mapping[str, Any]) -> None:
    """Checks the top level, the seed, and the groups trainer, evaluation and callbacks.

    Args:
        config: the full resolved config, plain data.

    Raises:
        UserError: for an unknown key, a value out of range, or a callback that can't be done without.
    """
    for key in config:
        if key not in TOP_LEVEL:
            raise UserError(f"No config key '{key}'; there are: {', '.join(TOP_LEVEL)}.{nearest(key, TOP_LEVEL)}")
    if check_count("seed", config["seed"], at_least=0) >= 2**32:
        raise UserError(f"seed={config['seed']} must be below 2 ** 32.")
    check_trainer(config["trainer"])
    check_evaluation(config["evaluation"])
    for name in NEEDED_CALLBACKS:
        if not config["callbacks"].get(name):
            raise UserError(f"callbacks.{name} can't be taken out: without it a run leaves no result.")


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Checks the `trainer` group.

    Raises:
        UserError: as `check_settings`, and for a GPU that isn't there.
    """
    import torch
    from pytorch_lightning import Trainer

    check_keys("trainer", trainer, [*OWN_TRAINER, *inspect.signature(Trainer.__init__).parameters])
    check_count("trainer.max_epochs", trainer["max_epochs"])
    if trainer.get("gradient_clip_val") is not None:
        check_number("trainer.gradient_clip_val", trainer["gradient_clip_val"], at_least=0)
    check_number("trainer.limit_train_batches", trainer.get("limit_train_batches", 1.0), above=0)
    check_count("trainer.accumulate_grad_batches", trainer.get("accumulate_grad_batches", 1))
    if trainer.get("threads") is not None:
        check_count("trainer.threads", trainer["threads"])
    if trainer.get("accelerator") in ("gpu", "cuda") and not torch.cuda.is_available():
        raise UserError(f"trainer.accelerator={trainer['accelerator']}: this machine has no GPU; use trainer=cpu.")


def check_evaluation(evaluation: Mapping[str, Any]) -> None:
    """Checks the `evaluation` group, so that no finished training fails at its evaluation.

    Raises:
        UserError: as `check_settings`.
    """
    from twotower.evaluation.budget import parse_size
    from twotower.evaluation.names import METRICS

    check_keys("evaluation", evaluation, EVALUATION)
    protocol, _, metric = str(evaluation["objective"]).partition("/")
    known = [f"{name}/{item}" for name in ("full", "rerank") for item in METRICS]
    if f"{protocol}/{metric}" not in known:
        hint = nearest(str(evaluation["objective"]), known)
        raise UserError(f"evaluation.objective={evaluation['objective']} is none of {', '.join(known)}.{hint}")
    wanted = evaluation["protocols"]
    for name in [wanted] if isinstance(wanted, str) else wanted:
        check_choice("evaluation.protocols", name, ("auto", "full", "rerank"))
    if wanted not in ("auto", protocol) and protocol not in wanted:
        raise UserError(
            f"evaluation.objective={protocol}/{metric} is of a protocol that evaluation.protocols={wanted} leaves out; "
            f"add evaluation.objective={wanted if isinstance(wanted, str) else wanted[0]}/{metric}."
        )
    check_count("evaluation.k", evaluation["k"])
    check_count("evaluation.resamples", evaluation["resamples"], at_least=10)
    check_number("evaluation.confidence", evaluation["confidence"], above=0, below=1)
    check_flag("evaluation.bm25", evaluation["bm25"])
    parse_size(evaluation["max_memory"])
