"""Rows out of open files: CSV, JSON lines, a JSON array, Parquet. A piece that is no row is a `BadRow`, never a stop.

Nothing is read whole: not the file, not a line without an end, not an array. Given up: what comes after a syntax error in a
JSON array or a damaged part of a Parquet file, since nothing says where the next row begins.
"""

import csv
import io
import itertools
import json
from collections.abc import Iterator
from typing import IO, Any

import pyarrow
import pyarrow.parquet

from suasion.errors import SuasionError
from suasion.votes.sources import BadRow

MAX_ROW = 64 * 1024 * 1024
"""Bytes of a line, or characters of an array's element: what is longer is no row."""

_CHUNK = 1024 * 1024
_DELIMITERS = ",;\t"
_STRANGE = "\udcff\n"  # stands for a line that is not read
Row = dict[str, Any]


def rows_of_file(file: IO[bytes], name: str, *, batch: int) -> Iterator[tuple[str, Row | BadRow]]:
    """The rows of `file`, each with `<name>:<number from 1>`; the ending of `name` says the format.

    Raises:
        SuasionError: the file is called Parquet and is none, or is a CSV without a header.
    """
    ending = name.lower()
    if ending.endswith(".parquet"):
        found = _parquet(file, name, batch)
    elif ending.endswith((".csv", ".tsv")):
        found = _csv(file, name)
    else:
        found = _json(file)
    for number, row in enumerate(found, start=1):
        where = f"{name}:{number}"
        yield where, row if isinstance(row, dict) else BadRow(where, "row_unreadable", row)


def _lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """Lines; None for one over `MAX_ROW`, whose rest is skipped."""
    while line := file.readline(MAX_ROW):
        if len(line) < MAX_ROW or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_ROW)
        yield None


def _csv(file: IO[bytes], name: str) -> Iterator[Row | str]:
    # Bytes that are no UTF-8 become surrogates, so that one such row is bad and not the file.
    lines = (_STRANGE if line is None else line.decode("utf-8", "surrogateescape") for line in _lines(file))
    first = next(lines, "").removeprefix("\ufeff")
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter)
    try:
        header = [column.strip() for column in next(reader, [])]
    except csv.Error as error:
        raise SuasionError(f"no header: {error}", where=name, do="name the columns in the first line") from None
    if not header:
        raise SuasionError("the file is empty", where=name, do="name the columns in its first line")
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:  # the reader goes on with the next line
            yield str(error)
            continue
        if fields is None:
            return
        if len(fields) > len(header):
            yield f"{len(fields)} fields, {len(header)} columns; quote a field that holds {delimiter!r}"
        elif any(not _utf8(field) for field in fields):
            yield f"not UTF-8, or a line of over {MAX_ROW} bytes"
        elif fields:
            yield dict(itertools.zip_longest(header, fields))


def _utf8(field: str) -> bool:
    return field.isascii() or not any("\ud800" <= char <= "\udfff" for char in field)


def _json(file: IO[bytes]) -> Iterator[Row | str]:
    """JSON lines, or where the first character is a bracket, the elements of an array."""
    start = file.read(_CHUNK)
    file.seek(0)
    if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
        yield from _array(io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace"))
        return
    for line in _lines(file):
        if line is None:
            yield f"a line of over {MAX_ROW} bytes"
        elif line.strip():
            yield _object(line)


def _object(line: bytes) -> Row | str:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return f"not JSON: {str(error) or 'nested too deep'}"[:200]
    return row if isinstance(row, dict) else f"{type(row).__name__}, not an object"


def _array(file: IO[str]) -> Iterator[Row | str]:
    decoder = json.JSONDecoder()
    buffer, at, size = file.read(_CHUNK), 0, _CHUNK
    at = buffer.index("[") + 1
    while True:
        while at < len(buffer) and buffer[at] in " \t\r\n,":
            at += 1
        if buffer[at : at + 1] == "]":
            return
        try:
            row, end = decoder.raw_decode(buffer, at) if at < len(buffer) else (None, at)
        except RecursionError:
            yield "nested too deep; the rest of the file is not read"
            return
        except json.JSONDecodeError as error:
            row, end, problem = None, len(buffer), f"not JSON: {error.msg}"
        else:
            problem = "the array does not end"
        if end < len(buffer):  # a number that ends with the buffer may go on behind it
            yield row if isinstance(row, dict) else f"{type(row).__name__}, not an object"
            at, size = end, _CHUNK
            continue
        more = file.read(size)
        if not more or len(buffer) - at > MAX_ROW:
            if isinstance(row, dict):
                yield row
            yield f"{problem}; the rest of the file is not read"
            return
        buffer, at, size = buffer[at:] + more, 0, 2 * size


def _parquet(file: IO[bytes], name: str, batch: int) -> Iterator[Row | str]:
    try:
        content = pyarrow.parquet.ParquetFile(file, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise SuasionError(f"not Parquet: {str(error)[:200]}", where=name, do="export or download it again") from None
    try:
        for part in content.iter_batches(batch_size=batch):
            yield from part.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        yield f"damaged: {str(error)[:200]}; the rest of the file is not read"
