"""One process of a test: takes its share of the first batch, and writes loss and averaged gradients.

python distributed_worker.py DATA OUT RANK WORLD_SIZE RENDEZVOUS KIND NEGATIVES
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from twotower.data import negatives
from twotower.data.batches import TrainLoader
from twotower.data.beir import load
from twotower.data.collection import Collection
from twotower.data.settings import NegativeSettings
from twotower.evaluation.evaluate import evaluate_means
from twotower.evaluation.settings import EvaluationSettings
from twotower.kernels.distributed import gather_documents, gather_rows, group_rank, merge_rows, split_rows
from twotower.loss.contrastive import ContrastiveLoss
from twotower.model.encoding import encode
from twotower.model.two_tower import TwoTower
from twotower.text.tokenizer import Tokenizer

NOT_MET = 75


class Step(torch.nn.Module):
    """Model and loss as one module, as DistributedDataParallel wants it."""

    def __init__(self, size: int, kind: str) -> None:
        super().__init__()
        towers = {"query_tower": kind, "document_tower": kind, "hidden_dim": 16, "output_dim": 16}
        self.model = TwoTower(vocabulary_size=size, embedding_dim=16, **towers)
        self.loss = ContrastiveLoss(directions="both", learn_temperature=True)

    def forward(self, batch):
        query = self.model.encode_queries(batch.query)
        document = self.model.encode_documents(batch.document)
        return self.loss(gather_rows(query), gather_documents(document, len(query)), batch.mask_BN).loss


def meet(rendezvous: str, rank: int, world: int) -> None:
    """Connects the processes; ends with NOT_MET where they can't find each other in time."""
    try:
        dist.init_process_group(
            "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world, timeout=timedelta(seconds=60)
        )
        dist.barrier()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        sys.exit(NOT_MET)


def evaluate(model: TwoTower, collection: Collection, tokenizer: Tokenizer) -> dict:
    """All figures, the vectors and the ranking of a model, worked out together; 16 rows a batch give all something."""
    rows = collection.split("dev").queries.astype("int64")
    query_tokens = tokenizer.encode(collection.query_texts, 32)
    query_QD = encode(model, query_tokens, side="query", rows=rows, batch_size=16, shared=True)
    document_tokens = tokenizer.encode(collection.document_texts(), 64)
    document_ND = encode(model, document_tokens, side="document", batch_size=16, shared=True)
    metrics = {"precision_10": {"_target_": "torchmetrics.retrieval.RetrievalPrecision", "top_k": 10}}
    settings = EvaluationSettings(metrics=metrics)
    means, rankings = evaluate_means(query_QD, document_ND, collection, rows, "dev", settings, shared=True)
    parts = {name: (torch.from_numpy(item.rows), torch.from_numpy(item.scores)) for name, item in rankings.items()}
    return {"means": means, "rankings": parts, "vectors": torch.from_numpy(document_ND)}


def main() -> None:
    data, out, rank, world, rendezvous, kind, count = sys.argv[1:]
    rank, world = int(rank), int(world)
    torch.set_num_threads(1)
    if world > 1:
        meet(rendezvous, rank, world)
    collection = load(path=data)
    texts = [*collection.document_texts(), *collection.query_texts]
    tokenizer = Tokenizer.train(texts, {"min_frequency": 1})
    explicit = NegativeSettings(kind="random", count=int(count)) if int(count) else None
    loader = TrainLoader(
        collection=collection,
        split="train",
        query_tokens=tokenizer.encode(collection.query_texts, 32),
        document_tokens=tokenizer.encode(collection.document_texts(), 64),
        batch_size=24 // world,
        negatives=negatives.build(explicit, collection, "train") if explicit else None,
        bucket_by_length=True,
        rank=rank,
        world_size=world,
    )
    torch.manual_seed(0)
    step = Step(tokenizer.size, kind)
    figures = evaluate(step.model, collection, tokenizer)
    trained = DistributedDataParallel(step) if world > 1 else step
    losses = []
    for number, batch in enumerate(loader):
        if number == 3:
            break
        loss = trained(batch)
        losses.append(float(loss.detach()))
        loss.backward()  # gradients of three batches add up
    shares = split_rows(11)
    whole = merge_rows(shares[group_rank()][:, None].repeat(3, 1).astype("float32"), shares)
    if rank == 0:
        gradients = {name: item.grad for name, item in step.named_parameters()}
        torch.save(
            {"losses": losses, "gradients": gradients, "rows": whole[:, 0].tolist(), "figures": figures}, Path(out)
        )
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
