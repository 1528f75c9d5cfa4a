"""What the embedded world teaches by supervision: to see, to explain, and to weigh an explanation against the images.

Lessons are drawn afresh from a seed for every index, so they are never stored and never repeat; scenes come from the
training distribution alone (one or two groups, no held-out combination), never from the pairs that are evaluated.
Given up: lessons about what people prefer. A reasoner learns that from votes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from suasion.vlm.chat import ANSWER_PREFIX, format_completion, listener_messages, reasoner_messages, swap_references
from suasion.world.scenes import ATTRIBUTES, Scene, change_one, draw, parse_scene, random_scene, training_groups

CAPTION_MESSAGES = [{"role": "user", "content": [{"type": "image"}]}]


class Lesson(NamedTuple):
    """One supervised example: the chat, its images in order, and the reply to learn."""

    messages: "list[dict[str, object]]"
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
        return self.draw(np.random.default_rng((self.seed, self.kind, index)))

    def draw(self, rng: np.random.Generator) -> Lesson:
        raise NotImplementedError("a kind of lesson says how it is drawn")


class Captions(SeededLessons):
    """One image and its description: how the tiny base model learns to see."""

    kind = 1

    def draw(self, rng: np.random.Generator) -> Lesson:
        scene = random_scene(rng, groups=training_groups(rng)).in_reading_order()
        return Lesson(CAPTION_MESSAGES, (draw(scene, rng),), str(scene))


class Explanations(SeededLessons):
    """A prompt, two images, a true explanation, and an answer drawn by lot: to talk, without what people prefer."""

    kind = 2

    def draw(self, rng: np.random.Generator) -> Lesson:
        prompt, scenes, _ = contrast(rng)
        reply = format_completion(explanation(prompt, *scenes), int(rng.integers(1, 3)))
        return Lesson(reasoner_messages(str(prompt)), _draw_both(scenes, rng), reply)


class Verdicts(SeededLessons):
    """A prompt, two images and an explanation that may be false, with the right answer: to weigh words against images.

    `corrupted_share` of the explanations is false of the images, `no_explanation_share` of the lessons has none.
    """

    kind = 3

    def __init__(self, size: int, *, seed: int, corrupted_share: float, no_explanation_share: float) -> None:
        super().__init__(size, seed=seed)
        self.corrupted_share, self.no_explanation_share = corrupted_share, no_explanation_share

    def draw(self, rng: np.random.Generator) -> Lesson:
        prompt, scenes, answer = contrast(rng)
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


def explanation(prompt: Scene, first: Scene, second: Scene) -> str:
    """What is on two images shown in this order, and where it is not what the prompt asks for."""
    return f"image 1 shows {first.against(prompt)}. image 2 shows {second.against(prompt)}."


def is_exact(text: str | None, prompt: str, first: str | None, second: str | None) -> bool | None:
    """Whether an explanation describes both images exactly; None where what they show is not known.

    `prompt`, `first` and `second` are scenes in words; no explanation describes nothing.
    """
    if first is None or second is None:
        return None
    scenes = [parse_scene(words) for words in (prompt, first, second)]
    assert all(scene is not None for scene in scenes), f"not scenes of this world: {prompt!r}, {first!r}, {second!r}"
    return text == explanation(*scenes)  # type: ignore[arg-type]  # none of them is None


def contrast(rng: np.random.Generator) -> tuple[Scene, tuple[Scene, Scene], int]:
    """A prompt's scene, the scenes of two images of which one shows it, and which one (1 or 2) that is."""
    prompt = random_scene(rng, groups=training_groups(rng))
    other = change_one(rng, prompt, tuple(ATTRIBUTES)[int(rng.integers(len(ATTRIBUTES)))])
    return (prompt, (prompt, other), 1) if rng.random() < 0.5 else (prompt, (other, prompt), 2)


def corrupt(prompt: Scene, scenes: tuple[Scene, Scene], rng: np.random.Generator) -> str:
    """An explanation that is false of `scenes`: told the wrong way round, with one attribute wrong, or invented."""
    true = explanation(prompt, *scenes)
    while (text := _corrupt(prompt, scenes, rng)) == true:
        pass
    return text


def _corrupt(prompt: Scene, scenes: tuple[Scene, Scene], rng: np.random.Generator) -> str:
    way = int(rng.integers(3))
    first, second = scenes
    if way == 0:
        return explanation(prompt, second, first)
    attribute = tuple(ATTRIBUTES)[int(rng.integers(len(ATTRIBUTES)))]
    if way == 1:
        if rng.random() < 0.5:
            return explanation(prompt, change_one(rng, first, attribute), second)
        return explanation(prompt, first, change_one(rng, second, attribute))
    invented = change_one(rng, prompt, attribute)
    return explanation(prompt, *((prompt, invented) if rng.random() < 0.5 else (invented, prompt)))


def corpus(seed: int, lines: int = 3000) -> Iterator[str]:
    """Text in the world's language, for the tokenizer: every word, also in combinations that no lesson shows."""
    rng = np.random.default_rng((seed, 0))
    for index in range(lines):
        scene = random_scene(rng, groups=int(rng.integers(1, 4)), held_out=index % 4 == 0)
        text = explanation(scene, scene, change_one(rng, scene, tuple(ATTRIBUTES)[index % len(ATTRIBUTES)]))
        for message in listener_messages(str(scene), text):
            yield f"{message['role']}\n{message['content'][-1]['text']}\nassistant\n"
        yield format_completion(text, index % 2 + 1)


def _draw_both(scenes: tuple[Scene, Scene], rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    return draw(scenes[0], rng), draw(scenes[1], rng)
