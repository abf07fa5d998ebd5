import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from twotower.core.errors import UserError
from twotower.reports.compare import compare, config_differences, differences, extreme_queries
from twotower.runs.find import find_runs
from twotower.runs.per_query import pair

METRIC = "full/mrr_10"


@pytest.fixture
def two(sweep):
    return find_runs(
        [str(sweep / "loss=contrastive,model=mlp/seed=0"), str(sweep / "loss=contrastive,model=gru/seed=1")]
    )


def column(run, name):
    table = pq.read_table(run.path / "per_query.parquet").to_pandas()
    return table.set_index("query_id")[name].sort_index().to_numpy()


def edit(run, change):
    record = json.loads((run.path / "run.json").read_text())
    change(record)
    (run.path / "run.json").write_text(json.dumps(record))


def test_against_scipy(two):
    first, second = (column(run, "mrr_10") for run in two)
    (found,) = compare(two, METRIC)
    reference = stats.permutation_test(
        (first, second), lambda a, b: (a - b).mean(), permutation_type="samples", n_resamples=20_000, rng=3
    )
    interval = stats.bootstrap(
        (first - second,), np.mean, n_resamples=5_000, method="percentile", rng=3
    ).confidence_interval
    assert found.difference == pytest.approx((first - second).mean())
    assert found.p_value == pytest.approx(reference.pvalue, abs=0.02)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.004)
    assert (found.wins, found.ties, found.losses) == (
        (first > second).sum(),
        (first == second).sum(),
        (first < second).sum(),
    )


def test_means_are_those_of_the_record(two):
    values = pair(two, METRIC).values_RQ.mean(axis=1)
    assert values == pytest.approx([run.scores[METRIC].value for run in two])


def test_holm_over_all_pairs(sweep):
    runs = find_runs([str(sweep / f"loss=contrastive,model=mlp/seed={seed}") for seed in range(3)])
    found = differences(pair(runs, METRIC), permutations=500)
    assert [(gap.first, gap.second) for gap in found] == [(0, 1), (0, 2), (1, 2)]
    order = sorted(found, key=lambda gap: gap.p_value)
    assert order[0].p_holm == pytest.approx(min(1.0, 3 * order[0].p_value))
    assert len(differences(pair(runs, METRIC), baseline=True, permutations=500)) == 2


def test_the_queries_that_differ_most_side_by_side(two):
    won, lost = extreme_queries(pair(two, METRIC), two, count=3)
    first, second = (column(run, "mrr_10") for run in two)
    assert won[0].values[0] - won[0].values[1] == pytest.approx((first - second).max())
    assert lost[0].values[1] - lost[0].values[0] == pytest.approx((second - first).max())
    assert len(won) == len(lost) == 3
    best = won[0]
    assert best.ranks[0] == 1
    assert best.first_hits[0] == f"d{best.query_id[1:]}"
    assert best.query in best.texts[0]


def test_without_a_document_store_the_ids_remain(fake, tmp_path):
    for name, quality in (("a", 0.5), ("b", 0.7)):
        fake.make_run(tmp_path / name, quality=quality, model=name)
        (tmp_path / name / "documents.db").write_bytes(b"no database")
    runs = find_runs([str(tmp_path / "a"), str(tmp_path / "b")])
    _, lost = extreme_queries(pair(runs, METRIC), runs)
    assert lost[0].texts == (None, None)
    assert lost[0].first_hits[1].startswith("d")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record["data"].update(fingerprint="0" * 64), "the data differs"),
        (lambda record: record["evaluation"].update(split="test"), "split differs"),
        (lambda record: record["evaluation"]["full"]["pool"].update(mean_size=8.0), "size of the pool"),
        (lambda record: record.update(evaluation=None), "no final evaluation"),
        (lambda record: record["evaluation"].pop("full"), "no final evaluation under 'full'"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(fake, tmp_path, change, message):
    fake.make_run(tmp_path / "a")
    edit_me = find_runs([str(fake.make_run(tmp_path / "b", lr=0.5))])[0]
    edit(edit_me, change)
    with pytest.raises(UserError, match=message):
        compare(find_runs([str(tmp_path / "a"), str(tmp_path / "b")]), METRIC)


def test_other_queries_are_refused(fake, tmp_path):
    fake.make_run(tmp_path / "a")
    fake.make_run(tmp_path / "b", lr=0.5)
    fake.write_per_query(tmp_path / "b" / "per_query.parquet", fake.ranks(0.5, seed=1)[:300], seed=1)
    with pytest.raises(UserError, match="100 only in the first, 0 only in the second"):
        compare(find_runs([str(tmp_path / "a"), str(tmp_path / "b")]), METRIC)


def test_a_cut_per_query_file_and_an_unknown_metric(fake, tmp_path):
    fake.make_run(tmp_path / "a")
    fake.make_run(tmp_path / "b", lr=0.5)
    runs = find_runs([str(tmp_path / "a"), str(tmp_path / "b")])
    with pytest.raises(UserError, match="Did you mean 'mrr_10'"):
        compare(runs, "full/mrr_100")
    path = tmp_path / "b" / "per_query.parquet"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="cut short"):
        compare(runs, METRIC)


def test_queries_without_a_relevant_document_do_not_count(fake, tmp_path):
    import pyarrow as pa

    for name in "ab":
        fake.make_run(tmp_path / name, model=name, quality=0.5 if name == "a" else 0.7)
        table = pq.read_table(tmp_path / name / "per_query.parquet")
        relevant = pa.array([0] * 10 + [1] * (table.num_rows - 10))
        at = table.column_names.index("num_relevant")
        pq.write_table(table.set_column(at, "num_relevant", relevant), tmp_path / name / "per_query.parquet")
    paired = pair(find_runs([str(tmp_path / "a"), str(tmp_path / "b")]), METRIC)
    assert len(paired.query_ids) == fake.QUERIES - 10


def test_config_differences(two):
    lines = dict(config_differences(two))
    assert lines["model"] == ["mlp", "gru"]
    assert lines["seed"] == [0, 1]
    assert "optimizer.lr" not in lines
    assert "model.query_tower" in lines
    assert "model.query_tower" not in dict(config_differences(two, every=False))
