"""Muon for the weight matrices of the layers, AdamW for everything else, as one optimizer that a `Trainer` takes.

Muon (Jordan et al. 2024) orthogonalises the momentum of a matrix. The tiny model, which starts from nothing, learns to
see with it in less than half the steps that AdamW takes. Its step is scaled to the root mean square of AdamW's (Liu et al.,
arXiv 2502.16982, section 2.2), so both share one learning rate. Given up: Muon for embeddings and convolutions, which
are no maps between hidden states, and for adapters, whose matrices are a product.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class MuonWithAdamW(torch.optim.Optimizer):
    """Two optimizers over the parameters of `model` that want gradients; their groups are those of this one."""

    def __init__(self, model: nn.Module, *, lr: float, weight_decay: float) -> None:
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                hidden = parameter.dim() == 2 and "embed" not in name and "lm_head" not in name
                (matrices if hidden else others).append(parameter)
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        super().__init__([*matrices, *others], {"lr": lr})
        self._share_groups()

    def _share_groups(self) -> None:
        # A schedule sets the learning rate in the groups that it finds here.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both; `closure`, where given, is evaluated first, with gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # type: ignore[override]
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()
