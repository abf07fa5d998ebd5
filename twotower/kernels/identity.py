"""What decides the numbers that a model gives, to the last bit: its weights, the machine, and whose code it is.

Parts of the content keys of what is kept of a model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from twotower.core.version import __version__
from twotower.kernels.cpu import processor_name

ROOMS = ("core", "evaluation", "kernels", "loss", "model", "optimizer", "pretrain")
"""Folders of the package whose code decides what a model gives and how it is measured."""


def is_ours(parts: Iterable[object]) -> bool:
    """Says whether all are of twotower's or torch's own classes; the code of others may change under the same name."""
    return all(type(part).__module__.startswith(("twotower.", "torch.")) for part in parts)


def machine() -> list[Any]:
    """Returns versions and code, processor, what torch uses of it, threads, and whether it is to be deterministic."""
    processor = [processor_name(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]
    return [__version__, code(), torch.__version__, *processor, torch.are_deterministic_algorithms_enabled()]


@cache
def code() -> str:
    """Returns the sha256 of the package's code in `ROOMS`: who works on it gets no figures of the code before."""
    package, digest = Path(__file__).resolve().parents[1], hashlib.sha256()
    for room in ROOMS:
        for path in sorted((package / room).glob("*.py")):
            digest.update(f"{room}/{path.name}:".encode() + path.read_bytes())
    return digest.hexdigest()


def device_of(encoder: nn.Module) -> str:
    """Returns the kind of device that an encoder computes on."""
    return next((parameter.device.type for parameter in encoder.parameters()), "cpu")


def weights(encoder: nn.Module) -> list[Any]:
    """Returns name, type, shape and bytes of all weights."""
    parts: list[Any] = []
    for name, tensor in encoder.state_dict().items():
        plain = tensor.detach().cpu().contiguous()
        parts += [name, str(plain.dtype), list(plain.shape), plain.view(-1).view(torch.uint8).numpy()]
    return parts
