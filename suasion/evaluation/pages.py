"""From templates to one page that stands alone: styles, script, plots and pictures inline, and nothing is loaded from anywhere.

Text from data is escaped by the template engine. A browser runs our script and no other: the page says its hash.
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

Estimate = dict[str, Any]


class Page(NamedTuple):
    """One page of the report: `name` is its address (`#name`), `title` what the navigation calls it, `body` its HTML."""

    name: str
    title: str
    body: Markup


def render(template: str, **values: Any) -> Markup:
    """The HTML of `template` (in `templates/`); a value that is not given is an error, not an empty string."""
    return Markup(_environment().get_template(template).render(**values))


def document(title: str, pages: Sequence[Page]) -> str:
    """The whole file: `pages` one after the other, of which the script shows one at a time."""
    environment = _environment()
    script = environment.get_template("report.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = environment.get_template("base.html.jinja")
    return html.render(title=title, pages=pages, script=Markup(script), script_hash=Markup(digest))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("suasion.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "share": share, "shown": shown, "span": span, "signed": signed}
    environment.filters["chance"] = chance
    return environment


def number(value: int) -> str:
    """`1,234,567`."""
    return f"{value:,}"


def share(value: float | None) -> str:
    """A share in percent, `63.1%`; what is not nothing is not shown as nothing. A dash where it is not known."""
    if value is None:
        return "–"
    return "<0.1%" if 0 < value < 0.0005 else f"{value:.1%}"


def shown(value: float, form: str = "percent") -> str:
    """A number as its table has it: `63.1` (of 0.631) as `percent`, `0.631` as `decimal`, `63.1` (of 63.1) as `plain`."""
    return {"percent": f"{100 * value:.1f}", "decimal": f"{value:.3f}", "plain": f"{value:.1f}"}[form]


def span(estimate: Estimate, form: str = "percent") -> str:
    """The interval of an estimate: `60.2 to 66.0`."""
    return f"{shown(estimate['low'], form)} to {shown(estimate['high'], form)}"


def points(estimate: Estimate, of: str = "") -> str:
    """A difference with its interval: `+5.2 points of accuracy (95% interval +1.0 to +9.4)`."""
    value, low, high = (signed(estimate[key]) for key in ("value", "low", "high"))
    return f"{value} points{of and f' of {of}'} (95% interval {low} to {high})"


def signed(value: float) -> str:
    """A difference in points: `+5.2`, with a minus sign where it is negative."""
    return f"{100 * value:+.1f}".replace("-", "−")


def chance(p: float | None) -> str:
    """A probability of chance: `0.012`, `<0.001`; a dash where it is not known."""
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
