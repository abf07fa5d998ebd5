"""What the default run finds, beside sentence-transformers' StaticEmbedding trained from scratch on the same pairs.

    python experiments/benchmarks/quality.py [--data tldr,squad-mini] [--seed 0] [--repeats 1]

How quickly it trains is told too. A step of ours is on a batch of pairs and on one of the corpus: it is told whole, on
the pairs alone (the same run with `pretrain.mix=0`), and what the corpus takes, before the pairs and beside them, in a
line of its own.

Ours is the README's command, nothing set but the data: stems, LSA vectors, pre-training on the corpus, ten epochs of
pairs. Theirs is `training.py`'s other side: MiniLM's word pieces, 256 dimensions, batches of 1,024, ten epochs. MRR@10
over the whole dev split in the full corpus, the same code for both; seconds are those of the whole training, ours with
evaluation and BM25. Needs what `training.py` needs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import common
import training

COLLECTIONS = "tldr,squad-mini,msmarco-passage-mini,wikiqa,docstrings"


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """Runs `train.py` and reads its record; a second run tells what its pairs alone take."""
    before = os.times()
    record = record_of(options)
    after = os.times()
    alone = record_of(options, "pretrain.mix=0", "evaluation.hybrid=null")
    full = record["evaluation"]["full"]["metrics"]["mrr_10"]
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {
        **{"mrr_10": round(full["value"], 4), "hybrid": round(full["hybrid"], 4), "bm25": round(full["bm25"], 4)},
        **{"seconds": round(after.elapsed - before.elapsed, 1), "cpu_seconds": round(cpu, 1)},
        **speed_of(record, alone),
    }


def record_of(options: argparse.Namespace, *more: str) -> dict[str, Any]:
    """Runs `train.py` with every default and returns its record."""
    data = [] if options.data == "docstrings" else ["data=beir", f"data.path={common.DATA / options.data}"]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [
            *(sys.executable, str(common.ROOT / "train.py"), *data, "index=none", f"seed={options.seed}", *more),
            *(f"hydra.run.dir={run}", f"trainer.threads={os.environ['OMP_NUM_THREADS']}", *options.overrides),
        ]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        record: dict[str, Any] = json.loads((run / "run.json").read_text())
    return record


def speed_of(record: dict[str, Any], alone: dict[str, Any]) -> dict[str, Any]:
    """Returns how quickly a run trained, by the clock and of the processor, and one whose steps are on pairs alone."""
    split = record["data"]["report"]["splits"]["train"]
    held_out = min(record["config"]["data"]["held_out"], int(split["queries"] * 0.05))
    an_epoch = split["relevant"] * (1 - held_out / split["queries"])
    pairs, alone_pairs = (an_epoch * len(run["history"]) for run in (record, alone))
    timings, before = record["timings"], record["pretrain"]
    return {
        "pairs_per_second": round(pairs / timings["fit_seconds"]),
        "pairs_per_cpu_second": round(pairs / timings["fit_cpu_seconds"]),
        "alone_per_second": round(alone_pairs / alone["timings"]["fit_seconds"]),
        "alone_per_cpu_second": round(alone_pairs / alone["timings"]["fit_cpu_seconds"]),
        "untrained": round(record["untrained"]["full"]["mrr_10"], 4),
        "pretrained": round(before["metrics"]["full/mrr_10"], 4),
        "pretrain_seconds": before["seconds"],
        "texts_per_second": round(before["pairs"] / before["seconds"]),
    }


def tell_speed(options: argparse.Namespace, name: str, found: dict[str, list[dict[str, Any]]]) -> None:
    """Reports the training of the default run on pairs against theirs, and that on the corpus."""
    own, other = found["twotower"], found["sentence-transformers"]
    clock = common.median(other, "pairs_per_second")
    spent = [{"rate": item["pairs_per_second"] * item["seconds"] / item["cpu_seconds"]} for item in other]
    cpu = common.median(spent, "rate")
    ratios = {key: common.median(own, f"{key}_per_second") / clock for key in ("alone", "pairs")}
    by_cpu = {key: common.median(own, f"{key}_per_cpu_second") / cpu for key in ("alone", "pairs")}
    quality = {key: common.median(own, key) for key in ("untrained", "pretrained", "mrr_10")}
    reached = next((key for key, value in quality.items() if value >= common.median(other, "mrr_10")), "never")
    told = {"untrained": "before any training", "pretrained": "before the first pair", "never": "never"}
    common.report(
        options.json, f"training of the default run, {name}", goal="4 x pairs/s of StaticEmbedding",
        measured=f"{ratios['alone']:.1f} x ({by_cpu['alone']:.1f} x by processor time) on the pairs alone, "
        f"{ratios['pairs']:.1f} x ({by_cpu['pairs']:.1f} x) with a batch of the corpus beside each step; what "
        f"StaticEmbedding ends with it has {told.get(reached, 'when trained')}",
        met=ratios["alone"] >= 4,
        bound="vectors of twice the width and a hidden layer: 69 of the 118 CPU ms of a step on tldr are matrix "
        "products at 70 billion operations a second; 15 are Adam over all word vectors and the clipping",
        ratio=ratios, by_cpu=by_cpu, reached=quality,
    )  # fmt: skip
    common.report(
        options.json, f"training on the corpus, {name}", goal="-",
        measured=f"before the pairs {common.median(own, 'texts_per_second'):,.0f} texts/s, "
        f"{common.median(own, 'pretrain_seconds'):.1f} s in all; beside them "
        f"{1 - by_cpu['pairs'] / by_cpu['alone']:.0%} of a step's processor time",
        met=None, bound="as of the training on pairs",
    )  # fmt: skip


def main() -> None:
    """Runs the sides in turn, collection by collection."""
    parser = common.collections_parser(__doc__, data=COLLECTIONS, repeats=1)
    parser.set_defaults(epochs=training.EPOCHS, batch=training.BATCH, lr=0.0)  # of their side
    options = parser.parse_args()
    if options.side:
        options.seed += options.round
        print(json.dumps({"twotower": ours, "sentence-transformers": training.theirs}[options.side](options)))
        return
    for name in options.data.split(","):
        arguments = ["--data", name, "--seed", str(options.seed), *options.overrides]
        found = common.alternate(
            __file__, ["twotower", "sentence-transformers"], arguments, repeats=options.repeats, threads=options.threads
        )
        mrr = {side: common.median(rounds, "mrr_10") for side, rounds in found.items()}
        cpu = {side: common.median(rounds, "cpu_seconds") for side, rounds in found.items()}
        hybrid, bm25 = (common.median(found["twotower"], key) for key in ("hybrid", "bm25"))
        common.report(
            options.json, f"quality, {name}", goal="MRR@10 of the default run no worse than StaticEmbedding's",
            measured=f"{mrr['twotower']:.3f} against {mrr['sentence-transformers']:.3f} (hybrid {hybrid:.3f}, BM25 "
            f"{bm25:.3f}); {cpu['twotower']:.0f} against {cpu['sentence-transformers']:.0f} CPU s",
            met=mrr["twotower"] >= mrr["sentence-transformers"], mrr_10=mrr, hybrid=hybrid, bm25=bm25, cpu_seconds=cpu,
        )  # fmt: skip
        tell_speed(options, name, found)


if __name__ == "__main__":
    main()
