"""Teachers of the batch: BM25, an earlier run, a file of scores, a sentence-transformers model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import twotower
from twotower.config.instantiate import instantiate
from twotower.core.errors import UserError
from twotower.data.beir import load as read_beir
from twotower.data.datamodule import RetrievalData
from twotower.data.settings import DataSettings
from twotower.lexical.bm25 import Bm25
from twotower.text.tokenizer import Tokenizer
from twotower.training.teachers import batch_scores, check_teacher

SMALL = ["data=beir", "embedding=random", "embedding.dim=16", "model.output_dim=16", "pretrain=none", "index=none"]
SHORT = ["trainer.max_epochs=1", "data.batch_size=32", "trainer.enable_progress_bar=false"]


@pytest.fixture(scope="module")
def data(tiny_beir):
    collection = read_beir(tiny_beir)
    tokenizer = Tokenizer.train(collection.document_texts(), {})
    return RetrievalData(collection=collection, tokenizer=tokenizer, settings=DataSettings())


@pytest.fixture(scope="module")
def rows(data):
    judged = data.collection.split("train")
    return judged.query[:6].astype(np.int64), judged.document[:9].astype(np.int64)


def ask(loss, data):
    return batch_scores(instantiate(loss, "loss"), data, stem="english")


def distill(teacher, **settings):
    return {"_target_": "twotower.loss.distill.DistillLoss", "teacher": str(teacher), **settings}


def test_bm25_scores_a_batch_as_it_scores_the_corpus(data, rows):
    texts = [data.collection.query_texts[row] for row in rows[0]]
    expected_BN = Bm25.build(data.collection.document_texts(), stem="english").scores(texts)[:, rows[1]]
    assert expected_BN.max() > 0
    scores, told = ask({"_target_": "twotower.loss.contrastive.ContrastiveLoss", "lexical_weight": 0.6}, data)
    np.testing.assert_allclose(scores["lexical_BN"](*rows).numpy(), expected_BN, rtol=1e-5, atol=1e-5)
    assert told == {"lexical": {"kind": "bm25", "stem": "english", "temperature": 1.0}}
    scores, _ = ask(distill("bm25", teacher_temperature=4), data)
    np.testing.assert_allclose(scores["teacher_BN"](*rows).numpy(), expected_BN / 4, rtol=1e-5, atol=1e-5)


def test_a_file_of_scores_gives_what_stands_in_it(data, rows, tmp_path):
    query, document = data.collection.query_ids[rows[0][0]], data.collection.document_ids[rows[1][3]]
    run = tmp_path / "teacher.trec"
    run.write_text(f"{query} Q0 {document} 1 12.5 other\n")
    scores_BN = ask(distill(run, teacher_temperature=5), data)[0]["teacher_BN"](*rows)
    there_BN = (rows[0] == rows[0][0])[:, None] & (rows[1] == rows[1][3])[None, :]
    assert torch.equal(torch.isfinite(scores_BN), torch.from_numpy(there_BN))
    assert float(scores_BN[0, 3]) == 2.5
    other = tmp_path / "other.trec"
    dev = data.collection.query_ids[data.collection.split("dev").queries[0]]
    other.write_text(f"{dev} Q0 {document} 1 12.5 other\n")
    with pytest.raises(UserError, match="scores none of the queries of split 'train'"):
        ask(distill(other), data)


def test_an_earlier_run_teaches_with_its_cosines(data, rows, tiny_beir, tmp_path):
    run = twotower.train([*SMALL, *SHORT, f"data.path={tiny_beir}", f"hydra.run.dir={tmp_path}/first"], show=False)
    scores_BN = ask(distill(run.path, teacher_temperature=1), data)[0]["teacher_BN"](*rows)
    model = twotower.load(run)
    query_BD = model.encode_queries([data.collection.query_texts[row] for row in rows[0]])
    document_ND = model.encode_documents([data.collection.document_texts()[row] for row in rows[1]])
    np.testing.assert_allclose(scores_BN.numpy(), query_BD @ document_ND.T, rtol=1e-4, atol=1e-5)
    taught = twotower.train(
        [*SMALL, *SHORT, f"data.path={tiny_beir}", "loss=distill", f"loss.teacher={run.path}", "loss.dims=[8]",
         f"hydra.run.dir={tmp_path}/second"], show=False,
    )  # fmt: skip
    told = json.loads((taught.path / "run.json").read_text())["teachers"]["teacher"]
    assert told["kind"] == "run"
    assert len(told["sha256"]) == 64
    assert told["temperature"] == 0.05
    assert twotower.load(taught).encode_queries(["noise1"]).shape == (1, 16)


def test_a_sentence_transformers_model_teaches(data, rows, tmp_path):
    models = pytest.importorskip("sentence_transformers", reason="in the environment of `make test-export`")
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer as RustTokenizer
    from tokenizers import models as kinds
    from tokenizers import pre_tokenizers

    words = {"[UNK]": 0, **{f"q{topic}x{n}": 1 + topic * 4 + n for topic in range(30) for n in range(4)}}
    rust = RustTokenizer(kinds.WordLevel(words, unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.Whitespace()
    model = models.SentenceTransformer(modules=[StaticEmbedding(rust, embedding_dim=8)], device="cpu")
    model.save(str(tmp_path / "st"))
    scores_BN = ask(distill(tmp_path / "st", teacher_temperature=1), data)[0]["teacher_BN"](*rows)
    texts = [
        [data.collection.query_texts[row] for row in rows[0]],
        [data.collection.document_texts()[row] for row in rows[1]],
    ]
    expected = [model.encode(part, normalize_embeddings=True) for part in texts]
    np.testing.assert_allclose(scores_BN.numpy(), expected[0] @ expected[1].T, rtol=1e-4, atol=1e-5)


def test_bm25_in_the_logits_trains_and_is_recorded(tiny_beir, tmp_path):
    run = twotower.train(
        [*SMALL, *SHORT, f"data.path={tiny_beir}", "loss.lexical_weight=0.6", f"hydra.run.dir={tmp_path}/run"],
        show=False,
    )
    assert run.record["teachers"]["lexical"]["kind"] == "bm25"
    state = torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert float(state["loss.log_lexical_weight"].exp()) != pytest.approx(0.6, abs=1e-6)


def test_a_teacher_that_is_not_there_is_named_before_any_data_is_read():
    check_teacher("bm25")
    with pytest.raises(UserError, match=r"loss\.teacher=nobody: .*A teacher is bm25, a run folder"):
        check_teacher("nobody")


def test_a_cut_index_is_searched_and_refuses_the_hybrid(tiny_beir, tmp_path):
    settings = [item for item in SMALL if item != "index=none"]
    run = twotower.train(
        [*settings, *SHORT, f"data.path={tiny_beir}", "loss.dims=[8]", "index=exact", "index.exact.dims=8",
         f"hydra.run.dir={tmp_path}/run"], show=False,
    )  # fmt: skip
    engine = twotower.SearchEngine.open(run)
    assert engine.index.dim == 8
    assert len(engine.search("noise1 noise2", k=5, mode="dense").hits) == 5
    assert engine.mode != "hybrid"
    with pytest.raises(UserError, match=r"mode=hybrid: index\.exact holds the first 8 numbers"):
        engine.search("noise1", mode="hybrid")
