from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from twotower.core.errors import UserError
from twotower.scheduler.build import build_scheduler

CONF = Path(__file__).resolve().parents[2] / "conf" / "scheduler"


def rates(config: dict, *, total: int = 20, per_epoch: int = 5) -> list[float]:
    """The learning rate of each step's update."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=2.0)
    schedule = build_scheduler(config, optimizer, total_steps=total, steps_per_epoch=per_epoch)
    seen = []
    for _ in range(total):
        seen.append(optimizer.param_groups[0]["lr"])
        weight.grad = torch.ones(1)
        optimizer.step()
        if schedule is not None:
            schedule["scheduler"].step()
    return seen


def test_cosine_and_linear_after_warm_up() -> None:
    for name, shape in (("cosine", lambda x: (1 + math.cos(math.pi * x)) / 2), ("linear", lambda x: 1 - x)):
        seen = rates({"name": name, "warmup": 0.2, "final": 0.1})
        expected = [2 * (step + 1) / 5 for step in range(4)]
        expected += [2 * (0.1 + 0.9 * shape(step / 16)) for step in range(16)]
        assert seen == pytest.approx(expected)


def test_step_counts_epochs() -> None:
    assert rates({"name": "step", "step_epochs": 2, "gamma": 0.5}) == [2.0] * 10 + [1.0] * 10


def test_none_is_constant_after_warm_up() -> None:
    assert rates({"name": "none", "warmup": 0.1}) == pytest.approx([2 / 3, 4 / 3] + [2.0] * 18)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    assert build_scheduler({"name": "none"}, optimizer, total_steps=9, steps_per_epoch=3) is None


def test_each_group_keeps_its_own_rate() -> None:
    first, second = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [first], "lr": 1.0}, {"params": [second], "lr": 0.1}])
    schedule = build_scheduler({"name": "linear"}, optimizer, total_steps=4, steps_per_epoch=2)
    for _ in range(2):
        optimizer.step()
        schedule["scheduler"].step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.05])


def test_plateau_lowers_the_rate_and_tells_lightning_what_to_watch() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    config = {"name": "reduce_on_plateau", "factor": 0.1, "patience": 1}
    schedule = build_scheduler(config, optimizer, total_steps=9, steps_per_epoch=3, monitor="eval_full/mrr_10")
    assert schedule["monitor"] == "eval_full/mrr_10"
    assert schedule["interval"] == "epoch"
    for value in (0.5, 0.4, 0.4):
        schedule["scheduler"].step(value)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_choice_builds_and_never_gives_a_negative_or_larger_rate(path: Path) -> None:
    config = OmegaConf.to_container(OmegaConf.load(path))
    if config["name"] != "reduce_on_plateau":
        assert all(0 <= rate <= 2 for rate in rates(config))
    for total in (0, 1, 2):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        build_scheduler(config, optimizer, total_steps=total, steps_per_epoch=1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "cosin"}, "Did you mean 'cosine'"),
        ({"name": "cosine", "warmup": 1.0}, r"scheduler\.warmup=1\.0"),
        ({"name": "cosine", "gamma": 0.5}, r"scheduler\.gamma is no setting"),
        ({"name": "step", "step_epochs": 0}, r"scheduler\.step_epochs=0"),
        ({"name": "reduce_on_plateau", "warmup": 0.1}, r"scheduler\.warmup is not available"),
        ({"name": "reduce_on_plateau", "mode": "maximum"}, r"scheduler\.mode=maximum"),
    ],
)
def test_bad_values_are_named(config: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rates(config)
