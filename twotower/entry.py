"""What stands between the command line of `train.py` and training: names, folders, errors; no torch until a job runs."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from twotower.cache import content_key
from twotower.errors import UserError, nearest

NOT_IN_FOLDER = ("seed", "sweep.", "ckpt_path", "run_name", "hydra.", "hydra/", "logger")


def job_folder(overrides: Iterable[str]) -> str:
    """Returns a folder name for one job of a sweep, from its overrides without the seed.

    Characters a path can't hold are replaced; a name too long for a file system is cut and ends in a hash, so two
    different jobs never share a folder.
    """
    kept = sorted(item for item in overrides if not item.lstrip("+~").startswith(NOT_IN_FOLDER))
    name = ",".join(re.sub(r"[^\w=.,+\-\[\]]+", "_", item) for item in kept)
    clean = ",".join(kept)
    if name != clean or len(name) > 120:
        name = f"{name[:110]}-{content_key(clean)[:8]}"
    return name or "defaults"


def sweep_name(arguments: Iterable[str]) -> str:
    """Returns a sweep's name made from its command line, the same whenever the same sweep is started again.

    It names the swept keys and ends in a hash of all overrides except those about seeds and the sweep itself.
    """
    ignored = ("sweep.", "seed=", "hydra.", "hydra/", "ckpt_path=")
    overrides = sorted(item for item in arguments if "=" in item and not item.startswith(("-", *ignored)))
    swept = [item.split("=", 1)[0].lstrip("+") for item in overrides if re.search(r"=[^\[\]{}]*,|\(", item)]
    return f"{'-'.join(swept)[:60] or 'sweep'}-{content_key(overrides)[:6]}"


def run(main: Callable[[], Any]) -> None:
    """Calls the Hydra main function; a user's mistake ends as one line with exit code 2.

    For a sweep without a name, the name is added to the command line, so that every job in every process knows it.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print the error itself, and exit with 1
    signal.signal(signal.SIGTERM, _interrupt)
    if {"-m", "--multirun"} & set(sys.argv[1:]) and not any(item.startswith("sweep.name=") for item in sys.argv):
        sys.argv.append(f"sweep.name={sweep_name(sys.argv[1:])}")
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        main()
    except UserError as error:
        _fail(str(error), 2)
    except (HydraException, OmegaConfBaseException) as error:
        _fail(explain(error), 2)
    except KeyboardInterrupt:
        _fail("stopped; `ckpt_path=last` goes on from the last finished epoch", 130)


def explain(error: Exception) -> str:
    """Turns an error of Hydra or OmegaConf into one line that names the key and the nearest valid one."""
    text = " ".join(str(error.__cause__ or error).split())
    lines = " ".join(str(error).split())
    if match := re.search(r"Could not override '([^']+)'", lines):
        key = match.group(1)
        return f"No config key '{key}'.{_nearest_key(key)} `python train.py --cfg job` shows them all."
    if match := re.search(r"Could not find '([^']+)'\s*Available options in '([^']+)':\s*(.*?)\s*(?:Config search|$)", lines):
        group, options = match.group(2), match.group(3).split()
        choice = match.group(1).split("/")[-1]
        return f"No {group}={choice}; there are: {', '.join(options)}.{nearest(choice, options)}"
    if match := re.search(r"Could not override '([^']+)'\. No match", lines):
        return f"No config group '{match.group(1)}'."
    return text or lines


def _nearest_key(key: str) -> str:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    folder = Path(sys.argv[0]).resolve().parent / "conf"
    with initialize_config_dir(str(folder), version_base="1.3"):
        config = compose("train")
    names: list[str] = []

    def walk(node: Any, prefix: str) -> None:
        for name in node:
            names.append(prefix + str(name))
            child = OmegaConf.to_container(node, resolve=False)[name]  # type: ignore[index, call-overload]
            if isinstance(child, dict):
                walk(node[name], f"{prefix}{name}.")

    walk(config, "")
    hint = nearest(key, names)
    if not hint:
        tails = {name.rsplit(".", 1)[-1]: name for name in reversed(names)}
        close = nearest(key.rsplit(".", 1)[-1], tails)
        hint = re.sub(r"'(.+)'", lambda found: f"'{tails[found.group(1)]}'", close) if close else ""
    return hint


def job(config: DictConfig) -> float | None:
    """Runs one training job for a composed config and returns its objective.

    Args:
        config: what Hydra composed; its run folder comes from Hydra's own runtime.
    """
    from hydra.core.hydra_config import HydraConfig

    from twotower.config import config_hash, plain

    hydra = HydraConfig.get()
    chosen = OmegaConf.to_container(hydra.runtime.choices)
    assert isinstance(chosen, dict)
    choices = {str(key): value for key, value in chosen.items() if "hydra/" not in str(key)}
    run_dir, resume = Path(hydra.runtime.output_dir), None
    if config.ckpt_path is not None:
        from twotower.runs.resume import find_resume

        new_dir = run_dir
        run_dir, resume = find_resume(config.ckpt_path, new_dir, config_hash(plain(config)))
        _move(config, new_dir, run_dir)
    from twotower.training import train

    return train(plain(config), run_dir=run_dir, overrides=list(hydra.overrides.task), choices=choices, resume=resume)


def _move(config: DictConfig, new_dir: Path, run_dir: Path) -> None:
    """Goes on in an earlier run's folder: its log grows, and the folder Hydra made for this start goes away."""
    if run_dir.resolve() == new_dir.resolve():
        return
    OmegaConf.update(config, "paths.run", str(run_dir))
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.close()
            handler.baseFilename = str(run_dir / "train.log")
    shutil.rmtree(new_dir)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _fail(message: str, code: int) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text(f"train.py: {message}", style="red"))
    sys.exit(code)


OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
