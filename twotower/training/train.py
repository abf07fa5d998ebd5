"""One run from a resolved config to a finished run folder: data, model, training, evaluation, export, record."""

from __future__ import annotations

import gc
import logging
import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from rich.console import Console

from twotower.callbacks.base import RunCallback, RunContext
from twotower.callbacks.checkpoint import AtomicCheckpoints
from twotower.callbacks.monitors import Monitors
from twotower.callbacks.progress import Progress
from twotower.config.instantiate import config_hash, instantiate, locate
from twotower.config.shape import check_shape, checking
from twotower.core.errors import UserError, in_one_line
from twotower.core.memo import remember, stamp
from twotower.core.secrets import mask_text, private_if_secret
from twotower.data.collection import Collection
from twotower.data.datamodule import RetrievalData, check_splits, vocabulary_texts
from twotower.data.source import read_collection
from twotower.data.summary import make_report, report_table
from twotower.embedding.build import build as build_embedding
from twotower.index.export import check as check_indexes
from twotower.kernels.cpu import precision_for, prepare_process, release_freed_memory
from twotower.kernels.distributed import rank
from twotower.model.build import build_module
from twotower.model.encoder import encoder_of, pads_batches
from twotower.model.words import WordStatistics
from twotower.runs.record import RunRecord, SilentRecord
from twotower.runs.settings import TrainerSettings
from twotower.text.build import train_tokenizer
from twotower.text.tokens import Tokens, concatenate
from twotower.training.finish import finish
from twotower.training.loggers import build_loggers, close_loggers, wandb_identity
from twotower.training.restoring import Restoring
from twotower.training.teachers import ask_teachers
from twotower.training.training_state import check_resume
from twotower.training.validate import Checked, check_launch, check_settings

logger = logging.getLogger(__name__)


def train(
    config: dict[str, Any],
    *,
    run_dir: Path,
    overrides: list[str],
    choices: dict[str, Any],
    resume: Path | None = None,
    rerun_of: dict[str, Any] | None = None,
) -> float:
    """Trains, evaluates and exports one run.

    Args:
        config: the full resolved config, plain data.
        run_dir: the run folder; Hydra has made it.
        overrides: what the user typed.
        choices: the chosen option of every config group.
        resume: the Lightning checkpoint to go on from.
        rerun_of: for the record, which earlier run this one repeats or varies.

    Returns:
        The objective (`evaluation.objective`) of the best epoch on all evaluation queries.

    Raises:
        UserError: for a mistake in config or data; the record then says `failed`.
    """
    _free_the_run_before()
    check_shape(config)
    check_launch(config["trainer"], sweep=bool((config.get("sweep") or {}).get("session")))
    with private_if_secret(config, run_dir):
        record = open_record(config, run_dir=run_dir, overrides=overrides, choices=choices)
        return _recorded(record, config, run_dir, choices, resume, rerun_of)


def _recorded(
    record: RunRecord,
    config: dict[str, Any],
    run_dir: Path,
    choices: dict[str, Any],
    resume: Path | None,
    rerun_of: dict[str, Any] | None,
) -> float:
    """Does what `train` does and closes the record with what became of it."""
    loggers: list[Any] = []
    _quiet()
    try:
        if rank() == 0:  # first of all, so that W&B shows a run that fails at once as crashed
            loggers = build_loggers(
                config, run_name=record.data["run_name"], wandb_run_id=record.data["wandb"]["run_id"]
            )
        identity = wandb_identity()
        record.update(wandb=identity)
        checked = check_settings(config)
        if resume is not None:
            check_resume(resume, config, run_dir=run_dir)
        settings = checked.settings
        pl.seed_everything(settings.seed, workers=True, verbose=False)
        prepare_process(settings.trainer.threads)
        record.update(threads=torch.get_num_threads(), **({"rerun_of": rerun_of} if rerun_of else {}))
        with checking("index"):
            check_indexes(settings.indexes, dim=checked.width)
        context = prepare(config, checked, run_dir=run_dir, choices=choices, record=record, resume=resume)
        context.wandb_run_id = identity["run_id"]
        fit(context, checked.callbacks, loggers, resume)
        return finish(context, loggers) if rank() == 0 else float("nan")
    except KeyboardInterrupt:
        _end(record, loggers, "interrupted", "stopped by the user")
        raise
    except SystemExit as error:
        _end(record, loggers, "interrupted", "stopped by the user")
        raise KeyboardInterrupt from error
    except BaseException as error:
        _end(record, loggers, "failed", error)
        raise


_earlier: list[bool] = []
"""Holds a value once a run began in this process."""


def _free_the_run_before() -> None:
    """Frees what the run before left in this process: its trainer, module and data point at each other.

    Until the collector has looked at them they keep their memory, and two mapped files open for every run.
    """
    if _earlier:
        gc.collect()
    else:
        _earlier.append(True)


def check_start(config: dict[str, Any]) -> Checked:
    """Checks a whole config as `train` does before it reads any data; nothing is written.

    Raises:
        UserError: for the first mistake.
    """
    check_shape(config)
    check_launch(config["trainer"], sweep=bool((config.get("sweep") or {}).get("session")))
    checked = check_settings(config)
    locate((checked.settings.data.source or {}).get("_target_"), "data.source")
    with checking("index"):
        check_indexes(checked.settings.indexes, dim=checked.width)
    return checked


def data_label(data: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    """Returns what a run's name says of its data: the collection that a path or an id names, else the choice."""
    if data.get("path"):
        return Path(str(data["path"])).name.split(".")[0] or str(choices.get("data"))
    splits = (data.get("source") or {}).get("splits")
    if isinstance(splits, Mapping) and all(isinstance(item, str) for item in splits.values()):
        return "-".join(str(next(iter(splits.values()))).split("/")[:2])
    return str(choices.get("data"))


def open_record(config: dict[str, Any], *, run_dir: Path, overrides: list[str], choices: dict[str, Any]) -> RunRecord:
    """Starts run.json, in the first of several processes; the others get a record that writes nothing."""
    parts = "-".join((*(str(choices.get(group)) for group in ("model", "loss")), data_label(config["data"], choices)))
    record = (RunRecord.open if rank() == 0 else SilentRecord)(
        run_dir,
        run_name=mask_text(config.get("run_name") or f"{parts}-seed{config['seed']}"),
        config=config,
        config_hash=config_hash(config),
        overrides=overrides,
        choices=choices,
        seed=config["seed"],
    )
    if sweep := (config.get("sweep") or {}).get("name"):
        record.update(sweep={"name": sweep, "job": f"{run_dir.parent.name}/{run_dir.name}"})
    return record


def _quiet() -> None:
    """Keeps libraries' notes that tell a user nothing out of the terminal; their warnings stay."""
    names = ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "faiss.loader", "bm25s", "gensim", "aim")
    for name in names:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*isinstance.treespec.*",
        ".*does not have many workers.*",
        ".*Checkpoint directory .* exists.*",
        ".*smaller than the logging interval.*",
        ".*Total length of .* across ranks is zero.*",  # where the corpus alone is learnt from
    ):
        warnings.filterwarnings("ignore", message=message)


def _end(record: RunRecord, loggers: list[Any], status: str, error: BaseException | str) -> None:
    record.close(status, error=error)
    close_loggers(loggers, failed=True)


def _refuse_other_data(resume: Path, record: RunRecord, collection: Collection) -> None:
    before = (record.data.get("data") or {}).get("fingerprint")
    if before not in (None, collection.fingerprint):
        raise UserError(
            f"ckpt_path={resume}: the data of {record.run_dir} has changed since that run began, so its figures "
            "before and after could not be set side by side; a run goes on with the data it began with."
        )


def prepare(
    config: dict[str, Any],
    checked: Checked,
    *,
    run_dir: Path,
    choices: dict[str, Any],
    record: RunRecord,
    resume: Path | None,
) -> RunContext:
    """Loads the collection, makes tokens, and reports on both before any training.

    Raises:
        UserError: for data that can't be read, or is not what a run that goes on began with.
    """
    started = time.perf_counter()
    console = Console()
    settings = checked.settings
    split, text = settings.data.train_split, settings.text.to_dict()
    source = [settings.data.source, stamp(settings.data.path)]
    with console.status("Reading the data"):
        collection: Collection = remember("collection", source, lambda: read_collection(settings.data.source or {}))
    if resume is not None:
        _refuse_other_data(resume, record, collection)
    check_splits(collection, settings.data)
    documents, cut = len(collection.texts), settings.data.max_document_length
    tokenizer = remember(
        "tokenizer",
        [source, split, text],
        lambda: train_tokenizer(
            vocabulary_texts(collection, split), settings.text, documents=documents, max_length=cut
        ),
    )
    data = RetrievalData(
        collection=collection,
        tokenizer=tokenizer,
        settings=settings.data,
        seed=settings.seed,
        pads_batches=checked.pads_batches,
        exclude_self=settings.evaluation.exclude_self,
    )
    _ = data.query_tokens, data.document_tokens  # with bars of their own
    with console.status("Looking at the data"):
        report = remember("report", [source, text, settings.data.to_dict()], lambda: make_report(data))
    release_freed_memory()
    console.print(report_table(report))
    record.update(
        data={"name": collection.name, "fingerprint": collection.fingerprint, "report": report},
        vocabulary={"hash": data.tokenizer.hash, "size": data.tokenizer.size},
        timings={"data_seconds": round(time.perf_counter() - started, 3)},
    )
    return RunContext(
        run_dir=run_dir,
        run_name=record.data["run_name"],
        config=config,
        settings=settings,
        choices=choices,
        record=record,
        data=data,
        tokenizer=data.tokenizer,
    )


def start_module(context: RunContext) -> pl.LightningModule:
    """Builds the module with its word vectors and, where the towers weigh words, their inverse document frequencies."""
    settings, tokenizer = context.settings, context.tokenizer
    embedding = settings.module.embedding
    words = tokenizer.index_to_word
    weights_of = [context.data.collection.fingerprint, tokenizer.hash, settings.data.to_dict()]
    tokens = remember("training_tokens", weights_of, lambda: training_tokens(context.data))
    matrix_VD = remember(
        "word_vectors",
        [*weights_of, asdict(embedding), stamp(embedding.part.get("path")), settings.seed],
        lambda: build_embedding(
            embedding,
            words,
            tokens,
            seed=settings.seed,
            documents=context.data.document_tokens,
            stem=settings.text.stem,
        ),
    )
    module = build_module(settings.module, vocabulary_size=tokenizer.size, embedding_dim=matrix_VD.shape[1])
    encoder: Any = encoder_of(module)
    if hasattr(encoder, "load_embedding"):
        encoder.load_embedding(matrix_VD)
    documents = context.data.document_tokens
    statistics = remember(
        "word_statistics",
        weights_of,
        lambda: WordStatistics(tokens=tokens, documents=documents, size=tokenizer.size),
    )
    release_freed_memory()
    if hasattr(encoder, "start_weights"):
        encoder.start_weights(statistics)
    elif hasattr(encoder, "set_word_weights"):
        encoder.set_word_weights(statistics.idf)
    return module


def training_tokens(data: RetrievalData) -> Tokens:
    """Returns the tokens word vectors and word weights are learnt from: all documents and the training queries."""
    rows = data.collection.split(data.settings.train_split).queries
    batch = data.query_tokens.take(rows)
    queries = Tokens(ids_T=batch.ids_T.numpy().astype(np.int32), offsets=batch.offsets_B1.numpy())
    return concatenate([data.document_tokens, queries])


def check_batches(limit: float | int, batches: int) -> None:
    """Refuses a share of the training batches that comes to none of them.

    Args:
        limit: `trainer.limit_train_batches`, a share if it is no whole number.
        batches: of an epoch.

    Raises:
        UserError: naming the least that gives one.
    """
    if isinstance(limit, float) and batches and int(limit * batches) < 1:
        least = math.ceil(1000 / batches) / 1000
        raise UserError(
            f"trainer.limit_train_batches={limit} leaves none of the {batches} batches; at least {least} gives one."
        )


def fit(context: RunContext, callbacks: list[pl.Callback], loggers: list[Any], resume: Path | None) -> pl.Trainer:
    """Trains with the callbacks of the config; they evaluate, record and export."""
    wanted = context.settings.trainer
    module = start_module(context)
    restoring = None if resume is None else Restoring(resume)
    if resume is not None:
        context.untrained = context.record.data.get("untrained") or {}
    callbacks = [*([restoring] if restoring else []), *callbacks, Monitors()]
    for callback in callbacks:
        if isinstance(callback, RunCallback):
            callback.context = context
    if wanted.progress_bar:
        callbacks.append(Progress(context=context))
    check_batches(wanted.limit_train_batches, len(context.data.train_dataloader()))
    precision = choose_precision(wanted, module, before=earlier_precision(context.record.data))
    context.record.update(precision=precision)
    ask_teachers(context, module)
    given = {"enable_model_summary": False, **wanted.lightning, "precision": precision}
    if not context.settings.data.learns_pairs:
        why = "data.train_split=null" if context.settings.data.train_split is None else "data.train_pairs=false"
        logger.info("The corpus alone is learnt from; loss, scheduler and epochs have no part in it: %s.", why)
        given["max_epochs"] = 0
    trainer = instantiate(
        given,
        callbacks=callbacks,
        logger=loggers,
        default_root_dir=str(context.run_dir),
        plugins=[AtomicCheckpoints()],
        num_sanity_val_steps=0,
    )
    try:
        resume_from = None if resume is None else str(resume)
        trainer.fit(module, datamodule=context.data, ckpt_path=resume_from, weights_only=True)
    except MisconfigurationException as error:  # what Lightning can tell only once it knows the data's size
        raise UserError(f"trainer: {in_one_line(error)}") from error
    except Exception as error:
        if restoring is None or isinstance(error, UserError) or not restoring.is_fault_of_file(error):
            raise
        raise UserError(does_not_fit(resume, error)) from error
    return trainer  # type: ignore[no-any-return]


def does_not_fit(resume: Path | None, error: Exception) -> str:
    """Says of an error while a training state was taken over what is wrong with the file."""
    if "loading state_dict" in str(error):
        why = "its weights have another shape, as if data or vocabulary had changed"
    else:
        why = f"it is damaged ({type(error).__name__}: {in_one_line(error, limit=200)})"
    return f"ckpt_path={resume} does not fit: {why}; a run goes on with the data and settings it began with."


def earlier_precision(record: dict[str, Any]) -> str | None:
    """Returns the precision that a resumed run, or the run that this one repeats, was trained with."""
    return record.get("precision") or (record.get("rerun_of") or {}).get("precision")


def choose_precision(trainer: TrainerSettings, module: pl.LightningModule, before: str | None = None) -> str:
    """Returns what `trainer.precision` says, or for `auto` what suits this processor and the kind of towers.

    What a run was begun with `before` is kept, on whatever processor it goes on.
    """
    if trainer.precision != "auto":
        return trainer.precision
    if before is not None:
        return before
    if trainer.accelerator != "cpu":
        return "bf16-mixed"
    return precision_for(recurrent=pads_batches(encoder_of(module)))
