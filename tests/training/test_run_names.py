import pytest

from twotower.cli.train import USUAL_NAMES
from twotower.training.train import data_label


@pytest.mark.parametrize(
    ("data", "choice", "label"),
    [
        ({"path": "../shared/data/tldr", "source": {}}, "beir", "tldr"),
        ({"path": "pairs.jsonl.gz", "source": {}}, "jsonl", "pairs"),
        ({"path": None, "source": {"splits": {"train": "beir/scifact/train"}}}, "ir_datasets", "beir-scifact"),
        ({"path": None, "source": {"splits": {"train": 0.8}}}, "docstrings", "docstrings"),
        ({"path": None, "source": None}, "mine", "mine"),
    ],
)
def test_a_run_is_named_for_its_collection(data, choice, label):
    assert data_label(data, {"data": choice}) == label


def test_names_that_keys_have_elsewhere_lead_to_ours():
    assert USUAL_NAMES["optimizer.learning_rate"] == "optimizer.lr"
