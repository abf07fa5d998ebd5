"""From a composed config to plain data, a hash and objects; the only place that turns `_target_` into code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from twotower.core.cache import content_key
from twotower.core.errors import UserError

ALLOWED_TARGETS = (
    "twotower.callbacks.",
    "twotower.data.",
    "twotower.index.",
    "twotower.loss.",
    "twotower.optimizer.",
    "torch.optim.",
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.loggers.",
    "pytorch_lightning.Trainer",
)
"""What a `_target_` may name: anything defined below these prefixes. A config from elsewhere can call nothing else."""

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
    """Returns 16 hex digits that are equal for two runs that compute the same thing (seed included)."""
    return content_key({key: value for key, value in config.items() if key not in NOT_IN_HASH})[:16]


def instantiate(config: Mapping[str, Any], **kwargs: Any) -> Any:
    """Builds what a config's `_target_` names, after checking every target in it against the allow-list.

    Args:
        config: plain data or a DictConfig with `_target_`; nested targets are built too.
        **kwargs: further arguments, which win over the config's own.

    Raises:
        UserError: for a target outside `ALLOWED_TARGETS`, or a constructor that refuses its arguments.
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
    """Raises UserError if any `_target_` in nested plain data lies outside the allow-list.

    A name that an allowed module merely imports (`twotower.data.beir.os.system`) is refused as well: what counts is
    where a class or function is defined.
    """
    if isinstance(data, Mapping):
        if "_target_" in data:
            _check_target(str(data["_target_"]), key or "config")
        for name, value in data.items():
            check_targets(value, f"{key}.{name}" if key else str(name))
    elif isinstance(data, (list, tuple)):
        for number, value in enumerate(data):
            check_targets(value, f"{key}[{number}]")


def _check_target(target: str, key: str) -> None:
    from hydra.utils import get_object

    if any(target == item or (item.endswith(".") and target.startswith(item)) for item in ALLOWED_TARGETS):
        try:
            found = get_object(target)
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"{key}._target_={target} can't be found: {' '.join(str(error.__cause__ or error).split())}"
            ) from error
        homes = tuple(item if item.endswith(".") else item.lower() for item in ALLOWED_TARGETS)
        if f"{getattr(found, '__module__', '')}.".startswith(homes) and callable(found):
            return
    raise UserError(
        f"{key}._target_={target} is not allowed; a target is defined below one of: {', '.join(ALLOWED_TARGETS)}."
    )
