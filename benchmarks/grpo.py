"""What a group's prompt costs when it is computed once, against TRL's `GRPOTrainer`, which computes it for every completion.

    python -m benchmarks.grpo [--rounds 5] [--table docs/grpo.png]

A random Qwen2.5-VL of 28 million parameters in float32, one prompt of about 800 tokens with two images, groups of eight
completions of 256 tokens. Both trainers are TRL's own but for the methods that ours replaces, have the same weights, and
take turns; figures are medians of rounds, none left out.

- *train*: loss and backward of one group, as `GRPOTrainer.compute_loss` is called in training.
- *FLOPs*: of that, counted by torch with attention that is written out (MATH), against what is necessary by the formula of
  `suasion.vlm.cost`: three times a forward over the prompt and over the completions behind it, images once.
- *memory*: the most that a process of its own holds (VmHWM) over one such group, with libraries and the weights of policy and
  reference, without a listener; beside it what of that comes on top of what it held before.
- *rollout*: from prompts to completions by transformers' `generate`, ending only at 256 tokens.
- *step*: one whole step of `train()`: rollout, the reference's forward, the listener's reward of the size of the policy,
  loss, backward, AdamW. TRL's side has the listener that is obvious: every explanation with its prompt and images, eight to
  a forward, in both orders.

`--table` adds how `train` grows with the prompt and with the group, one round each, beside the prediction by FLOPs, and
draws it. Where TRL's rows would take more memory than there is (`MOST_TOKENS`), its side is left out.
The last line is one JSON object. Given up: figures of a GPU; there is none here.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROMPT, COMPLETION, GROUP, ROUNDS = 800, 256, 8, 5
LIMITS = {"train_speedup": 3.0, "rollout_speedup": 1.5, "step_speedup": 2.5}
AT_MOST = {"flops_over_necessary": 1.05, "memory_ratio": 0.4}
KINDS = ("stock", "grouped")
MOST_TOKENS = 20_000
"""In all rows of TRL's together: 0.85 MB each on the way back."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grpo")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--table", type=Path, help="measure other sizes too, and draw them here")
    parser.add_argument("--peak", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(json.dumps(peak(options.peak)))
        return
    result = measure(options.rounds)
    if options.table:
        result["table"] = table()
        draw(result["table"], options.table)
    missed = [
        f"{name} is {result[name]}, {least} at least is wanted"
        for name, least in LIMITS.items()
        if result[name] < least
    ]
    missed += [
        f"{name} is {result[name]}, {most} at most is wanted" for name, most in AT_MOST.items() if result[name] > most
    ]
    print("\n".join(missed) or "all limits are met")
    print(json.dumps(result))
    raise SystemExit(1 if missed else 0)


def measure(rounds: int) -> dict[str, Any]:
    """All figures of the size that is promised for."""
    seconds: dict[str, list[float]] = {}
    with trainers(PROMPT, COMPLETION, GROUP) as (found, processor):
        inputs = a_group(found["stock"], processor, COMPLETION, GROUP)
        work: dict[str, Callable[[Any], None]] = {
            "train": lambda trainer: train_once(trainer, inputs),
            "rollout": lambda trainer: roll_out(trainer),
            "step": lambda trainer: step(trainer),
        }
        for name, run in work.items():
            print(name, flush=True)
            for number in range(rounds):
                for kind in KINDS if number % 2 else KINDS[::-1]:
                    start = time.perf_counter()
                    run(found[kind])
                    seconds.setdefault(f"{name}_{kind}", []).append(round(time.perf_counter() - start, 3))
        print("FLOPs", flush=True)
        executed = {kind: count_flops(lambda kind=kind: train_once(found[kind], inputs)) for kind in KINDS}  # type: ignore[misc]
        needed = necessary(found["stock"].model, inputs, COMPLETION, GROUP)
    print("memory", flush=True)
    peaks = {kind: in_a_process_of_its_own(kind) for kind in KINDS}
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = {f"{name}_speedup": round(middle[f"{name}_stock"] / middle[f"{name}_grouped"], 2) for name in work}
    return ratio | {
        "flops_over_necessary": round(executed["grouped"] / needed, 3),
        "stock_flops_over_necessary": round(executed["stock"] / needed, 3),
        "memory_ratio": round(peaks["grouped"]["peak"] / peaks["stock"]["peak"], 3),
        "memory_ratio_beyond_weights": round(peaks["grouped"]["more"] / peaks["stock"]["more"], 3),
        "peak_gib": {kind: round(found["peak"] / 2**30, 2) for kind, found in peaks.items()},
        "tflop": {kind: round(count / 1e12, 3) for kind, count in executed.items()}
        | {"necessary": round(needed / 1e12, 3)},
        "prompt_tokens": inputs["prompt_ids"].shape[1],
        "completion_tokens": COMPLETION,
        "group": GROUP,
        "rounds": rounds,
        "seconds": seconds,
    }


@contextlib.contextmanager
def trainers(prompt: int, completion: int, group: int, kinds: tuple[str, ...] = KINDS, listener: bool = True) -> Any:
    """TRL's trainer and ours, with models of the same weights, and the processor of both."""
    from trl import GRPOTrainer

    from benchmarks.models import model_of, processor_for, sides_for
    from suasion.training.grouped import GroupedGRPOTrainer
    from suasion.vlm.load import load_model, save

    processor = processor_for(sides_for(prompt))
    with tempfile.TemporaryDirectory(prefix="suasion-grpo-") as name:
        save(model_of(processor), processor, Path(name) / "start")
        listener_model = model_of(processor) if listener else None
        made = {}
        for kind in kinds:
            trainer_class = {"stock": GRPOTrainer, "grouped": GroupedGRPOTrainer}[kind]
            made[kind] = trainer_of(
                trainer_class,
                load_model(Path(name) / "start").train(),
                processor,
                listener_model,
                prompt,
                completion,
                group,
                Path(name),
            )
        yield made, processor


def trainer_of(
    kind: Any, model: Any, processor: Any, listener_model: Any, prompt: int, completion: int, group: int, folder: Path
) -> Any:
    import io

    from trl import GRPOConfig

    from benchmarks.models import noise, sides_for
    from suasion.training.grpo import to_dataset
    from suasion.training.rows import Row

    def png(seed: int) -> bytes:
        buffer = io.BytesIO()
        noise(sides_for(prompt), seed).save(buffer, "PNG")
        return buffer.getvalue()

    rows = [
        Row(str(number), "two red stars, not blue ones", png(2 * number), png(2 * number + 1), 1, 0.5)
        for number in range(4)
    ]
    config = GRPOConfig(
        output_dir=str(folder / "out"),
        max_steps=1,
        per_device_train_batch_size=group,
        num_generations=group,
        max_completion_length=completion,
        generation_kwargs={"min_new_tokens": completion},
        learning_rate=1e-5,
        beta=0.05,
        bf16=False,
        gradient_checkpointing=False,  # on by default; it costs both a forward more, a third of all
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=True,
    )
    reward = Heard(listener_model, processor, shared=kind.__name__.startswith("Grouped")) if listener_model else unheard
    return kind(
        model=model, reward_funcs=[reward], args=config, train_dataset=to_dataset(rows), processing_class=processor
    )


class Heard:
    """A reward that has the listener read whatever was said: random models say nothing of the grammar."""

    __name__ = "heard"

    def __init__(self, model: Any, processor: Any, *, shared: bool) -> None:
        from benchmarks.listener import OneByOne
        from suasion.listener.local import LocalListener

        self.listener = (
            LocalListener(model, processor, batch_size=8) if shared else OneByOne(model, processor, batch_size=8)
        )

    def __call__(self, completions: list[Any], question: list[str], images: list[list[Any]], **_: Any) -> list[float]:
        from suasion.listener.local import Hearing

        told = [completion[-1]["content"] for completion in completions]
        hearings = [Hearing(*row) for row in zip(question, *zip(*images, strict=True), told, strict=True)]
        self.listener.kept.clear()  # every step of training shows other images
        return [float(score) for score in self.listener.score(hearings).mean(axis=1)]


def unheard(completions: list[Any], **_: Any) -> list[float]:
    raise AssertionError("no reward is asked for")


def a_group(trainer: Any, processor: Any, completion: int, group: int) -> dict[str, Any]:
    """What TRL hands to the loss: one prompt `group` times, with random completions, of which none ends early."""
    import torch

    torch.manual_seed(0)
    row = trainer.train_dataset[0]
    messages = [
        {
            "role": "user",
            "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": row["prompt"][0]["content"]}],
        }
    ]
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    found = processor(text=[text] * group, images=[row["images"]] * group, padding=True, return_tensors="pt")
    said = torch.randint(30, 400, (group, completion))
    types = found["mm_token_type_ids"]
    return {
        "prompt_ids": found["input_ids"],
        "prompt_mask": found["attention_mask"],
        "completion_ids": said,
        "completion_mask": torch.ones_like(said),
        "advantages": torch.randn(group),
        "num_items_in_batch": torch.tensor(float(said.numel())),
        "ref_per_token_logps": torch.full(said.shape, -6.0),
        "pixel_values": found["pixel_values"],
        "image_grid_thw": found["image_grid_thw"],
        "num_images": [2] * group,
        "mm_token_type_ids": torch.cat([types, types.new_zeros(said.shape)], dim=1),
    }


def train_once(trainer: Any, inputs: dict[str, Any]) -> None:
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.zero_grad(set_to_none=True)
    trainer.compute_loss(trainer.model, inputs).backward()


def roll_out(trainer: Any) -> None:
    from trl.data_utils import prepare_multimodal_messages

    row = trainer.train_dataset[0]
    prompts = [prepare_multimodal_messages(row["prompt"], images=row["images"]) for _ in range(trainer.num_generations)]
    trainer.model.train()
    trainer._generate(prompts)


def step(trainer: Any) -> None:
    trainer.train()


def count_flops(work: Callable[[], None]) -> int:
    """Floating point operations of `work`, attention written out so that all of it is counted."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def necessary(model: Any, inputs: dict[str, Any], completion: int, group: int) -> float:
    from suasion.vlm.cost import cost_of

    cost = cost_of(model)
    prompt = inputs["prompt_ids"].shape[1]
    patches = inputs["image_grid_thw"][:2].prod(dim=1).tolist()
    images = sum(cost.image(count) for count in patches)
    return 3 * (images + cost.tokens(prompt) + group * cost.tokens(completion, prompt))


def peak(kind: str) -> dict[str, int]:
    """Bytes that this process held at most over one group, and how much of it came on top."""
    with trainers(PROMPT, COMPLETION, GROUP, (kind,), listener=False) as (found, processor):
        inputs = a_group(found[kind], processor, COMPLETION, GROUP)
        before = held("VmRSS")
        train_once(found[kind], inputs)
        most = held("VmHWM")
    return {"peak": most, "more": most - before}


def held(what: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


def in_a_process_of_its_own(kind: str) -> dict[str, int]:
    command = [sys.executable, "-m", "benchmarks.grpo", "--peak", kind]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found: dict[str, int] = json.loads(lines[-1])
    return found


def table() -> list[dict[str, Any]]:
    """`train` at other groups and prompts: seconds of both, and the speed-up that FLOPs predict."""
    found = []
    for prompt in (200, 800, 3000):
        for group in (2, 4, 8, 16):
            with trainers(prompt, COMPLETION, group) as (made, processor):
                inputs = a_group(made["stock"], processor, COMPLETION, group)
                took = {}
                fits = inputs["prompt_mask"].numel() + inputs["completion_mask"].numel() < MOST_TOKENS
                for kind in KINDS[::-1] if fits else KINDS[1:]:
                    start = time.perf_counter()
                    train_once(made[kind], inputs)
                    took[kind] = time.perf_counter() - start
                found.append(
                    {
                        "prompt": inputs["prompt_ids"].shape[1],
                        "group": group,
                        "stock": round(took["stock"], 2) if fits else None,
                        "grouped": round(took["grouped"], 2),
                        "speedup": round(took["stock"] / took["grouped"], 2) if fits else None,
                        "predicted": round(predicted(made["stock"].model, inputs, group), 2),
                    }
                )
                print(json.dumps(found[-1]), flush=True)
    return found


def predicted(model: Any, inputs: dict[str, Any], group: int, completion: int = COMPLETION) -> float:
    from suasion.vlm.cost import cost_of

    cost, prompt = cost_of(model), inputs["prompt_ids"].shape[1]
    images = sum(cost.image(count) for count in inputs["image_grid_thw"][:2].prod(dim=1).tolist())
    shared = images + cost.tokens(prompt) + group * cost.tokens(completion, prompt)
    return group * (images + cost.tokens(prompt + completion)) / shared


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Speed-up against the size of the group, a line for every prompt, the prediction dashed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for number, prompt in enumerate(sorted({row["prompt"] for row in rows})):
        own = [row for row in rows if row["prompt"] == prompt]
        groups = [row["group"] for row in own]
        axes.plot(
            groups, [row["speedup"] for row in own], "o-", color=f"C{number}", label=f"prompt of {prompt:.0f} tokens"
        )
        axes.plot(groups, [row["predicted"] for row in own], "--", color=f"C{number}")
    axes.set(xlabel="completions in a group", ylabel="times TRL's speed, loss and backward", xticks=[2, 4, 8, 16])
    axes.set_title("One prompt for its group; dashed: predicted by FLOPs", fontsize=10)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})


if __name__ == "__main__":
    main()
