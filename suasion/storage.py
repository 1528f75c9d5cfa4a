"""Placeholder until the storage module lands: local paths alone. Replace it whole."""

from pathlib import Path


def is_remote(place: str | Path) -> bool:
    return "://" in str(place)


def join(place: str | Path, *names: str) -> str:
    return "/".join([str(place).rstrip("/"), *names])


def read(place: str | Path, start: int = 0, end: int | None = None) -> bytes:
    return Path(place).read_bytes()[start:end]


def size(place: str | Path) -> int | None:
    return Path(place).stat().st_size if Path(place).exists() else None


def fetch(place: str | Path, target: Path, *, size: int) -> None:
    raise NotImplementedError


def put(content: bytes | Path, place: str | Path, *, new: bool) -> None:
    raise NotImplementedError
