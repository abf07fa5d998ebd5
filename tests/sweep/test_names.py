import pytest

from twotower.core.errors import UserError
from twotower.sweep.names import (
    is_multirun,
    is_swept,
    job_folder,
    refuse_twins,
    sweep_arguments,
    sweep_name,
    with_added,
)


def test_a_folder_is_named_by_the_overrides_without_seed_and_sweep():
    overrides = ["seed=3", "model=gru", "loss=triplet", "sweep.name=x", "sweep.session=ab", "logger=[wandb]"]
    assert job_folder(overrides) == "loss=triplet,model=gru"
    assert job_folder(reversed(overrides)) == "loss=triplet,model=gru"
    assert job_folder(["seed=1", "sweep.name=x"]) == "defaults"


def test_keys_that_only_begin_like_the_seed_are_kept():
    assert job_folder(["seed=1", "seeding.kind=a"]) != job_folder(["seed=1", "seeding.kind=b"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["data.path=a/b"], ["data.path=a_b"]),
        (["run.a=x y"], ["run.a=x_y"]),
        (["a=" + "x" * 300], ["a=" + "x" * 301]),
        (["a=ä"], ["a=ö"]),
        (["+a=1"], ["~a=1"]),
        (["a=.."], ["a=. ."]),
    ],
)
def test_different_jobs_never_share_a_folder(one, other):
    first, second = job_folder(one), job_folder(other)
    assert first != second
    for name in (first, second):
        assert len(name.encode()) <= 255
        assert "/" not in name
        assert not name.startswith(".")


def test_the_sweep_is_named_alike_whenever_it_is_started_again():
    name = sweep_name(["-m", "model=gru,mlp", "loss=contrastive,triplet"])
    assert name.startswith("loss-model-")
    assert name == sweep_name(["loss=contrastive,triplet", "-m", "model=gru,mlp", "sweep.fail_fast=true", "seed=0,1"])
    assert name == sweep_name(["-m", "model=gru,mlp", "loss=contrastive,triplet", "hydra/launcher=joblib"])
    assert name != sweep_name(["-m", "model=gru,mlp", "loss=contrastive,triplet", "trainer.max_epochs=3"])
    assert name != sweep_name(["-m", "model=gru,mlp", "loss=contrastive,triplet", "hydra/sweeper=optuna"])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model=gru,mlp", True),
        ("optimizer.lr=interval(1e-5,1e-2)", True),
        ("model.hidden_dim=range(64,256,64)", True),
        ("optimizer.lr=tag(log,interval(1e-5,1e-2))", True),
        ("experiment=glob(*)", True),
        ("index=[faiss_flat,redis]", False),
        ("index=[a,b],[c]", True),
        ("run_name='a,b'", False),
        ("model.dropout=.2", False),
    ],
)
def test_what_is_swept(override, expected):
    assert is_swept(override) is expected


def test_seeds_become_an_override_of_the_seed():
    added = sweep_arguments(["-m", "model=gru,mlp", "sweep.seeds=3"])
    assert "seed=0,1,2" in added
    assert "hydra.output_subdir=null" in added
    assert sum(item.startswith("sweep.name=") for item in added) == 1
    assert not any(item.startswith("sweep.name=") for item in sweep_arguments(["-m", "sweep.name=mine"]))


@pytest.mark.parametrize("typed", [["a=1", "-m", "b=1,2"], ["a=1", "b=1,2", "-m"], ["--multirun", "a=1", "b=1,2"]])
def test_the_flag_may_stand_anywhere(typed):
    first, *rest = with_added(typed)
    assert first in ("-m", "--multirun")
    assert rest[:2] == ["a=1", "b=1,2"]
    assert not any(item.startswith("-") for item in rest)


def test_other_flags_keep_their_values():
    line = with_added(["-m", "a=1,2", "--config-dir", "mine"])
    assert line[-2:] == ["--config-dir", "mine"]
    assert with_added(["a=1", "--cfg", "job"]) == ["a=1", "--cfg", "job"]


def test_every_start_has_its_own_session():
    first, second = (sweep_arguments(["-m", "a=1"]) for _ in range(2))
    assert [item for item in first if "session" in item] != [item for item in second if "session" in item]


def test_a_single_run_gets_nothing():
    assert sweep_arguments(["model=gru", "seed=1"]) == []
    assert not is_multirun(["model=gru"])
    assert is_multirun(["hydra.mode=MULTIRUN"])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["sweep.dry_run=true"], "add -m"),
        (["sweep.seeds=3"], "add -m"),
        (["sweep.show_jobs=true"], "add -m"),
        (["sweep.name=mine"], "add -m"),
        (["-m", "sweep.name=../x"], r"sweep\.name=\.\./x becomes a folder"),
        (["-m", "run_name=a,b"], "run_name changes nothing that a job computes"),
        (["-m", "tags=[a],[b]"], "tags changes nothing"),
        (["-m", "++tags=[a],[b]"], "tags changes nothing"),
        (["-m", "logger=csv,[csv,wandb]"], "logger changes nothing"),
        (["-m", "logger.wandb.project=choice(a,b)"], r"logger\.wandb\.project changes nothing"),
        (["-m", "paths.run=a,b"], r"paths\.run changes nothing"),
        (["-m", "sweep.show_jobs=true,false"], r"sweep\.show_jobs changes nothing"),
        (["-m", "sweep.seeds=0"], "sweep.seeds=0"),
        (["-m", "sweep.seeds=two"], "whole number"),
        (["-m", "sweep.seeds=2", "seed=4,5"], "contradict"),
        (["-m", "sweep.seeds=2", "hydra/sweeper=optuna"], "Optuna"),
        (["-m", "hydra/sweeper=optuna_tpe", "a.b=interval(1,2)", "c=1", "a.b=1"], r"a\.b is given twice .*a\.b=1\)"),
        (["-m", "hydra/sweeper=optuna_tpe", "a.b=1,2", "++a.b=3,4"], r"a\.b is given twice"),
    ],
)
def test_mistakes_name_the_key(arguments, part):
    with pytest.raises(UserError, match=part):
        sweep_arguments(arguments)


def test_what_hydra_itself_is_told_twice_is_not_optuna_s_matter():
    assert sweep_arguments(
        ["-m", "hydra/sweeper=optuna_tpe", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_trials=3", "a=1,2"]
    )


def test_folders_of_a_sweep_we_name_leave_out_what_all_jobs_share():
    added = sweep_arguments(["-m", "model=gru,mlp", "data=beir", "data.path=/a/b", "optimizer.lr=choice(1,2)"])
    assert "sweep.fixed=[data,data.path]" in added
    assert (
        job_folder(["model=gru", "data=beir", "data.path=/a/b", "optimizer.lr=1", *added]) == "model=gru,optimizer.lr=1"
    )
    twice = sweep_arguments(["-m", "optimizer.lr=1", "optimizer.lr=1,2"])
    assert "sweep.fixed=[]" in twice, "given twice, the last one counts"
    mine = sweep_arguments(["-m", "model=gru,mlp", "data=beir", "sweep.name=mine"])
    assert job_folder(["model=gru", "data=beir", *mine]) == "data=beir,model=gru"


def test_where_jobs_start_from_names_folder_and_sweep():
    added = sweep_arguments(["-m", "ckpt_path=a/last.ckpt,b/last.ckpt"])
    assert job_folder(["ckpt_path=a/last.ckpt", *added]) != job_folder(["ckpt_path=b/last.ckpt", *added])
    assert sweep_name(["-m", "model=gru,mlp", "ckpt_path=a"]) != sweep_name(["-m", "model=gru,mlp", "ckpt_path=b"])
    for same in ("ckpt_path=last", "ckpt_path=null"):
        assert sweep_name(["-m", "model=gru,mlp", same]) == sweep_name(["-m", "model=gru,mlp"])
        assert job_folder(["model=gru", same]) == "model=gru"


def test_jobs_that_would_share_a_folder_are_refused_by_name():
    assert refuse_twins([["model=gru", "seed=0"], ["model=gru", "seed=1"], ["model=mlp"]]) == 3
    assert refuse_twins([["model=gru"], ["model=gru"]]) == 1
    with pytest.raises(UserError, match="differ only in run_name=a, run_name=b"):
        refuse_twins([["model=gru", "run_name=a"], ["model=gru", "run_name=b"]])
