"""Trust by origin: what a config that was read out of a file may build.

What the person at the keyboard composes (a folder of choices, `hydra.searchpath`, the command line) may name any class
of any package: whoever can write it can run Python anyway. What comes out of a file that may come from elsewhere (an
exported .pt, a run.json, an index's manifest) builds exactly the classes listed here, each at its own place in the
config, and those below packages the user trusts: `--trust mine`, or TWOTOWER_TRUST=mine,other.

`admit` is called on such a config before anything in it is built; where its parts may write is told in
`twotower.config.writes`. Imports neither torch nor hydra.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twotower.config.instantiate import locate
from twotower.config.names import EMBEDDINGS, MODULE, SCHEDULERS, TOKENIZER, TOWERS
from twotower.config.writes import check_index, check_logger
from twotower.core.errors import UserError
from twotower.core.nested import is_below

VARIABLE = "TWOTOWER_TRUST"
"""The environment variable that names trusted packages, separated by commas."""

TARGET = "_target_"
CONTROL = ("_args_", "_partial_", "_recursive_", "_convert_")
"""Keys by which Hydra is told how to call; a config from a file has no need of them."""

_OPTIMIZERS = (
    *("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"),
    "SparseAdam",
)
_LIGHTNING = ("pytorch_lightning", "lightning.pytorch")
_CALLBACKS = (
    *("EarlyStopping", "GradientAccumulationScheduler", "LearningRateMonitor", "StochasticWeightAveraging", "Timer"),
)

LISTED: dict[str, tuple[str, ...]] = {
    "loss": (
        "twotower.loss.contrastive.ContrastiveLoss",
        "twotower.loss.distill.DistillLoss",
        "twotower.loss.margin.MarginLoss",
        "twotower.loss.triplet.TripletLoss",
    ),
    "model": (MODULE,),
    "model.query_tower": tuple(TOWERS.values()),
    "model.document_tower": tuple(TOWERS.values()),
    "text": (TOKENIZER,),
    "embedding": tuple(EMBEDDINGS.values()),
    "embedding.mix": tuple(EMBEDDINGS.values()),
    "pretrain": ("twotower.pretrain.crops.Crops",),
    "scheduler": tuple(SCHEDULERS.values()),
    "data.source": tuple(
        f"twotower.data.{name}.load" for name in ("beir", "docstrings", "hf", "irdatasets", "jsonl", "msmarco", "texts")
    ),
    "optimizer": (
        *(f"torch.optim.{name}" for name in _OPTIMIZERS),
        "twotower.optimizer.sparse_adam.SparseAdam",
    ),
    "callbacks.*": (
        "twotower.callbacks.checkpoint.Checkpoint",
        "twotower.callbacks.evaluate.Evaluate",
        "twotower.callbacks.export.Export",
        "twotower.callbacks.health.Health",
        "twotower.callbacks.prune.MedianPruning",
        "twotower.callbacks.record.Record",
        *(f"{package}.callbacks.{name}" for package in _LIGHTNING for name in _CALLBACKS),
    ),
    "index.*": (
        "twotower.index.exact.ExactIndex",
        "twotower.index.faiss.FaissIndex",
        "twotower.index.lance.LanceIndex",
        "twotower.index.redis.RedisIndex",
        "twotower.index.auto.AutoIndex",
    ),
    "logger.*": (
        "twotower.training.aim.AimLogger",
        "twotower.training.comet.OfflineCometLogger",
        *(
            f"{package}.loggers.{name}"
            for package in _LIGHTNING
            for name in ("CSVLogger", "TensorBoardLogger", "WandbLogger", "MLFlowLogger")
        ),
    ),
    "evaluation.metrics.*": tuple(
        f"torchmetrics.retrieval.Retrieval{name}"
        for name in ("AUROC", "FallOut", "HitRate", "MAP", "MRR", "NormalizedDCG", "Precision", "RPrecision", "Recall")
    ),
    "trainer": tuple(f"{package}.Trainer" for package in _LIGHTNING),
}
"""Place in a config (a dotted key, `*` for any name) -> what a config from a file may build there. No prefixes."""

NAMED = ("model.query_tower", "model.document_tower")
"""Places where a name may stand for a part."""


class UntrustedError(UserError):
    """A config from a file names a part that is not ours; `package` is what the user would have to trust."""

    def __init__(self, refusal: str, package: str) -> None:
        way_out = f" If you trust it: --trust {package}, or {VARIABLE}={package}." if package else ""
        super().__init__(refusal + way_out)
        self.refusal, self.package = refusal, package


def trusted_packages(given: Sequence[str] = ()) -> tuple[str, ...]:
    """Returns the packages (or modules) whose parts a file may name: those given and those of TWOTOWER_TRUST.

    Raises:
        UserError: for a name that is none, or one that would open everything below twotower, torch or Python's own.
    """
    names = [*given, *os.environ.get(VARIABLE, "").split(",")]
    packages = tuple(dict.fromkeys(name.strip().removesuffix("*").rstrip(".") for name in names if name.strip()))
    for name in packages:
        first = name.partition(".")[0]
        named = all(part.isidentifier() for part in name.split("."))
        if not named or first == "twotower" or first in sys.stdlib_module_names:
            raise UserError(f"{VARIABLE}={name}: name a package or a module of yours, such as mine or mine.parts.")
    return packages


def trust(packages: Sequence[str]) -> None:
    """Trusts packages in this process and those it starts, as TWOTOWER_TRUST would."""
    os.environ[VARIABLE] = ",".join(trusted_packages(packages))


@contextmanager
def trusting(packages: str | Sequence[str]) -> Iterator[None]:
    """Trusts packages beside those of TWOTOWER_TRUST until the block ends.

    Args:
        packages: their names, or one name.

    Raises:
        UserError: as `trusted_packages`.
    """
    before = os.environ.get(VARIABLE)
    trust([packages] if isinstance(packages, str) else packages)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def admit(
    config: Any,
    *,
    source: Any,
    place: str = "",
    trusted: Sequence[str] = (),
    composed: Collection[str] = (),
    run_dir: Path | None = None,
) -> None:
    """Refuses a config out of a file that names more than what is listed or trusted.

    Nothing is imported but what is trusted, to see that it is defined there and not merely reached through it.

    Args:
        config: plain data: a whole config, or the part of it at `place`.
        source: the file, for the message.
        place: the dotted key of that part, "" for a whole config.
        trusted: packages that are trusted beside those of TWOTOWER_TRUST.
        composed: dotted keys that came from the command line, not from the file; what is below them is let through.
        run_dir: the folder that the run writes to; loggers write nowhere else. None where no logger is built.

    Raises:
        UntrustedError: naming file, key, target and the way to trust it.
        UserError: for a key that steers how something is called, an interpolation, or a path outside `run_dir`.
    """
    packages = trusted_packages(trusted)
    for key, node in _nodes(config, place):
        if isinstance(node, str) and "${" in node:
            raise UserError(f"{source}: {key}={node} refers to another value; a recorded config is resolved.")
        if is_below(key, composed):
            continue
        if key in NAMED and isinstance(node, str) and node not in TOWERS:
            node = {TARGET: node}
        if isinstance(node, Mapping) and any(name in node for name in (TARGET, *CONTROL)):
            _check_part(node, key, source, packages, composed)
            if run_dir is not None and _pattern(key) == "logger.*":
                theirs = node.get(TARGET) not in LISTED["logger.*"]
                check_logger(node, key, source, run_dir, composed, theirs=theirs)
            if run_dir is not None and _pattern(key) == "index.*":
                check_index(node, key, source, run_dir, composed)


def own_parts(config: Mapping[str, Any]) -> list[str]:
    """Returns where in a whole config something is built that is none of ours at its place."""
    return [
        key
        for key, node in _nodes(config, "")
        if isinstance(node, Mapping) and TARGET in node and node[TARGET] not in LISTED.get(_pattern(key), ())
    ]


def _check_part(
    node: Mapping[str, Any], key: str, source: Any, packages: Sequence[str], composed: Collection[str]
) -> None:
    """Checks what one mapping with a `_target_` would build."""
    target = node.get(TARGET)
    if is_below(f"{key}.{TARGET}", composed):
        return
    if isinstance(target, str) and _trusts(target, packages):
        _check_home(target, key, source, packages)
        return
    if target in LISTED.get(_pattern(key), ()):
        for name in CONTROL:
            if name in node and not is_below(f"{key}.{name}", composed):
                raise UserError(f"{source}: {key}.{name} is not allowed in a config read from a file.")
        return
    package = _package(target)
    refusal = f"{source} names {key}.{TARGET}={str(target)[:200]}, which a file from elsewhere may not build there."
    raise UntrustedError(refusal, package)


def _package(target: Any) -> str:
    """Returns what a user would trust for a target: its package; "" for what nobody can be asked to trust."""
    text = str(target)
    first = text.partition(".")[0]
    if "." not in text or not all(part.isidentifier() for part in text.split(".")):
        return ""
    if first == "twotower" or first in sys.stdlib_module_names:
        return ""
    return text if first in ("torch", "pytorch_lightning", "lightning", "numpy") else first


def _check_home(target: str, key: str, source: Any, packages: Sequence[str]) -> None:
    home = str(locate(target, key).__module__)
    if not _trusts(home, packages) and target not in packages:
        raise UserError(f"{source}: {key}.{TARGET}={target} is defined in {home}, which is not trusted.")


def _trusts(target: str, packages: Sequence[str]) -> bool:
    return any(target == name or target.startswith(f"{name}.") for name in packages)


def _pattern(key: str) -> str:
    """Returns the place in `LISTED` that a dotted key stands at, "" for none."""
    parts = key.split(".")
    for place in LISTED:
        wanted = place.split(".")
        if len(wanted) == len(parts) and all(want in ("*", part) for want, part in zip(wanted, parts, strict=True)):
            return place
    return ""


def _nodes(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) of everything in nested plain data, itself included."""
    yield key, node
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _nodes(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, (list, tuple)):
        for number, value in enumerate(node):
            yield from _nodes(value, f"{key}[{number}]")
