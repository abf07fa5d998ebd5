import pytest

from twotower.core.errors import UserError
from twotower.runs.find import find_checkpoint, find_newest_run, find_run, find_runs, resolve_model


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


def test_a_model_is_found_by_its_file_its_run_or_as_the_newest(sweep, tmp_path, monkeypatch):
    folder = sweep / "loss=triplet,model=gru" / "seed=1"
    [model] = (folder / "checkpoints").glob("*.pt")
    assert resolve_model(str(model)) == (folder, model)
    assert resolve_model(str(folder)) == (folder, model)
    (tmp_path / "copy.pt").write_bytes(model.read_bytes())
    assert resolve_model(str(tmp_path / "copy.pt")) == (None, tmp_path / "copy.pt")
    monkeypatch.chdir(sweep.parents[1])
    newest, newest_model = resolve_model(None)
    assert newest == find_newest_run()
    assert newest_model.parent.parent == newest
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match="has not finished"):
        find_checkpoint(tmp_path)
    with pytest.raises(UserError, match="not a run folder"):
        find_checkpoint(tmp_path / "other")
