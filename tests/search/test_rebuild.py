"""Building an index of an earlier run: what was encoded before an interruption is not encoded again."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from twotower.cli.main import cli
from twotower.config.compose import compose
from twotower.core.errors import UserError
from twotower.index import rebuild as module
from twotower.index.rebuild import rebuild
from twotower.search.engine import SearchEngine


def test_interrupted_rebuild_goes_on_with_the_encoding(run_dir, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    shutil.rmtree(run / "index")
    monkeypatch.setattr(module, "CHUNK", 10)

    def stop(stage, done, total):
        if stage == "encode" and done >= 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(run, compose(["exact"]), progress=stop)
    seen = []
    rebuild(run, compose(["exact"]), progress=lambda *call: seen.append(call))
    assert next(call for call in seen if call[0] == "encode")[1] == 40
    assert sorted(item.name for item in (run / "index").iterdir()) == ["exact"]
    whole = np.load(run / "index" / "exact" / "vectors.npy")
    np.testing.assert_allclose(whole, np.load(run_dir / "index" / "exact" / "vectors.npy"), atol=1e-6)


def test_a_lexical_side_that_is_missing_or_damaged_is_built_again_as_it_was_measured(run_dir, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    record = json.loads((run / "run.json").read_text())
    fused = {"kind": "zscore", "weight": 2.0, "pairs": 0.5, "stem": "english", "verdict": {"line": ""}}
    figures = {"mrr_10": {"value": 0.4, "bm25": 0.3, "hybrid": 0.5}}
    record["objective"] = {"name": "full/mrr_10", "value": 0.4, "low": 0.3, "high": 0.5}
    record["evaluation"] = {"split": "dev", "full": {"metrics": figures, "hybrid": fused}}
    (run / "run.json").write_text(json.dumps(record))
    assert SearchEngine.open(run).lexical is None
    rebuild(run, compose(["exact"]))
    side = SearchEngine.open(run).lexical
    assert (side.mode, side.fusion.weight, side.fusion.pairs, side.fusion.stem) == ("hybrid", 2.0, 0.5, "english")
    assert side.facts["measured"] == {"metric": "full/mrr_10", "dense": 0.4, "lexical": 0.3, "hybrid": 0.5}
    assert SearchEngine.open(run).search("eigenvalues of a matrix", 1).hits[0].doc_id == "lonely"
    path = run / "index" / "lexical" / "lexical.json"
    before = path.stat().st_mtime_ns
    rebuild(run, compose(["exact"]))
    assert path.stat().st_mtime_ns == before, "a whole one stays"
    (run / "index" / "lexical" / "data.csc.index.npy").write_bytes(b"short")
    rebuild(run, compose(["exact"]))
    assert SearchEngine.open(run).search("eigenvalues of a matrix", 1, "lexical").hits[0].doc_id == "lonely"


def test_redis_searches_by_words_itself_where_it_is_asked_to(run_dir, tmp_path, redis_url):
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    rebuild(run, compose(["redis"], ["algorithm=FLAT"]))
    engine = SearchEngine.open(run, "redis", served=True)
    for mode in (None, "lexical", "hybrid"):
        results = engine.search("eigenvalues of a matrix", 3, mode)
        assert results.hits[0].doc_id == "lonely"
        assert results.mode == (mode or "hybrid")
        assert "redis's own BM25, not measured" in results.scale
    assert engine.search("eigenvalues", 3, "dense").mode == "dense"
    assert engine.search("xyzzy", 3).notice.startswith("No document has")
    with pytest.raises(UserError, match="can't search by words itself"):
        SearchEngine.open(run, "exact", served=True)
    asked = ["search", "--run", str(run), "--index", "redis", "--served", "--json", "eigenvalues"]
    done = CliRunner().invoke(cli, asked)
    assert json.loads(done.stdout)["mode"] == "hybrid", done.output
