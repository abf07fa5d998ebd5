from __future__ import annotations

import pytest
import torch
from torch import nn

from twotower.model.rnn import RECURRENT, RecurrentTower
from twotower.text.tokens import TokenBatch


@pytest.mark.parametrize("kind", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_equals_torchs_own_bidirectional_network_on_packed_sequences(kind: str, pooling: str) -> None:
    torch.manual_seed(0)
    embedding = nn.Embedding(30, 5)
    tower = RecurrentTower(
        kind=kind,
        embedding_dim=5,
        hidden_dim=4,
        output_dim=3,
        num_layers=2,
        dropout=0.0,
        word_dropout=0.0,
        pooling=pooling,
        bidirectional=True,
    )
    network = RECURRENT[kind](5, 4, num_layers=2, bidirectional=True)
    with torch.no_grad():
        for number in range(4):
            suffix = f"l{number // 2}" + ("_reverse" if number % 2 else "")
            for name, value in tower.layers[number].named_parameters():
                getattr(network, name.replace("l0", suffix)).copy_(value)
    rows = [[3, 4, 5, 6, 7], [8], [9, 10, 11, 12, 13, 14, 15], [2, 2]]
    packed = nn.utils.rnn.pack_sequence([embedding(torch.tensor(row)) for row in rows], enforce_sorted=False)
    packed_states, last = network(packed)
    states, lengths = nn.utils.rnn.pad_packed_sequence(packed_states)
    last = last[0] if kind == "lstm" else last
    expected = {
        "last": torch.cat([last[-2], last[-1]], 1),
        "mean": states.sum(0) / lengths[:, None],
        "max": torch.stack([states[:length, number].amax(0) for number, length in enumerate(lengths)]),
    }[pooling]
    batch = TokenBatch.from_rows(rows)
    actual = tower(embedding, batch.ids_T, batch.offsets_B1)
    torch.testing.assert_close(actual, tower.layers[-1](expected), atol=1e-6, rtol=1e-5)


def test_attention_starts_as_the_mean() -> None:
    batch = TokenBatch.from_rows([[3, 4, 5], [6], []])
    vectors = []
    for pooling in ("attention", "mean"):
        torch.manual_seed(0)
        embedding = nn.Embedding(30, 5)
        tower = RecurrentTower(
            kind="gru",
            embedding_dim=5,
            hidden_dim=4,
            output_dim=3,
            num_layers=1,
            dropout=0.0,
            word_dropout=0.0,
            pooling=pooling,
            bidirectional=True,
        )
        tower.layers[-1] = nn.Identity()
        vectors.append(tower(embedding, batch.ids_T, batch.offsets_B1))
    torch.testing.assert_close(vectors[0], vectors[1])
