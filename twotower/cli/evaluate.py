"""`twotower evaluate`: a finished run measured again, on its own data or on any folder in BEIR layout."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from twotower.cli.completion import complete_runs
from twotower.cli.options import trust_option
from twotower.config.compose import compose
from twotower.config.trust import UntrustedError, admit
from twotower.core.errors import UserError
from twotower.core.extras import is_extra
from twotower.core.extras import missing as missing_package
from twotower.core.validators import check_count
from twotower.data.beir import load
from twotower.data.source import read_collection
from twotower.runs.find import check_unchanged, resolve_model
from twotower.runs.run import read_run

SHOWN = ("ndcg_at_10", "mrr_at_10", "recall_at_10", "recall_at_100", "map_at_100")

if TYPE_CHECKING:
    from twotower.data.collection import Collection
    from twotower.evaluation.results import Evaluation
    from twotower.model.checkpoint import Checkpoint


@click.command(name="evaluate")
@click.option(
    "--run",
    "run",
    metavar="RUN",
    shell_complete=complete_runs,
    help="Run folder, name, config hash or .pt file (default: newest finished).",
)
@click.option("--data", "data", metavar="DIR", type=click.Path(path_type=Path), help="A folder in BEIR layout.")
@click.option("--missing", default="error", show_default=True, help="Judgements of absent documents: error or skip.")
@click.option("--split", metavar="NAME", help="Split whose judgements count (default: the run's evaluation split).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--trec-run", metavar="FILE", type=click.Path(path_type=Path), help="Write the ranking as a TREC run file."
)
@click.option("--mteb", "task", metavar="TASK", help="MTEB's own figures: a retrieval task of MTEB, or a folder.")
@click.option("--ray", "ray", metavar="ADDRESS", help="Encode and rank on a Ray cluster: auto, HOST:PORT, or local.")
@click.option("--devices", type=int, help="With --ray: tasks that share the shards (default: 1).")
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="With --ray: where shards and indexes go.")
@click.option(
    "--vectors", metavar="DIR", type=click.Path(path_type=Path), help="With --ray: shards of twotower encode."
)
@click.option("--shard-rows", type=int, help="With --ray: documents of a shard (default: a 16th, 65,536 at most).")
@click.option("--index", "index", metavar="NAME", help="With --ray: the shards' choice of conf/index (default: exact).")
@trust_option
def command(
    run: str | None,
    data: Path | None,
    missing: str,
    split: str | None,
    as_json: bool,
    trec_run: Path | None,
    task: str | None,
    ray: str | None,
    **cluster: Any,
) -> None:
    """Evaluate a trained model: every metric with its interval, beside chance, BM25 and the untrained model.

    Without --data it is measured on the data of its own run. With --mteb the package mteb measures it its own way. With
    --ray a cluster encodes the documents in shards and ranks them; started again, it uses what is finished under --out.
    """
    _check_together(ray, cluster)
    if task is not None:
        if data is not None or trec_run is not None or missing != "error" or ray is not None:
            others = "--data, --missing, --trec-run and --ray"
            raise UserError(f"--mteb reads its task and ranks by itself: leave {others} out.")
        _by_mteb(run, task, split, as_json=as_json)
        return

    folder, path = resolve_model(run)
    from twotower.model.checkpoint import load

    checkpoint = load(path)
    check_unchanged(folder, path, checkpoint.sha256)
    collection = _collection(checkpoint, data, missing)
    chosen = _split(checkpoint, collection, split)
    untrained = _untrained(folder, collection, chosen)
    evaluation, ranked = _evaluate(checkpoint, collection, chosen, untrained, ray, cluster)
    if trec_run is not None:
        _write_run(trec_run, evaluation, tag=_run_name(folder) or path.stem)
    if as_json:
        content = {
            "checkpoint": str(path),
            "sha256": checkpoint.sha256,
            "data": {"name": collection.name, "fingerprint": collection.fingerprint},
            "evaluation": evaluation.to_dict(),
            **({} if ranked is None else {"ranked_on_ray": ranked}),
        }
        print(json.dumps(content, indent=2, ensure_ascii=False))
        return
    _show(evaluation, path, trec_run)
    if ranked is not None:
        rounded = ", rounded to float16: so are the figures" if ranked["dtype"] == "float16" else ""
        print(f"On Ray    {ranked['index']} over {ranked['shards']} shards of {ranked['vectors']}{rounded}")


def _check_together(ray: str | None, cluster: dict[str, Any]) -> None:
    """Refuses options of --ray without it, and those that have no part beside another."""
    given = [f"--{name.replace('_', '-')}" for name, value in cluster.items() if value is not None]
    if ray is None and given:
        raise UserError(f"{given[0]} is for an evaluation on a cluster: give --ray ADDRESS too, or leave it out.")
    if ray is not None and cluster["out"] is None:
        raise UserError("--ray needs --out DIR, a folder that all machines see: shards and indexes are kept there.")
    if cluster["vectors"] is not None and cluster["shard_rows"] is not None:
        raise UserError("--vectors are in shards already: leave --shard-rows out.")
    for name in ("devices", "shard_rows"):
        if cluster[name] is not None:
            check_count(f"--{name.replace('_', '-')}", cluster[name])


def _evaluate(
    checkpoint: Checkpoint,
    collection: Collection,
    split: str,
    untrained: dict[str, dict[str, float]] | None,
    ray: str | None,
    cluster: dict[str, Any],
) -> tuple[Evaluation, dict[str, Any] | None]:
    """Evaluates here or on a cluster, and says of the latter how it ranked."""
    if ray is None:
        from twotower.evaluation.trained import evaluate_checkpoint

        return evaluate_checkpoint(checkpoint, collection, split, untrained=untrained), None
    from twotower.index.evaluate_ray import OnRay, evaluate_on_ray

    where = OnRay(
        address=ray,
        out=cluster["out"],
        index_config=compose([cluster["index"] or "exact"]),
        tasks=cluster["devices"] or 1,
        vectors=cluster["vectors"],
        shard_rows=cluster["shard_rows"],
    )
    return evaluate_on_ray(checkpoint, collection, split, where, untrained=untrained)


def _by_mteb(run: str | None, task: str, split: str | None, *, as_json: bool) -> None:
    with redirect_stdout(sys.stderr):  # what mteb and its packages print is no part of the figures
        try:
            from twotower.integrations.mteb import evaluate
        except ModuleNotFoundError as error:
            if not is_extra(error.name):
                raise
            raise missing_package("--mteb", str(error.name)) from error
        figures = evaluate(run, task, split)
    if as_json:
        print(json.dumps(figures, indent=2))
        return
    print(f"MTEB      {figures['task']}, model {figures['model']} ({figures['revision'][:12]})")
    for part, scores in figures["scores"].items():
        print(f"  {part:<7} " + "  ".join(f"{name} {scores[name]:.4f}" for name in SHOWN if name in scores))


def _collection(checkpoint: Checkpoint, data: Path | None, missing: str = "error") -> Collection:
    if data is not None:
        return load(path=data, missing=missing)

    try:
        source = checkpoint.data.source or {}
        admit(source, source=checkpoint.path, place="data.source")
        return read_collection(source)
    except UntrustedError:
        raise
    except UserError as error:
        raise UserError(f"The run's own data can't be read: {error} Give --data DIR to evaluate on another.") from error


def _split(checkpoint: Checkpoint, collection: Collection, split: str | None) -> str:
    usual = checkpoint.data.eval_split
    if split is not None:
        return split
    if usual not in collection.judgements and len(collection.judgements) == 1:
        return next(iter(collection.judgements))
    return usual


def _untrained(folder: Path | None, collection: Collection, split: str) -> dict[str, dict[str, float]] | None:
    """The untrained model's figures, where the run's record holds them for the same data and split."""
    if folder is None:
        return None

    record: dict[str, Any] = read_run(folder).record  # empty if the record can't be read; the model still can
    evaluation = record.get("evaluation") or {}
    if (record.get("data") or {}).get("fingerprint") != collection.fingerprint or evaluation.get("split") != split:
        return None
    parts = {name: part for name, part in evaluation.items() if isinstance(part, dict)}
    return {
        name: {metric: figures.get("untrained") for metric, figures in part.get("metrics", {}).items()}
        for name, part in parts.items()
    }


def _run_name(folder: Path | None) -> str:
    """Returns the name in a run's record; "" for a model without its run."""
    if folder is None or not (folder / "run.json").is_file():
        return ""
    return str(read_run(folder).record.get("run_name") or "")


def _write_run(path: Path, evaluation: Evaluation, tag: str) -> None:
    from twotower.evaluation.trec import write_run

    part = next(iter(evaluation))
    collection = evaluation.collection
    query_ids = [collection.query_ids[row] for row in part.query_rows]
    write_run(path, part.ranking, query_ids, collection.document_ids, tag=tag)


def _show(evaluation: Evaluation, path: Path, trec_run: Path | None) -> None:
    from twotower.evaluation.report import evaluation_tables

    console = Console()
    for table in evaluation_tables(evaluation):
        console.print(table)
    console.print(f"Model     [bold]{path}[/]", soft_wrap=True)
    if trec_run is not None:
        console.print(f"TREC run  [bold]{trec_run}[/] ({next(iter(evaluation)).protocol})", soft_wrap=True)
