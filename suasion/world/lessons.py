"""What the embedded world teaches by supervision: to see, to explain, and to weigh an explanation against the images.

Lessons are drawn afresh from a seed for every index, so they are never stored and never repeat; they show training scenes
alone (`scenes.split_of`), never what is evaluated.
Given up: lessons about what people prefer. A reasoner learns that from votes.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from suasion.vlm.chat import ANSWER_PREFIX, format_completion, listener_messages, reasoner_messages, swap_references
from suasion.world.scenes import (
    ATTRIBUTES,
    SHAPES,
    Group,
    Prompt,
    Scene,
    change_one,
    draw,
    parse_prompt,
    parse_scene,
    random_prompt,
    random_scene,
    split_of,
    training_groups,
)

EXPLAIN_SHARE = 0.25
LEAN = 0.6  # how often a lot says that it is the first image
CAPTION_MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "image"}]}]


class Lesson(NamedTuple):
    """One supervised example: the chat, its images in order, and the reply to learn."""

    messages: list[dict[str, Any]]
    images: tuple[Image.Image, ...]
    reply: str


class SeededLessons(Sequence[Lesson]):
    """`size` lessons, the i-th drawn from the seed (`seed`, the lesson's kind, i): any order gives the same lessons."""

    kind = 0

    def __init__(self, size: int, *, seed: int) -> None:
        self.size, self.seed = size, seed

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # Sequence also asks for slices, which nobody takes
        if not 0 <= index < self.size:
            raise IndexError(index)
        return self.draw(index, np.random.default_rng((self.seed, self.kind, index)))

    def draw(self, index: int, rng: np.random.Generator) -> Lesson:
        raise NotImplementedError("a kind of lesson says how it is drawn")


class Captions(SeededLessons):
    """One image and its description: how the tiny base model learns to see."""

    kind = 1

    def draw(self, index: int, rng: np.random.Generator) -> Lesson:
        scene = random_scene(rng, groups=training_groups(rng)).in_reading_order()
        while split_of(scene) != "train":
            scene = random_scene(rng, groups=training_groups(rng)).in_reading_order()
        return Lesson(CAPTION_MESSAGES, (draw(scene, rng),), str(scene))


class Explanations(SeededLessons):
    """A prompt, two images, a true explanation and an answer: to see and to talk.

    The answer is the image that fits, in the last `by_lot` lessons one drawn by lot: whoever has been through all of them
    talks and hardly answers. That people prefer what fits is for their votes to say. The lot leans to the first image, as
    many judges do: from a fair one an answer of the likeliest token would follow from what little is left of the
    lessons before, and be right or wrong nearly always.
    """

    kind = 2

    def __init__(self, size: int, *, seed: int, by_lot: int) -> None:
        super().__init__(size, seed=seed)
        self.by_lot = by_lot

    def draw(self, index: int, rng: np.random.Generator) -> Lesson:
        prompt, scenes, answer = contrast(rng)
        if index >= self.size - self.by_lot:
            answer = 1 if rng.random() < LEAN else 2
        reply = format_completion(explanation(prompt, *scenes), answer)
        return Lesson(reasoner_messages(str(prompt)), _draw_both(scenes, rng), reply)


class Verdicts(SeededLessons):
    """A prompt, two images and an explanation that may be false, with the right answer: to weigh words against images.

    `corrupted_share` of the explanations is false of the images, `no_explanation_share` of the lessons has none. A
    quarter of the lessons asks the listener to explain for itself: one token of an answer teaches little sight.
    """

    kind = 3

    def __init__(self, size: int, *, seed: int, corrupted_share: float, no_explanation_share: float) -> None:
        super().__init__(size, seed=seed)
        self.corrupted_share, self.no_explanation_share = corrupted_share, no_explanation_share

    def draw(self, index: int, rng: np.random.Generator) -> Lesson:
        prompt, scenes, answer = contrast(rng)
        if rng.random() < EXPLAIN_SHARE:
            reply = format_completion(explanation(prompt, *scenes), answer)
            return Lesson(reasoner_messages(str(prompt)), _draw_both(scenes, rng), reply)
        # Half of the explanations are told the other way round, as they are when both orders of presentation are asked.
        exchanged = rng.random() < 0.5
        told = scenes[::-1] if exchanged else scenes
        false = rng.random() < self.corrupted_share
        text = corrupt(prompt, told, rng) if false else explanation(prompt, *told)
        if exchanged:
            text = swap_references(text)
        heard = None if rng.random() < self.no_explanation_share else text
        return Lesson(
            listener_messages(str(prompt), heard), _draw_both(scenes, rng), f"{ANSWER_PREFIX} {answer} </answer>"
        )


def explanation(prompt: Prompt, first: Scene, second: Scene) -> str:
    """What two images show, in this order: where the prompt's unwanted value is, and which image fits the prompt.

    Who fits is a fact of prompt and images, as what they show is. That people prefer what fits is for votes to say.
    """
    told = [f"image {image} shows {_marked(scene, prompt)}." for image, scene in ((1, first), (2, second))]
    fits = [image for image, scene in ((1, first), (2, second)) if scene == prompt.asked]
    last = "both images fit." if len(fits) == 2 else f"image {fits[0]} fits."
    return " ".join([*told, last])


def _marked(scene: Scene, prompt: Prompt) -> str:
    """The scene in words, the value that the prompt warns of followed by "unwanted"."""
    return ", ".join(
        str(group) if group in prompt.asked.groups else str(group).replace(*_mark(group, prompt))
        for group in scene.groups
    )


def _mark(group: Group, prompt: Prompt) -> tuple[str, str]:
    unwanted = prompt.values[1]
    shown = f"{unwanted}s" if unwanted in SHAPES and group.count != "one" else unwanted
    return shown, f"{shown} unwanted"


def is_exact(text: str | None, prompt: str, first: str | None, second: str | None) -> bool | None:
    """Whether an explanation describes both images exactly; None where what they show is not known.

    `prompt`, `first` and `second` are in the world's words; no explanation describes nothing.
    """
    if first is None or second is None:
        return None
    asked, scenes = parse_prompt(prompt), [parse_scene(words) for words in (first, second)]
    if asked is None or scenes[0] is None or scenes[1] is None:
        raise ValueError(f"not of this world: {prompt!r}, {first!r}, {second!r}")
    return text == explanation(asked, scenes[0], scenes[1])


def contrast(rng: np.random.Generator) -> tuple[Prompt, tuple[Scene, Scene], int]:
    """A prompt about training scenes, the scenes of two images, and which one (1 or 2) shows what is asked."""
    while True:
        prompt = random_prompt(rng, groups=training_groups(rng))
        if split_of(prompt.asked) == split_of(prompt.unasked) == "train":
            break
    scenes = (prompt.asked, prompt.unasked)
    return (prompt, scenes, 1) if rng.random() < 0.5 else (prompt, scenes[::-1], 2)


def corrupt(prompt: Prompt, scenes: tuple[Scene, Scene], rng: np.random.Generator) -> str:
    """An explanation that is false of `scenes`: of the other image, or with one attribute wrong, or both."""
    way = int(rng.integers(3))
    if way == 0:
        return explanation(prompt, *scenes[::-1])
    attribute = tuple(ATTRIBUTES)[int(rng.integers(len(ATTRIBUTES)))]
    wrong = change_one(rng, prompt.asked, attribute)
    true = explanation(prompt, *scenes)
    false = true.replace(f"shows {prompt.asked}.", f"shows {wrong}.", 1)
    return false if way == 1 else swap_references(false)


def corpus(seed: int, lines: int = 3000) -> Iterator[str]:
    """Text in the world's language, for the tokenizer: every word, also in combinations that no lesson shows."""
    rng = np.random.default_rng((seed, 0))
    for index in range(lines):
        prompt = random_prompt(rng, groups=int(rng.integers(1, 4)), held_out=index % 4 == 0)
        text = explanation(prompt, prompt.asked, prompt.unasked)
        for message in listener_messages(str(prompt), text):
            yield f"{message['role']}\n{message['content'][-1]['text']}\nassistant\n"
        yield format_completion(text, index % 2 + 1)


def _draw_both(scenes: tuple[Scene, Scene], rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    return draw(scenes[0], rng), draw(scenes[1], rng)
