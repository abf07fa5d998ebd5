"""Encoding a corpus with several processes: what each process spends, against one process that encodes all.

    python experiments/benchmarks/shared_encoding.py [--processes 2] [--documents 800] [--repeats 2]

As in an evaluation under `trainer=ddp`: every process has the tokens of all documents, encodes its share by a gru tower
(2 layers of 256) and gets the vectors of all. The figure is the processor time of the slowest process, which busy cores
don't blur as they do the clock; all processes must end with the same vectors, those of one process.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import common
import numpy as np


def encode_share(rank: int, world: int, meeting: str, documents: int) -> None:
    """Encodes one share and leaves processor seconds and the hash of all vectors in a file."""
    import torch
    import torch.distributed as dist

    from twotower.model.encoding import encode
    from twotower.model.two_tower import TwoTower
    from twotower.text.tokens import Tokens

    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    torch.manual_seed(0)
    towers = {"query_tower": "gru", "document_tower": "gru", "num_layers": 2, "hidden_dim": 256}
    model = TwoTower(vocabulary_size=20_000, embedding_dim=256, **towers).eval()
    lengths = np.random.default_rng(0).integers(20, 100, documents)
    ids = np.random.default_rng(1).integers(2, 20_000, lengths.sum()).astype(np.int32)
    tokens = Tokens(ids_T=ids, offsets=np.concatenate([[0], np.cumsum(lengths)]))
    encode(model, tokens, side="document", rows=np.arange(64))
    started = time.process_time()
    vectors = encode(model, tokens, side="document", shared=True)
    spent = time.process_time() - started
    found = {"seconds": spent, "hash": hashlib.sha256(np.ascontiguousarray(vectors)).hexdigest()}
    Path(f"{meeting}.{rank}.json").write_text(json.dumps(found))


def measured(world: int, documents: int) -> tuple[float, set[str]]:
    """Returns the processor seconds of the slowest of so many processes, and the hashes of their vectors."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        context = multiprocessing.get_context("spawn")
        started = [
            context.Process(target=encode_share, args=(rank, world, meeting, documents)) for rank in range(world)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join()
        told = [json.loads(Path(f"{meeting}.{rank}.json").read_text()) for rank in range(world)]
    return max(item["seconds"] for item in told), {item["hash"] for item in told}


def main() -> None:
    """Measures one process and several in turn."""
    parser = common.parser(__doc__, repeats=2)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--documents", type=int, default=800)
    options = parser.parse_args()
    one, several, hashes = [], [], set()
    for _ in range(options.repeats):
        for world, figures in ((1, one), (options.processes, several)):
            spent, seen = measured(world, options.documents)
            figures.append(spent)
            hashes |= seen
    share = float(np.median(several) / np.median(one))
    same = len(hashes) == 1
    common.report(
        options.json,
        f"encoding shared by {options.processes} processes",
        goal=f"each at most {1.1 / options.processes:.2f} of what one alone spends, the same vectors",
        measured=f"{share:.2f} ({np.median(several):.2f} s to {np.median(one):.2f} s of CPU), "
        f"vectors {'the same' if same else 'NOT the same'}",
        met=same and share <= 1.1 / options.processes,
        bound="not looked into",
        share=share,
        documents=options.documents,
    )


if __name__ == "__main__":
    main()
