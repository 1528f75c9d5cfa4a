"""From a template to a page that stands alone: styles inline, no scripts, text from data escaped by the template engine."""

from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """The HTML of `template` (in `templates/`); a value that is not given is an error, not an empty string."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("suasion.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "share": share}
    return environment.get_template(template).render(**values)


def number(value: int) -> str:
    """`1,234,567`."""
    return f"{value:,}"


def share(value: float | None) -> str:
    """A share in percent, `63.1%`; what is not nothing is not shown as nothing. A dash where it is not known."""
    if value is None:
        return "–"
    return "<0.1%" if 0 < value < 0.0005 else f"{value:.1%}"
