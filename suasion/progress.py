"""A progress bar with time left, for anything longer than a few seconds: a bar on a terminal, lines in a log.

Given up: bars within bars. Standard error decides, because DVC hands a stage its own: a terminal or a log.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

EVERY = 15.0
"""Seconds between two lines in a log."""


def progress(items: Iterable[T], *, total: int | None, label: str) -> Iterator[T]:
    """Yield `items`, showing how many of `total` are done and about how long the rest takes; how many, if None knows."""
    return _bar(items, total, label) if sys.stderr.isatty() else _lines(items, total, label)


def _bar(items: Iterable[T], total: int | None, label: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(items, total=total, description=label)


def _lines(items: Iterable[T], total: int | None, label: str) -> Iterator[T]:
    started = shown = 0.0
    for done, item in enumerate(items, start=1):
        if done == 1:  # before it models were loaded, or machines started, which says nothing of the time that is left
            started = shown = time.monotonic()
        yield item
        now = time.monotonic()
        if now - shown >= EVERY and total is None:
            shown = now
            print(f"{label}: {done} in {duration(now - started)}", file=sys.stderr, flush=True)
        elif now - shown >= EVERY and total is not None and done < total:
            shown = now
            left = (now - started) / done * (total - done)
            print(f"{label}: {done}/{total}, about {duration(left)} left", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds as people say them: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
