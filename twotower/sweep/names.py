"""What a sweep and its jobs are called, from the command line alone, so that every process agrees without asking.

Imports no torch and no Hydra.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence

from twotower.config.names import NOT_IN_HASH
from twotower.core.cache import content_key
from twotower.core.errors import UserError
from twotower.core.file_name import check_folder_name

ABOUT_THE_SWEEP = ("hydra", *NOT_IN_HASH)
"""First parts of keys that say where and how a job is run or watched, not what it computes: none of them is swept."""

MULTIRUN = {"-m", "--multirun"}
"""Hydra's flags for a sweep."""

LONGEST = 120
"""Characters a job folder's name may have; file systems allow 255 bytes."""


def key_of(override: str) -> str:
    """Returns the key of an override without its `+`, `++` or `~` (`++optimizer.lr=.1` -> `optimizer.lr`)."""
    return override.partition("=")[0].lstrip("+~")


def job_folder(overrides: Iterable[str]) -> str:
    """Returns a folder name for one job of a sweep, from its overrides without the seed.

    Those that are the same for all jobs (`sweep.fixed`, see `sweep_arguments`) are in the sweep's name already.
    Characters a path can't hold are replaced; a name that was changed or cut ends in a hash of the whole, so two
    different jobs never share a folder.
    """
    overrides = list(overrides)
    fixed = next((item.partition("=")[2] for item in overrides if key_of(item) == "sweep.fixed"), "[]")
    left_out = {"seed", *fixed.strip("[]").split(",")}
    kept = sorted(item for item in overrides if key_of(item) not in left_out and not _about_the_sweep(item))
    clean = ",".join(kept)
    name = re.sub(r"[^\w=.,+\-\[\]]+", "_", clean, flags=re.ASCII).lstrip(".")
    if name != clean or len(name) > LONGEST:
        name = f"{name[: LONGEST - 10]}-{content_key(clean)[:8]}"
    return name or "defaults"


def sweep_name(arguments: Iterable[str]) -> str:
    """Returns a sweep's name made from its command line, the same whenever the same sweep is started again.

    It names the swept keys and ends in a hash of all overrides except those about seeds and the sweep itself: more
    seeds later join the same sweep. The sweeper counts, as it decides which jobs there are.
    """
    overrides = sorted(item for item in arguments if "=" in item and not item.startswith("-") and _names_it(item))
    swept = [key_of(item).replace("/", "-") for item in overrides if is_swept(item) and not _about_the_sweep(item)]
    return f"{'-'.join(swept)[:60] or 'sweep'}-{content_key(overrides)[:6]}"


def is_swept(override: str) -> bool:
    """Says whether an override lists several values (`a,b`) or spans some (`range(...)`, `interval(...)`, ...)."""
    value = override.partition("=")[2]
    bare = re.sub(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\{[^}]*\}", "", value)
    return "," in bare or re.match(r"(range|choice|interval|glob|shuffle|sort|tag|extend_list)\(", bare) is not None


def is_multirun(arguments: Sequence[str]) -> bool:
    """Says whether a command line asks for a sweep."""
    return bool(MULTIRUN & set(arguments)) or "hydra.mode=MULTIRUN" in arguments


def sweep_arguments(arguments: Sequence[str]) -> list[str]:
    """Returns what to add to a sweep's command line before Hydra reads it.

    The sweep's name and session, so that every job in every process knows them; for a sweep named by us, which keys are
    the same for all jobs, so that folders are named by the others; the seeds that `sweep.seeds` stands for; and that
    Hydra leaves `.hydra` to us, which it would write anew, and not atomically, into finished runs.

    Raises:
        UserError: for `sweep.` settings without `-m`, or seeds that contradict each other.
    """
    values = {key_of(item): item.partition("=")[2] for item in arguments if "=" in item}
    if not is_multirun(arguments):
        for key in sorted(key for key in values if key.startswith("sweep.")):
            if values.get(key, "null") not in ("null", "false"):
                raise UserError(f"{key}={values[key]} is about a sweep: add -m to the command line.")
        return []
    _refuse_swept(arguments)
    if values.get("sweep.name", "null") != "null" and "${" not in values["sweep.name"]:
        check_folder_name("sweep.name", values["sweep.name"].strip("'\""))
    if "optuna" in values.get("hydra/sweeper", ""):
        _refuse_repeated(arguments)
    added = []
    if values.get("sweep.name", "null") == "null":
        added = [f"sweep.name={sweep_name(arguments)}", f"sweep.fixed=[{','.join(_fixed(arguments))}]"]
    if values.get("sweep.seeds", "null") != "null":
        added.append(f"seed={_seeds(values)}")
    return [*added, f"sweep.session=s{secrets.token_hex(4)}", "hydra.output_subdir=null"]


def with_added(arguments: Sequence[str]) -> list[str]:
    """Returns a command line with `sweep_arguments` put in, wherever the user wrote `-m`.

    Hydra takes overrides in one piece only, so the flag goes to the front and what is added joins the other overrides.
    """
    added = sweep_arguments(arguments)
    flags = [item for item in arguments if item in MULTIRUN]
    rest = [item for item in arguments if item not in MULTIRUN]
    places = [place for place, item in enumerate(rest) if "=" in item and not item.startswith("-")]
    end = places[-1] + 1 if places else len(rest)
    return [*flags[:1], *rest[:end], *added, *rest[end:]]


def _fixed(arguments: Sequence[str]) -> list[str]:
    """Returns the keys that have one plain value on the command line."""
    overrides = [item for item in arguments if "=" in item and not item.startswith("-") and not _about_the_sweep(item)]
    varied = {key_of(item) for item in overrides if is_swept(item) or "(" in item} | {"seed"}
    return sorted({key for item in overrides if re.fullmatch(r"[\w./]+", key := key_of(item))} - varied)


def _refuse_swept(arguments: Sequence[str]) -> None:
    """Refuses several values for what changes no result: the jobs would be one job, and only the first would run."""
    for item in arguments:
        if "=" in item and not item.startswith("-") and is_swept(item) and _about_the_sweep(item):
            if key_of(item).startswith("hydra.sweeper"):
                continue  # Hydra's own lists, such as hydra.sweeper.params: looked at once the jobs are known
            raise UserError(
                f"{item} lists several values, but {key_of(item)} changes nothing that a job computes, so the jobs "
                f"would be the same; give one value (a list of one: [{item.partition('=')[2]}])."
            )


def job_key(overrides: Sequence[str]) -> tuple[str, str]:
    """Returns what tells one job of a sweep from another: the name of its folder, and its seed."""
    seeds = [item.partition("=")[2] for item in overrides if key_of(item) == "seed"]
    return job_folder(overrides), seeds[-1] if seeds else ""


def refuse_twins(jobs: Iterable[Sequence[str]]) -> int:
    """Returns how many different jobs there are.

    Raises:
        UserError: for two jobs of different overrides that would share a folder, naming the overrides.
    """
    known: dict[tuple[str, str], Sequence[str]] = {}
    for overrides in jobs:
        first = known.setdefault(job_key(overrides), overrides)
        if differ := sorted(set(first) ^ set(overrides)):
            raise UserError(
                f"Two jobs of this sweep differ only in {', '.join(differ)}, which changes nothing that a job "
                "computes; give that key one value."
            )
    return len(known)


def _refuse_repeated(arguments: Sequence[str]) -> None:
    """Optuna lets one of two values for a key count without a word, a plain one before a span to search."""
    typed = [item for item in arguments if "=" in item and not item.startswith(("-", "~"))]
    keys = [
        key for item in typed if not (key := key_of(item)).startswith(("hydra.", "hydra/"))
    ]  # those Hydra takes, not Optuna
    for key in dict.fromkeys(keys):
        if keys.count(key) > 1:
            given = " and ".join(item for item in typed if key_of(item) == key)
            raise UserError(f"{key} is given twice ({given}): with Optuna only one of them counts; leave one.")


def _seeds(values: dict[str, str]) -> str:
    count = values["sweep.seeds"]
    if not count.isascii() or not count.isdigit() or int(count) < 1:
        raise UserError(f"sweep.seeds={count} must be a whole number from 1 on: how many seeds every point gets.")
    if "seed" in values:
        raise UserError(f"sweep.seeds={count} and seed={values['seed']} contradict each other: give one of them.")
    if "optuna" in values.get("hydra/sweeper", ""):
        raise UserError(f"sweep.seeds={count} repeats the points of a grid; Optuna would search among the seeds.")
    return ",".join(str(seed) for seed in range(int(count)))


def _about_the_sweep(override: str) -> bool:
    key, _, value = override.lstrip("+~").partition("=")
    if key == "ckpt_path":  # where a job starts from; these two only say that it goes on
        return value in ("last", "null")
    return re.split(r"[./]", key)[0] in ABOUT_THE_SWEEP


def _names_it(override: str) -> bool:
    key = key_of(override)
    return key != "seed" and (
        key.startswith(("hydra/sweeper", "hydra.sweeper.params")) or not _about_the_sweep(override)
    )
