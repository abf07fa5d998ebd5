"""A training state with right checksums and wrong content, through Lightning: one line, or a run that goes on."""

from __future__ import annotations

import copy
import importlib.util
import random
import shutil
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from twotower.config.instantiate import plain
from twotower.core.errors import UserError
from twotower.core.memo import keeping
from twotower.training.train import train

ROOT = Path(__file__).resolve().parents[2]
CONF = next(path for path in (ROOT / "twotower" / "conf", ROOT / "conf") if (path / "train.yaml").is_file())
SMALL = [
    *("data=beir", "embedding=random", "embedding.dim=8", "model.hidden_dim=8", "model.output_dim=8", "pretrain=none"),
    *("trainer.enable_progress_bar=false", "trainer.threads=1", "index=none", "data.batch_size=60"),
    *("evaluation.bm25=false", "evaluation.resamples=10", "evaluation.protocols=full"),
]
FEW, MANY = 12, 600


def load_mutations():
    if "mutations" not in sys.modules:
        spec = importlib.util.spec_from_file_location("mutations", Path(__file__).with_name("mutations.py"))
        sys.modules["mutations"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["mutations"])
    return sys.modules["mutations"]


mutations = load_mutations()


def composed(data: Path, folder: Path, epochs: int, extra=()) -> dict:
    overrides = [*SMALL, f"trainer.max_epochs={epochs}", f"data.path={data}", f"paths.run={folder}", *extra]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return plain(compose("train", overrides=overrides))


def trained(config: dict, folder: Path, resume: Path | None = None) -> None:
    folder.mkdir(exist_ok=True)
    train(config, run_dir=folder, overrides=[], choices={}, resume=resume)


def steered(structure: dict, chance: random.Random) -> dict:
    """Returns the structure with one value below a random one of its keys exchanged: most places are weights' names."""
    key = chance.choice([name for name in structure if name != "hyper_parameters"])
    extra = [torch.zeros(3), torch.tensor(float("nan")), torch.zeros(2, 2), torch.zeros(3, dtype=torch.int64)]
    value = {"": copy.deepcopy(structure[key])}
    way = chance.choice([way for way in mutations.places(value) if len(way) > 1] or [("",)])
    node = value
    for name in way[:-1]:
        node = node[name]
    if len(way) > 1 and chance.random() < 0.2:
        del node[way[-1]]
    else:
        node[way[-1]] = chance.choice(mutations.VALUES + extra)
    return {**structure, key: value[""]}


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_forged_training_state_goes_on_or_is_refused_in_one_line(tiny_beir, tmp_path, capsys, count, optimizer):
    count, extra = count // 2, [f"optimizer={optimizer}", "scheduler=reduce_on_plateau"][: 1 + (optimizer == "sgd")]
    trained(composed(tiny_beir, tmp_path / "first", 1, extra), tmp_path / "first")
    whole = tmp_path / "first" / "checkpoints" / "last.ckpt"
    structure, forged = torch.load(whole, weights_only=True), tmp_path / "forged.ckpt"
    tally, chance = mutations.Tally(), random.Random(0)
    with keeping():
        for number in range(count):
            torch.save(steered(structure, chance), forged)
            folder = tmp_path / f"run{number}"
            config = composed(tiny_beir, folder, 2, extra)
            tally.run(f"{optimizer} {number}", lambda c=config, f=folder: trained(c, f, forged))
            shutil.rmtree(folder, ignore_errors=True)
            capsys.readouterr()
    with capsys.disabled():
        print(f"\nlast.ckpt forged, {optimizer}: {tally}")
        print("\n".join(tally.escaped))
    assert tally.cases == count
    assert tally.escaped == []


def test_what_an_optimizer_misses_at_its_first_step_is_said_of_the_file(tiny_beir, tmp_path):
    extra = ["optimizer=sgd", "scheduler=reduce_on_plateau"]
    trained(composed(tiny_beir, tmp_path / "first", 1, extra), tmp_path / "first")
    state = torch.load(tmp_path / "first" / "checkpoints" / "last.ckpt", weights_only=True)
    del state["optimizer_states"][0]["state"][4]
    torch.save(state, tmp_path / "forged.ckpt")
    with pytest.raises(UserError, match=r"forged\.ckpt does not fit: it is damaged \(TypeError"):
        trained(composed(tiny_beir, tmp_path / "next", 2, extra), tmp_path / "next", tmp_path / "forged.ckpt")
