"""Building an index of an earlier run: what was encoded before an interruption is not encoded again."""

import shutil

import numpy as np
import pytest

from twotower.config.compose import compose
from twotower.index import rebuild as module
from twotower.index.rebuild import rebuild


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
