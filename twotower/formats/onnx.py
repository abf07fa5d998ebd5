"""A trained model as two ONNX graphs, query.onnx and document.onnx: padded token ids in, unit vectors out.

Inputs `ids` int64 [B, L], 0 where a text has ended, and `lengths` int64 [B]; output `vectors` float32 [B, D]. B and L
are free. Ids are places in vocabulary.json, cut to the lengths in config.json. The graphs are traced from the padded
form of the model's own layers.

Shapes: B texts, L words of the longest, D dimension.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx
import torch

from twotower.formats import safetensors
from twotower.formats.padded import PaddedSide, check_equal
from twotower.model.checkpoint import load

OPSET = 17


def export(checkpoint_path: Path, out: Path) -> None:
    """Writes both graphs, and beside them weights, settings and vocabulary as `safetensors.export` does.

    Args:
        checkpoint_path: the .pt file.
        out: the folder.

    Raises:
        UserError: for a model with towers that no graph is known of, or that gives other vectors as one.
    """
    model = load(checkpoint_path).model
    sides = {
        side: PaddedSide(model.embedding, getattr(model, f"{side}_tower")).eval() for side in ("query", "document")
    }
    for side, module in sides.items():
        check_equal(model, side, module)
    safetensors.export(checkpoint_path, out)
    example = (torch.tensor([[2, 3, 2], [1, 0, 0]]), torch.tensor([3, 1]))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    for side, module in sides.items():
        path = out / f"{side}.onnx"
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the tracer: about shapes, which are declared free below
            torch.onnx.export(
                module,
                example,
                str(path),
                input_names=["ids", "lengths"],
                output_names=["vectors"],
                dynamic_axes={"ids": {0: "texts", 1: "words"}, "lengths": {0: "texts"}, "vectors": {0: "texts"}},
                opset_version=OPSET,
                dynamo=False,
            )
        onnx.checker.check_model(str(path))
