"""Muon and AdamW as one optimizer: who gets which parameter, what a schedule reaches, and what a checkpoint brings back."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from suasion.training.muon import MuonWithAdamW


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 2))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(16, 6, generator=generator)
    loss = ((model(x) - x[:, :2].sin()) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss)


def test_every_parameter_is_in_one_group_and_only_hidden_matrices_are_muons(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model(0)
    optimizer = MuonWithAdamW(model, lr=1e-3, weight_decay=0.01)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    muon, adamw = ([names[id(p)] for p in group["params"]] for group in optimizer.param_groups)
    assert sorted([*muon, *adamw]) == sorted(names.values())
    assert any("q_proj" in name for name in muon)
    assert not any("embed" in name for name in muon)
    assert any("embed_tokens" in name for name in adamw)
    assert any("patch_embed" in name for name in adamw), "a convolution has more than two dimensions"


def test_frozen_parameters_stay(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model(0)
    model.model.visual.requires_grad_(False)
    held = {id(p) for group in MuonWithAdamW(model, lr=1e-3, weight_decay=0.0).param_groups for p in group["params"]}
    assert not any(id(weight) in held for weight in model.model.visual.parameters())


def test_a_schedule_reaches_both_and_the_loss_falls() -> None:
    model = small()
    optimizer = MuonWithAdamW(model, lr=0.02, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: 1.0 if at < 60 else 0.0)
    first = step(model, optimizer, 0)
    for seed in range(1, 61):
        last = step(model, optimizer, seed)
        schedule.step()
    assert last < first / 2
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.0]
    before = [weight.clone() for weight in model.parameters()]
    step(model, optimizer, 99)
    assert all(torch.equal(weight, other) for weight, other in zip(before, model.parameters(), strict=True))


def test_a_restored_optimizer_goes_on_bitwise() -> None:
    whole, resumed = small(), small()
    optimizer = MuonWithAdamW(whole, lr=0.02, weight_decay=0.01)
    for seed in range(5):
        step(whole, optimizer, seed)
    resumed.load_state_dict(whole.state_dict())
    other = MuonWithAdamW(resumed, lr=0.5, weight_decay=0.01)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # torch shares tensors that it loads
    for seed in range(5, 8):
        step(whole, optimizer, seed)
        step(resumed, other, seed)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
