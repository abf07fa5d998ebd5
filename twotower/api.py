"""Training, loading and encoding from Python: what `import twotower` offers beside the command line.

The examples run as they stand where a collection in BEIR layout lies in the folder `DIR`.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf.errors import OmegaConfBaseException
from rich.logging import RichHandler

from twotower.config.canonical import current_override
from twotower.config.trust import trusting
from twotower.core.errors import RefusedError, UserError
from twotower.core.logging import LogFile, ScrubbedFormatter
from twotower.core.secrets import refuse_literal_secrets
from twotower.kernels.threads import let_threads_wait, set_aside
from twotower.runs.find import check_unchanged, resolve_model
from twotower.runs.run import read_run
from twotower.sweep.isolation import isolated

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from omegaconf import DictConfig

    from twotower.model.checkpoint import Checkpoint
    from twotower.runs.run import Run

    Vectors = NDArray[np.float32]


def train(overrides: Sequence[str] = (), *, config_dir: str | PathLike[str] | None = None, show: bool = True) -> Run:
    """Trains, evaluates, exports and indexes one run, as `twotower train` does, in this process.

    Whatever Hydra, logging, random states, threads and environment were before, they are again afterwards.

    Example:
        >>> import twotower
        >>> run = twotower.train(["model=gru", "data=beir", "data.path=DIR", "trainer.max_epochs=1"], show=False)
        >>> run.status in ("finished", "at_chance")
        True
        >>> (run.path / "run.json").is_file()
        True

    Args:
        overrides: as on the command line: `model=gru`, `optimizer.lr=1e-3`, `ckpt_path=last`.
        config_dir: a folder of config groups of one's own, searched after ours.
        show: whether tables and progress are printed.

    Returns:
        The finished run: its `path`, `status`, `score("full/mrr_10")` and whole `record`.

    Raises:
        UserError: for a mistake in overrides, config or data.
    """
    from hydra.errors import HydraException

    from twotower.cli.train import explain, refuse_odd_choices
    from twotower.config.hydra_job import hydra_started

    typed = [current_override(item) for item in _checked(overrides)]
    refuse_literal_secrets({}, typed)
    refuse_odd_choices(typed)
    searched = [f"hydra.searchpath=[file://{Path(config_dir).absolute()}]"] if config_dir is not None else []
    places: list[Path] = []

    def job(config: DictConfig) -> float:
        try:
            return _job(config, places, show=show)
        except Exception as error:
            raise RefusedError(str(error)) from error  # of an `Exception` Hydra prints a line of its own

    with isolated(), warnings.catch_warnings(), hydra_started() as hydra:
        let_threads_wait()
        try:
            hydra.run("train", job, [*typed, *searched], with_log_configuration=False)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain(error)) from error
        except RefusedError as error:
            raise error.__cause__ or UserError(str(error)) from None
    return read_run(places[0])


def _checked(overrides: Sequence[str]) -> list[str]:
    listed = isinstance(overrides, Iterable) and not isinstance(overrides, str)
    if not listed or not all(isinstance(item, str) for item in overrides):
        raise UserError(f"overrides={overrides!r}: give a list, such as ['model=gru', 'optimizer.lr=1e-3'].")
    for item in overrides:
        if item.startswith("-"):
            raise UserError(
                f"overrides: '{item}' is a flag of the command line; sweeps start with `twotower train -m`."
            )
    return list(overrides)


def _job(config: DictConfig, places: list[Path], *, show: bool) -> float:
    from twotower.cli.train import nothing_left_if_refused, run_folder

    with nothing_left_if_refused():
        run_dir, resume = run_folder(config)
        places.append(run_dir)
        return _trained(config, run_dir, resume, show=show)


def _trained(config: DictConfig, run_dir: Path, resume: Path | None, *, show: bool) -> float:
    from twotower.config.hydra_job import choices, job_config, overrides, tell_of_exact_index

    settings = job_config(config)
    with _messages(run_dir, show=show):
        tell_of_exact_index(settings)
        with set_aside("twotower.training.train"):
            from twotower.training.train import train as train_run
        return train_run(settings, run_dir=run_dir, overrides=overrides(), choices=choices(), resume=resume)


@contextmanager
def _messages(run_dir: Path, *, show: bool) -> Iterator[None]:
    """Sends messages to the run's train.log and, with `show`, to the terminal or notebook; silences tables without."""
    file = LogFile(str(run_dir / "train.log"))
    file.setFormatter(ScrubbedFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handlers: list[logging.Handler] = [file]
    if show:
        handlers.append(RichHandler(show_path=False, show_time=False, show_level=False))
        handlers[-1].setFormatter(ScrubbedFormatter("%(message)s"))
    root = logging.getLogger()
    root.handlers[:] = handlers  # `isolated` puts back those of before
    root.setLevel(logging.INFO)
    with nullcontext() if show else redirect_stdout(io.StringIO()):
        yield


def load(source: Run | str | PathLike[str], *, trust: str | Sequence[str] = ()) -> Model:
    """Loads a trained model.

    Example:
        >>> import twotower
        >>> run = twotower.train(["data=beir", "data.path=DIR", "trainer.max_epochs=1"], show=False)
        >>> model = twotower.load(run)
        >>> query_ND = model.encode_queries(["how to sort a list", "read a file"])
        >>> query_ND.shape == (2, model.dim), query_ND.dtype
        (True, dtype('float32'))
        >>> document_MD = model.encode_documents(["Returns a sorted list.", "Opens a file.", "Adds two numbers."])
        >>> model.similarity(query_ND, document_MD).shape
        (2, 3)

    Args:
        source: what `train` returned, a run's folder, an exported .pt file, or a run's name or config hash.
        trust: packages whose parts the file may name, beside those of TWOTOWER_TRUST; for this call alone.

    Raises:
        UserError: when there is no such model, its file is damaged or was changed after the run, or it names a part of
            a package that is not trusted.
    """
    from twotower.model.checkpoint import load as load_checkpoint

    folder, path = resolve_model(_named(source))
    with trusting(trust):
        checkpoint = load_checkpoint(path)
    check_unchanged(folder, path, checkpoint.sha256)
    return Model(checkpoint)


def _named(source: Run | str | PathLike[str]) -> str:
    try:
        return str(Path(source))
    except TypeError:
        raise UserError(f"{source!r} is no run: give its folder, its name or its .pt file.") from None


def export(
    source: Run | str | PathLike[str],
    to: str,
    out: str | PathLike[str] | None = None,
    *,
    repo: str | None = None,
    form: str = "sentence-transformers",
    private: bool = False,
) -> str:
    """Writes a trained model, with a model card, in a form that other libraries open; as `twotower export` does.

    Example:
        >>> import twotower
        >>> run = twotower.train(["data=beir", "data.path=DIR", "trainer.max_epochs=1"], show=False)
        >>> folder = twotower.export(run, "safetensors", run.path / "exported")

    Args:
        source: what `train` returned, a run's folder, an exported .pt file, or a run's name or config hash.
        to: `sentence-transformers`, `onnx`, `safetensors`, or `hub`.
        out: a new folder; `hub` does without one.
        repo: hub: the repository, `OWNER/NAME`; it is made if it isn't there.
        form: hub: which of the other forms is uploaded.
        private: hub: whether a new repository is private.

    Returns:
        The folder, or the address of the commit on the hub.

    Raises:
        UserError: for an unknown form, a folder that isn't empty, a missing package, or what the hub refuses.
    """
    from twotower.formats.write import export as write

    folder = None if out is None else Path(out)
    return write(_named(source), to=to, out=folder, repo=repo, form=form, private=private)


class Model:
    """A trained pair of towers with its tokenizer: texts in, unit vectors out.

    Args:
        checkpoint: a loaded export; `twotower.load` makes one from a run.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def __repr__(self) -> str:
        return f"Model({str(self.path)!r}, dim={self.dim})"

    @property
    def path(self) -> Path:
        """The .pt file it was loaded from."""
        return self._checkpoint.path

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config of the run that trained it."""
        return self._checkpoint.config

    @property
    def dim(self) -> int:
        """The width D of its vectors."""
        return int(self._checkpoint.model.output_dim)

    def to(self, device: str | torch.device) -> Model:
        """Moves the towers to a device (`cuda`, `cpu`) and returns the model."""
        self._checkpoint.model.to(device)
        return self

    def encode_queries(self, texts: Sequence[str], *, batch_size: int | None = None) -> Vectors:
        """Encodes queries.

        Args:
            texts: N queries; words the model never saw count as unknown, those past its length are cut.
            batch_size: most texts of a batch; None lets their lengths decide.

        Returns:
            Unit vectors float32 [N, D].

        Raises:
            UserError: for a single string, or a batch size below 1.
        """
        return self._encode(texts, "query", self._checkpoint.max_query_length, batch_size)

    def encode_documents(
        self, texts: Sequence[str], *, titles: Sequence[str] | None = None, batch_size: int | None = None
    ) -> Vectors:
        """Encodes documents, as training does: a title, where there is one, before its text.

        Args:
            texts: N documents.
            titles: their N titles, "" where there is none.
            batch_size: most texts of a batch; None lets their lengths decide.

        Returns:
            Unit vectors float32 [N, D].

        Raises:
            UserError: for a single string, another number of titles, or a batch size below 1.
        """
        if titles is not None:
            if len(titles) != len(texts):
                raise UserError(f"titles: {len(titles)} titles for {len(texts)} texts; give one each, '' for none.")
            texts = [f"{title} {text}" if title else text for title, text in zip(titles, texts, strict=True)]
        return self._encode(texts, "document", self._checkpoint.max_document_length, batch_size)

    def similarity(self, query_ND: Vectors, document_MD: Vectors) -> Vectors:
        """Returns the cosine of every query with every document, float32 [N, M]; the higher, the more alike."""
        scores_NM: Vectors = np.asarray(query_ND, np.float32) @ np.asarray(document_MD, np.float32).T
        return scores_NM

    def _encode(self, texts: Sequence[str], side: str, longest: int | None, batch_size: int | None) -> Vectors:
        from twotower.model.encoding import encode

        if isinstance(texts, str):
            raise UserError(f"A list of texts is expected, not one text: [{texts[:60]!r}].")
        if not isinstance(texts, Iterable):
            raise UserError(f"A list of texts is expected, not {texts!r}.")
        listed = list(texts)
        for number, text in enumerate(listed):
            if not isinstance(text, str):
                raise UserError(f"A list of texts is expected; at place {number} of it stands {text!r}.")
        tokens = self._checkpoint.tokenizer.encode(listed, longest)
        return encode(self._checkpoint.model, tokens, side=side, batch_size=batch_size)
