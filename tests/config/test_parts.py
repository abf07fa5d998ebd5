"""A part is built from its own settings and what it names of the run's; mistakes are told by key."""

from __future__ import annotations

import sys

import pytest
import pytorch_lightning as pl
import torch

from twotower.config.canonical import canonical
from twotower.config.instantiate import build_part, config_hash, instantiate
from twotower.core.errors import UserError
from twotower.model.two_tower import TwoTower
from twotower.scheduler.build import build_scheduler

CODE = """
import torch

class Part:
    def __init__(self, *, size, offered=None, inner=None):
        self.size, self.offered, self.inner = size, offered, inner

class Fails:
    def __init__(self):
        raise ValueError("no such luck")

class Tower(torch.nn.Module):
    def __init__(self, *, embedding_dim, width=3):
        super().__init__()
        self.project = torch.nn.Linear(embedding_dim, width)

    def forward(self, embedding, ids_T, offsets_B1):
        ends = offsets_B1.tolist()
        rows = [embedding(ids_T[a:b]).sum(0) for a, b in zip(ends[:-1], ends[1:])]
        return self.project(torch.stack(rows))

class Wrong(Tower):
    def forward(self, embedding, ids_T, offsets_B1):
        return embedding(ids_T).sum()
"""


@pytest.fixture(autouse=True)
def lib(tmp_path, monkeypatch):
    (tmp_path / "libparts.py").write_text(CODE)
    (tmp_path / "libbroken.py").write_text("import missing_dependency_of_mine\nclass Part: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("libparts", "libbroken"):
        sys.modules.pop(name, None)


def test_what_is_offered_goes_to_a_signature_that_names_it():
    part = build_part({"_target_": "libparts.Part", "size": 2}, "loss", {"offered": 5, "other": 6})
    assert (part.size, part.offered) == (2, 5)


def test_parts_among_the_settings_are_built_too_and_functions_may_wait():
    inner = {"_target_": "libparts.Part", "size": 1}
    part = instantiate({"_target_": "libparts.Part", "size": 2, "inner": {"deep": [inner]}})
    assert part.inner["deep"][0].size == 1
    assert instantiate({"_target_": "libparts.Part", "_partial_": True})(size=3).size == 3
    assert instantiate({"_target_": "datetime.timedelta", "_args_": [1]}).days == 1


def test_a_value_with_a_dollar_stays_as_it_is(monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    assert instantiate({"_target_": "libparts.Part", "size": "${oc.env:SECRET}"}).size == "${oc.env:SECRET}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 1, "sise": 2}, r"loss\.sise is no setting of libparts\.Part; there are: size, inner\. Did .*'size'"),
        ({}, r"loss\.size is missing: libparts\.Part has no default"),
        ({"size": 1, "offered": 2}, r"loss\.offered is no setting of libparts\.Part; there are: size, inner"),
        ({"_target_": "libparts.Fails"}, r"loss: libparts\.Fails: no such luck \(.*libparts\.py:10\)"),
        ({"_target_": "libparts.Prat"}, r"libparts has no Prat\. Did you mean 'Part'\?"),
        (
            {"_target_": "libbroken.Part"},
            r"libbroken\.Part can't be found: No module named 'missing_dependency",
        ),
        ({"_target_": "libnowhere.Part"}, r"no module libnowhere: is it installed, or its folder on PYTHONPATH\?"),
    ],
)
def test_mistakes_are_told_by_key(settings, message):
    with pytest.raises(UserError, match=message):
        build_part({"_target_": "libparts.Part", **settings}, "loss", {"offered": 5})


def test_what_names_no_part_is_refused():
    for config in (3, None, "loss", {"margin": 1}):
        with pytest.raises(UserError, match=r"loss=.*_target_"):
            instantiate(config, "loss")


def test_lightning_under_its_other_name_is_the_same():
    stopping = instantiate({"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "x"})
    assert type(stopping) is pl.callbacks.EarlyStopping


def test_an_own_tower_says_its_size_by_what_it_gives():
    tower = {"_target_": "libparts.Tower", "width": 5}
    model = TwoTower(vocabulary_size=9, embedding_dim=4, query_tower=tower, document_tower=tower)
    assert model.output_dim == 5
    other = {"_target_": "libparts.Tower", "width": 6}
    with pytest.raises(UserError, match=r"5 numbers, model\.document_tower of 6"):
        TwoTower(vocabulary_size=9, embedding_dim=4, query_tower=tower, document_tower=other, shared=False)


def test_settings_beside_the_towers_go_to_those_that_name_them():
    tower = {"_target_": "libparts.Tower"}
    model = TwoTower(
        vocabulary_size=9, embedding_dim=4, query_tower=tower, document_tower="mlp", shared=False, width=8, output_dim=8
    )
    assert model.query_tower.project.out_features == 8
    with pytest.raises(UserError, match=r"model\.widht .*Did you mean 'width'"):
        TwoTower(vocabulary_size=9, embedding_dim=4, query_tower=tower, document_tower=tower, widht=8)


def test_a_tower_that_gives_no_vectors_is_told_at_the_start():
    wrong = {"_target_": "libparts.Wrong"}
    with pytest.raises(UserError, match=r"model\.query_tower: Wrong gives \(\) for two texts, not \(2, D\)"):
        TwoTower(vocabulary_size=9, embedding_dim=4, query_tower=wrong, document_tower=wrong)
    with pytest.raises(UserError, match=r"model\.query_tower=mypackage\.Tower"):
        TwoTower(vocabulary_size=9, embedding_dim=4, query_tower="tower", document_tower="mlp", shared=False)


def test_a_class_may_stand_for_a_tower():
    model = TwoTower(
        vocabulary_size=9, embedding_dim=4, query_tower="libparts.Tower", document_tower="libparts.Tower", width=6
    )
    assert model.output_dim == 6


def test_a_schedule_of_torch_s_own_moves_every_epoch_unless_told():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    config = {"_target_": "torch.optim.lr_scheduler.ExponentialLR", "gamma": 0.5}
    assert build_scheduler(config, optimizer, total_steps=9, steps_per_epoch=3)["interval"] == "epoch"
    told = build_scheduler({**config, "interval": "step"}, optimizer, total_steps=9, steps_per_epoch=3)
    assert told["interval"] == "step"
    with pytest.raises(UserError, match=r"scheduler\._target_=.* gives a Part"):
        build_scheduler({"_target_": "libparts.Part", "size": 1}, optimizer, total_steps=9, steps_per_epoch=3)


def test_short_names_and_targets_are_the_same_to_the_hash():
    short = {"seed": 0, "model": {"query_tower": "gru", "dropout": 0.1}, "scheduler": {"name": "none"}, "text": {}}
    long = {
        "seed": 0,
        "model": {
            "_target_": "twotower.model.module.TwoTowerModule",
            "query_tower": {"_target_": "twotower.model.rnn.GruTower"},
            "dropout": 0.1,
        },
        "scheduler": {"name": "none", "_target_": "twotower.scheduler.schedules.constant"},
        "text": {"_target_": "twotower.text.tokenizer.Tokenizer"},
    }
    assert canonical(long) == short
    assert config_hash(long) == config_hash(short)
    own = {**long, "model": {**long["model"], "query_tower": {"_target_": "mine.Tower"}}}
    assert config_hash(own) != config_hash(short)
