"""Scenes of coloured shapes: what they hold, how they are said, and how they are drawn.

A scene is one to three groups of equal shapes, each group in its own quarter of the picture. The same words describe a
scene in a prompt and in an explanation, so whether an explanation is true of an image is decidable (*explanation
fidelity*). Given up: overlap, perspective, texture, free language. What stays is what the method needs: pictures that
must be looked at, words that can be false, and a truth that tests can hold the pipeline against.
"""

import io
import itertools
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

    def against(self, prompt: "Scene") -> str:
        """This scene in words, group by group as `prompt` has them, saying what is not as asked.

        A value that differs from the prompt's is followed by it: "two blue not red circles top left".
        """
        return ", ".join(
            " ".join(_compared(group, asked))
            for group, asked in itertools.zip_longest(self.groups, prompt.groups[: len(self.groups)])
        )


def _compared(group: Group, asked: Group | None) -> Iterator[str]:
    plural = "" if group.count == "one" else "s"
    for name, value in (
        ("count", group.count),
        ("colour", group.colour),
        ("shape", group.shape),
        ("place", group.place),
    ):
        yield value + (plural if name == "shape" else "")
        if asked is not None and getattr(asked, name) != value:
            yield f"not {getattr(asked, name)}"


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
