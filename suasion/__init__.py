"""Suasion: from human votes on image pairs to a released vision-language reasoner."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suasion.judge import Judge, Judgement

__version__ = "0.1.0"
__all__ = ["Judge", "Judgement", "__version__"]


def __getattr__(name: str) -> Any:
    """`suasion.Judge` without loading torch for everybody who imports `suasion`."""
    if name in ("Judge", "Judgement"):
        from suasion import judge

        return getattr(judge, name)
    raise AttributeError(f"module 'suasion' has no attribute {name!r}")
