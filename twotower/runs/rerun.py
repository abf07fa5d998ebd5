"""A recorded run as something to run again, from its folder or from its exported model alone. Imports no torch."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from twotower.config.overrides import composed_keys, relocated, vary
from twotower.config.trust import admit
from twotower.core.errors import UserError
from twotower.core.files import write_text
from twotower.core.nested import at, dotted_keys
from twotower.core.secrets import MASK, mask_override, masked, refuse_literal_secrets
from twotower.runs.run import Run

PROVENANCE = ("config_hash", "data", "vocabulary", "versions", "host", "threads", "precision", "device", "git")
"""What of a record an exported model carries too, so that it can be run again without its folder."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What is known of the run to repeat.

    Attributes:
        source: the run folder, or the .pt file.
        config: full resolved config.
        choices: config group -> choice.
        overrides: what its user typed.
        facts: the keys of `PROVENANCE`; those not recorded are missing.
        evaluation: the `evaluation` part of the record; empty when the run never got there.
        checkpoint: the exported model, None if there is none.
    """

    source: Path
    config: dict[str, Any] = field(repr=False)
    choices: dict[str, Any]
    overrides: list[str]
    facts: dict[str, Any] = field(repr=False)
    evaluation: dict[str, Any] = field(repr=False)
    checkpoint: Path | None

    @property
    def fingerprint(self) -> str | None:
        """The collection's, None where it was not recorded."""
        return (self.facts.get("data") or {}).get("fingerprint")

    @property
    def vocabulary(self) -> str | None:
        """The tokenizer's hash, None where it was not recorded."""
        return (self.facts.get("vocabulary") or {}).get("hash")


def provenance(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of a run's record that its exported model carries."""
    facts = {key: record.get(key) for key in PROVENANCE}
    facts["data"] = {key: (record.get("data") or {}).get(key) for key in ("name", "fingerprint")}
    return facts


def from_run(run: Run, checkpoint: Path | None) -> Recorded:
    """Reads what to repeat from a run's record."""
    record = run.record
    return Recorded(
        source=run.path,
        config=record["config"],
        choices=dict(run.choices),
        overrides=list(record.get("overrides") or []),
        facts={key: record.get(key) for key in PROVENANCE},
        evaluation=record.get("evaluation") or {},
        checkpoint=checkpoint,
    )


def from_export(path: Path, content: Mapping[str, Any], vocabulary_hash: str) -> Recorded:
    """Reads what to repeat from an exported model.

    Args:
        path: the .pt file.
        content: what it holds.
        vocabulary_hash: hash of the tokenizer it holds.

    Raises:
        UserError: when it does not hold the config it was trained with.
    """
    stats = content["training_stats"]
    config = stats.get("config") or {}
    if "resolved" not in config:
        raise UserError(f"{path} holds no full config, so its run can't be repeated from it.")
    known = config.get("provenance") or stats.get("provenance") or {}  # beside the config in earlier exports
    facts = {**known, "vocabulary": {"hash": vocabulary_hash}}
    return Recorded(
        source=path,
        config=config["resolved"],
        choices=dict(config.get("choices") or {}),
        overrides=[],
        facts=facts,
        evaluation=content["eval_results"] or {},
        checkpoint=path,
    )


def new_config(recorded: Recorded, overrides: list[str], run_dir: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns (config, choices) of the new run: the recorded ones with the overrides, in a folder of its own.

    Raises:
        UserError: for a bad override, a password the record only has masked or an override shows in plain text, or a
            recorded part that is neither ours nor trusted nor replaced by an override.
    """
    refuse_literal_secrets({}, overrides)
    composed = composed_keys(overrides)
    admit(recorded.config, source=recorded.source, composed=composed)
    old = (recorded.config.get("paths") or {}).get("run")
    config, choices = vary(recorded.config, recorded.choices, overrides)
    config = _with_environment(config, overrides)
    config = relocated(config, old, str(run_dir))
    config["paths"] = {**(config.get("paths") or {}), "run": str(run_dir)}
    config["ckpt_path"] = None
    if config.get("sweep"):
        config["sweep"] = {**config["sweep"], "name": None}
    admit(config, source=recorded.source, composed=composed, run_dir=run_dir)
    for key in dotted_keys(config):
        value = at(config, key)
        if isinstance(value, str) and MASK in value:
            raise UserError(
                f"{key} was recorded without its secret; give it again, by an environment variable NAME that holds it: "
                f"{key}='${{oc.env:NAME}}'"
            )
    return config, choices


def _with_environment(config: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Fills in `${oc.env:NAME}` where an override says so; what a record brings along reads no variables."""
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        value = at(config, key)
        name = re.fullmatch(r"\$\{oc\.env:(\w+)\}", value) if isinstance(value, str) else None
        if name is None:
            continue
        if name[1] not in os.environ:
            raise UserError(f"{override}: there is no environment variable {name[1]}.")
        *parents, last = key.split(".")
        node: Any = config
        for parent in parents:
            node = node[parent]
        node[last] = os.environ[name[1]]
    return config


def new_folder(root: Path) -> Path:
    """Makes a run folder `<root>/<date>/<time>` of its own, named as `train.py` names them."""
    for _ in range(100):
        now = datetime.now()
        folder = root / now.strftime("%Y-%m-%d") / now.strftime("%H-%M-%S-%f")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"Cannot create {folder}: {error.strerror}. Work in a folder you can write.") from error
        return folder.resolve()
    raise UserError(f"Cannot find a free name for a run folder below {root}.")


def write_start(run_dir: Path, config: Mapping[str, Any], overrides: list[str], argument: str) -> None:
    """Writes `.hydra/` as `train.py` does: the config, the overrides, and here what was run again."""
    folder = run_dir / ".hydra"
    write_text(folder / "config.yaml", yaml.safe_dump(masked(dict(config)), sort_keys=False, allow_unicode=True))
    overrides = [mask_override(item) for item in overrides]
    write_text(folder / "overrides.yaml", yaml.safe_dump(overrides, allow_unicode=True))
    write_text(folder / "rerun.yaml", yaml.safe_dump({"rerun": argument, "overrides": overrides}, allow_unicode=True))


def differing_metrics(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, float | None, float | None]]:
    """Returns (name, old, new) of every metric that two evaluations don't share to the last bit."""
    ours, theirs = _values(new), _values(old)
    names = list(dict.fromkeys([*theirs, *ours]))
    return [(name, theirs.get(name), ours.get(name)) for name in names if not _same(theirs.get(name), ours.get(name))]


def differing_facts(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Returns (name, old, new) of what is known to decide a run's numbers and is not the same in two records.

    Looks at data, vocabulary, package versions, machine, threads, precision, device and commit; what the older record
    lacks is not held against the newer one.
    """
    facts: list[tuple[str, Any, Any]] = []

    def look(name: str, left: Any, right: Any) -> None:
        if left is not None and left != right:
            facts.append((name, left, right))

    look("data", (old.get("data") or {}).get("fingerprint"), (new.get("data") or {}).get("fingerprint"))
    look("vocabulary", (old.get("vocabulary") or {}).get("hash"), (new.get("vocabulary") or {}).get("hash"))
    before, after = old.get("versions") or {}, new.get("versions") or {}
    for name in dict.fromkeys([*before, *after] if before else []):
        look(f"version of {name}", before.get(name, "none"), after.get(name, "none"))
    for key, words in (("platform", "platform"), ("name", "machine"), ("cpus", "number of CPUs")):
        look(words, (old.get("host") or {}).get(key), (new.get("host") or {}).get(key))
    look("threads", old.get("threads"), new.get("threads"))
    look("precision", old.get("precision"), new.get("precision"))
    look("device", old.get("device"), new.get("device"))
    look("commit", _commit(old), _commit(new))
    return facts


def _commit(record: Mapping[str, Any]) -> str | None:
    git = record.get("git") or {}
    return git.get("commit") and git["commit"][:10] + (" with changes" if git.get("dirty") else "")


def _values(evaluation: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{protocol}/{name}": entry["value"]
        for protocol, part in evaluation.items()
        if isinstance(part, Mapping)
        for name, entry in (part.get("metrics") or {}).items()
    }


def _same(left: float | None, right: float | None) -> bool:
    if left is None or right is None:
        return left is right
    return left == right or (math.isnan(left) and math.isnan(right))
