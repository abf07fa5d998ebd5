import json
import shutil

import pytest

from twotower.core.errors import UserError
from twotower.runs.clean import KINDS, carry_out, plan
from twotower.runs.ledger import load


@pytest.fixture
def root(fake, tmp_path):
    fake.make_run(tmp_path / "best", quality=0.9)
    fake.make_run(tmp_path / "poor", quality=0.4, model="gru")
    fake.make_run(tmp_path / "failed", status="failed")
    fake.make_run(tmp_path / "interrupted", status="interrupted")
    fake.make_run(tmp_path / "squad", quality=0.3, data="squad", fingerprint="0" * 64)
    (tmp_path / "cut" / "checkpoints").mkdir(parents=True)
    (tmp_path / "cut" / "run.json").write_text("{")
    (tmp_path / "cut" / "checkpoints" / "last.ckpt").write_bytes(b"x")
    return tmp_path


def files(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_a_plan_changes_nothing_and_counts_right(root):
    before = files(root)
    decided = plan(load(root), kinds=KINDS)
    assert files(root) == before
    assert {item.run.path.name for item in decided.removals} == {"poor"}
    inside = sum((root / "poor" / name).stat().st_size for name in ("checkpoints/last.ckpt", "checkpoints/best.ckpt"))
    assert decided.bytes > inside
    reasons = {run.path.name: reason for run, reason in decided.kept}
    assert reasons["cut"] == "is unreadable"
    assert reasons["interrupted"] == "is interrupted"
    assert "number 1 on tldr" in reasons["best"]
    assert "number 1 on squad" in reasons["squad"]


def test_only_what_can_be_made_again_goes(root):
    before = files(root)
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    freed = carry_out(plan(load(root), kinds=("lightning", "index", "documents")))
    gone = before - files(root)
    assert gone == {
        "poor/checkpoints/last.ckpt",
        "poor/checkpoints/best.ckpt",
        "poor/index/faiss_flat/index.faiss",
        "poor/index/faiss_flat/manifest.json",
        "poor/documents.db",
    }
    assert freed == size - sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    assert {"poor/run.json", "poor/per_query.parquet", "poor/.hydra/config.yaml"} <= files(root)
    assert any(name.startswith("poor/checkpoints/two_tower_best") for name in files(root))


@pytest.mark.parametrize(("kind", "part"), [("lightning", ".ckpt"), ("index", "index/"), ("exported", ".pt")])
def test_each_kind_alone(root, kind, part):
    before = files(root)
    carry_out(plan(load(root), kinds=[kind]))
    gone = before - files(root)
    assert gone
    assert all(part in name for name in gone)


def test_documents_that_a_kept_index_points_to_stay(root):
    manifest = root / "best" / "index" / "faiss_flat" / "manifest.json"
    manifest.write_text(json.dumps({"documents": {"path": str(root / "poor" / "documents.db")}}))
    carry_out(plan(load(root), kinds=["index", "documents"]))
    assert (root / "poor" / "documents.db").exists()
    assert not (root / "poor" / "index" / "faiss_flat").exists()


def test_documents_stay_while_their_own_index_stays(root):
    assert plan(load(root), kinds=["lightning", "documents"]).removals
    carry_out(plan(load(root), kinds=["lightning", "documents"]))
    assert (root / "poor" / "documents.db").exists()


def test_a_redis_manifest_stays(root):
    (root / "poor" / "index" / "redis").mkdir()
    (root / "poor" / "index" / "redis" / "manifest.json").write_text("{}")
    carry_out(plan(load(root), kinds=["index"]))
    assert (root / "poor" / "index" / "redis" / "manifest.json").exists()


def test_a_link_goes_and_its_target_stays(root, tmp_path_factory):
    target = tmp_path_factory.mktemp("store") / "documents.db"
    target.write_bytes(b"kept")
    (root / "poor" / "documents.db").unlink()
    (root / "poor" / "documents.db").symlink_to(target)
    carry_out(plan(load(root), kinds=["index", "documents"]))
    assert not (root / "poor" / "documents.db").is_symlink()
    assert target.read_bytes() == b"kept"


def test_nothing_goes_through_a_linked_folder(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for folder, name in (
        ("index", "exact/vectors.npy"),
        ("checkpoints", "last.ckpt"),
        ("checkpoints", "two_tower_x.pt"),
    ):
        (elsewhere / folder / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / folder / name).write_text("mine")
    before = files(elsewhere)
    for folder in ("index", "checkpoints"):
        shutil.rmtree(root / "poor" / folder)
        (root / "poor" / folder).symlink_to(elsewhere / folder)
    decided = plan(load(root), kinds=KINDS)
    assert {item.path.name for item in decided.removals} == {"documents.db"}
    carry_out(decided)
    assert files(elsewhere) == before


def test_a_run_that_came_alive_meanwhile_is_left_alone(root):
    decided = plan(load(root), kinds=KINDS)
    record = json.loads((root / "poor" / "run.json").read_text())
    (root / "poor" / "run.json").write_text(json.dumps({**record, "status": "running"}))
    before = files(root)
    assert carry_out(decided) == 0
    assert files(root) == before


def test_keep_two_and_unknown_kind(root):
    assert plan(load(root), kinds=KINDS, keep=2).removals == []
    with pytest.raises(UserError, match="lightning, index"):
        plan(load(root), kinds=["everything"])


def test_a_checkpoint_of_two_names_is_counted_once(root):
    def sizes():
        decided = plan(load(root), kinds=("lightning",))
        (poor,) = (run for run in load(root) if run.path.name == "poor")
        return [item.bytes for item in decided.removals], decided.bytes, poor.bytes

    folder = root / "poor" / "checkpoints"
    before = sizes()
    best = (folder / "best.ckpt").stat().st_size
    (folder / "last.ckpt").unlink()
    (folder / "last.ckpt").hardlink_to(folder / "best.ckpt")
    after = sizes()
    assert sorted(after[0]) == [0, best]
    assert after[1] == best
    assert after[2] == before[2] - (before[1] - best)
