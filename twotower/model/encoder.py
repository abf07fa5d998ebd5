"""What encodes queries and documents, ours or somebody's own: found in a module, tried out, asked about itself.

Shapes: B texts, D dimension.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from twotower.config.protocols import Encoder
from twotower.core.errors import UserError, in_one_line
from twotower.core.finite import broken_tensors
from twotower.text.tokens import TokenBatch

DOCS = " docs/own_parts.md shows what each part needs."


def encoder_of(module: nn.Module) -> Encoder:
    """Returns what encodes queries and documents of a LightningModule: its `model` if that does, else itself."""
    inner: Any = getattr(module, "model", None)
    return inner if isinstance(inner, Encoder) else module  # type: ignore[return-value]


def diverged(module: nn.Module) -> str | None:
    """Says which weights of a model are no numbers any more, or None; such weights are neither evaluated nor kept."""
    encoder: Any = encoder_of(module)
    broken = broken_tensors(dict(encoder.named_parameters()))
    return f"weights became NaN or infinite in training: {', '.join(broken[:3])}" if broken else None


def width_of(encoder: Any) -> int:
    """Returns the size of a model's vectors: what it says, or else that of a text it is given to read.

    Raises:
        UserError: when it can't read one.
    """
    declared = getattr(encoder, "output_dim", None)
    if declared is not None:
        return int(declared)
    width = int(try_encoder("model", encoder).shape[1])
    encoder.output_dim = width
    return width


def pads_batches(encoder: Any) -> bool:
    """Says whether a model gains from batches of like lengths: unless all its towers say that they don't."""
    towers = [getattr(encoder, f"{side}_tower", encoder) for side in ("query", "document")]
    return any(getattr(tower, "pads_batches", True) for tower in towers)


def check_tower(key: str, tower: Any) -> None:
    """Refuses what is no `Tower`.

    Raises:
        UserError: saying what it lacks.
    """
    if not isinstance(tower, nn.Module):
        raise UserError(f"{key} is a {type(tower).__name__}; a tower is a torch.nn.Module.{DOCS}")


def try_tower(key: str, tower: Any, embedding: Any) -> int:
    """Lets a tower read two short texts and returns the size of its vectors.

    Raises:
        UserError: when it can't, or returns anything but a vector for each.
    """
    ids_T, offsets_B1 = torch.tensor([1, 1, 1]), torch.tensor([0, 1, 3])
    training = tower.training
    tower.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            vectors_BD = tower(embedding, ids_T, offsets_B1)
    except Exception as error:
        wanted, why = "forward(embedding, ids_T, offsets_B1) -> vectors_BD", in_one_line(error)
        raise UserError(f"{key}: {type(tower).__name__} can't read a text by {wanted}: {why}.{DOCS}") from error
    finally:
        tower.train(training)
    if not isinstance(vectors_BD, torch.Tensor) or vectors_BD.ndim != 2 or len(vectors_BD) != 2:
        shape = tuple(vectors_BD.shape) if isinstance(vectors_BD, torch.Tensor) else type(vectors_BD).__name__
        raise UserError(f"{key}: {type(tower).__name__} gives {shape} for two texts, not (2, D).{DOCS}")
    return int(vectors_BD.shape[1])


def check_encoder(key: str, encoder: Any) -> None:
    """Refuses a module that can't encode queries and documents.

    Raises:
        UserError: saying what it lacks.
    """
    for name in ("encode_queries", "encode_documents"):
        if not callable(getattr(encoder, name, None)):
            raise UserError(f"{key}: {type(encoder).__name__} has no {name}(batch) -> vectors_BD.{DOCS}")


def try_encoder(key: str, encoder: Any) -> Tensor:
    """Lets a model read two short texts by either side and returns their vectors [2, D].

    Raises:
        UserError: when it can't, or returns anything but a vector for each.
    """
    training, batch = encoder.training, TokenBatch.from_rows([[1], [1, 1]])
    encoder.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            both = [encoder.encode_queries(batch), encoder.encode_documents(batch)]
    except Exception as error:
        raise UserError(f"{key}: {type(encoder).__name__} can't encode a text: {in_one_line(error)}.{DOCS}") from error
    finally:
        encoder.train(training)
    shapes = [tuple(getattr(item, "shape", ())) for item in both]
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][0] != 2:
        shown = f"{shapes[0]} for two queries and {shapes[1]} for two documents"
        raise UserError(f"{key}: {type(encoder).__name__} gives {shown}, not (2, D) for both.{DOCS}")
    return both[0]  # type: ignore[no-any-return]
