"""Models uploaded to a stand-in of the hub by the real huggingface_hub, and opened from there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import twotower
from tests.hub_server import TOKEN, HubServer
from twotower.cli.export import command
from twotower.core.errors import UserError
from twotower.model.checkpoint import load
from twotower.model.encoding import encode
from twotower.runs.find import resolve_model

OLD = Path(__file__).resolve().parents[1] / "old_run"
OPEN = """
import sys, numpy as np
from sentence_transformers import SentenceTransformer
model = SentenceTransformer("team/roses", device="cpu", trust_remote_code=True)
np.save(sys.argv[1], model.encode_query(["prune roses", "list files"]))
"""


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


def elsewhere(hub: HubServer, tmp_path: Path, *arguments: str, token: str = TOKEN) -> subprocess.CompletedProcess:
    """Runs Python in a process of its own, as the library reads its settings when it is imported."""
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    env |= {"HF_TOKEN": token, "PYTHONPATH": str(Path(twotower.__file__).parents[1]), "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = [sys.executable, *arguments]
    return subprocess.run(done, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)


def test_a_model_goes_to_the_hub_in_one_commit(hub, tmp_path):
    pytest.importorskip("huggingface_hub", reason="huggingface-hub isn't installed")
    words = ["-m", "twotower", "export", str(OLD / "mlp"), "--to", "hub", "--repo", "team/plain", "--private"]
    done = elsewhere(hub, tmp_path, *words, "--form", "safetensors")
    assert done.returncode == 0, done.stderr
    assert hub.url in done.stdout
    path = resolve_model(str(OLD / "mlp"))[1]
    assert set(hub.repos["team/plain"]) == {"model.safetensors", "config.json", "vocabulary.json", "README.md"}
    assert hub.private == {"team/plain": True}
    assert hub.messages == [f"twotower model {load(path).sha256[:12]}"]
    shown = hub.repos["team/plain"]["README.md"].decode().split("```python\n")[1].split("```")[0]
    opened = elsewhere(hub, tmp_path, "-c", f"{shown}\nprint(len(weights))")
    assert (opened.returncode, opened.stdout.strip()) == (0, str(len(load(path).model.state_dict()))), opened.stderr
    assert hub.unknown == []


def test_sentence_transformers_opens_it_from_the_hub_with_equal_vectors(hub, tmp_path):
    pytest.importorskip("sentence_transformers", reason="sentence-transformers isn't installed")
    script = f"import twotower; print(twotower.export({str(OLD / 'gru')!r}, 'hub', repo='team/roses'))"
    done = elsewhere(hub, tmp_path, "-c", script)
    assert done.returncode == 0, done.stderr
    assert b"library_name: sentence-transformers" in hub.repos["team/roses"]["README.md"]
    done = elsewhere(hub, tmp_path, "-c", OPEN, str(tmp_path / "vectors.npy"))
    assert done.returncode == 0, done.stderr
    model = load(resolve_model(str(OLD / "gru"))[1])
    tokens = model.tokenizer.encode(["prune roses", "list files"], model.max_query_length)
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), encode(model.model, tokens, side="query"), atol=1e-5)


def test_what_the_hub_refuses_is_one_line(hub, tmp_path):
    pytest.importorskip("huggingface_hub", reason="huggingface-hub isn't installed")
    words = ["-m", "twotower", "export", str(OLD / "mlp"), "--to", "hub", "--form", "safetensors", "--repo"]
    done = elsewhere(hub, tmp_path, *words, "team/plain", token="hf_wrong")
    assert done.returncode != 0
    assert "team/plain was not written (" in done.stderr
    assert "401" in done.stderr
    assert "Traceback" not in done.stderr
    done = elsewhere(hub, tmp_path, *words, "team/plain", token="")
    assert "hf auth login" in done.stderr
    done = elsewhere(hub, tmp_path, *words, "team/--plain--")
    assert "--repo team/--plain--" in done.stderr
    assert hub.repos == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "hub"], "--repo OWNER/NAME"),
        (["--to", "hub", "--repo", "plain"], "found plain"),
        (["--to", "hub", "--repo", "team/plain", "--form", "onix"], "--form=onix"),
        (["--to", "onnx"], "needs --out DIR"),
        (["--to", "onnx", "--out", "new", "--repo", "team/plain"], "no --repo"),
    ],
)
def test_options_that_do_not_go_together_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        CliRunner().invoke(command, [str(OLD / "mlp"), *arguments], catch_exceptions=False)
