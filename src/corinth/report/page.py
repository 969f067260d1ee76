"""From values to one HTML file: templates with autoescape, JSON safe inside <script>, plotly.js inlined once."""

import importlib.resources
import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from corinth.files import write_text
from corinth.report import formats

NO_PLOTLY = "The charts of report.html need plotly, which is not installed: pip install 'corinth[report]'"
# what would end the script element, start a comment in it, or end a JavaScript line
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def render(template: str, context: Mapping[str, Any], figures: Mapping[str, Any]) -> tuple[str, str | None]:
    """The page, and a sentence if its charts had to be left out.

    `figures` maps an element's id to {"choices": [{"label", "data", "layout"}, ...]} in plotly's terms, with colours
    as tokens that follow the theme (see figures.py). Every string in `context` is escaped by the template.
    """
    script = plotly_script()
    note = None if script else NO_PLOTLY
    text = (
        _environment()
        .get_template(template)
        .render(
            **context,
            figures=figures,
            figures_json=script_json(figures),
            style=_asset("style.css"),
            page_script=_asset("page.js"),
            plotly_script=Markup(script or ""),
            note=note,
        )
    )
    return text, note


def write(path: Path, template: str, context: Mapping[str, Any], figures: Mapping[str, Any]) -> str | None:
    """Render into `path`; returns a sentence if the charts had to be left out."""
    text, note = render(template, context, figures)
    write_text(path, text)
    return note


def script_json(value: Any) -> Markup:
    """JSON that can stand inside a <script> element whatever strings it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escaped in _UNSAFE.items():
        text = text.replace(character, escaped)
    return Markup(text)


def plotly_script() -> str | None:
    """plotly.js as plotly's Python package ships it; None where that is not installed."""
    found = importlib.util.find_spec("plotly")
    if found is None or found.origin is None:
        return None
    # read from the package's data: importing plotly for the same text takes a second
    return (Path(found.origin).parent / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def _asset(name: str) -> Markup:
    """A file of ours, not of the user's: it goes in as it is."""
    return Markup((importlib.resources.files("corinth.report") / "templates" / name).read_text(encoding="utf-8"))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("corinth.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": formats.percent,
        "p_value": formats.p_value,
        "quantity": formats.quantity,
        "duration": formats.duration,
        "milliseconds": formats.milliseconds,
        "memory": formats.memory,
        "input_size": formats.input_size,
    }
    tell: Any = (formats.score_text, formats.bare_score, formats.difference_text)
    environment.globals.update({function.__name__: function for function in tell})
    return environment
