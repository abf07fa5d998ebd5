"""Triplets a second of the gru tower, end to end, against the same network written the usual way.

    python experiments/benchmarks/gru.py [--data squad-mini] [--triplets 2048] [--repeats 3]

Both: two bidirectional gru layers of 256 on word vectors of 256, mean over the words, triplet loss with margin .2 and
one random negative a query, Adam, batches of 32, the same vocabulary, texts of at most 128 words. The usual way: a
Dataset that tokenizes every text in Python whenever it is asked for, pads to 128, packs, and runs query, positive and
negative one after the other. Ours: token ids in ragged arrays, documents of like length together, positives and
negatives in one pass, no packing, one function for all steps, bf16 where it is measured to be faster. The clock starts
with raw text. All are judged on the same held-out triplets, not trained on; every round starts from another seed, as
what 64 steps reach differs more from seed to seed than from side to side.

A third side learns as the package does by default: the other documents of the batch are the negatives, so that no
negative is encoded for itself and every query has 31 of them (`loss.mining=all`). Its triplets are those whose loss was
taken, 32 x 31 a batch. A fourth does nothing but the matrix products of the very same triplets, forth and back, with
torch's own product: nobody can be quicker than that in float32 without leaving out work. On the way our sides are
judged every eight batches, with the clock stopped, which tells when each reaches the loss at which the usual way ends.
"""

from __future__ import annotations

import argparse
import json
import statistics
from functools import partial
from typing import Any

import common
import numpy as np
from training import load

from twotower.kernels.threads import let_threads_wait

GOAL = 8.0
"""Times the triplets a second of the usual way."""

LENGTH, BATCH, HELD_OUT, MARGIN, RATE, JUDGED_EVERY = 128, 32, 512, 0.2, 1e-3, 8


def draw(collection: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns triplets (query, positive, negative rows) to train on and to be judged by; seeded."""
    judged = collection.split("train")
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(judged.query))[: count + HELD_OUT]
    negative = rng.integers(0, len(collection.document_ids), len(chosen))
    triplets = np.stack([judged.query[chosen], judged.document[chosen], negative], axis=1)
    return triplets[:count], triplets[count:]


def ours(
    collection: Any, train: np.ndarray, held: np.ndarray, *, seed: int = 0, in_batch: bool = False
) -> tuple[list[float], list[float], list[list[float]]]:
    """The towers and losses of the package; returns (times, losses, [seconds, processor seconds, held-out loss])."""
    import torch

    from twotower.kernels.cpu import precision_for, prepare_process
    from twotower.loss.triplet import TripletLoss
    from twotower.model.two_tower import TwoTower
    from twotower.text.tokenizer import Tokenizer

    prepare_process()
    torch.manual_seed(seed)
    clock = common.Clock()
    documents = collection.document_texts()
    tokenizer = Tokenizer.train([*documents, *collection.query_texts], {"min_frequency": 2})
    query_tokens = tokenizer.encode(collection.query_texts, LENGTH)
    document_tokens = tokenizer.encode(documents, LENGTH)
    towers = {"query_tower": "gru", "document_tower": "gru", "num_layers": 2, "pooling": "mean"}
    model = TwoTower(vocabulary_size=tokenizer.size, embedding_dim=256, **towers)
    explicit, every = TripletLoss(margin=MARGIN, mining="explicit"), TripletLoss(margin=MARGIN, mining="all")
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    # documents of like length together within stretches of 32 batches; the order of batches is random
    batches = batches_of(document_tokens.lengths, train, seed)

    def run(rows: np.ndarray, in_batch: bool) -> torch.Tensor:
        query, positive, negative = rows.T
        documents = positive if in_batch else np.concatenate([positive, negative])
        # True is no negative: in the batch, a document that is the positive of another query too
        mask = torch.zeros(len(rows), len(documents), dtype=torch.bool)
        mask[:, : len(rows)] = torch.from_numpy(positive[:, None] == positive).fill_diagonal_(False)
        vectors = (
            model.encode_queries(query_tokens.take(query)),
            model.encode_documents(document_tokens.take(documents)),
        )
        return (every if in_batch else explicit)(*vectors, mask).loss

    low = precision_for(recurrent=True) == "bf16-mixed"
    losses, points = [], []
    for number, rows in enumerate(batches, start=1):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            value = run(train[rows], in_batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
        if number % JUDGED_EVERY == 0 or number == len(batches):
            times = clock.read()
            with clock.stopped(), torch.inference_mode():
                judged = [float(run(part, False)) for part in held.reshape(-1, BATCH, 3)]
            points.append([*times, float(np.mean(judged))])
    return clock.read(), losses, points


def batches_of(lengths: np.ndarray, train: np.ndarray, seed: int) -> np.ndarray:
    """Returns rows of triplets [batches, BATCH], documents of like length together within 32 batches."""
    longest = np.maximum(lengths[train[:, 1]], lengths[train[:, 2]])
    order = np.lexsort((longest, np.arange(len(train)) // (BATCH * 32)))
    return np.random.default_rng(seed).permutation(order.reshape(-1, BATCH))


def products(collection: Any, train: np.ndarray, *, seed: int = 0, size: int = 256) -> list[float]:
    """Takes the matrix products alone of `ours` over the same triplets; returns [seconds, processor seconds]."""
    import torch

    from twotower.kernels.cpu import prepare_process
    from twotower.text.tokenizer import Tokenizer

    prepare_process()
    documents = collection.document_texts()
    tokenizer = Tokenizer.train([*documents, *collection.query_texts], {"min_frequency": 2})
    query_N, document_N = (tokenizer.encode(part, LENGTH).lengths for part in (collection.query_texts, documents))
    gates, weight_GH, weight_GI = 3 * size, torch.ones(3 * size, size), torch.ones(3 * size, 2 * size)
    most = 2 * BATCH * LENGTH  # words of a batch
    inputs, states, grads = torch.ones(most * 2 * size), torch.ones(most, size), torch.ones(most, gates)
    clock = common.Clock()
    with torch.inference_mode():
        for rows in batches_of(document_N, train, seed):
            query, positive, negative = train[rows].T
            pair = np.concatenate([positive, negative])
            for texts, steps in ((len(query), query_N[query].max()), (len(pair), document_N[pair].max())):
                state_BH, grad_BG, words = states[:texts], grads[:texts], int(texts * steps)
                for width in (size, 2 * size):  # of what each layer reads
                    input_TI, grad_TG = inputs[: words * width].view(words, width), grads[:words]
                    for _ in range(2):  # directions
                        input_TI @ weight_GI[:, :width].t(), grad_TG @ weight_GI[:, :width]
                        grad_TG.t() @ input_TI, grad_TG.t() @ states[:words]
                        for _ in range(steps):
                            state_BH @ weight_GH.t(), grad_BG @ weight_GH
    return clock.read()


def reached(points: list[list[float]], loss: float) -> float | None:
    """Returns the seconds at the first look at which a held-out loss is reached; None if it never is."""
    return next((seconds for seconds, _, found in points if found <= loss), None)


def main() -> None:
    """Runs the sides in turn."""
    parser = common.parser(__doc__)
    parser.add_argument("--data", default="squad-mini")
    parser.add_argument("--triplets", type=int, default=2048)
    options: argparse.Namespace = parser.parse_args()
    if options.side:
        collection = load(options.data)
        train, held = draw(collection, options.triplets // BATCH * BATCH)
        if options.side == "products":
            let_threads_wait()
            print(json.dumps(dict(zip(("seconds", "cpu_seconds"), products(collection, train), strict=True))))
            return
        if options.side == "usual":
            from gru_usual import theirs as side
        else:
            let_threads_wait()  # as train.py does, before torch is loaded
            side = partial(ours, in_batch=options.side == "in_batch")
        (seconds, cpu), losses, points = side(collection, train, held, seed=options.round)
        curve = [round(float(part.mean()), 4) for part in np.array_split(np.array(losses), 4)]
        speed = {"triplets_per_second": round(len(train) / seconds, 1), "seconds": seconds, "cpu_seconds": cpu}
        print(json.dumps({**speed, "held_out_loss": round(points[-1][-1], 4), "curve": curve, "points": points}))
        return
    arguments = ["--data", options.data, "--triplets", str(options.triplets)]
    sides = ["twotower", "in_batch", "usual", "products"]
    report(options, common.alternate(__file__, sides, arguments, repeats=options.repeats, threads=options.threads))


def report(options: argparse.Namespace, found: dict[str, list[dict[str, Any]]]) -> None:
    """Tells of both of our sides against the usual way."""
    floor = found.pop("products")
    middle = {
        key: {side: common.median(rounds, key) for side, rounds in found.items()}
        for key in ("seconds", "cpu_seconds", "held_out_loss")
    }
    seconds, cpu, loss = middle.values()
    most = seconds["usual"] / common.median(floor, "seconds")
    curves = {side: [one["curve"] for one in rounds] for side, rounds in found.items()}
    for side, name, each, bound in (
        ("twotower", "the same triplets", 1, f"four matrix products a word and step: they alone would be {most:.1f} x"),
        ("in_batch", "negatives from the batch", BATCH - 1, "as above, for half the documents"),
    ):
        speed = each * seconds["usual"] / seconds[side]
        seen = f", {seconds['usual'] / seconds[side]:.1f} x the queries" if each > 1 else ""
        times = [reached(one["points"], loss["usual"]) for one in found[side]]
        equal = [time for time in times if time is not None]
        when = f"reached in {len(equal)} of {len(times)} rounds"
        if equal:
            when += f", {seconds['usual'] / statistics.median(equal):.1f} x as soon"
        common.report(
            options.json, f"training gru, {options.data}, {name}",
            goal=f"{GOAL:g} x triplets/s of the usual way, equal loss",
            measured=f"{speed:.1f} x ({each * cpu['usual'] / cpu[side]:.1f} x by processor time){seen}; held-out loss "
            f"{loss[side]:.3f} against {loss['usual']:.3f}, first {when}",
            met=speed >= GOAL and loss[side] <= loss["usual"] * 1.05, bound=bound, **middle, curves=curves,
        )  # fmt: skip


if __name__ == "__main__":
    main()
