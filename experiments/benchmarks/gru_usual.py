"""A gru tower trained the usual way, what gru.py compares with: packed sequences, one text at a time through Python."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import common
import numpy as np
import torch
import torch.nn.functional as F
from gru import BATCH, LENGTH, MARGIN, RATE
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

WORD = re.compile(r"\w+")


class Triplets(torch.utils.data.Dataset):
    """Query, positive and negative as padded ids, each with its length, tokenized whenever they are asked for."""

    def __init__(self, rows: np.ndarray, collection: Any, documents: list[str], index: dict[str, int]) -> None:
        self.rows, self.collection, self.documents, self.index = rows, collection, documents, index

    def __len__(self) -> int:
        return len(self.rows)

    def ids(self, text: str) -> tuple[Tensor, int]:
        """Returns the ids of a text [LENGTH], padded with 0, and how many there are."""
        found = [self.index.get(word, 1) for word in WORD.findall(text.lower())][:LENGTH] or [1]
        return torch.tensor(found + [0] * (LENGTH - len(found))), len(found)

    def __getitem__(self, at: int) -> tuple[tuple[Tensor, int], ...]:
        query, positive, negative = self.rows[at]
        texts = self.collection.query_texts[query], self.documents[positive], self.documents[negative]
        return tuple(self.ids(text) for text in texts)


class Tower(torch.nn.Module):
    """Two bidirectional gru layers of 256, mean over the words, a projection."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words, 256, padding_idx=0)
        torch.nn.init.normal_(self.embedding.weight, std=1 / 16)
        self.gru = torch.nn.GRU(256, 256, num_layers=2, bidirectional=True, batch_first=True)
        self.project = torch.nn.Linear(512, 256)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Returns unit vectors [B, 256]."""
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        return F.normalize(self.project(states.sum(1) / lengths[:, None]), dim=-1)


def theirs(
    collection: Any, train: np.ndarray, held: np.ndarray, *, seed: int = 0
) -> tuple[list[float], list[float], list[list[float]]]:
    """Trains and returns what `gru.ours` does, the held-out loss at the end alone."""
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    clock = common.Clock()
    documents = collection.document_texts()
    counts = Counter(word for text in [*documents, *collection.query_texts] for word in WORD.findall(text.lower()))
    index = {word: at + 2 for at, word in enumerate(word for word, count in counts.items() if count > 1)}
    tower = Tower(len(index) + 2)
    optimizer = torch.optim.Adam(tower.parameters(), lr=RATE)

    def run(batch: Any) -> Tensor:
        query, positive, negative = (tower(ids, lengths) for ids, lengths in batch)
        return F.relu((query * negative).sum(1) - (query * positive).sum(1) + MARGIN).mean()

    def batches(rows: np.ndarray, *, shuffle: bool) -> Any:
        triplets = Triplets(rows, collection, documents, index)
        return torch.utils.data.DataLoader(triplets, batch_size=BATCH, shuffle=shuffle)

    losses = []
    for batch in batches(train, shuffle=True):
        value = run(batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
    times = clock.read()
    with torch.inference_mode():
        loss = float(np.mean([float(run(batch)) for batch in batches(held, shuffle=False)]))
    return times, losses, [[*times, loss]]
