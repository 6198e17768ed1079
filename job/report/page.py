"""Render the templates of the report.

Values of a run folder are escaped by Jinja2 and stripped of control characters here. The page's own
policy also forbids scripts and requests.
"""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from job.report import charts

MAX_TEXT = 4000
AXES = ("WIDTH", "HEIGHT", "LEFT", "RIGHT", "TOP", "BOTTOM")


def render(template: str, **values: Any) -> bytes:
    """Return a template of ``job/report/templates`` with ``values``, as UTF-8."""
    return _environment().get_template(template).render(**values).encode(errors="replace")


def clean(value: object, max_length: int = MAX_TEXT) -> str:
    """Return ``value`` as text of bounded length, with its control characters replaced."""
    text = str(value)
    text = text if len(text) <= max_length else f"{text[:max_length]} ..."
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("job.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Markup is what a template or the program made; it is whole and already escaped.
        finalize=lambda value: value if isinstance(value, Markup) else clean(value),
    )
    environment.globals |= {name: getattr(charts, name) for name in AXES}
    return environment
