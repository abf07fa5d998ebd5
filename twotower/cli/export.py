"""`twotower export`: a trained model in a form that other libraries open."""

from __future__ import annotations

from pathlib import Path

import click

from twotower.cli.completion import complete_runs
from twotower.cli.options import trust_option

FORMS = "sentence-transformers, onnx, safetensors"


@click.command(name="export")
@click.argument("run", metavar="[RUN]", required=False, shell_complete=complete_runs)
@click.option("--to", "to", metavar="FORM", required=True, help=f"One of: {FORMS}, hub.")
@click.option("--out", "out", metavar="DIR", type=click.Path(path_type=Path), help="A new folder; hub needs none.")
@click.option("--repo", metavar="OWNER/NAME", help="hub: the repository, made if it isn't there.")
@click.option("--form", default="sentence-transformers", show_default=True, help=f"hub: what is uploaded: {FORMS}.")
@click.option("--private", is_flag=True, help="hub: a new repository is private.")
@trust_option
def command(run: str | None, to: str, out: Path | None, repo: str | None, form: str, private: bool) -> None:
    """Write RUN's model (folder, name, config hash or .pt file; default: newest) for another library to open.

    A model card with the run's table goes beside it. `--to hub` uploads both with the token of `hf auth login`.
    """
    from twotower.formats.write import export

    click.echo(f"Exported  {export(run, to=to, out=out, repo=repo, form=form, private=private)}")
