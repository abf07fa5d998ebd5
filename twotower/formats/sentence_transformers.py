"""A trained model as a `SentenceTransformer` with a query and a document route.

    model = SentenceTransformer("DIR", trust_remote_code=True)
    model.encode_query(["how do I sort a list"]) @ model.encode_document(texts).T

The folder holds the exported model itself, once for each route; both routes read with the model's own towers and
tokenizer, so vectors are those of `twotower encode`. Loaded, both share one model and can be trained on. Opening the
folder needs twotower installed, and `trust_remote_code=True` since the module is not sentence-transformers' own.

Shapes: B texts, D dimension, T tokens of the batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import InputModule, Router

from twotower.core.files import sha256_file
from twotower.model.checkpoint import Checkpoint, load, read, save
from twotower.text.tokens import TokenBatch

FILE_NAME = "two_tower.pt"


class TowerModule(InputModule):  # type: ignore[misc]
    """One side of a two-tower model as the first and only module of a route.

    Args:
        checkpoint: the loaded model.
        side: query or document.
    """

    config_file_name = "tower.json"
    config_keys = ["side"]  # noqa: RUF012  what the base class calls for

    def __init__(self, checkpoint: Checkpoint, side: str) -> None:
        super().__init__()
        self.side = side
        self.checkpoint = checkpoint
        self.model = checkpoint.model
        self.most = checkpoint.max_query_length if side == "query" else checkpoint.max_document_length

    @property
    def tokenizer(self) -> Any:
        """The model's own tokenizer."""
        return self.checkpoint.tokenizer

    @property
    def max_seq_length(self) -> int | None:
        """The most words of a text that are read; None for all."""
        return self.most

    def preprocess(self, inputs: list[str], prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Returns the token ids of all texts, one after the other, and where each starts."""
        texts = [f"{prompt or ''}{text}" for text in inputs]
        tokens = self.checkpoint.tokenizer.encode(texts, self.most)
        ids_T = torch.from_numpy(tokens.ids_T.astype("int64"))
        return {"input_ids": ids_T, "offsets": torch.from_numpy(tokens.offsets)}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Adds `sentence_embedding`, unit vectors [B, D]."""
        batch = TokenBatch(ids_T=features["input_ids"], offsets_B1=features["offsets"])
        encode = self.model.encode_queries if self.side == "query" else self.model.encode_documents
        features["sentence_embedding"] = encode(batch)
        return features

    def get_embedding_dimension(self) -> int:
        """Size of a vector, D."""
        return int(self.model.output_dim)

    get_sentence_embedding_dimension = get_embedding_dimension

    def on_model_ready(self, model: Any) -> None:
        """Lets both routes of a loaded model share its weights, as they did when it was trained."""
        for module in model.modules():
            if isinstance(module, TowerModule) and module.checkpoint.sha256 == self.checkpoint.sha256:
                self.model = module.model
                return

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Writes the model with its present weights, and which side this is."""
        content = read(self.checkpoint.path)
        save(
            Path(output_path) / FILE_NAME,
            model=self.model,
            model_config=content["model_config"],
            tokenizer=self.checkpoint.tokenizer,
            training_stats=content["training_stats"],
            epoch=content["epoch"],
            eval_results=content["eval_results"],
            wandb_run_id=content.get("wandb_run_id"),
        )
        self.save_config(output_path)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> TowerModule:
        """Opens what `save` wrote, here or on the hub."""
        known = {key: kwargs[key] for key in ("token", "cache_folder", "revision", "local_files_only") if key in kwargs}
        config = cls.load_config(model_name_or_path, subfolder=subfolder, **known)
        path = cls.load_file_path(model_name_or_path, filename=FILE_NAME, subfolder=subfolder, **known)
        return cls(load(Path(str(path))), str(config["side"]))


def export(checkpoint_path: Path, out: Path) -> None:
    """Writes an exported .pt as a folder that `SentenceTransformer(out, trust_remote_code=True)` opens.

    Args:
        checkpoint_path: the .pt file.
        out: the folder; it must not hold anything yet.
    """
    checkpoint = load(checkpoint_path)
    modules = [TowerModule(checkpoint, side) for side in ("query", "document")]
    router = Router.for_query_document([modules[0]], [modules[1]], default_route="document")
    model = SentenceTransformer(modules=[router], similarity_fn_name="dot", device="cpu")
    model.save_pretrained(str(out), create_model_card=False)
    files = [sha256_file(path) for path in sorted(out.rglob(FILE_NAME))]
    if len(files) != 2 or files[0] != files[1]:
        raise RuntimeError(f"{out} was written with routes that differ.")
