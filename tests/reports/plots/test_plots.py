import numpy as np
import pytest
import vl_convert

from twotower.reports.plots import curves, effects, queries, spread, style
from twotower.runs.ledger import Ledger, load
from twotower.runs.per_query import pair

METRIC = "full/mrr_10"
EVERY = [
    curves.learning_curves,
    effects.main_effects,
    effects.interactions,
    effects.parallel_coordinates,
    spread.seed_spread,
    spread.quality_against_cost,
]


@pytest.fixture(scope="module")
def runs(sweep):
    return load(sweep)


def strings(part):
    """Every string in a description or its data."""
    if isinstance(part, str):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, (list, tuple)) else ():
        yield from strings(inner)


def texts(figure):
    return " | ".join(strings(figure.to_dict()))


def datasets(figure):
    """The rows of every part of a chart."""
    return list(figure.to_dict()["datasets"].values())


def data(figure):
    return [row for rows in datasets(figure) for row in rows]


def render(figure):
    return vl_convert.vegalite_to_png(figure.to_dict(), scale=0.5)


def domains(part, field):
    """The ends of the axes on which a field is drawn."""
    if isinstance(part, dict) and str(part.get("field")) == field and "domain" in (part.get("scale") or {}):
        yield part["scale"]["domain"]
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, (list, tuple)) else ():
        yield from domains(inner, field)


@pytest.mark.parametrize("draw", EVERY)
def test_every_picture_draws_for_many_one_and_no_runs(draw, runs, fake, tmp_path):
    fake.make_run(tmp_path / "one", files=False)
    fake.make_run(tmp_path / "running", files=False, status="interrupted", lr=0.5)
    for some in (runs, load(tmp_path), Ledger(load(tmp_path)[:1]), Ledger()):
        assert render(draw(some, METRIC)).startswith(b"\x89PNG")


@pytest.mark.parametrize("draw", EVERY)
def test_every_picture_says_in_words_what_it_shows(draw, runs):
    assert len(draw(runs, METRIC).to_dict()["description"]) > 30


def test_curves_are_the_history_and_its_mean_over_seeds(runs):
    figure = curves.learning_curves(runs, METRIC)
    members = [run for run in runs if run.choices["model"] == "gru" and run.choices["loss"] == "triplet"]
    each = np.array([[item["metrics"][METRIC] for item in run.history] for run in members])
    rows = [row for row in data(figure) if row.get("config") == "triplet, gru"]
    for run, expected in zip(members, each, strict=True):
        drawn = [row["value"] for row in rows if row.get("run") == str(run.path)]
        assert np.allclose(drawn[len(drawn) // 2 :], expected)
    means = [row["value"] for row in rows if "run" not in row]
    assert np.allclose(means[len(means) // 2 :], each.mean(axis=0))


def test_chance_and_bm25_stand_in_the_pictures(runs):
    score = runs[0].scores[METRIC]
    levels = [row["level"] for row in data(curves.learning_curves(runs, METRIC)) if "level" in row]
    assert any(level == pytest.approx(score.bm25) for level in levels)
    for draw in (curves.learning_curves, effects.main_effects, spread.seed_spread, spread.quality_against_cost):
        assert "BM25" in texts(draw(runs, METRIC))
        assert "chance" in texts(draw(runs, METRIC))


def test_one_epoch_and_one_seed_have_sensible_axes(fake, tmp_path):
    fake.make_run(tmp_path / "one", epochs=1)
    runs = load(tmp_path)
    figure = curves.learning_curves(runs, METRIC).to_dict()
    assert next(domains(figure, "epoch")) == [0.5, 1.5]
    seen, measured = runs[0].history[0]["metrics"][METRIC], runs[0].scores[METRIC].value
    for value, drawn in ((seen, figure), (measured, spread.seed_spread(runs, METRIC).to_dict())):
        low, high = list(domains(drawn, "value"))[-1]
        assert 0 <= low < value < high <= 1
        assert high - low >= 0.04


@pytest.mark.parametrize("values", [[0.5], [0.0], [1.0], [0.2, 0.21], [0.1, 0.9], []])
def test_an_axis_holds_its_values_has_a_least_width_and_stays_within_what_can_be(values):
    low, high = style.span(values)
    assert 0 <= low < high <= 1
    assert all(low <= value <= high for value in values)


def test_levels_that_differ_between_runs_are_not_drawn(runs, fake, tmp_path):
    import json

    record = fake.record()
    record["evaluation"]["full"]["metrics"]["mrr_10"]["bm25"] = 0.99
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert [name for name, _ in style.reference_levels([*runs, *load(tmp_path)], METRIC)] == ["chance"]


def test_main_effects_are_means(runs):
    figure = effects.main_effects(runs, METRIC, keys=["model"])
    for model in ("gru", "mlp"):
        mean = np.mean([run.scores[METRIC].value for run in runs if run.choices["model"] == model])
        assert f"{mean:.3f}"[1:] in texts(figure)


def test_interactions_are_cell_means_with_their_number(runs):
    text = texts(effects.interactions(runs, METRIC))
    for model in ("gru", "mlp"):
        for loss in ("contrastive", "triplet"):
            cell = [run for run in runs if run.choices["model"] == model and run.choices["loss"] == loss]
            assert f"{np.mean([run.scores[METRIC].value for run in cell]):.3f}"[1:] in text
    assert "n=3" in text


def test_keys_varied_in_step_are_no_interaction(fake, tmp_path):
    for number in range(3):
        fake.make_run(tmp_path / str(number), files=False, lr=0.1**number, dropout=0.1 * number)
    assert "No two hyper-parameters" in texts(effects.interactions(load(tmp_path), METRIC))


def test_the_cheapest_of_the_best_is_named(runs):
    best = max(runs, key=lambda run: run.scores[METRIC].value)
    figure = spread.quality_against_cost(runs, METRIC)
    lines = figure.to_dict()["title"]["subtitle"]
    assert lines[0] == f"1  {best.choices['loss']}, {best.choices['model']}"
    assert {row["name"] for row in data(figure) if row.get("number") == "1"} >= {best.name}


@pytest.mark.parametrize("larger", [False, True])
def test_unbeaten_are_those_that_no_other_beats_in_both(runs, larger):
    drawn = np.random.default_rng(0).uniform(1, 9, size=(40, 2)).round(1)
    points = [(cost, quality, runs[0]) for cost, quality in drawn]

    def beats(one, other):
        cheaper = one[0] >= other[0] if larger else one[0] <= other[0]
        return cheaper and one[1] >= other[1] and one[:2] != other[:2]

    expected = {point[:2] for point in points if not any(beats(other, point) for other in points)}
    found = [point[:2] for point in spread.unbeaten(points, larger=larger)]
    assert set(found) == expected
    assert len(found) == len(expected)


def test_costs_that_differ_by_a_few_bytes_are_the_same(runs):
    points = [(20.4673, 0.4, runs[0]), (20.4674, 0.5, runs[1])]
    assert spread.unbeaten(points, larger=False) == points[1:]


def test_score_histograms_name_what_differs_between_the_runs(fake, tmp_path):
    for seed, rate in ((0, 0.1), (0, 0.01), (1, 0.01)):
        fake.make_run(tmp_path / f"{rate}-{seed}", lr=rate, seed=seed)
    titles = [panel["title"] for panel in queries.score_histograms(load(tmp_path)).to_dict()["concat"]]
    assert sorted(title.partition(":")[0] for title in titles) == ["lr 0.01, seed 0", "lr 0.01, seed 1", "lr 0.1"]


def test_query_differences_counts(sweep):
    runs = load(sweep, sort="mrr_10")
    paired = pair([runs[0], runs[-1]], METRIC)
    figure = queries.query_differences(paired, ["first", "second"])
    wins = int((paired.values_RQ[0] > paired.values_RQ[1]).sum())
    assert f"first better: {wins}" in texts(figure)
    rows = [[row["queries"] for row in part if "queries" in row] for part in datasets(figure)]
    rows = [part for part in rows if part]
    mean = float((paired.values_RQ[0] - paired.values_RQ[1]).mean())
    assert f"mean {mean:.3f}".replace("0.", ".") in texts(figure)
    assert sum(rows[0]) == len(paired.query_ids)
    assert len([row for row in data(figure) if "query" in row]) == len(paired.query_ids)


def test_score_histograms_use_random_pairs_where_recorded(fake, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = fake.make_run(tmp_path / "run") / "per_query.parquet"
    table = pq.read_table(path)
    assert "ranked last of ten" in texts(queries.score_histograms(load(tmp_path)))
    generator = np.random.default_rng(0)
    for name, centre in (("relevant_score", 0.6), ("random_score", 0.0)):
        table = table.append_column(name, pa.array(generator.normal(centre, 0.01, table.num_rows)))
    pq.write_table(table, path)
    text = texts(queries.score_histograms(load(tmp_path)))
    assert "random pairs" in text
    assert "100%" in text


def test_more_configs_than_colours_stay_grey(fake, tmp_path):
    for number in range(12):
        fake.make_run(tmp_path / str(number), files=False, lr=0.001 * (number + 1), quality=0.4 + 0.03 * number)
    runs = load(tmp_path)
    colours = list(style.colours_of(runs, METRIC).values())
    assert len(set(colours) - {style.GREY}) == len(style.PALETTE)
    assert colours.count(style.GREY) == 12 - len(style.PALETTE)
    assert "grey: 4 more configs" in texts(curves.learning_curves(runs, METRIC))


def test_the_palette_can_be_told_apart_with_every_colour_vision():
    """Machado, Oliveira and Fernandes 2009: what the full loss of one kind of cone makes of linear RGB."""
    blind = {
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    }
    rgb = np.array([[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in style.PALETTE[:6]])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for matrix in (np.eye(3), *map(np.array, blind.values())):
        seen = np.clip(linear @ np.asarray(matrix).T, 0, 1) ** (1 / 2.2)
        distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + 9 * np.eye(len(seen))
        assert distance.min() > 0.12


def test_labels_name_what_differs(runs, fake, tmp_path):
    assert set(style.labels_of(runs).values()) == {
        f"{loss}, {model}" for loss in ("contrastive", "triplet") for model in ("gru", "mlp")
    }
    fake.make_run(tmp_path / "a", files=False, lr=0.1)
    fake.make_run(tmp_path / "b", files=False, lr=0.01)
    assert set(style.labels_of(load(tmp_path)).values()) == {"lr 0.1", "lr 0.01"}
