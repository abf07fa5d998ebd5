"""Every key of the config set to values of wrong kinds, every group taken out: one line that names the key.

Hydra composes the config in this process and the checks of a run's start look at it; nothing is trained.
"""

from __future__ import annotations

import copy
import random
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from twotower.cli.train import explain, refuse_odd_choices
from twotower.config.instantiate import plain
from twotower.core.errors import UserError
from twotower.training.train import check_start

ROOT = Path(__file__).resolve().parents[2]
CONF = next(path for path in (ROOT / "twotower" / "conf", ROOT / "conf") if (path / "train.yaml").is_file())
VALUES = [1, -3, 0.5, True, None, "x", "", [], [1], {}, {"a": 1}, float("inf"), 10**20]
PARTS = 8
GONE = object()
"""Stands for a key that is taken out."""
BASES = {
    "mlp": ["index=[faiss_flat,exact]"],
    "gru": ["model=gru", "loss=triplet", "optimizer=sgd", "scheduler=step", "index=faiss_hnsw", "embedding=random"],
    "others": ["model=mlp_gru", "loss=margin", "scheduler=reduce_on_plateau", "index=auto", "text=wordpiece"],
    "redis": ["index=redis", "index.redis.url=redis://127.0.0.1:1"],
}
NAMED = [
    "model=1",
    "evaluation=3",
    "data.negatives=1",
    "~text",
    "callbacks.early_stopping=1",
    "evaluation.protocols=5",
    "index=redis index.redis.url='redis://[::1'",
    "data.source._target_=twotower.data.",
    "loss._target_=twotower.loss",
    "callbacks.export._target_=...",
    "trainer=null",
    "logger.csv=7",
    "tags=5",
    "seed=x",
    "paths=1",
    "debug=fast,null",
    "loss=1,triplet",
    "loss=range(3)",
    "loss=[contrastive,triplet]",
    "index=[exact],[1]",
]


def composed(overrides: list[str]):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return plain(compose("train", overrides=[*overrides, "paths.run=/nowhere"]))


def keys(node, prefix: str = ""):
    for name, value in node.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{name}.")


def told(overrides: list[str]) -> str | None:
    """Returns the line a user reads about what was typed, or None where it is fine."""
    try:
        refuse_odd_choices(overrides)
        check_start(composed(overrides))
    except UserError as error:
        return str(error)
    except (HydraException, OmegaConfBaseException) as error:
        return explain(error)
    return None


def changed(config: dict, key: str, value) -> dict:
    config = copy.deepcopy(config)
    *parents, name = key.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    if value is GONE:
        del node[name]
    else:
        node[name] = value
    return config


def cases():
    """Yields (base, key, value) for every key of every base and every wrong value, not through Hydra: it is slow."""
    for base, overrides in BASES.items():
        for key in keys(composed(overrides)):
            if key == "paths.run" or key.startswith("sweep") or (base == "redis" and "redis" not in key):
                continue
            for value in (GONE, *VALUES):
                yield base, key, value


@pytest.fixture(autouse=True)
def as_the_program(monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(ROOT / "train.py")])
    monkeypatch.delenv("REDIS_URL", raising=False)


def attack(chosen) -> list[str]:
    configs, wrong = {base: composed(overrides) for base, overrides in BASES.items()}, []
    for base, key, value in chosen:
        what = f"{base} ~{key}" if value is GONE else f"{base} {key}={value!r}"
        try:
            check_start(changed(configs[base], key, value))
        except UserError as error:
            line = str(error)
            if "\n" in line or len(line) > 1200:
                wrong.append(f"{what}: {len(line)} characters: {line[:80]}")
        except Exception as error:
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else "?"
            wrong.append(f"{what}: {type(error).__name__}: {str(error)[:90]} ({where})")
    return wrong


@pytest.mark.parametrize("mistake", NAMED)
def test_mistakes_that_were_met_are_told_in_one_line(mistake):
    line = told(mistake.split())
    assert line
    assert "\n" not in line
    group = mistake.split()[-1].lstrip("~").partition("=")[0].split(".")[0]
    assert group in line


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("index.redis.url=redis://[::1]:1", "quote a value with signs of its own: 'index.redis.url=\"...\"'"),
        ("run_name=a=b", "quote a value with signs of its own"),
        ("optimizer.lr = 0.1", "without blanks"),
        ("model", "settings are written key=value"),
        ("=3", "=3 names no setting"),
    ],
)
def test_what_hydra_cannot_read_is_named_with_the_way_to_write_it(typed, line):
    message = told([typed])
    assert message is not None
    assert line in message
    assert typed in message


def test_a_config_that_is_fine_passes():
    for overrides in (BASES["mlp"], BASES["gru"]):
        assert told(overrides) is None


def test_some_mistakes_of_every_kind():
    chosen = random.Random(0).sample(list(cases()), 60)
    assert attack(chosen) == []


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_mistake(part):
    chosen = list(cases())[part::PARTS]
    wrong = attack(chosen)
    print(f"\n{len(chosen)} config mistakes, {len(wrong)} tracebacks")
    print("\n".join(wrong))
    assert wrong == []


@pytest.mark.parametrize("override", ["paths.run=x", "++paths.run=x", "paths={run: x}", "~paths"])
def test_a_run_s_folder_is_hydra_s_to_set(override):
    with pytest.raises(UserError, match=r"hydra\.run\.dir=DIR"):
        refuse_odd_choices([override])
