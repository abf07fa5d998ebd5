"""Named experiments: each composes from its one-line command and says what it gave, and at which commit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from twotower.config.instantiate import plain
from twotower.config.trust import admit
from twotower.model.two_tower import TwoTower

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "conf" / "experiment"
NAMES = sorted(
    path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml") if path.stem != "shared"
)
NUMBERS = re.compile(r"commit [0-9a-f]{7,}.*MRR@10 \.\d+ \[\.\d+, \.\d+\]", re.DOTALL)


def header(name: str) -> str:
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("#"))


def test_there_are_some():
    assert {"tldr_mlp", "tldr_gru", "squad_mlp", "docstrings_mlp", "mlp_versus_rnn/gru"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_composes_into_a_whole_config(name):
    with initialize_config_dir(str(FOLDER.parent), version_base="1.3"):
        config = plain(compose("train", overrides=[f"experiment={name}", "data.path=there", "paths.run=here"]))
    admit(config, source="conf")
    TwoTower(vocabulary_size=2, embedding_dim=8, **{k: v for k, v in config["model"].items() if k != "_target_"})
    assert config["trainer"]["max_epochs"] >= 2


@pytest.mark.parametrize("name", [name for name in NAMES if "/" not in name])
def test_it_states_command_commit_and_numbers(name):
    told = header(name)
    assert f"python train.py experiment={name}" in told
    assert NUMBERS.search(told), told
    readme = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    assert f"`{name}`" in readme


def test_the_report_on_mlp_versus_rnn_is_complete():
    folder = ROOT / "experiments" / "mlp_versus_rnn"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert {"## Question", "## Commands", "## Numbers", "## Conclusion"} <= set(readme.splitlines())
    assert re.search(r"commit `[0-9a-f]{7,}`", readme)
    assert "(picture.png)" in readme
    assert (folder / "picture.png").stat().st_size < 150_000
    for name in NAMES:
        if name.startswith("mlp_versus_rnn/"):
            assert name in readme
