import pickle
import zipfile

import numpy as np
import pytest
import torch

from twotower.model.plain import read_plain


@pytest.fixture
def file(tmp_path):
    table = torch.arange(12, dtype=torch.float32).reshape(4, 3)
    state = {"table": table, "part": table[1:3], "half": table.half(), "ids": torch.tensor([3, 4]), "none": table[:0]}
    path = tmp_path / "model.pt"
    torch.save({"state": state, "words": {"a": 0, "ü": 1}, "nested": [1, 2.5, None, True, ("x",)]}, path)
    return path


def test_arrays_and_plain_data_are_those_of_torch(file):
    mine, theirs = read_plain(file), torch.load(file, weights_only=True)
    assert (mine["words"], mine["nested"]) == (theirs["words"], theirs["nested"])
    assert mine["state"].keys() == theirs["state"].keys()
    for name, array in mine["state"].items():
        np.testing.assert_array_equal(array, theirs["state"][name].numpy())
        assert array.dtype == theirs["state"][name].numpy().dtype
        assert not array.flags.writeable or not array.size


def test_nothing_but_plain_data_is_read(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"evil": Evil()}, tmp_path / "evil.pt")
    assert read_plain(tmp_path / "evil.pt") is None
    assert not (tmp_path / "ran").exists()


def test_what_only_torch_can_judge_is_left_to_it(file, tmp_path):
    torch.save({"turned": torch.rand(3, 4).T}, tmp_path / "turned.pt")
    torch.save({"brain": torch.rand(3).bfloat16()}, tmp_path / "brain.pt")
    torch.save({"old": torch.rand(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "cut.pt").write_bytes(file.read_bytes()[:-200])
    with zipfile.ZipFile(tmp_path / "odd.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps([1, 2]))
    for name in ("turned", "brain", "old", "cut", "odd", "absent"):
        assert read_plain(tmp_path / f"{name}.pt") is None


def test_an_array_shorter_than_it_says_is_refused(file, tmp_path):
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(tmp_path / "short.pt", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content[:-4] if name.endswith("data/0") else content)
    assert read_plain(tmp_path / "short.pt") is None
