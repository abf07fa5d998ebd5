"""One way out for every form: a finished run's model into a new folder, or through a folder onto the hub."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path

from twotower.core.errors import UserError
from twotower.core.extras import is_extra, missing
from twotower.core.files import write_bytes
from twotower.core.validators import check_choice
from twotower.formats.card import model_card
from twotower.formats.hub import check, push
from twotower.model.checkpoint import load
from twotower.runs.find import check_unchanged, resolve_model
from twotower.runs.run import read_run

FORMS = {"sentence-transformers": "sentence_transformers", "onnx": "onnx", "safetensors": "safetensors"}
HUB = "hub"
USAGE = {
    "sentence-transformers": (
        "from sentence_transformers import SentenceTransformer\n\n"
        'model = SentenceTransformer("DIR", trust_remote_code=True)  # the code it asks about is twotower, installed\n'
        'model.encode_query(["a question"]) @ model.encode_document(["a document"]).T'
    ),
    "onnx": (
        "import onnxruntime\n\n"
        'session = onnxruntime.InferenceSession("DIR/document.onnx")  # ids are places in vocabulary.json, 0 pads\n'
        'vectors = session.run(None, {"ids": ids, "lengths": lengths})[0]'
    ),
    "safetensors": (
        'from safetensors.numpy import load_file\n\nweights = load_file("DIR/model.safetensors")  # and config.json'
    ),
}


def export(
    source: str | None,
    *,
    to: str,
    out: Path | None = None,
    repo: str | None = None,
    form: str = "sentence-transformers",
    private: bool = False,
) -> str:
    """Writes a model with its card for another library to open.

    Args:
        source: a run's folder, name or config hash, or a .pt file; None takes the newest finished run.
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
    check_choice("--to", to, (*FORMS, HUB))
    if to == HUB:
        check_choice("--form", form, tuple(FORMS))
        if repo is None or repo.count("/") != 1 or not all(repo.split("/")):
            raise UserError(f"--to hub needs --repo OWNER/NAME, the repository to write to; found {repo}.")
        return _through_folder(source, form, out, repo, private=private)
    if out is None or repo is not None:
        raise UserError(f"--to {to} needs --out DIR, a new folder, and no --repo.")
    _write(source, to, out, _usage(to, out.name))
    return str(out)


def _through_folder(source: str | None, form: str, out: Path | None, repo: str, *, private: bool) -> str:
    check(repo)
    with tempfile.TemporaryDirectory(prefix="twotower-") as scratch:
        folder = out if out is not None else Path(scratch) / "model"
        sha256 = _write(source, form, folder, _usage(form, repo, on_hub=True))
        return push(folder, repo, private=private, message=f"twotower model {sha256[:12]}")


def _usage(form: str, name: str, *, on_hub: bool = False) -> str:
    """Returns the code that opens what is written; a hub's files are fetched first, where the library wouldn't."""
    if on_hub and form != "sentence-transformers":
        fetched = f'from huggingface_hub import snapshot_download\n\nfolder = snapshot_download("{name}")'
        return f"{fetched}\n{USAGE[form]}".replace('"DIR/', 'f"{folder}/')
    return USAGE[form].replace("DIR", name)


def _write(source: str | None, form: str, out: Path, usage: str) -> str:
    folder, path = resolve_model(source)
    sha256 = load(path).sha256
    check_unchanged(folder, path, sha256)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} exists already and is not empty; name a new folder.")
    try:
        module = importlib.import_module(f"twotower.formats.{FORMS[form]}")
    except ModuleNotFoundError as error:
        if not is_extra(error.name):
            raise
        raise missing(f"--to {form}", str(error.name)) from error
    out.mkdir(parents=True, exist_ok=True)
    module.export(path, out)
    record = read_run(folder).record if folder is not None else {}
    library = "sentence-transformers" if form == "sentence-transformers" else "twotower"
    write_bytes(out / "README.md", model_card(record, usage, library=library).encode())
    return sha256
