import pytest

from twotower.core.errors import UserError
from twotower.runs.filters import resolve_metric
from twotower.runs.ledger import load


@pytest.fixture(scope="module")
def runs(fake, tmp_path_factory):
    root = tmp_path_factory.mktemp("where")
    fake.make_run(root / "a", files=False, model="gru", lr=0.001, seed=0, quality=0.5)
    fake.make_run(root / "b", files=False, model="gru", lr=0.01, seed=1, quality=0.6)
    fake.make_run(
        root / "c", files=False, model="mlp", lr=0.1, seed=0, quality=0.7, pool={"dropout": None, "flag": True}
    )
    fake.make_run(root / "d", files=False, model="mlp", status="failed", seed=2)
    return load(root)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (["model=gru"], "ab"),
        (["model!=gru"], "cd"),
        (["model=g*"], "ab"),
        (["model=GRU"], "ab"),
        (["optimizer.lr<0.01"], "ad"),
        (["optimizer.lr<=1e-2"], "abd"),
        (["lr>=.01"], "bc"),
        (["lr = 0.0010"], "ad"),
        (["model=gru", "seed=1"], "b"),
        (["status=failed"], "d"),
        (["status!=failed", "epochs>=6"], "abc"),
        (["pool.flag=true"], "c"),
        (["pool.dropout=null"], "abcd"),
        (["model=lstm"], ""),
    ],
)
def test_filters(runs, terms, expected):
    assert "".join(sorted(run.path.name for run in runs.where(*terms))) == expected


def test_a_metric_can_be_asked_for(runs):
    threshold = next(run for run in runs if run.path.name == "b").score("full/mrr_10").value
    assert {run.path.name for run in runs.where(f"MRR@10>={threshold}", "status=finished")} == {"b", "c"}


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("optimizer.lrr=1", "Did you mean 'optimizer.lr'"),
        ("modle=gru", "Did you mean 'model'"),
        ("mrr_11>0", "Did you mean 'mrr_10'|Did you mean 'mrr_1"),
        ("lr<small", "'small' is none"),
        ("model", "is not a filter"),
        ("=gru", "is not a filter"),
        ("lr<", "is not a filter"),
        ("dropout=1", "could mean model.dropout, pool.dropout"),
    ],
)
def test_mistakes_are_named(runs, term, message):
    with pytest.raises(UserError, match=message):
        runs.where(term)


def test_metric_names(runs):
    assert resolve_metric("mrr@10", runs) == "full/mrr_10"
    assert resolve_metric("full/ndcg_10", runs) == "full/ndcg_10"
    with pytest.raises(UserError, match="Did you mean 'ndcg_10'"):
        resolve_metric("ndgc_10", runs)
