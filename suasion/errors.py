"""The one exception for what a user can mend, and how the command line shows it."""

import functools
import sys
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypedDict, Unpack

P = ParamSpec("P")


class _Said(TypedDict):
    where: str
    do: str


class SuasionError(Exception):
    """A mistake that the user can mend.

    `what` is wrong (with the value), `where` it is (file, key, row), and what to `do` about it.
    """

    def __init__(self, what: str, **said: Unpack[_Said]) -> None:
        where, do = said.get("where"), said.get("do")
        if where is None or do is None:
            what, where, do = _of_worker(what)
        super().__init__(what, where, do)
        self.what, self.where, self.do = what, where, do

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors come back from other processes."""
        return functools.partial(type(self), where=self.where, do=self.do), (self.what,)

    def __str__(self) -> str:
        return f"{self.what}\n  where: {self.where}\n  do:    {self.do}"


def _of_worker(text: str) -> tuple[str, str, str]:
    """What, where and do of the error at whose end a traceback is.

    Torch hands on an error of a `DataLoader` worker as its class, called with the text of its traceback and nothing else.
    """
    said = text.rpartition(f"{SuasionError.__module__}.{SuasionError.__qualname__}: ")[2].rstrip("\n")
    rest, _, do = said.rpartition("\n  do:    ")
    what, _, where = rest.rpartition("\n  where: ")
    return (what, where, do) if what else (text, "another process", "read what it says above")


def fail(error: SuasionError) -> NoReturn:
    """Print `error` on standard error and leave with exit code 1, without a traceback."""
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(1)


def cli_errors(function: Callable[P, None]) -> Callable[P, None]:
    """Decorator for command line entry points: a `SuasionError` becomes its message; everything else stays a bug."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except SuasionError as error:
            fail(error)

    return wrapped
