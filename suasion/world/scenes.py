"""Scenes of coloured shapes: what they hold, how they are said, and how they are drawn.

A scene is one to three groups of equal shapes, each group in its own quarter of the picture. The same words describe a
scene in a prompt and in an explanation, so whether an explanation is true of an image is decidable (*explanation
fidelity*). Given up: overlap, perspective, texture, free language. What stays is what the method needs: pictures that
must be looked at, words that can be false, and a truth that tests can hold the pipeline against.
"""

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (46, 160, 67),
    "blue": (38, 84, 204),
    "yellow": (240, 196, 25),
    "purple": (138, 43, 190),
    "orange": (245, 124, 0),
}
SHAPES = ("circle", "square", "triangle", "diamond")
COUNTS = ("one", "two", "three")
PLACES = ("top left", "top right", "bottom left", "bottom right")
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "count": COUNTS,
    "place": PLACES,
}

#: Colour and shape combinations that no training scene shows; out-of-distribution scenes are made with them.
HELD_OUT = frozenset({("red", "diamond"), ("green", "triangle"), ("blue", "square"), ("yellow", "circle")})

_NOT = re.compile(rf" not ({'|'.join(word for values in ATTRIBUTES.values() for word in values)})")
_GROUP = re.compile(rf"({'|'.join(COUNTS)}) ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})s? ({'|'.join(PLACES)})")


@dataclass(frozen=True)
class Group:
    """Equal shapes in one quarter of the picture."""

    place: str
    count: str
    colour: str
    shape: str

    def __str__(self) -> str:
        plural = "" if self.count == "one" else "s"
        return f"{self.count} {self.colour} {self.shape}{plural} {self.place}"

    @property
    def held_out(self) -> bool:
        return (self.colour, self.shape) in HELD_OUT


@dataclass(frozen=True)
class Scene:
    """What an image shows: groups, each in a place of its own. Equal where they hold the same groups in any order."""

    groups: tuple[Group, ...]

    def __str__(self) -> str:
        return ", ".join(str(group) for group in self.groups)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scene) and set(self.groups) == set(other.groups)

    def __hash__(self) -> int:
        return hash(frozenset(self.groups))

    @property
    def held_out(self) -> bool:
        return any(group.held_out for group in self.groups)

    def in_reading_order(self) -> "Scene":
        return Scene(tuple(sorted(self.groups, key=lambda group: PLACES.index(group.place))))


@dataclass(frozen=True)
class Prompt:
    """What a pair was made for: a scene, and the one attribute of it that must not be otherwise.

    In words the unwanted value follows the wanted one: "two red not blue circles top left". One image of the pair shows
    `asked`, the other `unasked`, which differs from it in one attribute of one group.
    """

    asked: Scene
    unasked: Scene

    def __str__(self) -> str:
        groups = zip(self.asked.groups, self.unasked.groups, strict=True)
        return ", ".join(" ".join(_contrasted(asked, unasked)) for asked, unasked in groups)

    @property
    def values(self) -> tuple[str, str]:
        """The wanted and the unwanted value, as words: ("red", "blue")."""
        for asked, unasked in zip(self.asked.groups, self.unasked.groups, strict=True):
            for name in ATTRIBUTES:
                if getattr(asked, name) != getattr(unasked, name):
                    return getattr(asked, name), getattr(unasked, name)
        raise ValueError(f"asked and unasked are the same: {self.asked}")


def _contrasted(asked: Group, unasked: Group) -> Iterator[str]:
    plural = "" if asked.count == "one" else "s"
    for name in ("count", "colour", "shape", "place"):
        yield getattr(asked, name) + (plural if name == "shape" else "")
        if getattr(unasked, name) != getattr(asked, name):
            yield f"not {getattr(unasked, name)}"


def parse_prompt(text: str) -> Prompt | None:
    """The prompt that `text` says, or None where it is not exactly such a text."""
    found = _NOT.findall(text)
    asked = parse_scene(_NOT.sub("", text))
    if len(found) != 1 or asked is None:
        return None
    attribute = next(name for name, values in ATTRIBUTES.items() if found[0] in values)
    for which, group in enumerate(asked.groups):
        other = replace(group, **{attribute: found[0]})
        prompt = Prompt(asked, Scene((*asked.groups[:which], other, *asked.groups[which + 1 :])))
        if str(prompt) == text:
            return prompt
    return None


def parse_scene(text: str) -> Scene | None:
    """The scene that `text` describes, or None where it is not exactly such a description."""
    groups = []
    for part in text.split(", "):
        found = _GROUP.fullmatch(part)
        if found is None:
            return None
        count, colour, shape, place = found.groups()
        groups.append(Group(place, count, colour, shape))
    scene = Scene(tuple(groups))
    return scene if str(scene) == text and len({group.place for group in groups}) == len(groups) else None


def random_scene(rng: np.random.Generator, *, groups: int, held_out: bool = False) -> Scene:
    """A scene of `groups` groups (1 to 4). With `held_out`, at least one shows a held-out combination; without, none."""
    places = rng.choice(len(PLACES), size=groups, replace=False)
    drawn = [_random_group(rng, PLACES[place], held_out=False) for place in places]
    if held_out:
        which = int(rng.integers(groups))
        drawn[which] = _random_group(rng, drawn[which].place, held_out=True)
    return Scene(tuple(drawn))


def split_of(scene: Scene) -> str:
    """Where pairs that show `scene` belong: ood for a held-out combination or more than two groups, else drawn by hash.

    Of every kind of scene 70% are for training, 10% for validation and 20% for tests. No lesson and no training pair shows
    one of the others, and the three are alike.
    """
    if scene.held_out or len(scene.groups) > 2:
        return "ood"
    drawn = hashlib.sha256(str(scene.in_reading_order()).encode()).digest()[0] / 256
    return "train" if drawn < 0.7 else "val" if drawn < 0.8 else "test"


def training_groups(rng: np.random.Generator) -> int:
    """How many groups a scene of the training distribution has: one, or in one case of three two."""
    return 2 if rng.random() < 1 / 3 else 1


def _random_group(rng: np.random.Generator, place: str, *, held_out: bool) -> Group:
    while True:
        count, colour, shape = (_pick(rng, ATTRIBUTES[name]) for name in ("count", "colour", "shape"))
        group = Group(place, count, colour, shape)
        if group.held_out == held_out:
            return group


def change_one(rng: np.random.Generator, scene: Scene, attribute: str) -> Scene:
    """`scene` with one `attribute` of one group changed; no held-out combination comes in where none was."""
    while True:
        which = int(rng.integers(len(scene.groups)))
        taken = {group.place for group in scene.groups}
        free = [value for value in ATTRIBUTES[attribute] if value != getattr(scene.groups[which], attribute)]
        if attribute == "place":
            free = [value for value in free if value not in taken]
        group = replace(scene.groups[which], **{attribute: _pick(rng, free)})
        changed = Scene((*scene.groups[:which], group, *scene.groups[which + 1 :]))
        if scene.held_out or not changed.held_out:
            return changed


def random_prompt(rng: np.random.Generator, *, groups: int, held_out: bool = False) -> Prompt:
    """A prompt for a scene of `groups` groups; neither value of its contrast is shown anywhere else in the scene."""
    while True:
        asked = random_scene(rng, groups=groups, held_out=held_out)
        attribute = tuple(ATTRIBUTES)[int(rng.integers(len(ATTRIBUTES)))]
        prompt = Prompt(asked, change_one(rng, asked, attribute))
        if sum(getattr(group, attribute) in prompt.values for group in asked.groups) == 1:
            return prompt


def _pick(rng: np.random.Generator, values: "tuple[str, ...] | list[str]") -> str:
    return values[int(rng.integers(len(values)))]


def draw(scene: Scene, rng: np.random.Generator, *, size: int = 64) -> Image.Image:
    """The picture of `scene`: `size` x `size` pixels RGB, with background, position, size and shade varied by `rng`."""
    scale = 4  # drawn larger and shrunk: smooth edges without a graphics library
    background = tuple(int(value) for value in rng.integers(225, 256, size=3))
    image = Image.new("RGB", (size * scale, size * scale), background)
    pen = ImageDraw.Draw(image)
    half = size * scale / 2
    for group in scene.groups:
        row, column = divmod(PLACES.index(group.place), 2)
        colour = tuple(int(np.clip(value + rng.integers(-14, 15), 0, 255)) for value in COLOURS[group.colour])
        cells = rng.permutation(4)[: COUNTS.index(group.count) + 1]
        for cell in cells:
            cell_row, cell_column = divmod(int(cell), 2)
            radius = half / 4 * rng.uniform(0.68, 0.88)
            wobble = half / 4 * 0.12
            x = column * half + (cell_column + 0.5) * half / 2 + rng.uniform(-wobble, wobble)
            y = row * half + (cell_row + 0.5) * half / 2 + rng.uniform(-wobble, wobble)
            _draw_shape(pen, group.shape, x, y, radius, colour)
    return image.resize((size, size), Image.Resampling.BOX)


def _draw_shape(pen: ImageDraw.ImageDraw, shape: str, x: float, y: float, r: float, colour: tuple[int, ...]) -> None:
    if shape == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif shape == "square":
        pen.rectangle((x - 0.86 * r, y - 0.86 * r, x + 0.86 * r, y + 0.86 * r), fill=colour)
    elif shape == "triangle":
        pen.polygon([(x, y - r), (x - r, y + 0.8 * r), (x + r, y + 0.8 * r)], fill=colour)
    else:
        pen.polygon([(x, y - r), (x - r, y), (x, y + r), (x + r, y)], fill=colour)


def encode(image: Image.Image) -> bytes:
    """`image` as JPEG bytes; the same pixels give the same bytes under one version of Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=92)
    return buffer.getvalue()
