"""The mlp tower: weighted pooling of word vectors in one fused pass, then a small feed-forward network.

Shapes: B batch, T tokens of the batch, V vocabulary, E embedding, D dimension.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twotower.core.validators import check_choice, check_count, check_flag, check_number
from twotower.kernels.bag import Dropout, distinct_words, kept, weighted_bag
from twotower.kernels.linear import Linear
from twotower.model.pooling import row_lengths

WORD_POOLINGS = ("mean", "weighted")


class WordPooling(nn.Module):
    """Sums word vectors over each text with one weight per word, straight from ragged ids.

    A word that occurs c times in a text counts c ** count_power times: like BM25's saturation, this keeps a page that
    repeats one word from being about nothing else. The sum is divided by the square root of the text's length;
    directions decide after L2 normalisation, and this keeps the scale of what the next layer sees nearly the same for
    short and long texts.

    Args:
        vocabulary_size: number of words V.
        kind: mean (all words count the same) or weighted (learned weights `weight` [V], started at 1 or at idf).
        count_power: 1 counts every occurrence, 0 counts a word once.
        word_dropout: chance that a word is left out of a text in training.
    """

    def __init__(self, *, vocabulary_size: int, kind: str, count_power: float = 1.0, word_dropout: float = 0.0) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.count_power = count_power
        self.word_dropout = word_dropout
        self.weight = nn.Parameter(torch.ones(vocabulary_size)) if kind == "weighted" else None

    def forward(self, embedding: nn.Embedding, ids_T: Tensor, offsets_B1: Tensor) -> Tensor:
        """Returns pooled_BE; zeros for a text without words."""
        lengths_B = row_lengths(offsets_B1)
        dtype = embedding.weight.dtype
        if self.count_power == 1:
            weight_T = torch.ones_like(ids_T, dtype=dtype)
        else:
            ids_T, offsets_B1, counts_T = count_words(ids_T, offsets_B1, self.vocabulary_size)
            weight_T = counts_T.to(dtype).pow(self.count_power)
        if self.training and self.word_dropout:
            weight_T = weight_T * kept(weight_T.shape, self.word_dropout, weight_T.device)
        sum_BE = self._sum(embedding, ids_T, offsets_B1, weight_T)
        return sum_BE * lengths_B.clamp_min(1).to(dtype).rsqrt()[:, None]

    def _sum(self, embedding: nn.Embedding, ids_T: Tensor, offsets_B1: Tensor, weight_T: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            if self.weight is not None:
                weight_T = weight_T * self.weight[ids_T]
            return F.embedding_bag(
                ids_T, embedding.weight, offsets_B1, mode="sum", per_sample_weights=weight_T, include_last_offset=True
            )
        # A small table of the batch's words, each weighed once, takes all gradients: a word's weight gets its own from
        # its row, not token by token, and a sparse gradient names each word once.
        words_U, place_T = distinct_words(ids_T, self.vocabulary_size)
        table_UE = F.embedding(words_U, embedding.weight, sparse=embedding.sparse)
        if self.weight is not None:
            table_UE = table_UE * self.weight.index_select(0, words_U)[:, None]
        return weighted_bag(table_UE, place_T, offsets_B1, weight_T)


def count_words(ids_T: Tensor, offsets_B1: Tensor, vocabulary_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns each text's distinct words (ids and offsets, ragged, ids rising) and how often each occurs there."""
    rows = len(offsets_B1) - 1
    row_T = torch.repeat_interleave(row_lengths(offsets_B1), output_size=len(ids_T))
    key_T = row_T * vocabulary_size + ids_T
    # on a CPU numpy sorts with the processor's wide instructions, four times as fast
    sorted_T = torch.from_numpy(np.sort(key_T.numpy())) if key_T.device.type == "cpu" else key_T.sort().values
    key_U, counts_U = torch.unique_consecutive(sorted_T, return_counts=True)
    starts_B1 = torch.arange(rows + 1, device=ids_T.device) * vocabulary_size
    return key_U % vocabulary_size, torch.searchsorted(key_U, starts_B1), counts_U


class ResidualBlock(nn.Module):
    """x + W2 relu(W1 norm(x)), with W2 started at zero: the untrained block passes its input through.

    So word vectors that are good already are a good start, and the network learns only what to change.
    """

    def __init__(self, *, dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.inner = Linear(dim, hidden_dim)
        self.outer = Linear(hidden_dim, dim, bias=False)
        self.dropout = Dropout(dropout)
        nn.init.zeros_(self.outer.weight)

    def forward(self, input_BD: Tensor) -> Tensor:
        """Returns output_BD of the input's shape."""
        return input_BD + self.outer(self.dropout(F.relu(self.inner(self.norm(input_BD)))))


class MlpTower(nn.Module):
    """Pooled word vectors through `num_layers` hidden layers to `output_dim`.

    With `residual`, hidden layers are residual blocks, and a projection follows only where the embedding's size is not
    the output's (started orthogonal, so it keeps angles). Without, it is a plain Linear-ReLU-Dropout stack.

    Args:
        vocabulary_size: number of words.
        embedding_dim: size of a word vector.
        hidden_dim: width of the hidden layers.
        output_dim: size of the text's vector.
        num_layers: number of hidden layers, 0 for pooled (and, if the sizes differ, projected) word vectors alone.
        dropout: of hidden activations.
        word_pooling: mean or weighted.
        count_power: how much repeated words count, see `WordPooling`.
        word_dropout: chance that a word is left out in training.
        residual: see above.

    Raises:
        UserError: for a value out of range.
    """

    pads_batches = False

    def __init__(
        self,
        *,
        vocabulary_size: int,
        embedding_dim: int,
        hidden_dim: int = 256,
        output_dim: int = 256,
        num_layers: int = 1,
        dropout: float = 0.0,
        word_pooling: str = "weighted",
        count_power: float = 0.5,
        word_dropout: float = 0.0,
        residual: bool = True,
    ) -> None:
        super().__init__()
        check_count("model.hidden_dim", hidden_dim)
        self.output_dim = check_count("model.output_dim", output_dim)
        check_count("model.num_layers", num_layers, at_least=0)
        check_number("model.dropout", dropout, at_least=0, below=1)
        check_number("model.word_dropout", word_dropout, at_least=0, below=1)
        check_choice("model.word_pooling", word_pooling, WORD_POOLINGS)
        check_number("model.count_power", count_power, at_least=0, at_most=1)
        check_flag("model.residual", residual)
        pooling = WordPooling(
            vocabulary_size=vocabulary_size, kind=word_pooling, count_power=count_power, word_dropout=word_dropout
        )
        layers: list[nn.Module] = [pooling]
        size = embedding_dim
        for _ in range(num_layers):
            if residual:
                layers.append(ResidualBlock(dim=size, hidden_dim=hidden_dim, dropout=dropout))
            else:
                layers += [Linear(size, hidden_dim), nn.ReLU(), Dropout(dropout)]
                size = hidden_dim
        if size != output_dim or (num_layers and not residual):
            projection = Linear(size, output_dim, bias=False)
            nn.init.orthogonal_(projection.weight)
            layers.append(projection)
        self.layers = nn.ModuleList(layers)

    def set_word_weights(self, weight_V: Tensor) -> None:
        """Starts the word weights at the given values (idf); no effect for mean pooling."""
        weight = self.layers[0].weight
        if isinstance(weight, nn.Parameter):
            with torch.no_grad():
                weight.copy_(weight_V)

    def forward(self, embedding: nn.Embedding, ids_T: Tensor, offsets_B1: Tensor) -> Tensor:
        """Returns vectors_BD, not normalised."""
        vectors_BD = self.layers[0](embedding, ids_T, offsets_B1)
        for layer in list(self.layers)[1:]:
            vectors_BD = layer(vectors_BD)
        return vectors_BD
