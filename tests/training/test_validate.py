"""Every mistake in a config is named before any data is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from twotower.config.instantiate import plain
from twotower.core.errors import UserError
from twotower.training.validate import check_settings

CONF = Path(__file__).resolve().parents[2] / "conf"


def config(*overrides):
    fixed = ["data=beir", "data.path=/nowhere", "paths.run=/nowhere"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return plain(compose("train", [*fixed, *overrides]))


MODELS = [path.stem for path in (CONF / "model").glob("*.yaml")]
OPTIMIZERS = [path.stem for path in (CONF / "optimizer").glob("*.yaml")]
SCHEDULERS = [path.stem for path in (CONF / "scheduler").glob("*.yaml")]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_passes(model):
    check_settings(config(f"model={model}"))


@pytest.mark.parametrize(
    ("optimizer", "scheduler"), [*((name, "cosine") for name in OPTIMIZERS), *((("adam", name)) for name in SCHEDULERS)]
)
def test_every_optimizer_and_scheduler_passes(optimizer, scheduler):
    check_settings(config(f"optimizer={optimizer}", f"scheduler={scheduler}"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.lr=-1"], r"optimizer\.lr=-1"),
        (["optimizer.lr=abc"], r"optimizer\.lr=abc"),
        (["optimizer.beta1=1.5"], r"optimizer\.beta1=1\.5"),
        (["+optimizer.foo=1"], r"optimizer\.foo"),
        (["+optimizer.sparse=true"], r"optimizer\.sparse=true"),
        (["scheduler.warmup=2"], r"scheduler\.warmup=2"),
        (["scheduler=reduce_on_plateau", "scheduler.monitor=eval_full/mrr_11"], "Did you mean 'eval_full/mrr_1"),
        (["loss.temperature=0"], r"loss\.temperature=0"),
        (["loss=triplet", "loss.mining=hard"], "Did you mean 'semi_hard'"),
        (["loss=triplet", "loss.mining=explicit"], r"data\.negatives\.kind"),
        (["model.num_layers=-1"], r"model\.num_layers=-1"),
        (["model=mlp_gru", "model.shared=true"], r"model\.shared=false"),
        (["embedding.dim=0"], r"embedding\.dim=0"),
        (["embedding.freeze=true", "model.num_layers=0", "model.word_pooling=mean"], "Nothing is left to train"),
        (["embedding=glove", "embedding.dim=100"], "set 50"),
        (["embedding=file", "embedding.path=/nowhere"], r"embedding\.path=/nowhere"),
        (["text.min_frequency=0"], r"text\.min_frequency=0"),
        (["data.batch_size=1"], r"data\.batch_size=1"),
        (["data.negatives.kind=bm26", "data.negatives.count=1"], "Did you mean 'bm25'"),
        (["data.negatives.kind=random"], r"data\.negatives\.count"),
        (["data.train_pairs=false", "pretrain=none"], "nothing to learn from: set pretrain=crops"),
        (["data=texts", "data.negatives.kind=random", "data.negatives.count=1"], "train_pairs=false leaves no pair"),
        (["trainer.precision=bf17"], "Did you mean 'bf16'"),
        (["trainer.accelerator=tpuu"], r"trainer\.accelerator=tpuu"),
        (["trainer.devices=0"], r"trainer\.devices=0"),
        (["trainer.devices=-1"], r"trainer\.devices=-1"),
        (["trainer.limit_train_batches=1.5"], r"trainer\.limit_train_batches=1\.5.*at most 1"),
        (["trainer.limit_train_batches=0"], r"trainer\.limit_train_batches=0"),
        (["trainer.cache_chunk=0"], r"trainer\.cache_chunk=0"),
        (
            ["+trainer.limit_val_batches=0.5"],
            r"trainer\.limit_val_batches=0\.5 would have no effect.*callbacks\.evaluate",
        ),
        (["+trainer.default_root_dir=/x"], r"trainer\.default_root_dir=/x .*hydra\.run\.dir"),
        (["+trainer.logger=false"], r"trainer\.logger=False .*logger=\[tensorboard\]"),
        (["+trainer.plugins=[SLURM]"], r"trainer\.plugins="),
        (["+trainer.enable_model_summary=true"], None),
        (["callbacks.early_stopping.patience=-1"], r"early_stopping\.patience=-1"),
        (["callbacks.early_stopping.mode=maxx"], "Did you mean 'max'"),
        (["callbacks.early_stopping.monitor=eval_full/mrr"], None),
        (["callbacks.early_stopping.monitor=full/mrr_10"], "Did you mean 'eval_full/mrr_10'"),
        (["callbacks.health.tolerance=-1"], r"health\.tolerance=-1"),
        (["callbacks.health.stop=maybe"], r"health\.stop=maybe"),
        (["callbacks.evaluate.max_queries=0"], r"evaluate\.max_queries=0"),
        (["+callbacks.health.foo=1"], "foo"),
        (["callbacks.early_stopping=null"], None),
    ],
)
def test_what_is_out_of_range_or_misspelt_is_named(overrides, message):
    if message is None:
        check_settings(config(*overrides))
        return
    with pytest.raises(UserError, match=message):
        check_settings(config(*overrides))


def test_a_key_of_one_s_own_is_let_through_and_a_slip_named():
    check_settings({**config(), "mine": {"note": 1}, "acme": 2})
    for slip in ("modle", "optimiser", "callback", "los"):
        with pytest.raises(UserError, match=f"No config key '{slip}'.*Did you mean"):
            check_settings({**config(), slip: 1})
