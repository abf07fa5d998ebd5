"""Groups composed outside of a run: a choice for a run that is repeated, settings of an index for an earlier run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from twotower.core.errors import UserError, in_one_line, nearest
from twotower.core.places import conf_dir

SEVERAL = ("index", "logger", "callbacks", "experiment", "debug")
"""Groups of which one may choose several; of the others Hydra would lay one choice over the other."""
SEARCHED: list[str] = []
"""Where choices are looked for beside our own, as Hydra writes it: file:///folder, pkg://mypackage.conf."""


@contextmanager
def searching(places: Sequence[str]) -> Iterator[None]:
    """Looks for choices in folders, or places as Hydra writes them (`pkg://mypackage.conf`), until the block ends.

    Raises:
        UserError: for a folder that is not there.
    """
    before = list(SEARCHED)
    for place in places:
        if "://" not in place and not Path(place).is_dir():
            raise UserError(f"No folder {place} to look for choices in (--config-dir).")
    written = [place if "://" in place else f"file://{Path(place).resolve()}" for place in places]
    SEARCHED[:] = dict.fromkeys([*before, *written])
    try:
        yield
    finally:
        SEARCHED[:] = before


def own_choices(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Takes `hydra.searchpath=[...]` out of overrides, as `train.py` understands it.

    Returns:
        The places, for `searching`, and the other overrides.
    """
    start = "hydra.searchpath="
    lists = [text.removeprefix(start).strip("[] ") for text in overrides if text.startswith(start)]
    places = [place.strip(" '\"") for text in lists for place in text.split(",") if place]
    return places, [text for text in overrides if not text.startswith(start)]


def compose_group(group: str, choice: str | Sequence[str], overrides: Sequence[str] = ()) -> Any:
    """Composes one group as training would, from our choices and those that `searching` added.

    Args:
        group: its name.
        choice: one choice, or several where a group takes a list.
        overrides: of the whole config, such as the values that the group's own refer to.

    Raises:
        UserError: for a choice that does not exist, naming the nearest.
    """
    from hydra import compose as hydra_compose
    from hydra.errors import HydraException

    from twotower.config.hydra_job import hydra_started

    folder = conf_dir()
    written = choice if isinstance(choice, str) else f"[{','.join(choice)}]"
    places = [f"hydra.searchpath=[{','.join(SEARCHED)}]"] if SEARCHED else []
    try:
        with hydra_started():
            whole = hydra_compose("train", overrides=[f"{group}={written}", *places, *overrides])
            return OmegaConf.to_container(whole[group], resolve=True)
    except HydraException as error:
        names = _choices(folder, group)
        missing = next((name for name in ([choice] if isinstance(choice, str) else choice) if name not in names), None)
        if missing is None:
            raise UserError(f"{group}={written}: {in_one_line(error)}") from error
        raise _no_choice(group, missing, names) from error


def _no_choice(group: str, missing: str, names: Sequence[str]) -> UserError:
    hint = nearest(missing, names) or " Choices of your own: --config-dir DIR."
    return UserError(f"No {group}={missing}; there are: {', '.join(names)}.{hint}")


def _choices(folder: Path, group: str) -> list[str]:
    """Returns the names of a group's choices, but for those in packages."""
    folders = [folder, *(Path(place.removeprefix("file://")) for place in SEARCHED if place.startswith("file://"))]
    return sorted({path.stem for base in folders for path in (base / group).glob("*.yaml")})


def compose(names: Sequence[str], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the `index` part of a config, as training would compose it.

    Args:
        names: choices, e.g. ["faiss_hnsw", "redis"].
        overrides: `faiss_hnsw.ef_search=64`, `index.faiss_hnsw.ef_search=64`, or `ef_search=64` for all the choices.

    Raises:
        UserError: for a choice or a setting that does not exist, naming the nearest.
    """
    folder = conf_dir()
    choices = _choices(folder, "index")
    config: dict[str, Any] = {}
    for name in names:
        if SEARCHED:
            config.update(compose_group("index", [name]))
            continue
        if name not in choices:
            raise _no_choice("index", name, choices)
        config.update(OmegaConf.to_container(OmegaConf.load(folder / "index" / f"{name}.yaml")) or {})  # type: ignore[arg-type]
    for override in overrides:
        _apply(config, override)
    return config


def _apply(config: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"'{override}' is not key=value, such as ef_search=64.")
    try:
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]  # type: ignore[index,call-overload]
    except (OmegaConfBaseException, YAMLError) as error:
        raise UserError(f"'{override}': the value is not understood ({str(error).splitlines()[0]}).") from error
    path = key.lstrip("+").removeprefix("index.").split(".")
    if len(path) == 1:
        for settings in config.values():
            settings[path[0]] = value
        return
    if path[0] not in config or len(path) != 2:
        raise UserError(f"'{key}': no such setting of {', '.join(config) or 'no index'}.{nearest(path[0], config)}")
    config[path[0]][path[1]] = value
