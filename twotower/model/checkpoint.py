"""The exported model: one .pt file of plain data and tensors, loaded without running any code in it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from twotower.config.names import MODULE, tower_settings
from twotower.config.trust import admit
from twotower.core.archive import read_archive
from twotower.core.errors import UserError, in_one_line
from twotower.core.files import sha256_file, write_bytes
from twotower.core.finite import check_weights
from twotower.core.reading import Each, conform
from twotower.data.settings import DataSettings
from twotower.model.encoder import encoder_of
from twotower.model.query_file import write_query_file
from twotower.model.two_tower import TwoTower
from twotower.text.build import restore_tokenizer
from twotower.text.tokenizer import Tokenizer

RESOLVED = {
    "text": dict,
    "data": {"max_query_length?": int, "max_document_length?": int, "source?": dict, "eval_split?": str},
    "evaluation?": dict,
    "seed?": int,
}
"""What is read of the config that an exported model carries."""
SHAPE: dict[str, Any] = {
    "model_state_dict": Each(torch.Tensor),
    "embedding_matrix": torch.Tensor,
    "word_to_index": Each(int),
    "index_to_word": dict,
    "model_config": Each(object),
    "training_stats": {"config": {"resolved": RESOLVED, "choices?": Each(object), "provenance?": dict}},
    "epoch": int,
    "eval_results": dict,
    "wandb_run_id?": str,
}
KEYS = tuple(key.removesuffix("?") for key in SHAPE)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A loaded model with what it needs to read text.

    `config` is the full resolved config of the run that trained it; `sha256` identifies the file.
    """

    path: Path
    model: Any
    tokenizer: Tokenizer
    config: dict[str, Any]
    epoch: int
    eval_results: dict[str, Any]
    training_stats: dict[str, Any]
    wandb_run_id: str | None
    sha256: str = field(repr=False)

    @cached_property
    def data(self) -> DataSettings:
        """What it was trained on and how."""
        return DataSettings.recorded(self.config["data"])

    @property
    def max_query_length(self) -> int | None:
        """The most tokens of a query the model was trained to read; None for all."""
        return self.data.max_query_length

    @property
    def max_document_length(self) -> int | None:
        """The most tokens of a document the model was trained to read; None for all."""
        return self.data.max_document_length


def flat_config(config: dict[str, Any], choices: dict[str, Any]) -> dict[str, Any]:
    """Returns the resolved config with the customary flat names beside the nested ones.

    `optimizer` and `scheduler` are names here, as they are in the field's older checkpoints; the whole nested config,
    these two groups included, is under `resolved`.

    Args:
        config: the full resolved config.
        choices: the chosen option of every config group.
    """
    optimizer, model, loss = config["optimizer"], config["model"], config["loss"]
    callbacks, trainer, data = config["callbacks"], config["trainer"], config["data"]
    flat = {
        "batch_size": data["batch_size"],
        "num_workers": data["num_workers"],
        "learning_rate": optimizer["lr"],
        "optimizer": choices.get("optimizer"),
        "weight_decay": optimizer.get("weight_decay"),
        "beta1": optimizer.get("beta1"),
        "beta2": optimizer.get("beta2"),
        "loss_type": choices.get("loss"),
        "temperature": loss.get("temperature"),
        "margin": loss.get("margin"),
        "scheduler": choices.get("scheduler"),
        "epochs": trainer["max_epochs"],
        **{key: model.get(key) for key in ("hidden_dim", "num_layers", "dropout")},
        "patience": (callbacks.get("early_stopping") or {}).get("patience"),
        "grad_clip": trainer.get("gradient_clip_val"),
        "eval_every_epoch": callbacks.get("evaluate", {}).get("every_n_epochs"),
        "eval_max_queries": callbacks.get("evaluate", {}).get("max_queries"),
    }
    return {**config, **flat, "choices": dict(choices), "resolved": config}


def save(
    path: Path,
    *,
    model: Any,
    model_config: dict[str, Any],
    tokenizer: Tokenizer,
    training_stats: dict[str, Any],
    epoch: int,
    eval_results: dict[str, Any],
    wandb_run_id: str | None,
) -> None:
    """Writes the exported model atomically, and what searching takes of it beside it (`twotower.model.query_file`).

    Args:
        path: the .pt file.
        model: the towers with the weights to keep.
        model_config: what `TwoTower` needs to be built again, vocabulary_size and embedding_dim included.
        tokenizer: its word_to_index goes into the file.
        training_stats: config, training_stats per epoch, evaluation_stats per epoch, best_metrics, best_epoch.
        epoch: the epoch the weights are from.
        eval_results: the final evaluation.
        wandb_run_id: the W&B run, if any.

    Raises:
        UserError: for weights that are not finite; nothing is written then.
    """
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    check_weights(state, "The model to export")
    content = {
        "model_state_dict": state,
        "embedding_matrix": state.get("embedding.weight", torch.zeros(0, 0)),
        "word_to_index": dict(tokenizer.word_to_index),
        "index_to_word": dict(enumerate(tokenizer.index_to_word)),
        "model_config": model_config,
        "training_stats": training_stats,
        "epoch": epoch,
        "eval_results": eval_results,
        "wandb_run_id": wandb_run_id,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getbuffer())
    write_query_file(path, content, hashlib.sha256(buffer.getbuffer()).hexdigest())


def read(path: Path) -> dict[str, Any]:
    """Reads the plain content of an exported model without running any code in it.

    Raises:
        UserError: when the file is missing, cut short, holds anything but plain data and tensors, or isn't ours in
            every part that is read.
    """
    content = read_archive(path)
    lacking = [key for key in KEYS if not isinstance(content, dict) or key not in content]
    if lacking:
        raise UserError(f"{path} is not a checkpoint exported by twotower: it lacks {', '.join(lacking)}.")
    return conform(content, SHAPE, str(path))  # type: ignore[no-any-return]


def _check_sizes(model_config: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> None:
    """Holds the sizes in a model's config, worked out without any memory, against those of its weights.

    Raises:
        ValueError: when they differ.
    """
    given = [model_config.get(f"{side}_tower") for side in ("query", "document")]
    towers: list[Mapping[str, Any]] = [tower for tower in given if isinstance(tower, Mapping)]
    for settings in (model_config, *towers):
        if (layers := settings.get("num_layers")) is not None and (type(layers) is not int or layers > len(state)):
            raise ValueError(f"num_layers={layers} of {len(state)} weights")
    targets = [tower_settings("model", tower)["_target_"] for tower in given if tower is not None]
    if any(not target.startswith("twotower.") for target in targets):
        return  # somebody's own, who trusts it: it may not be made to be built without memory
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in TwoTower(**model_config).state_dict().items()}
    differ = [name for name in {**wanted, **state} if name not in state or wanted.get(name) != tuple(state[name].shape)]
    if differ:
        have = tuple(state[differ[0]].shape) if differ[0] in state else "missing"
        raise ValueError(f"{differ[0]} is {have}, not {wanted.get(differ[0], 'of this model')}")


def _model(path: Path, settings: Mapping[str, Any], config: Mapping[str, Any], state: Mapping[str, Any]) -> Any:
    """Builds the model of an exported file; a LightningModule of somebody's own is built as for training."""
    admit(settings, source=path, place="model")
    rest = {key: value for key, value in settings.items() if key != "_target_"}
    if settings.get("_target_", MODULE) == MODULE:
        _check_sizes(rest, state)
        return TwoTower(**rest)
    from twotower.model.build import build_module

    for group in ("loss", "optimizer", "scheduler"):
        admit(config[group], source=path, place=group)
    sizes = {key: rest.pop(key) for key in ("vocabulary_size", "embedding_dim")}
    return encoder_of(build_module({**config, "model": {"_target_": settings["_target_"], **rest}}, **sizes))


def load(path: str | Path) -> Checkpoint:
    """Loads an exported model, ready to encode text.

    Raises:
        UserError: as `read`, when config and weights don't fit together, or weights are not finite.
    """
    path = Path(path)
    content = read(path)
    try:
        config = content["training_stats"]["config"]["resolved"]
        model = _model(path, content["model_config"], config, content["model_state_dict"])
        model.load_state_dict(content["model_state_dict"])
        check_weights(content["model_state_dict"], str(path))
        tokenizer = restore_tokenizer(content["word_to_index"], config["text"], source=path)
        DataSettings.recorded(config["data"])
        if isinstance(model, TwoTower) and tokenizer.size != model.embedding.num_embeddings:
            raise ValueError(f"{tokenizer.size} words, {model.embedding.num_embeddings} word vectors")
    except UserError:
        raise
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{path}: its weights and its config don't fit together ({in_one_line(error, limit=200)})."
        ) from error
    return Checkpoint(
        path=path,
        model=model.eval(),
        tokenizer=tokenizer,
        config=config,
        epoch=content["epoch"],
        eval_results=content["eval_results"],
        training_stats=content["training_stats"],
        wandb_run_id=content["wandb_run_id"],
        sha256=sha256_file(path),
    )
