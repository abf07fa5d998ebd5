import subprocess
import sys

import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.runs.ledger import Ledger, find_run_folders, load


def test_every_status_is_listed_and_the_rest_shown(fake, tmp_path):
    fake.make_run(tmp_path / "outputs" / "day" / "1", files=False)
    fake.make_run(tmp_path / "outputs" / "day" / "2", files=False, status="failed")
    fake.make_run(tmp_path / "multirun" / "s" / "m=gru" / "seed=0", files=False, status="interrupted")
    (tmp_path / "outputs" / "cut").mkdir()
    (tmp_path / "outputs" / "cut" / "run.json").write_text("{")
    runs = load(tmp_path)
    assert sorted(run.status for run in runs) == ["failed", "finished", "interrupted", "unreadable"]
    assert [run.path.name for run in runs.unreadable] == ["cut"]


def test_the_default_folders_are_outputs_and_multirun(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load() == []
    fake.make_run(tmp_path / "outputs" / "a", files=False)
    fake.make_run(tmp_path / "elsewhere" / "b", files=False)
    assert [str(run.path) for run in load()] == ["outputs/a"]


def test_a_run_named_by_two_folders_is_one_run(sweep):
    assert len(load(sweep, sweep.parent)) == 12


def test_links_in_a_circle_end(fake, tmp_path):
    fake.make_run(tmp_path / "a" / "run", files=False)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert len(list(find_run_folders(tmp_path))) == 1


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        load(tmp_path / "nowhere")


def test_sort_by_metric_is_best_first_and_lacking_last(fake, tmp_path, sweep):
    values = [run.scores["full/mrr_10"].value for run in load(sweep, sort="mrr_10")]
    assert values == sorted(values, reverse=True)
    fake.make_run(tmp_path / "good", files=False, quality=0.8)
    fake.make_run(tmp_path / "none", files=False, status="failed", epochs=0)
    assert [run.path.name for run in load(tmp_path, sort="mrr_10")] == ["good", "none"]


def test_sort_by_a_key_is_smallest_first(sweep):
    assert [run.seed for run in load(sweep, sort="seed")] == [0] * 4 + [1] * 4 + [2] * 4
    with pytest.raises(UserError, match="Did you mean"):
        load(sweep, sort="modle")


def test_top(sweep):
    assert len(load(sweep, sort="mrr_10", top=5)) == 5


def test_spread_over_seeds_against_numpy(sweep):
    runs = load(sweep, where=["model=gru", "loss=triplet"])
    (spread,) = runs.spreads("full/mrr_10").values()
    values = np.array([run.record["evaluation"]["full"]["metrics"]["mrr_10"]["value"] for run in runs])
    assert spread.runs == 3
    assert spread.mean == pytest.approx(values.mean())
    assert spread.deviation == pytest.approx(values.std(ddof=1))


def test_failed_runs_do_not_enter_the_spread(fake, tmp_path):
    fake.make_run(tmp_path / "0", files=False, seed=0)
    fake.make_run(tmp_path / "1", files=False, seed=1, status="failed")
    (spread,) = load(tmp_path).spreads("full/mrr_10").values()
    assert spread.runs == 1
    assert spread.deviation is None


def test_frame_in_one_line(sweep):
    frame = load(sweep).to_frame()
    assert len(frame) == 12
    assert {"path", "status", "seed", "model", "loss", "full/mrr_10", "full/mrr_10.low", "verdict", "group"} <= set(
        frame
    )
    assert frame.groupby("group").size().tolist() == [3] * 4
    assert "trainer.max_epochs" not in frame
    assert "trainer.max_epochs" in load(sweep).to_frame(every_key=True)
    assert frame.groupby(["model", "loss"])["full/mrr_10"].mean().idxmax()[1] == "contrastive"


def test_a_thousand_runs_with_fifty_hyper_parameters(fake, tmp_path):
    import json

    base = fake.record()
    for number in range(1000):
        folder = tmp_path / "multirun" / "s" / f"{number:04d}"
        folder.mkdir(parents=True)
        config = {**base["config"], "many": {f"key{key}": number % (key + 2) for key in range(50)}}
        (folder / "run.json").write_text(json.dumps({**base, "config": config}))
    runs = load(tmp_path, where=["many.key3=1"], sort="mrr_10")
    assert len(runs) == 200
    assert isinstance(runs, Ledger)
    assert load(tmp_path).to_frame().shape[0] == 1000


def test_listing_imports_no_torch_pandas_or_matplotlib(sweep):
    code = (
        "import sys\nfrom twotower.runs.ledger import load\nfrom twotower.reports.table import runs_table\n"
        f"runs = load({str(sweep)!r}, sort='mrr_10')\nruns_table(runs, metric='full/mrr_10')\n"
        "print(sorted({'torch', 'pandas', 'matplotlib', 'hydra', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
