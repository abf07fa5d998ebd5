"""From a composed config to plain data, a hash and objects; the only place that turns `_target_` into code.

Whose config it is decides what it may name: see `twotower.config.trust`, which judges configs out of files beforehand.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from twotower.core.cache import content_key
from twotower.core.errors import UserError

NOT_IN_HASH = ("run_name", "ckpt_path", "logger", "sweep", "paths", "tags", "print_config")
"""Top-level keys that say where and how a run is watched, not what it computes."""


MISCONFIGURED = "MisconfigurationException"
"""Lightning's exception for a wrong setting, by name: to import it is to import torch, which searching does without."""


def plain(config: Any) -> Any:
    """Returns a config as dicts, lists, strings and numbers with every interpolation resolved.

    Raises:
        UserError: for a value still missing (`???`), naming its key.
    """
    if not isinstance(config, (DictConfig, ListConfig)):
        return config
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise UserError(f"The config needs a value for {missing[0]}: add {missing[0]}=... to the command line.")
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def config_hash(config: Mapping[str, Any]) -> str:
    """Returns 16 hex digits that are equal for two runs that compute the same thing (seed included).

    Where a job of a sweep starts from (`ckpt_path`) counts; elsewhere it says which run goes on.
    """
    counted = {key: value for key, value in config.items() if key not in NOT_IN_HASH}
    start = config.get("ckpt_path")
    if start not in (None, "last") and (config.get("sweep") or {}).get("session"):
        counted["ckpt_path"] = start
    return content_key(counted)[:16]


HARMLESS = ("collections", "datetime", "decimal", "fractions", "pathlib")
"""Modules of Python's own whose classes hold values, as settings of a part may be."""


def instantiate(config: Mapping[str, Any], **kwargs: Any) -> Any:
    """Builds what a composed config's `_target_` names: any class or function of an installed or importable package.

    A config out of a file passes `twotower.config.trust.admit` first.

    Args:
        config: plain data or a DictConfig with `_target_`; nested targets are built too.
        **kwargs: further arguments, which win over the config's own.

    Raises:
        UserError: for a target that can't be found or is no part, or a constructor that refuses its arguments.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate as hydra_instantiate

    data = plain(config)
    check_targets(data)
    try:
        return hydra_instantiate(data, **kwargs, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, (TypeError, ValueError, ImportError)) or type(cause).__name__ == MISCONFIGURED:
            raise UserError(f"{data.get('_target_')}: {cause}") from error
        if cause is not None:
            raise cause from None
        raise UserError(" ".join(str(error).split())[:300]) from error


def check_targets(data: Any, key: str = "") -> None:
    """Raises UserError if any `_target_` in nested plain data can't be found, or is one of Python's own functions."""
    if isinstance(data, Mapping):
        if "_target_" in data:
            locate(data["_target_"], key)
        for name, value in data.items():
            check_targets(value, f"{key}.{name}" if key else str(name))
    elif isinstance(data, (list, tuple)):
        for number, value in enumerate(data):
            check_targets(value, f"{key}[{number}]")


def locate(target: Any, key: str = "") -> Any:
    """Imports what a `_target_` names.

    What counts is where it is defined, not through which module it is reached: `mine.os.system` is Python's own.

    Args:
        target: a dotted name.
        key: where it stands in the config, for messages.

    Raises:
        UserError: when it can't be found or imported, can't be called, or belongs to Python's standard library.
    """
    from hydra.utils import get_object

    name = f"{key}._target_" if key else "_target_"
    told = f"{name}={str(target)[:200]}"
    if not isinstance(target, str) or not all(part.isidentifier() for part in target.split(".")):
        raise UserError(f"{told} is not the dotted name of a class, such as mypackage.loss.Sigmoid.")
    try:
        part = get_object(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{told} can't be found: {' '.join(str(error.__cause__ or error).split())}") from error
    home = str(getattr(part, "__module__", None) or "").partition(".")[0]
    if not callable(part):
        raise UserError(f"{told} is a {type(part).__name__}, nothing that can be built.")
    if not home or (home in sys.stdlib_module_names and not (home in HARMLESS and isinstance(part, type))):
        raise UserError(f"{told} is not allowed: it is Python's own; a part comes from a package.")
    return part
