import json
import os
import subprocess
import sys

import pytest
import torch

from twotower.core.errors import UserError
from twotower.runs.checkpoints import canonical, list_checkpoints, ranked, sweep_name


class Harmful:
    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.system, (f"touch {self.flag}",)


@pytest.fixture
def old(tmp_path):
    """A folder as the earlier trainers left it."""
    best = {"MRR": 0.38, "MRR@10": 0.37, "Recall@1": 0.16, "Recall@5": 0.7, "Recall@10": 1.0, "evaluation_type": "x"}
    content = {"model_state_dict": {"w": torch.zeros(2)}, "training_stats": {"best_metrics": best, "best_epoch": 3}}
    torch.save(content, tmp_path / "two_tower_best_vivid-sweep-1_20250620_062217.pt")
    epochs = [{"MRR": 0.2, "epoch": 1}, {"MRR": 0.3, "epoch": 2}, {"MRR": 0.25, "epoch": 3}]
    torch.save({"evaluation_stats": epochs}, tmp_path / "two_tower_best_calm-sweep-2_20250620_062218.pt")
    torch.save({"state": 1}, tmp_path / "two_tower_final_20250620_062219.pt")
    torch.save({"a": Harmful(tmp_path / "harm")}, tmp_path / "harmful.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "two_tower_final_20250620_062219.pt").read_bytes()[:300])
    name = "two_tower_best_h-sweep-3_20250620_070000"
    (tmp_path / f"{name}.pt").write_bytes(b"never opened, as the history tells all")
    history = {"evaluation_stats": [{"eval_mrr": 0.31, "eval_recall@10": 0.9, "epoch": 1}], "config": {}}
    (tmp_path / f"training_history_{name}.json").write_text(json.dumps(history))
    return tmp_path


def by_name(files):
    return {file.path.name.split("_2025")[0]: file for file in files}


def test_the_old_layout_is_read_and_ranked(old):
    files = ranked(list_checkpoints(old))
    assert [round(file.metrics.get("mrr", 0), 2) for file in files] == [0.38, 0.31, 0.3, 0, 0, 0]
    first = files[0]
    assert first.metrics == {"mrr": 0.38, "mrr_10": 0.37, "recall_1": 0.16, "recall_5": 0.7, "recall_10": 1.0}
    assert (first.sweep, first.epoch, first.source) == ("vivid-sweep-1", 3, "checkpoint")
    assert by_name(files)["two_tower_best_calm-sweep-2"].epoch == 2
    assert by_name(files)["two_tower_best_h-sweep-3"].source == "history"
    assert by_name(files)["two_tower_best_h-sweep-3"].history.name.startswith("training_history_")


def test_unsafe_cut_and_empty_files_are_listed_as_such(old):
    files = by_name(list_checkpoints(old))
    assert "refused" in files["harmful.pt"].problem
    assert not (old / "harm").exists()
    assert "cut short" in files["cut.pt"].problem
    assert "no scores" in files["two_tower_final"].problem


def test_files_can_stay_closed_and_then_torch_stays_out(old):
    code = (
        "import sys\nfrom twotower.runs.checkpoints import list_checkpoints\n"
        f"print(len(list_checkpoints({str(old)!r}, open_files=False)), 'torch' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["6", "False"]


def test_in_a_run_folder_the_record_tells(sweep):
    files = ranked(list_checkpoints(sweep), "mrr_10")
    assert len(files) == 12
    assert {file.source for file in files} == {"record"}
    assert {file.sweep for file in files} == {"demo"}
    assert files[0].metrics["mrr_10"] == max(file.metrics["mrr_10"] for file in files)
    assert all(file.history is not None for file in files)


def test_the_exported_layout_without_a_run_folder(tmp_path):
    results = {"split": "dev", "full": {"metrics": {"mrr_10": {"value": 0.4, "low": 0.3}, "recall_1": {"value": 0.2}}}}
    content = {"training_stats": {"best_metrics": {}, "best_epoch": 2}, "epoch": 2, "eval_results": results}
    torch.save(content, tmp_path / "two_tower_best_x_20261123_062415.pt")
    (file,) = list_checkpoints(tmp_path)
    assert file.metrics == {"mrr_10": 0.4, "recall_1": 0.2}
    assert file.epoch == 2


def test_names():
    assert canonical("eval_ndcg@10") == canonical("full/NDCG@10") == "ndcg_10"
    assert sweep_name("two_tower_best_vivid-sweep-1_20250620_062217") == "vivid-sweep-1"
    assert sweep_name("two_tower_best_my_run_name_20250620_062217") == "my_run_name"
    assert sweep_name("word2vec") is None


def test_mistakes(old, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(UserError, match=r"No \.pt file"):
        list_checkpoints(empty)
    with pytest.raises(UserError, match="No folder"):
        list_checkpoints(empty / "nowhere")
    with pytest.raises(UserError, match="Did you mean 'recall_10'"):
        ranked(list_checkpoints(old), "recal@10")
