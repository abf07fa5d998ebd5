from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from twotower.core.errors import UserError
from twotower.loss.contrastive import ContrastiveLoss
from twotower.model.two_tower import TwoTower
from twotower.optimizer.build import build_optimizer, parameter_groups

CONF = Path(__file__).resolve().parents[2] / "conf" / "optimizer"
ADAM = {"_target_": "torch.optim.Adam", "lr": 0.01, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.1}


class Holder(nn.Module):
    def __init__(self, **config: object) -> None:
        super().__init__()
        self.model = TwoTower(vocabulary_size=9, embedding_dim=4, hidden_dim=5, output_dim=3, **config)
        self.loss = ContrastiveLoss(learn_temperature=True)


def test_groups_hold_every_trained_parameter_once() -> None:
    holder = Holder()
    groups = {group["name"]: group for group in parameter_groups(holder, lr=0.01, embedding_lr=0.5)}
    members = [item for group in groups.values() for item in group["params"]]
    assert {id(item) for item in members} == {id(item) for item in holder.parameters()}
    assert len(members) == len({id(item) for item in members})
    assert [item is holder.model.embedding.weight for item in groups["embedding"]["params"]] == [True]
    assert groups["embedding"]["lr"] == 0.5
    assert groups["matrices"]["lr"] == groups["vectors"]["lr"] == 0.01
    assert groups["vectors"]["weight_decay"] == 0.0
    assert any(item is holder.loss.log_temperature for item in groups["vectors"]["params"])


def test_word_weights_learn_at_a_rate_of_their_own() -> None:
    holder = Holder()
    groups = {group["name"]: group for group in parameter_groups(holder, lr=0.01, word_weights=5)}
    assert [item is holder.model.query_tower.layers[0].weight for item in groups["word_weights"]["params"]] == [True]
    assert groups["word_weights"]["lr"] == pytest.approx(0.05)
    assert sum(len(group["params"]) for group in groups.values()) == len(list(holder.parameters()))


def test_frozen_word_vectors_are_left_out_and_nothing_left_is_an_error() -> None:
    holder = Holder()
    holder.model.embedding.weight.requires_grad_(False)
    assert "embedding" not in {group["name"] for group in parameter_groups(holder, lr=0.01)}
    for parameter in holder.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(UserError, match="Nothing is left to train"):
        parameter_groups(holder, lr=0.01)


def test_flat_betas_reach_the_optimizer() -> None:
    optimizer = build_optimizer(ADAM, parameter_groups(Holder(), lr=0.01))
    assert isinstance(optimizer, torch.optim.Adam)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.95)}
    decay = {group["name"]: group["weight_decay"] for group in optimizer.param_groups}
    assert decay == {"matrices": 0.1, "embedding": 0.1, "vectors": 0.0}


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_choice_lowers_a_loss(path: Path) -> None:
    lowers_a_loss(OmegaConf.to_container(OmegaConf.load(path)))


@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_sparse_gradients_with_torch_s_own(name: str) -> None:
    config = {"_target_": f"torch.optim.{name}", "lr": 0.1, "sparse": True}
    lowers_a_loss(config)
    for change, message in (
        ({"fused": True}, r"fused .*; add optimizer\.fused=false"),
        ({"weight_decay": 0.1}, r"optimizer\.weight_decay=0\.1 of .*; set it to 0"),
    ):
        with pytest.raises(UserError, match=message):
            build_optimizer({**config, **change}, parameter_groups(Holder(), lr=0.01))


def lowers_a_loss(config: dict) -> None:
    torch.manual_seed(0)
    holder = Holder(sparse_gradients=bool(config.get("sparse")))
    optimizer = build_optimizer(config, parameter_groups(holder, lr=config["lr"]))
    from twotower.text.tokens import TokenBatch

    query, document = TokenBatch.from_rows([[2, 3], [4], [5, 6]]), TokenBatch.from_rows([[7, 3], [8, 4], [2, 6, 6]])
    losses = []
    for _ in range(5):
        output = holder.loss(
            holder.model.encode_queries(query),
            holder.model.encode_documents(document),
            torch.zeros(3, 3, dtype=torch.bool),
        )
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(float(output.loss.detach()))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": -1}, r"optimizer\.lr=-1"),
        ({"lr": None}, r"optimizer\.lr=None"),
        ({"beta1": 1.0}, r"optimizer\.beta1=1\.0"),
        ({"weight_decay": -0.1}, r"optimizer\.weight_decay=-0\.1"),
        ({"weigth_decay": 0.1}, "Did you mean 'weight_decay'"),
        ({"_target_": "torch.optim.Adan"}, "torch.optim.Adan"),
        ({"_target_": "torch.optim.lr_scheduler.LambdaLR"}, "is not an optimizer"),
        ({"_target_": "os.system"}, "not allowed"),
        ({"_target_": None}, "optimizer=adam, adamw"),
        ({"sparse": True}, "sparse_adam or sgd"),
    ],
)
def test_bad_values_are_named(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_optimizer({**ADAM, **change}, parameter_groups(Holder(), lr=0.01))


def test_momentum_is_for_sgd_only() -> None:
    with pytest.raises(UserError, match=r"optimizer\.momentum is not a key"):
        build_optimizer({**ADAM, "momentum": 0.9}, parameter_groups(Holder(), lr=0.01))
    with pytest.raises(UserError, match=r"optimizer\.beta1 is not a key"):
        build_optimizer({"_target_": "torch.optim.SGD", "lr": 0.1, "beta1": 0.9}, parameter_groups(Holder(), lr=0.01))


def test_layers_learn_at_a_rate_of_their_own_and_words_do_not_take_it() -> None:
    holder = Holder()
    groups = {group["name"]: group for group in parameter_groups(holder, lr=0.01, layers=0.2)}
    assert groups["matrices"]["lr"] == groups["vectors"]["lr"] == pytest.approx(0.002)
    assert groups["embedding"]["lr"] == groups["word_weights"]["lr"] == 0.01
    assert [item is holder.model.query_tower.layers[0].weight for item in groups["word_weights"]["params"]] == [True]
