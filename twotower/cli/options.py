"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from twotower.config.compose import searching
from twotower.config.trust import trusting


def _trust(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
    if value:
        context.with_resource(trusting([name for text in value for name in text.split(",")]))


def _search(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
    context.with_resource(searching(value))


def config_dir_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--config-dir DIR`: choices of one's own, as for `train.py`."""
    return click.option(
        "--config-dir",
        metavar="DIR",
        multiple=True,
        expose_value=False,
        callback=_search,
        help="A folder of choices of your own (loss/mine.yaml), or pkg://mypackage.conf.",
    )(command)


def trust_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--trust PACKAGE`: parts of that package may be built although a file names them."""
    return click.option(
        "--trust",
        metavar="PACKAGE",
        multiple=True,
        expose_value=False,
        callback=_trust,
        help="Build parts of this package where the run's files name them (also TWOTOWER_TRUST=PACKAGE).",
    )(command)
