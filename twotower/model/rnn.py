"""Recurrent towers (gru, lstm, rnn) whose vectors do not depend on how a batch is padded.

Each direction of each layer is a network of its own. The backward one runs over texts reversed within their own length,
so padding stays behind the words in both directions and no state that is read has ever seen it. That is exactly what
packed sequences compute, without their cost. A gru on a CPU goes through `twotower.kernels.gru`: quicker, and it gives
the same vectors.

Shapes: B batch, L longest row, T tokens, U distinct words, E embedding, H hidden, G gates, D dimension. Recurrent
tensors are time first.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_count, check_flag, check_number
from twotower.kernels.bag import distinct_words, weighted_bag
from twotower.kernels.gru import gru_steps
from twotower.kernels.linear import Linear, dense
from twotower.model.pooling import Pooling, check_pooling, first_words, pad_positions, reverse, reverse_positions
from twotower.model.settings import MOST_LAYERS
from twotower.model.words import WordPooling, WordStatistics

RECURRENT: dict[str, Any] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


class RecurrentTower(nn.Module):
    """Word vectors through recurrent layers, pooled over the text's own tokens and projected to `output_dim`.

    `layers` holds the directions of each layer in turn (forward, then backward if bidirectional), then the pooling,
    then the projection.

    Args:
        embedding_dim: size of a word vector.
        hidden_dim: size of the state, per direction.
        output_dim: size of the text's vector.
        num_layers: number of recurrent layers, at least 1.
        dropout: of the outputs of every layer, in training.
        word_dropout: chance that a word's vector is zeroed in training.
        pooling: one of `twotower.model.pooling.POOLINGS`.
        bidirectional: whether each layer reads the text backwards too.
        allow_pad_step: permits pooling=pad_step, a known mistake.
        residual: adds the recurrent part to the weighted sum of the word vectors (`twotower.model.words`). Started at
            zero, so that the untrained tower is that sum and the network learns what the order of words adds to it.
        read: words from a text's start that the recurrent layers read; None for all. The sum takes all.
        vocabulary_size: number of words; needed by `residual` only.
        word_pooling, count_power, word_weights, k1, b: of that sum, see `WordPooling`.
        kind: gru, lstm or rnn; None for the class's own.

    Raises:
        UserError: for a value out of range.
    """

    pads_batches = True
    kind = "gru"

    def __init__(
        self,
        *,
        embedding_dim: int,
        hidden_dim: int = 256,
        output_dim: int = 256,
        num_layers: int = 1,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        pooling: str = "last",
        bidirectional: bool = True,
        allow_pad_step: bool = False,
        residual: bool = False,
        read: int | None = None,
        vocabulary_size: int | None = None,
        word_pooling: str = "weighted",
        count_power: float = 0.5,
        word_weights: str = "idf",
        k1: float | None = None,
        b: float = 0.75,
        kind: str | None = None,
    ) -> None:
        super().__init__()
        kind = check_choice("kind", kind or self.kind, RECURRENT)
        check_count("model.hidden_dim", hidden_dim)
        self.output_dim = check_count("model.output_dim", output_dim)
        check_count("model.num_layers", num_layers, at_most=MOST_LAYERS)
        check_number("model.dropout", dropout, at_least=0, below=1)
        check_number("model.word_dropout", word_dropout, at_least=0, below=1)
        check_flag("model.bidirectional", bidirectional)
        check_pooling(pooling, allow_pad_step)
        self.directions = 2 if bidirectional else 1
        self.num_layers = num_layers
        self.dropout = dropout
        self.word_dropout = word_dropout
        self.steps_by_hand = kind == "gru" and pooling != "pad_step"  # that mistake needs states after a text's end
        width = hidden_dim * self.directions
        layers: list[nn.Module] = []
        for number in range(num_layers):
            size = embedding_dim if number == 0 else width
            layers += [RECURRENT[kind](size, hidden_dim) for _ in range(self.directions)]
        layers.append(Pooling(kind=pooling, dim=width, bidirectional=bidirectional))
        layers.append(Linear(width, output_dim))
        self.layers = nn.ModuleList(layers)
        self.read = None if read is None else check_count("model.read", read)
        self.words: WordPooling | None = None
        if check_flag("model.residual", residual):
            counting: dict[str, Any] = {
                "word_pooling": word_pooling,
                "count_power": count_power,
                "word_weights": word_weights,
            }
            self._start_as_words(embedding_dim, vocabulary_size, **counting, k1=k1, b=b)

    def _start_as_words(
        self, embedding_dim: int, vocabulary_size: int | None, *, word_pooling: str, **settings: Any
    ) -> None:
        """Adds the pooled words, turned to `output_dim` where their size differs, and silences the recurrent part."""
        if vocabulary_size is None:
            raise UserError("model.residual=true needs the number of words, vocabulary_size.")
        self.words = WordPooling(
            vocabulary_size=vocabulary_size, kind=word_pooling, word_dropout=self.word_dropout, **settings
        )
        projection: Any = self.layers[-1]
        nn.init.zeros_(projection.weight)
        nn.init.zeros_(projection.bias)
        if embedding_dim != self.output_dim:
            self.turn = Linear(embedding_dim, self.output_dim, bias=False)
            nn.init.orthogonal_(self.turn.weight)

    def set_word_weights(self, weight_V: Tensor) -> None:
        """Starts the word weights at the given values; no effect without `residual`."""
        if self.words is not None:
            self.words.set_weights(weight_V)

    def start_weights(self, statistics: WordStatistics) -> None:
        """Starts the word weights from what the corpus tells of its words; no effect without `residual`."""
        if self.words is not None:
            self.words.start_weights(statistics)

    def pool(self, embedding: nn.Embedding, ids_T: Tensor, offsets_B1: Tensor) -> Tensor:
        """Returns vectors_BD of the words alone, without their order; without `residual`, of the whole tower."""
        if self.words is None:
            return self.forward(embedding, ids_T, offsets_B1)
        pooled_BE = self.words(embedding, ids_T, offsets_B1)
        return self.turn(pooled_BE) if hasattr(self, "turn") else pooled_BE  # type: ignore[no-any-return]

    def forward(self, embedding: nn.Embedding, ids_T: Tensor, offsets_B1: Tensor) -> Tensor:
        """Returns vectors_BD, not normalised."""
        if self.words is not None:
            pooled_BD = self.pool(embedding, ids_T, offsets_B1)
            return pooled_BD + self._read(embedding, *first_words(ids_T, offsets_B1, self.read))
        return self._read(embedding, *first_words(ids_T, offsets_B1, self.read))

    def _read(self, embedding: nn.Embedding, ids_T: Tensor, offsets_B1: Tensor) -> Tensor:
        """Returns what the recurrent layers make of the texts, vectors_BD."""
        index_LB, mask_LB = pad_positions(offsets_B1)
        pooling, projection = self.layers[-2], self.layers[-1]
        if self.steps_by_hand and ids_T.device.type == "cpu":
            return projection(pooling(self._gru(embedding, ids_T, index_LB, mask_LB), mask_LB))  # type: ignore[no-any-return]
        padded_LB = ids_T[index_LB].masked_fill(~mask_LB, 0) if len(ids_T) else index_LB
        states_LBD = self._drop_words(embedding(padded_LB))
        backward_LB = reverse_positions(mask_LB)
        for number in range(self.num_layers):
            states_LBD = self._layer(number, states_LBD, backward_LB)
        return projection(pooling(states_LBD, mask_LB))  # type: ignore[no-any-return]

    def _layer(self, number: int, states_LBD: Tensor, backward_LB: Tensor) -> Tensor:
        first = number * self.directions
        outputs = [self.layers[first](states_LBD)[0]]
        if self.directions == 2:
            reversed_LBH = self.layers[first + 1](reverse(states_LBD, backward_LB))[0]
            outputs.append(reverse(reversed_LBH, backward_LB))
        return F.dropout(torch.cat(outputs, -1), self.dropout, self.training)

    def _gru(self, embedding: nn.Embedding, ids_T: Tensor, index_LB: Tensor, mask_LB: Tensor) -> Tensor:
        """Returns the last layer's states; the first one's input gates are worked out once for each distinct word."""
        words_U, place_T = distinct_words(ids_T, embedding.num_embeddings)
        table_UE = F.embedding(words_U, embedding.weight, sparse=embedding.sparse)
        table_UE = F.pad(table_UE, (0, 0, 0, 1))  # a row of zeros, for padding and for words that are dropped
        place_LB = F.pad(place_T, (0, 1))[index_LB] if len(ids_T) else index_LB
        shown_LB = mask_LB
        if self.training and self.word_dropout:
            shown_LB = mask_LB & (torch.rand(mask_LB.shape) >= self.word_dropout)
        place_LB = place_LB.masked_fill(~shown_LB, len(words_U))
        states_LBD, outside_LB = None, ~mask_LB
        for number in range(self.num_layers):
            outputs = []
            for direction in range(self.directions):
                layer: Any = self.layers[number * self.directions + direction]
                if states_LBD is None:
                    gates_LBG = _rows(dense(table_UE, layer.weight_ih_l0, layer.bias_ih_l0), place_LB)
                else:
                    gates_LBG = dense(states_LBD.flatten(0, 1), layer.weight_ih_l0, layer.bias_ih_l0)
                    gates_LBG = gates_LBG.view(*mask_LB.shape, -1)
                outside = outside_LB if direction else None
                outputs.append(gru_steps(gates_LBG, layer.weight_hh_l0, layer.bias_hh_l0, outside))
            states_LBD = F.dropout(torch.cat(outputs, -1), self.dropout, self.training)
        assert states_LBD is not None
        return states_LBD

    def _drop_words(self, vectors_LBE: Tensor) -> Tensor:
        if not self.training or not self.word_dropout:
            return vectors_LBE
        keep_LB1 = torch.rand(vectors_LBE.shape[:2], device=vectors_LBE.device)[..., None] >= self.word_dropout
        return vectors_LBE * keep_LB1


class GruTower(RecurrentTower):
    """A gated recurrent network."""

    kind = "gru"


class LstmTower(RecurrentTower):
    """A network of long short-term memory cells."""

    kind = "lstm"


class RnnTower(RecurrentTower):
    """A plain recurrent network."""

    kind = "rnn"


def _rows(table_UG: Tensor, place_LB: Tensor) -> Tensor:
    """Returns the table's rows [L, B, G], with gradients that are added up word by word."""
    places = place_LB.flatten()
    each = torch.arange(len(places) + 1)
    rows = weighted_bag(table_UG, places, each, torch.ones(len(places), dtype=table_UG.dtype))
    return rows.view(*place_LB.shape, -1)
