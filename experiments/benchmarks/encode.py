"""Documents a second from text to vectors: our mlp tower against model2vec's StaticModel, same vocabulary, same width.

    python experiments/benchmarks/encode.py [--documents 40000] [--repeats 3]

Both read MiniLM's word pieces (30,522), 256 dimensions, at most 256 pieces of a text, and give unit vectors; ours runs
its hidden layer besides. Texts: the documents of squad-mini and tldr, repeated to the number asked for.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import common
import numpy as np
from training import load, vocabulary


def texts(count: int) -> list[str]:
    """Returns that many documents."""
    found = [text for name in ("squad-mini", "tldr") for text in load(name).document_texts()]
    return [found[at % len(found)] for at in range(count)]


def ours(documents: list[str]) -> Any:
    """Tokenises and encodes as `twotower encode` does."""
    from twotower.kernels.threads import let_threads_wait

    let_threads_wait()  # as train.py does
    from twotower.kernels.cpu import keep_freed_memory
    from twotower.model.encoding import encode
    from twotower.model.two_tower import TwoTower
    from twotower.text.tokenizer import Tokenizer

    keep_freed_memory()
    settings = {"strip_accents": True, "split_identifiers": False, "vocabulary_file": str(vocabulary())}
    tokenizer = Tokenizer.train([], {"kind": "wordpiece", **settings})
    model = TwoTower(vocabulary_size=tokenizer.size, embedding_dim=256)
    return lambda: encode(model, tokenizer.encode(documents, 256), side="document")


def theirs(documents: list[str]) -> Any:
    """StaticModel.encode with its defaults."""
    from model2vec import StaticModel
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(vocabulary().parent / "tokenizer.json"))
    vectors = np.random.default_rng(0).standard_normal((30_522, 256)).astype(np.float32)
    model = StaticModel(vectors, tokenizer, config={"normalize": True}, normalize=True)
    return lambda: model.encode(documents, max_length=256)


def main() -> None:
    """Runs the sides in turn."""
    parser = common.parser(__doc__)
    parser.add_argument("--documents", type=int, default=40_000)
    options: argparse.Namespace = parser.parse_args()
    if options.side:
        documents = texts(options.documents)
        run = {"twotower": ours, "model2vec": theirs}[options.side](documents)
        run_few = run()
        assert run_few.shape == (options.documents, 256)
        started, cpu = time.perf_counter(), time.process_time()
        run()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        print(json.dumps({"documents_per_second": round(options.documents / seconds), "cpu_seconds": round(cpu, 2)}))
        return
    sides = ["twotower", "model2vec"]
    arguments = ["--documents", str(options.documents)]
    found = common.alternate(__file__, sides, arguments, repeats=options.repeats, threads=options.threads)
    speed = {side: common.median(rounds, "documents_per_second") for side, rounds in found.items()}
    cpu = {side: common.median(rounds, "cpu_seconds") for side, rounds in found.items()}
    ratio = speed["twotower"] / speed["model2vec"]
    common.report(
        options.json, "encoding, mlp", goal="8 x documents/s of model2vec",
        measured=f"{ratio:.1f} x ({cpu['model2vec'] / cpu['twotower']:.1f} x by processor time), "
        f"{speed['twotower']:,.0f} documents/s", met=ratio >= 8,
        bound="tokenising: three quarters of the time of one AMD EPYC core",
        documents_per_second=speed, cpu_seconds=cpu,
    )  # fmt: skip


if __name__ == "__main__":
    main()
