"""`twotower export`: a trained model in a form that other libraries open."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from twotower.cli.options import trust_option

FORMS = {"sentence-transformers": "sentence_transformers", "onnx": "onnx", "safetensors": "safetensors"}
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


@click.command(name="export")
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--to", "form", metavar="FORM", required=True, help=f"One of: {', '.join(FORMS)}.")
@click.option("--out", "out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="A new folder.")
@trust_option
def command(run: str | None, form: str, out: Path) -> None:
    """Write RUN's model (folder, name, config hash or .pt file; default: newest) for another library to open.

    A model card with the run's table goes beside it.
    """
    from twotower.core.errors import UserError
    from twotower.core.files import write_bytes
    from twotower.core.validators import check_choice
    from twotower.export.card import model_card
    from twotower.model.checkpoint import load
    from twotower.runs.find import check_unchanged, resolve_model
    from twotower.runs.run import read_run

    check_choice("--to", form, tuple(FORMS))
    folder, path = resolve_model(run)
    check_unchanged(folder, path, load(path).sha256)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} exists already and is not empty; name a new folder.")
    try:
        module = importlib.import_module(f"twotower.export.{FORMS[form]}")
    except ModuleNotFoundError as error:
        raise UserError(f"--to {form} needs {error.name}, which isn't installed: pip install {form}.") from error
    out.mkdir(parents=True, exist_ok=True)
    module.export(path, out)
    record = read_run(folder).record if folder is not None else {}
    write_bytes(out / "README.md", model_card(record, USAGE[form].replace("DIR", str(out.name))).encode())
    click.echo(f"Exported  {out}")
