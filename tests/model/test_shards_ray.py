"""`twotower encode --ray`: a cluster's tasks write what one process writes; mistakes are one clear line."""

import socket
import sys
from types import SimpleNamespace

import pytest

from twotower.core.errors import UserError
from twotower.model.shards import Plan
from twotower.model.shards_ray import connect, encode_on_ray


def test_without_ray_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="pip install ray"):
        connect("local")


def test_an_address_where_nothing_listens_is_refused_at_once():
    pytest.importorskip("ray", reason="Ray is not installed (make ray)")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(UserError, match=f"No Ray cluster at --ray {address}"):
            connect(address)


@pytest.mark.parametrize("address", ["local", "auto"])
def test_local_is_a_ray_of_its_own_and_no_cluster_that_happens_to_run_here(monkeypatch, address):
    asked = []
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=lambda **options: asked.append(options)))
    connect(address)
    assert asked[0]["address"] == address  # without an address ray.init takes the cluster it finds


@pytest.mark.slow
def test_tasks_write_together_what_one_process_writes(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed (make ray)")
    import torch

    from twotower.model import checkpoint
    from twotower.model.shards import complete, encode_shards
    from twotower.model.two_tower import TwoTower
    from twotower.text.tokenizer import Tokenizer

    texts = [f"word{number % 7} common text{number}" for number in range(23)]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    settings = {"text": {"min_frequency": 1}, "data": {"max_query_length": 8, "max_document_length": 8}}
    settings["data"] |= {"batch_size": 8, "num_workers": 0}
    settings |= {"optimizer": {"lr": 0.1}, "loss": {}, "trainer": {"max_epochs": 1}, "callbacks": {}}
    sizes = {"hidden_dim": 8, "output_dim": 8, "num_layers": 1, "dropout": 0.0}
    tokenizer = Tokenizer.train(texts, settings["text"])
    torch.manual_seed(0)
    config = {**sizes, "vocabulary_size": tokenizer.size, "embedding_dim": 8}
    path = tmp_path / "model.pt"
    stats = {"config": checkpoint.flat_config({**settings, "model": sizes}, {})}
    parts = {"model": TwoTower(**config), "model_config": config, "tokenizer": tokenizer, "training_stats": stats}
    checkpoint.save(path, **parts, epoch=1, eval_results={}, wandb_run_id=None)
    loaded = checkpoint.load(path)
    alone, shared = (Plan(source=tmp_path / "texts.txt", folder=tmp_path / name, shard_rows=5) for name in "ab")
    complete(loaded, alone, encode_shards(loaded, alone))
    ended = []
    complete(loaded, shared, encode_on_ray(path, shared, address="local", tasks=2, progress=ended.append))
    assert ended == [1, 1]
    names = sorted(item.name for item in alone.folder.iterdir())
    assert names == sorted(item.name for item in shared.folder.iterdir())
    assert all((alone.folder / name).read_bytes() == (shared.folder / name).read_bytes() for name in names)
    wrong = Plan(source=tmp_path / "absent.txt", folder=tmp_path / "c", shard_rows=5)
    with pytest.raises(UserError, match="No file"):
        encode_on_ray(path, wrong, address="local", tasks=1)
