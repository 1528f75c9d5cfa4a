"""A listener in this process: softmax over the two choice tokens at the answer slot, both orders of presentation.

`p_listener` of Eq. 3 in arXiv 2506.22832. The order of presentation is averaged out: the question is asked twice, with the
images exchanged and the explanation's "image 1" and "image 2" exchanged with them.

Explanations of one pair share its prompt and images, which are computed once for all of them (`suasion.vlm.prefix`), and an
image once for both orders. As the listener is frozen, what its vision tower made of an image is kept, within a bound of bytes.
Given up: keeping keys and values too. By the byte they save less: a 7B model's take eight times the memory, in each order.
"""

import hashlib
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from suasion.errors import SuasionError
from suasion.vlm.chat import ANSWER_PREFIX, listener_messages, swap_references
from suasion.vlm.images import ImageFeatures, as_input, encode_images, tokenise
from suasion.vlm.inputs import render
from suasion.vlm.load import device_of
from suasion.vlm.prefix import core, pack, share_prefixes


class Hearing(NamedTuple):
    """What a listener hears: the prompt, two images in the order the explanation speaks of, and the explanation."""

    prompt: str
    first: Image.Image
    second: Image.Image
    explanation: str | None


class _Question(NamedTuple):
    """What is asked of one prompt and two images in one order: token ids, and which hearings they are of."""

    images: tuple[str, str]
    prefix: list[int]  # what all of them begin with
    rest: list[list[int]]  # of each, what is behind it: one token at least
    places: list[int]


class LocalListener:
    """Scores explanations with a model in this process; the model is put in evaluation mode and never trained.

    `batch_size` is how many explanations go through the model at a time. Features of images are kept up to `keep_bytes`.
    """

    def __init__(self, model: Any, processor: Any, *, batch_size: int, keep_bytes: int = 2**30) -> None:
        self.model, self.processor, self.batch_size = model.eval().requires_grad_(False), processor, batch_size
        self.reply, self.choices = answer_slot(processor)
        self.keep_bytes = keep_bytes
        self.kept: OrderedDict[str, ImageFeatures] = OrderedDict()
        share_prefixes(model)

    def score(self, hearings: Sequence[Hearing], *, on_batch: Callable[[int], None] | None = None) -> np.ndarray:
        """Probability of the first image in either order: (n, 2) float64, columns: as told, images exchanged.

        Both columns speak of the same image, so their mean is `p_listener` of the first image, and half their
        difference is what the order of presentation does. `on_batch` is told how many questions were answered, two a hearing.
        """
        images = {
            name: image for h in hearings for name, image in ((_name(h.first), h.first), (_name(h.second), h.second))
        }
        features = self._features(images)
        told = np.empty((len(hearings), 2))
        for column, asked in enumerate((hearings, [_exchanged(hearing) for hearing in hearings])):
            for batch in _batches(self._questions(asked, features), self.batch_size):
                places = [place for question in batch for place in question.places]
                told[places, column] = self._probability_of_first(batch, features)
                if on_batch:
                    on_batch(len(places))
        told[:, 1] = 1.0 - told[:, 1]
        return told

    def _features(self, images: dict[str, Image.Image]) -> dict[str, ImageFeatures]:
        """Of each of `images` by name; what has not been kept is computed."""
        found = {name: self.kept[name] for name in images if name in self.kept}
        new = [name for name in images if name not in found]
        for start in range(0, len(new), self.batch_size):
            names = new[start : start + self.batch_size]
            found |= zip(
                names, encode_images(self.model, self.processor, [images[name] for name in names]), strict=True
            )
        for name in images:
            self.kept[name] = found[name]
            self.kept.move_to_end(name)
        held = sum(image.size for image in self.kept.values())
        while held > self.keep_bytes:
            held -= self.kept.popitem(last=False)[1].size
        return found

    def _questions(self, hearings: Sequence[Hearing], features: dict[str, ImageFeatures]) -> list[_Question]:
        """`hearings` by what they share, the longest first: neighbours need the least padding."""
        shared: dict[tuple[str, str, str], list[int]] = {}
        for place, hearing in enumerate(hearings):
            shared.setdefault((hearing.prompt, _name(hearing.first), _name(hearing.second)), []).append(place)
        questions = []
        for (prompt, *images), places in shared.items():
            chats = [listener_messages(prompt, hearings[place].explanation) for place in places]
            seen = [features[name] for name in images]
            ids = [tokenise(self.processor, render(self.processor, chat, self.reply), seen) for chat in chats]
            alike = itertools.takewhile(lambda column: len({*column}) == 1, zip(*ids, strict=False))
            size = min(len([*alike]), min(len(row) for row in ids) - 1)
            questions.append(_Question((images[0], images[1]), ids[0][:size], [row[size:] for row in ids], places))
        return sorted(questions, key=lambda question: (-len(question.rest), -len(question.prefix), question.places))

    @torch.no_grad()
    def _probability_of_first(self, batch: Sequence[_Question], features: dict[str, ImageFeatures]) -> np.ndarray:
        """(explanations of the batch,) float64, in the order of its questions."""
        before = max(len(question.prefix) for question in batch)
        count = max(len(question.rest) for question in batch)
        length = max(len(row) for question in batch for row in question.rest)
        padding = self.processor.tokenizer.pad_token_id
        ids = torch.full((len(batch), before), padding)
        rest = torch.full((len(batch), count, length), padding)
        for row, question in enumerate(batch):
            ids[row, before - len(question.prefix) :] = torch.tensor(question.prefix)
            for place, tokens in enumerate(question.rest):
                rest[row, place, : len(tokens)] = torch.tensor(tokens)
        sizes = torch.tensor([len(question.prefix) for question in batch])
        shown = [features[name] for question in batch for name in question.images]
        device = device_of(self.model)
        inner = core(self.model)
        packed = pack(
            inner,
            ids.to(device),
            (torch.arange(before) >= before - sizes[:, None]).long().to(device),
            rest.to(device),
            mm_token_type_ids=(ids == self.processor.image_token_id).int().to(device),
            image_grid_thw=torch.stack([image.grid for image in shown]),
        )
        said = inner.model(**packed, **as_input(shown)).last_hidden_state.unflatten(0, (len(batch), count))
        asked = [(row, place) for row, question in enumerate(batch) for place in range(len(question.rest))]
        last = torch.stack([said[row, place, len(batch[row].rest[place]) - 1] for row, place in asked])  # (n, hidden)
        logits = inner.get_output_embeddings()(last)[:, self.choices].double()
        return torch.softmax(logits, dim=-1)[:, 0].cpu().numpy()


def _batches(questions: Sequence[_Question], size: int) -> Iterator[list[_Question]]:
    """Questions of so many explanations that a forward holds at most `size`, as far as one question does not hold more."""
    batch: list[_Question] = []
    for question in questions:
        if batch and (len(batch) + 1) * len(batch[0].rest) > size:
            yield batch
            batch = []
        batch.append(question)
    if batch:
        yield batch


def _exchanged(hearing: Hearing) -> Hearing:
    explanation = swap_references(hearing.explanation) if hearing.explanation else None
    return Hearing(hearing.prompt, hearing.second, hearing.first, explanation)


def _name(image: Image.Image) -> str:
    """An image's name by its pixels: rows of a group have copies of it."""
    return hashlib.sha256(f"{image.size} {image.mode} ".encode() + image.tobytes()).hexdigest()


def answer_slot(processor: Any) -> tuple[str, list[int]]:
    """What the listener's reply begins with, and the two token ids that may follow: those of answers 1 and 2.

    Raises:
        SuasionError: the tokenizer does not tell the two answers apart by one token.
    """
    tokenizer = processor.tokenizer
    one, two = (tokenizer(f"{ANSWER_PREFIX} {answer}", add_special_tokens=False)["input_ids"] for answer in (1, 2))
    if len(one) != len(two) or one[:-1] != two[:-1]:
        raise SuasionError(
            f"the answers are tokens {one} and {two}, which differ in more than the last one",
            where="the listener's tokenizer",
            do="use a listener whose tokenizer keeps the digits 1 and 2 as tokens of their own",
        )
    text = f"{ANSWER_PREFIX} 1"
    return text[: len(text) - len(tokenizer.decode(one[-1:]))], [one[-1], two[-1]]
