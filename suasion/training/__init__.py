"""Cold start, GRPO and the SFT baseline. `GroupedGRPOTrainer` is for anyone's GRPO with images."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suasion.training.grouped import GroupedGRPOTrainer

__all__ = ["GroupedGRPOTrainer"]


def __getattr__(name: str) -> Any:
    """`suasion.training.GroupedGRPOTrainer` without loading TRL for everybody who imports a neighbour of it."""
    if name == "GroupedGRPOTrainer":
        from suasion.training.grouped import GroupedGRPOTrainer

        return GroupedGRPOTrainer
    raise AttributeError(f"module 'suasion.training' has no attribute {name!r}")
