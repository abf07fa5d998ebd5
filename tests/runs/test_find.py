import pytest

from twotower.core.errors import UserError
from twotower.runs.find import find_run, find_runs


def test_by_folder_file_name_hash_and_end_of_path(sweep):
    folder = sweep / "loss=triplet,model=gru" / "seed=1"
    run = find_run(str(folder))
    roots = [sweep]
    for text in (folder / "run.json", folder / "checkpoints", "gru-triplet-1", run.record["config_hash"]):
        assert find_run(str(text), roots).path.resolve() == folder.resolve()
    assert find_run("loss=triplet,model=gru/seed=1", roots).path == folder
    assert find_run(run.record["config_hash"][:8], roots).path == folder


def test_mistakes(sweep, tmp_path):
    with pytest.raises(UserError, match="Did you mean 'gru-triplet-1'"):
        find_run("gru-tripelt-1", [sweep])
    with pytest.raises(UserError, match="names 4 runs"):
        find_run("seed=1", [sweep])
    with pytest.raises(UserError, match="twice"):
        find_runs(["gru-triplet-1", "gru-triplet-1"], [sweep])
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match="cut short"):
        find_run(str(tmp_path))
