"""What is wrong with a parameter file, said so that the user can mend it, and without repeating a secret.

What is in `params.yaml` reaches dvc.lock and git, and what is said of it reaches logs. So a URL with credentials is refused
before anything else, and of keys that are not ours the value is said only where it can hardly be one. Given up: secrets under
harmless names; nobody can tell them from a mistake in spelling.
"""

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from suasion.errors import SuasionError
from suasion.storage import refuse_secrets

_SECRET = re.compile("secret|passw|token|credential|access_?key|key_?id|api_?key|^key$", re.IGNORECASE)
_KINDS = ("world", "table", "public")
"""Of sources: stands behind a place in their list where pydantic says where it is, and is no key of the file."""


def syntax(error: Exception) -> str:
    """Where a file is no YAML, without the line itself."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return type(error).__name__
    problem = re.sub("""(['"]).{3,}\\1""", "...", str(getattr(error, "problem", "")))
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def refuse_credentials(value: Any, path: Path, key: str = "") -> None:
    """See that no URL in `value`, the content of the file `path` below `key`, holds credentials.

    Raises:
        SuasionError: one does; the message has its key alone.
    """
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            refuse_credentials(inner, path, f"{key}.{name}".removeprefix("."))
    elif isinstance(value, str):
        try:
            refuse_secrets(value)
        except SuasionError as error:
            raise SuasionError(f"{key} is {error.what}", where=f"{path}: {key}", do=error.do) from None


def explain(error: ValidationError, path: Path) -> SuasionError:
    """The first of the mistakes that pydantic found in the file `path`: its key, its value, and what is allowed."""
    first: Any = error.errors()[0]
    where = first["loc"]
    key = ".".join(
        str(part) for at, part in enumerate(where) if not (part in _KINDS and isinstance(where[at - 1], int))
    )
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        if _SECRET.search(str(where[-1])):
            return SuasionError(
                f"unknown key {key}, which looks like credentials{more}",
                where=f"{path}: {key}",
                do="remove it: they come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or ~/.aws alone",
            )
        return SuasionError(
            f"unknown key {key} = {_shown(first['input'])}{more}",
            where=f"{path}: {key}",
            do="remove it, or mend its spelling",
        )
    if first["type"] == "missing":
        return SuasionError(
            f"key {key} is missing{more}", where=f"{path}: {key}", do="add it; profiles/ has whole examples"
        )
    return SuasionError(
        f"{key} = {_shown(first['input'])} is not allowed: {first['msg'].removeprefix('Value error, ')}{more}",
        where=f"{path}: {key}",
        do="mend the value",
    )


def _shown(value: Any) -> str:
    """A value as it is said; of what holds others nobody knows what they are."""
    if isinstance(value, dict | list) and value:
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)}"
    return repr(value)
