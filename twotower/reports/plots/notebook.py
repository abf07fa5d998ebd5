"""The pictures in a notebook: alive without a network, and as images where no script runs (GitHub, a PDF)."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import altair as alt

from twotower.reports.plots.style import library

NAME = "twotower"
RESOLUTION = 1.5
"""Pixels of the image per pixel of the chart."""


def enable() -> Any:
    """Makes notebooks draw the pictures with the library that is installed here; put it last in a cell.

    Returns:
        What loads the library into the notebook's page, once.
    """
    from IPython.display import HTML

    alt.renderers.register(NAME, bundle)
    alt.renderers.enable(NAME)
    note = "<small>Pictures answer to the pointer; nothing is loaded from elsewhere.</small>"
    return HTML(f"<script>{library()}</script>{note}")  # type: ignore[no-untyped-call]


def bundle(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Returns a chart as HTML that the loaded library draws, and as an image for where no script runs.

    Args:
        spec: the Vega-Lite description.
        **_: options of other renderers.
    """
    import vl_convert

    place = f"chart-{uuid.uuid4().hex}"
    inner = json.dumps(spec, ensure_ascii=False, default=str).replace("<", "\\u003c")
    script = f'window.vegaEmbed && vegaEmbed("#{place}", {inner}, {{actions: false, renderer: "svg"}});'
    image = base64.b64encode(vl_convert.vegalite_to_png(spec, scale=RESOLUTION)).decode("ascii")
    return {"text/html": f'<div id="{place}"></div><script>{script}</script>', "image/png": image}
