"""The Python API: `import twotower` and its five lines, in this process and in fresh ones."""

from __future__ import annotations

import doctest
import logging
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

import twotower
from tests.started import started
from twotower import api

ROOT = Path(__file__).resolve().parents[1]
TINY = [
    "data=beir",
    "embedding=random",
    "embedding.dim=16",
    "model.hidden_dim=16",
    "model.output_dim=16",
    "data.batch_size=32",
    "trainer.max_epochs=1",
]


@pytest.fixture
def here(tiny_beir, tmp_path, monkeypatch):
    """Makes a folder with the collection `DIR` in it the one worked in."""
    (tmp_path / "DIR").symlink_to(tiny_beir)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def run(tiny_beir, tmp_path_factory):
    """A small trained run."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("api"))
    try:
        yield twotower.train([*TINY, f"data.path={tiny_beir}"], show=False)
    finally:
        os.chdir(before)


def state():
    root = logging.getLogger()
    return {
        "environment": dict(os.environ),
        "handlers": list(root.handlers),
        "level": root.level,
        "signals": [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)],
        "random": (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()),  # noqa: NPY002
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "hydra": (GlobalHydra.instance().hydra, HydraConfig.instance().cfg),
        "arguments": list(sys.argv),
    }


def test_the_import_loads_nothing_large(tmp_path):
    code = """if True:
        import sys, time
        start = time.perf_counter(); import twotower; seconds = time.perf_counter() - start
        print(seconds, sorted({"torch", "numpy", "hydra", "pandas"} & set(sys.modules)), twotower.__version__)
        assert set(twotower.__all__) <= set(dir(twotower))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    seconds, loaded, version = re.fullmatch(r"(\S+) (\[.*\]) (\S+)\n", done.stdout).groups()
    assert float(seconds) < 0.5  # 2 ms where nothing else runs
    assert (loaded, version) == ("[]", twotower.__version__)


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = twotower.trian


@pytest.mark.parametrize("name", twotower.__all__)
def test_every_public_name_is_there(name):
    assert getattr(twotower, name) is not None


def test_training_twice_with_other_models_puts_everything_back(here):
    random.seed(3), np.random.seed(3), torch.manual_seed(3)  # noqa: NPY002
    before = state()
    runs = [twotower.train([f"model={model}", "data.path=DIR", *TINY], show=False) for model in ("mlp", "gru")]
    assert state() == before
    assert [run.record["choices"]["model"] for run in runs] == ["mlp", "gru"]
    assert all(run.status in ("finished", "at_chance") for run in runs)
    assert runs[0].path != runs[1].path
    for run in runs:
        assert {".hydra", "run.json", "train.log", "checkpoints", "documents.db"} <= {
            p.name for p in run.path.iterdir()
        }
        assert "data.path=DIR" in run.record["overrides"]


def test_the_command_line_and_the_api_train_the_same(here, run):
    assert started("-m", "twotower", "train", "data.path=DIR", *TINY, cwd=Path.cwd()).returncode == 0
    (other,) = twotower.Ledger("outputs")
    assert other.record["evaluation"]["full"] == run.record["evaluation"]["full"]


def test_it_works_inside_a_hydra_of_the_users_own(here):
    from hydra import compose, initialize_config_dir

    (here / "own").mkdir()
    (here / "own" / "mine.yaml").write_text("answer: 42\n")
    with initialize_config_dir(str(here / "own"), version_base="1.3"):
        twotower.train(["data.path=DIR", *TINY], show=False)
        assert compose("mine").answer == 42


def test_groups_of_ones_own_come_from_a_folder(here):
    (here / "own" / "model").mkdir(parents=True)
    content = (ROOT / "conf" / "model" / "mlp.yaml").read_text()
    (here / "own" / "model" / "house.yaml").write_text(content)
    run = twotower.train(["model=house", "data.path=DIR", *TINY], config_dir="own", show=False)
    assert run.record["choices"]["model"] == "house"


def test_a_mistake_is_one_line_and_leaves_everything_as_it_was(here, capfd):
    before = state()
    for overrides, told in (
        (["model=foo"], "No model=foo; there are: "),
        (["data=base"], "data is a group of settings; choose one of: beir, docstrings"),
        (["modl.hidden_dim=3"], "No config key 'modl.hidden_dim'"),
        (["pretrain=none", "pretrain.epochs=3"], "The default choice of pretrain has it; the one chosen here has not."),
        (["-m", "model=gru,mlp"], "flag of the command line"),
        (["optimizer.lr=0", "data.path=DIR", *TINY], "optimizer.lr=0"),
        (["index.redis.password=hunter22"], "index.redis.password holds a secret"),
    ):
        with pytest.raises(twotower.UserError, match=re.escape(told)) as caught:
            twotower.train(overrides, show=False)
        assert "\n" not in str(caught.value)
    for wrong in ("model=gru", None, [5]):
        with pytest.raises(twotower.UserError, match="give a list"):
            twotower.train(wrong)
    assert state() == before
    assert capfd.readouterr().err == ""


def test_a_model_encodes_as_evaluation_does(run):
    from twotower.data.documents import DocumentStore
    from twotower.index.export import open_index
    from twotower.index.manifest import run_identity
    from twotower.search.query import open_query_model

    model = twotower.load(run)
    store = DocumentStore(run.path / "documents.db")
    documents = store.fetch(list(range(20)))
    vectors_ND = model.encode_documents([item.text for item in documents], titles=[item.title for item in documents])
    assert (vectors_ND.shape, vectors_ND.dtype) == ((20, 16), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors_ND, axis=1), 1, atol=1e-5)
    identity = run_identity(open_query_model(model.path), store)
    index, _ = open_index(run.path / "index" / "faiss_flat", identity)
    scores_N1, rows_N1 = index.search(vectors_ND, 1)
    np.testing.assert_allclose(scores_N1, 1, atol=1e-5)  # each is found as itself in the index of the run
    texts = [(documents[row].title, documents[row].text) if row < 20 else None for row in rows_N1[:, 0]]
    assert sum(text == (item.title, item.text) for text, item in zip(texts, documents, strict=True)) == 20


def test_similarity_is_what_the_search_says(run):
    model, engine = twotower.load(str(run.path)), twotower.SearchEngine.open(run)
    query = "query3x1 aim3n2"
    engine.lexical = None  # the vectors alone
    hits = engine.search(query, k=5).hits
    document_MD = model.encode_documents([hit.text for hit in hits], titles=[hit.title for hit in hits])
    scores_1M = model.similarity(model.encode_queries([query]), document_MD)
    np.testing.assert_allclose(scores_1M[0], [hit.score for hit in hits], atol=1e-5)


def test_a_model_is_loaded_by_run_folder_and_file(run):
    loaded = [twotower.load(source) for source in (run, run.path, str(run.path), twotower.load(run).path)]
    vectors = [model.encode_queries(["query1x1"]) for model in loaded]
    assert all(np.array_equal(vectors[0], other) for other in vectors[1:])
    assert (loaded[0].dim, loaded[0].config["model"]["output_dim"], loaded[0].to("cpu").dim) == (16, 16, 16)
    with pytest.raises(twotower.UserError, match="No run 'nowhere'"):
        twotower.load("nowhere")
    for wrong in (5, None):
        with pytest.raises(twotower.UserError, match=f"{wrong} is no run: give its folder"):
            twotower.load(wrong)


def test_encoding_takes_lists_only_and_none_at_all(run):
    model = twotower.load(run)
    assert model.encode_queries([]).shape == (0, 16)
    for wrong, message in (("one text", "not one text"), (None, "not None"), (["a", 5], "at place 1 of it stands 5")):
        with pytest.raises(twotower.UserError, match=f"list of texts is expected.*{message}"):
            model.encode_queries(wrong)
    with pytest.raises(twotower.UserError, match="1 titles for 2 texts"):
        model.encode_documents(["a", "b"], titles=["x"])


def test_a_ledger_reads_a_folder_into_a_table(run, sweep):
    assert twotower.Ledger(run)[0].path == run.path
    frame = twotower.Ledger(sweep).to_frame()
    assert len(frame) == 12
    assert {"path", "status", "model", "full/mrr_10"} <= set(frame.columns)
    assert len(twotower.Ledger()) == 0


@pytest.mark.slow
def test_the_examples_in_the_docstrings_hold(here):
    results = doctest.testmod(api, verbose=False)
    assert (results.failed, results.attempted > 8) == (0, True)


@pytest.mark.slow
def test_the_lines_in_the_readme_run_as_they_stand(here):
    code = re.search(r"```python\n(import twotower\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    (here / "example.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "example.py"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
