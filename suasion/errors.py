"""The one exception for what a user can mend, and how the command line shows it."""

import functools
import sys
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec

P = ParamSpec("P")


class SuasionError(Exception):
    """A mistake that the user can mend.

    `what` is wrong (with the value), `where` it is (file, key, row), and what to `do` about it.
    """

    def __init__(self, what: str, *, where: str, do: str) -> None:
        super().__init__(what, where, do)
        self.what, self.where, self.do = what, where, do

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors come back from other processes."""
        return functools.partial(type(self), where=self.where, do=self.do), (self.what,)

    def __str__(self) -> str:
        return f"{self.what}\n  where: {self.where}\n  do:    {self.do}"


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
