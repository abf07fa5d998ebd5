"""A batch of 16,384 in-batch negatives on small memory: peak memory of one step with gradient caching, and without.

    python experiments/benchmarks/gradcache.py [--batch 16384] [--chunk 1024]

The mlp tower with a vocabulary of 30,522 and 256 dimensions, texts of 64 words, contrastive loss, sparse Adam. Each
side is a process of its own; its peak resident memory, libraries included, is what the system reports.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import common


def step(batch: int, chunk: int | None) -> dict[str, float]:
    """Runs two training steps and reports seconds of the second, loss and peak memory."""
    import torch

    from twotower.loss.contrastive import ContrastiveLoss
    from twotower.model.gradcache import encode_in_chunks
    from twotower.model.two_tower import TwoTower
    from twotower.optimizer.sparse_adam import SparseAdam
    from twotower.text.tokens import TokenBatch

    torch.manual_seed(0)
    model = TwoTower(vocabulary_size=30_522, embedding_dim=256, sparse_gradients=True, dropout=0.5, word_dropout=0.3)
    loss, optimizer = ContrastiveLoss(chunk=chunk), SparseAdam(model.parameters())
    mask = torch.zeros(batch, batch, dtype=torch.bool)

    def texts(words: int) -> TokenBatch:
        return TokenBatch(torch.randint(2, 30_522, (batch * words,)), torch.arange(batch + 1) * words)

    query, document = texts(8), texts(64)
    for _ in range(2):
        started = time.perf_counter()
        vectors = (
            encode_in_chunks(model.encode_queries, query, chunk),
            encode_in_chunks(model.encode_documents, document, chunk),
        )
        value = loss(*vectors, mask).loss
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "peak_gib": round(peak, 2),
        "seconds": round(time.perf_counter() - started, 2),
        "loss": float(value.detach()),
    }


def main() -> None:
    """Runs the sides in turn."""
    parser = common.parser(__doc__, repeats=1)
    parser.add_argument("--batch", type=int, default=16_384)
    parser.add_argument("--chunk", type=int, default=1024)
    options: argparse.Namespace = parser.parse_args()
    if options.side:
        print(json.dumps(step(options.batch, options.chunk if options.side == "cached" else None)))
        return
    arguments = ["--batch", str(options.batch), "--chunk", str(options.chunk)]
    sides = ["cached", "plain"]
    found = common.alternate(__file__, sides, arguments, repeats=options.repeats, threads=options.threads)
    peak = {side: common.median(rounds, "peak_gib") for side, rounds in found.items()}
    common.report(
        options.json, f"batch of {options.batch:,}", goal="under 4 GiB", met=peak["cached"] < 4,
        bound="the libraries, the vectors of the batch, and the scores of one chunk of it",
        measured=f"{peak['cached']:.2f} GiB with caching, {peak['plain']:.2f} GiB without",
        seconds={side: common.median(rounds, "seconds") for side, rounds in found.items()},
    )  # fmt: skip


if __name__ == "__main__":
    main()
