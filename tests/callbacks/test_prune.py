import json
from types import SimpleNamespace

import pytest

from twotower.callbacks.prune import MedianPruning, best_until, median_of
from twotower.core.errors import UserError
from twotower.runs.run import Run


def history(*values):
    return [{"epoch": epoch, "metrics": {"full/mrr_10": value}} for epoch, value in enumerate(values, start=1)]


def sibling(tmp_path, number, *values, status="finished", **sweep):
    folder = tmp_path / f"lr={number}" / "seed=0"
    folder.mkdir(parents=True)
    facts = {"config": {}, "choices": {}, "host": {}, "timings": {}, "sweep": sweep}
    (folder / "run.json").write_text(json.dumps({"schema": 1, "status": status, "history": history(*values), **facts}))


def pruned(tmp_path, *values, **settings):
    own = tmp_path / "lr=own" / "seed=0"
    own.mkdir(parents=True, exist_ok=True)
    updates = []
    record = SimpleNamespace(data={"history": history(*values)}, update=lambda **fields: updates.append(fields))
    callback = MedianPruning(**settings)
    callback.context = SimpleNamespace(
        run_dir=own, record=record, settings=SimpleNamespace(sweep="s"), objective="full/mrr_10"
    )
    trainer = SimpleNamespace(is_global_zero=True, current_epoch=len(values) - 1, should_stop=False)
    callback.on_train_epoch_end(trainer, None)
    return trainer.should_stop, updates


def test_the_best_so_far_counts_not_the_last():
    run = Run(path=None, record={"history": history(0.1, 0.4, 0.2, 0.9)}, status="running")
    assert best_until(run, "full/mrr_10", 3) == 0.4
    assert best_until(run, "full/ndcg_10", 3) is None
    assert median_of([run], "full/mrr_10", 1) == (0.1, 1)
    assert median_of([], "full/mrr_10", 1) is None


def test_a_run_below_the_median_at_the_same_epoch_ends(tmp_path):
    for number, values in enumerate([(0.1, 0.2, 0.9), (0.3, 0.4), (0.5, 0.6)]):
        sibling(tmp_path, number, *values)
    stop, updates = pruned(tmp_path, 0.3, 0.39, min_runs=3)
    assert stop
    assert updates == [{"sweep": {"pruned": {"epoch": 2, "best": 0.39, "median": 0.4, "runs": 3}}}]
    assert not pruned(tmp_path, 0.3, 0.4, min_runs=3)[0], "as good as the median is good enough"


def test_no_run_is_judged_too_early_or_by_too_few(tmp_path):
    for number in range(3):
        sibling(tmp_path, number, 0.8, 0.9)
    assert pruned(tmp_path, 0.1, 0.1, min_runs=3)[0]
    assert not pruned(tmp_path, 0.1, min_runs=3)[0]
    assert not pruned(tmp_path, 0.1, 0.1, min_runs=4)[0]


def test_failed_and_pruned_runs_set_no_standard(tmp_path):
    sibling(tmp_path, 0, 0.8, 0.9)
    sibling(tmp_path, 1, 0.0, 0.0, status="failed")
    sibling(tmp_path, 2, 0.0, 0.0, pruned={"epoch": 2})
    assert pruned(tmp_path, 0.5, 0.5, min_runs=1)[1][0]["sweep"]["pruned"]["median"] == 0.9
    assert not pruned(tmp_path, 0.5, 0.5, min_runs=2)[0]


def test_settings_that_make_no_sense_are_named():
    with pytest.raises(UserError, match="warmup_epochs=0"):
        MedianPruning(warmup_epochs=0)
