"""What the production profile takes on 1, 8 and 64 H100, by arithmetic: no H100 was measured.

    python -m benchmarks.scaling

Operations come from `suasion.vlm.cost`, by the shape of Qwen2.5-VL-7B and the sizes of `profiles/qwen2.5-vl-7b.yaml`; a time is
operations / (peak x `mfu`), or bytes / bandwidth where that is longer, as in decoding. The tables are those of
docs/scaling.md. Given up: everything that only a measurement tells (communication between GPUs, waiting for each other, the
start of vLLM, loading of models), so the times are what is left when all that is free.
"""

from typing import Any, NamedTuple

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from suasion.params import ROOT, load_params
from suasion.vlm.cost import Cost, cost_of

SHAPE: dict[str, Any] = {  # config.json of Qwen/Qwen2.5-VL-7B-Instruct, what a cost depends on
    "text_config": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "out_hidden_size": 3584,
    },
    "tie_word_embeddings": False,
}
GPUS = (1, 8, 64)
VOTES = {
    "100 k pairs": 100_000,
    "1.2 M votes, 20 a pair": 60_000,
    "1.2 M votes, one a pair": 1_200_000,
}
"""What is trained on, once each, in pairs."""


class Machine(NamedTuple):
    """H100 SXM by its data sheet, and what is assumed of it."""

    peak: float = 989e12  # FLOP/s, bf16, dense
    bandwidth: float = 3.35e12  # bytes/s of its memory
    mfu: float = 0.4  # share of the peak in prefill, scoring and training
    dollars: float = 3.0  # an hour
    pair_bytes: float = 122_000  # of a shard, as in docs/benchmarks.md


class Sizes(NamedTuple):
    """Of a pair and its completions, in tokens; the profile says the rest."""

    text: int = 80  # of a prompt, beside its images
    image: int = 512  # 401,408 pixels, the profile's largest: 28 x 28 of them are a token
    reply: int = 256  # completion, mean
    longest: int = 512  # completion that a step waits for
    group: int = 8  # completions of a prompt

    @property
    def prompt(self) -> int:
        return self.text + 2 * self.image


class Need(NamedTuple):
    """FLOPs of one pair, by phase."""

    prescore: float
    prefill: float
    listener: float
    train: float


def production() -> Any:
    """Qwen2.5-VL-7B without weights."""
    with torch.device("meta"):
        return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**SHAPE))


def necessary(cost: Cost, sizes: Sizes) -> Need:
    """The floor: a prompt and its images once for a group; backward two forwards; the listener hears in both orders."""
    images, prompt = 2 * cost.image(4 * sizes.image), cost.tokens(sizes.prompt)
    group = prompt + sizes.group * cost.tokens(sizes.reply, sizes.prompt)
    return Need(images + 2 * prompt, images + prompt, images + 2 * group, images + 3 * group)


def executed(cost: Cost, sizes: Sizes) -> Need:
    """As our stages and vLLM do it: prompt and images once for a group.

    Training takes four forwards' worth: the log-probabilities that correct for vLLM, forward, forward again under
    checkpointing, and a backward through frozen weights. No gradient goes into the vision tower, which therefore runs twice.
    """
    images, prompt = 2 * cost.image(4 * sizes.image), cost.tokens(sizes.prompt)
    group = prompt + sizes.group * cost.tokens(sizes.reply, sizes.prompt)
    return Need(images + 2 * prompt, images + prompt, images + 2 * group, 2 * images + 4 * group)


def repeated(cost: Cost, sizes: Sizes) -> Need:
    """As TRL and an obvious listener do it: prompt and images again for each completion and order, except in prefill."""
    images = 2 * cost.image(4 * sizes.image)
    forward = cost.tokens(sizes.prompt + sizes.reply)
    prompt = images + cost.tokens(sizes.prompt)
    return Need(2 * prompt, prompt, sizes.group * 2 * (images + forward), sizes.group * (2 * images + 4 * forward))


def decoding(cost: Cost, sizes: Sizes, machine: Machine, groups: float) -> float:
    """Seconds in which one GPU decodes `groups` groups at once: weights for each token of the longest, and every cache."""
    text = SHAPE["text_config"]
    head_dim = text["hidden_size"] // text["num_attention_heads"]
    token_bytes = 2 * 2 * text["num_hidden_layers"] * text["num_key_value_heads"] * head_dim  # key and value, bf16
    completions = groups * sizes.group
    cache = completions * sizes.reply * token_bytes * (sizes.prompt + sizes.reply / 2)
    read = (2 * cost.matrices * sizes.longest + cache) / machine.bandwidth
    return max(read, completions * cost.tokens(sizes.reply, sizes.prompt) / (machine.peak * machine.mfu))


def step(need: Need, cost: Cost, sizes: Sizes, machine: Machine, gpus: int, prompts: int) -> dict[str, float]:
    """Seconds of one step of `prompts` prompts on `gpus` GPUs, by phase."""
    groups = prompts / gpus
    speed = machine.peak * machine.mfu
    return {
        "prefill": groups * need.prefill / speed,
        "decode": decoding(cost, sizes, machine, groups),
        "listener": groups * need.listener / speed,
        "train": groups * need.train / speed,
    }


def tables(machine: Machine = Machine(), sizes: Sizes = Sizes()) -> str:  # noqa: B008  (named tuples do not change)
    """The three tables of docs/scaling.md, in Markdown."""
    cost, profile = cost_of(production()), load_params(ROOT / "profiles" / "qwen2.5-vl-7b.yaml").train
    sizes = sizes._replace(group=profile.generations)
    ways = {"repeated": repeated(cost, sizes), "as executed": executed(cost, sizes), "floor": necessary(cost, sizes)}
    steps, totals, rates = [], [], []
    for way, need in ways.items():
        for gpus in GPUS:
            prompts = max(profile.prompts_per_step, gpus)  # whole groups
            phases = step(need, cost, sizes, machine, gpus, prompts)
            whole = sum(phases.values())
            shares = " | ".join(f"{seconds:.2f}" for seconds in phases.values())
            steps.append(f"| {way} | {gpus} | {prompts} | {shares} | {whole:.2f} | {phases['decode'] / whole:.0%} |")
            pairs = {"train": prompts / whole, "prescore": gpus * machine.peak * machine.mfu / need.prescore}
            for stage, rate in pairs.items():
                if way == "as executed":
                    rates.append(f"| {stage} | {gpus} | {rate:.2f} | {rate * machine.pair_bytes / 1e6:.2f} |")
            for name, count in VOTES.items():
                hours = count * (1 / pairs["train"] + 1 / pairs["prescore"]) / 3600
                dollars = hours * gpus * machine.dollars
                totals.append((name, f"| {name} | {way} | {gpus} | {hours:,.1f} | {dollars:,.0f} |"))
    ordered = [line for name in VOTES for label, line in totals if label == name]
    return "\n".join(
        [
            "| | GPUs | prompts | prefill | decode | listener | train | step, s | decode's share |",
            "|---|---|---|---|---|---|---|---|---|",
            *steps,
            "",
            "| trained on once | | GPUs | hours | dollars |",
            "|---|---|---|---|---|",
            *ordered,
            "",
            "| stage | GPUs | pairs a second | MB a second |",
            "|---|---|---|---|",
            *rates,
        ]
    )


if __name__ == "__main__":
    print(tables())
