"""From a composed config to plain data, a hash and objects; the only place that turns `_target_` into code.

A part is a class or function that gets the keys beside its `_target_` as arguments: its signature is the schema. What a
part may use of the run (its vocabulary size, say) is offered, and taken by those whose signature names it.

Whose config it is decides what it may name: see `twotower.config.trust`, which judges configs out of files beforehand.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from twotower.config.canonical import canonical
from twotower.config.names import NOT_IN_HASH
from twotower.core.cache import content_key
from twotower.core.errors import UserError, in_one_line, nearest
from twotower.core.extras import is_extra, missing

MISCONFIGURED = "MisconfigurationException"
"""Lightning's exception for a wrong setting, by name: to import it is to import torch, which searching does without."""

CONTROL = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_")
"""Hydra's own keys beside a part's arguments; all is handed over as plain data, so the last two change nothing."""

HARMLESS = ("collections", "datetime", "decimal", "fractions", "pathlib")
"""Modules of Python's own whose classes hold values, as settings of a part may be."""

SAME = {"lightning.pytorch.": "pytorch_lightning.", "lightning.fabric.": "lightning_fabric."}
"""Lightning is published under two names; a run's Trainer knows the parts of its own only."""


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
    counted = {key: value for key, value in canonical(config).items() if key not in NOT_IN_HASH}
    start = config.get("ckpt_path")
    if start not in (None, "last") and (config.get("sweep") or {}).get("session"):
        counted["ckpt_path"] = start
    return content_key(counted)[:16]


def instantiate(config: Any, key: str = "", /, **kwargs: Any) -> Any:
    """Builds what a composed config's `_target_` names: any class or function of an installed or importable package.

    A config out of a file passes `twotower.config.trust.admit` first.

    Args:
        config: plain data or a DictConfig with `_target_`; nested targets are built too.
        key: where it stands in the config, for messages.
        **kwargs: further arguments, which win over the config's own.

    Raises:
        UserError: for a target that can't be found or is no part, or arguments that it refuses.
    """
    return _build(plain(config), key, kwargs, {})


def build_part(config: Any, key: str, offered: Mapping[str, Any] | None = None, *, nested: bool = True) -> Any:
    """As `instantiate`, with things of the run offered to the part.

    Args:
        config: plain data or a DictConfig with `_target_`.
        key: where it stands in the config, for messages.
        offered: name -> value; each goes to a part whose signature names it.
        nested: whether targets among its settings are built before; otherwise they are handed over as they stand.

    Raises:
        UserError: as `instantiate`, and for a setting whose name belongs to what is offered.
    """
    return _build(plain(config), key, {}, offered or {}, nested=nested)


def _build(
    settings: Any, key: str, given: Mapping[str, Any], offered: Mapping[str, Any], *, nested: bool = True
) -> Any:
    if not isinstance(settings, Mapping) or "_target_" not in settings:
        raise UserError(f"{key or 'config'}={settings}: expected a part, which names what it is by _target_.")
    part = locate(settings["_target_"], key)
    own = {str(name): value for name, value in settings.items() if name not in CONTROL}
    arguments = {name: _values(value, f"{key}.{name}") if nested else value for name, value in own.items()}
    positional = [_values(value, f"{key}._args_") for value in settings.get("_args_") or ()]
    partial = bool(settings.get("_partial_"))
    check_arguments(part, {**given, **own}, key, set(offered), positional=None if partial else len(positional))
    names, _ = parameters(part)
    wanted = {name: value for name, value in offered.items() if name in names}
    call = functools.partial(part, *positional, **{**arguments, **wanted, **given})
    return call if partial else _called(call, part, key)


def _values(value: Any, key: str) -> Any:
    """Returns a setting with the parts in it built."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return _build(value, key, {}, {})
        return {name: _values(item, f"{key}.{name}") for name, item in value.items()}
    return [_values(item, f"{key}[{at}]") for at, item in enumerate(value)] if isinstance(value, list) else value


def _called(call: Callable[[], Any], part: Any, key: str) -> Any:
    try:
        return call()
    except UserError:
        raise
    except Exception as error:
        if not isinstance(error, (TypeError, ValueError, ImportError)) and type(error).__name__ != MISCONFIGURED:
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        ours = str(getattr(part, "__module__", "")).startswith(("twotower.", "torch.", "pytorch_lightning."))
        where = "" if ours or last.name == "_called" else f" ({last.filename}:{last.lineno})"
        raise UserError(f"{f'{key}: ' if key else ''}{name_of(part)}: {in_one_line(error)}{where}") from error


def name_of(part: Any) -> str:
    """Returns the dotted name of a class or function."""
    return f"{getattr(part, '__module__', '')}.{getattr(part, '__qualname__', type(part).__name__)}"


def parameters(part: Any) -> tuple[dict[str, inspect.Parameter], bool]:
    """Returns the arguments that a class or function takes by name, and whether it takes any others too."""
    try:
        everything = inspect.signature(part).parameters.values()
    except (TypeError, ValueError):  # some written in C tell nothing
        return {}, True
    fixed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    named = {item.name: item for item in everything if item.kind not in fixed}
    return named, any(item.kind is inspect.Parameter.VAR_KEYWORD for item in everything)


def check_arguments(
    part: Any, settings: Mapping[str, Any], key: str, offered: set[str], *, positional: int | None = 0
) -> None:
    """Refuses settings that a part's signature does not name, or lacks.

    Args:
        part: a class or function.
        settings: its own settings.
        key: where they stand in the config.
        offered: what else it may get.
        positional: arguments given by their order, which stand for the first names; None where others come later.

    Raises:
        UserError: naming the setting, and the nearest that there is.
    """
    names, open_ended = parameters(part)
    known = [name for name in names if name not in offered]
    where = f"{key}." if key else ""
    for name in settings:
        if name not in known and not (open_ended and name not in offered):
            settings_there = ", ".join(known) or "none"
            raise UserError(
                f"{where}{name} is no setting of {name_of(part)}; there are: {settings_there}.{nearest(name, known)}"
            )
    empty = inspect.Parameter.empty
    for name in [] if positional is None else list(names)[positional:]:
        if names[name].default is empty and name not in settings and name not in offered:
            raise UserError(f"{where}{name} is missing: {name_of(part)} has no default for it.")


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
    name = f"{key}._target_" if key else "_target_"
    setting = f"{name}={str(target)[:200]}"
    if not isinstance(target, str) or "." not in target or not all(part.isidentifier() for part in target.split(".")):
        raise UserError(f"{setting} is not the dotted name of a class, such as mypackage.loss.Sigmoid.")
    for theirs, ours in SAME.items():
        target = ours + target.removeprefix(theirs) if target.startswith(theirs) else target
    try:
        part = _imported(target)
    except (ImportError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and is_extra(error.name):
            raise missing(f"{key or target}", str(error.name)) from error
        raise UserError(f"{setting} can't be found: {in_one_line(error)}") from error
    home = str(getattr(part, "__module__", None) or "").partition(".")[0]
    if not callable(part):
        raise UserError(f"{setting} is a {type(part).__name__}, nothing that can be built.")
    if not home or (home in sys.stdlib_module_names and not (home in HARMLESS and isinstance(part, type))):
        raise UserError(f"{setting} is not allowed: it is Python's own; a part comes from a package.")
    return part


def _imported(target: str) -> Any:
    """Imports the longest part of a dotted name that is a module, and reads the rest off it."""
    parts = target.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        try:
            node = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and (module == error.name or module.startswith(f"{error.name}.")):
                continue  # no module of that name; one that it imports itself would be another matter
            raise
        for name in parts[cut:]:
            if not hasattr(node, name):
                raise AttributeError(f"{module} has no {name}.{nearest(name, dir(node))}")
            node = getattr(node, name)
        return node
    raise ImportError(f"there is no module {parts[0]}: is it installed, or its folder on PYTHONPATH?")
