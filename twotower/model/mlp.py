"""The mlp tower: weighted pooling of word vectors in one fused pass, then a small feed-forward network.

Shapes: B batch, T tokens of the batch, V vocabulary, E embedding, D dimension.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from twotower.core.validators import check_count, check_flag, check_number
from twotower.kernels.bag import Dropout
from twotower.kernels.linear import Linear
from twotower.model.settings import MOST_LAYERS
from twotower.model.words import WordPooling, WordStatistics


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
        return input_BD + self.outer(self.dropout(F.relu(self.inner(self.norm(input_BD)))))  # type: ignore[no-any-return]


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
        word_weights: what the learned weights of words start at, one of `WORD_WEIGHTS`.
        k1: BM25's saturation of repeated words instead of `count_power`; None: that power.
        b: how much a longer text's repeats count less, from 0 to 1; with k1 only.

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
        word_weights: str = "idf",
        k1: float | None = None,
        b: float = 0.75,
    ) -> None:
        super().__init__()
        check_count("model.hidden_dim", hidden_dim)
        self.output_dim = check_count("model.output_dim", output_dim)
        check_count("model.num_layers", num_layers, at_least=0, at_most=MOST_LAYERS)
        check_number("model.dropout", dropout, at_least=0, below=1)
        check_flag("model.residual", residual)
        pooling = WordPooling(
            vocabulary_size=vocabulary_size,
            kind=word_pooling,
            count_power=count_power,
            word_dropout=word_dropout,
            word_weights=word_weights,
            k1=k1,
            b=b,
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
        """Starts the word weights at the given values; no effect for mean pooling."""
        self._words().set_weights(weight_V)

    def start_weights(self, statistics: WordStatistics) -> None:
        """Starts the word weights from what the corpus tells of its words; no effect for mean pooling."""
        self._words().start_weights(statistics)

    def _words(self) -> WordPooling:
        pooling = self.layers[0]
        assert isinstance(pooling, WordPooling)
        return pooling

    def pool(self, embedding: nn.Embedding, ids_T: Tensor, offsets_B1: Tensor) -> Tensor:
        """Returns vectors_BD of the words alone, without hidden layers: what the corpus by itself can teach."""
        vectors_BE = self.layers[0](embedding, ids_T, offsets_B1)
        last = self.layers[-1]
        projects = len(self.layers) > 1 and isinstance(last, nn.Linear) and last.in_features == vectors_BE.shape[1]
        return last(vectors_BE) if projects else vectors_BE  # type: ignore[no-any-return]

    def forward(self, embedding: nn.Embedding, ids_T: Tensor, offsets_B1: Tensor) -> Tensor:
        """Returns vectors_BD, not normalised."""
        vectors_BD = self.layers[0](embedding, ids_T, offsets_B1)
        for layer in list(self.layers)[1:]:
            vectors_BD = layer(vectors_BD)
        return vectors_BD  # type: ignore[no-any-return]
