"""Index settings from conf/index and `key=value` overrides, for building an index of an earlier run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from twotower.core.errors import UserError, nearest


def conf_folder() -> Path:
    """Returns the folder of the index choices: `conf/index` here, else the one beside the package.

    Raises:
        UserError: when there is neither.
    """
    for base in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (base / "conf" / "index").is_dir():
            return base / "conf" / "index"
    raise UserError("No folder conf/index here: run this in the project's folder.")


def compose(names: Sequence[str], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the `index` part of a config, as training would compose it.

    Args:
        names: choices, e.g. ["faiss_hnsw", "redis"].
        overrides: `faiss_hnsw.ef_search=64`, `index.faiss_hnsw.ef_search=64`, or `ef_search=64` for all the choices.

    Raises:
        UserError: for a choice or a setting that does not exist, naming the nearest.
    """
    folder = conf_folder()
    choices = sorted(path.stem for path in folder.glob("*.yaml"))
    config: dict[str, Any] = {}
    for name in names:
        if name not in choices:
            raise UserError(f"index={name}: no such choice; there are: {', '.join(choices)}.{nearest(name, choices)}")
        config.update(OmegaConf.to_container(OmegaConf.load(folder / f"{name}.yaml")) or {})  # type: ignore[arg-type]
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
