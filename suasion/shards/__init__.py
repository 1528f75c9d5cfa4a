"""WebDataset shards: written once, read by checks. `ShardDataset` and `Sample` are what users need."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suasion.shards.dataset import ShardDataset
    from suasion.shards.sample import Sample

__all__ = ["Sample", "ShardDataset"]


def __getattr__(name: str) -> Any:
    """Writing shards need not wait for torch, nor for Pillow."""
    if name == "ShardDataset":
        from suasion.shards.dataset import ShardDataset

        return ShardDataset
    if name == "Sample":
        from suasion.shards.sample import Sample

        return Sample
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
