from typing import Any

import numpy as np
import pytest

from suasion.errors import SuasionError
from suasion.listener.local import Hearing, LocalListener, answer_slot
from suasion.listener.study import study
from suasion.vlm.chat import listener_messages, swap_references
from suasion.vlm.images import tokenise
from suasion.vlm.inputs import render
from suasion.world.lessons import contrast, explanation
from suasion.world.scenes import draw


@pytest.fixture
def hearings() -> list[Hearing]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(5):
        prompt, scenes, _ = contrast(rng)
        pictures = [draw(scene, rng, size=32) for scene in scenes]
        made.append(Hearing(str(prompt), pictures[0], pictures[1], explanation(prompt, *scenes)))
    return made


def test_scores_do_not_depend_on_the_batch(processor: Any, tiny_model: Any, hearings: list[Hearing]) -> None:
    """Prompts of different lengths are padded; padding must not reach the answer."""
    one_by_one = LocalListener(tiny_model(), processor, batch_size=1).score(hearings)
    together = LocalListener(tiny_model(), processor, batch_size=5).score(hearings)
    assert together.shape == (5, 2)
    assert together == pytest.approx(one_by_one, abs=1e-5)


def test_a_group_is_scored_as_its_members_are_one_by_one(
    processor: Any, tiny_model: Any, hearings: list[Hearing]
) -> None:
    """Explanations of three pairs, mixed, as many as differ; copies of an image are the same image."""
    told = [
        Hearing(pair.prompt, pair.first.copy(), pair.second.copy(), text)
        for number, pair in enumerate(hearings[:3])
        for text in [*[other.explanation for other in hearings], None, "no"][number:]
    ]
    told = told[::2] + told[1::2]
    one_by_one = np.concatenate([LocalListener(tiny_model(), processor, batch_size=1).score([h]) for h in told])
    for size in (1, 4, 64):
        found = LocalListener(tiny_model(), processor, batch_size=size).score(told)
        assert found == pytest.approx(one_by_one, abs=1e-5)


def test_what_explanations_share_is_computed_once(processor: Any, tiny_model: Any, hearings: list[Hearing]) -> None:
    """Patches and tokens that go through the model for eight explanations of one pair, and for the pair again."""
    model, pair = tiny_model(), hearings[0]
    told = [
        pair._replace(explanation=f"image 1 shows {word}")
        for word in ["one", "two", "three", "four", "five", "six", "seven", "no"]
    ]
    listener = LocalListener(model, processor, batch_size=8)
    patches, tokens = [], []
    model.model.visual.register_forward_pre_hook(lambda module, args: patches.append(len(args[0])))
    model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: tokens.append(kwargs["inputs_embeds"].shape), with_kwargs=True
    )
    listener.score(told)
    assert patches == [2 * 16], "both images, each once for both orders"
    assert [shape[0] for shape in tokens] == [1, 1], "one row for all eight in each order"
    chat = render(processor, listener_messages(told[0].prompt, told[0].explanation), listener.reply)
    alone = len(tokenise(processor, chat, [*listener.kept.values()]))
    assert tokens[0][1] < 4 * alone, "eight of them take less than four alone"
    listener.score(told)
    assert patches == [2 * 16], "kept"


def test_what_is_kept_is_bounded(processor: Any, tiny_model: Any, hearings: list[Hearing]) -> None:
    model = tiny_model()
    one = LocalListener(model, processor, batch_size=2)
    one.score(hearings[:1])
    size = sum(image.size for image in one.kept.values())
    bounded = LocalListener(model, processor, batch_size=2, keep_bytes=size)
    assert bounded.score(hearings) == pytest.approx(LocalListener(model, processor, batch_size=2).score(hearings))
    assert sum(image.size for image in bounded.kept.values()) <= size
    assert len(bounded.kept) == 2, "the last pair's"


def test_exchanging_images_and_references_exchanges_the_columns(
    processor: Any, tiny_model: Any, hearings: list[Hearing]
) -> None:
    listener = LocalListener(tiny_model(), processor, batch_size=5)
    exchanged = [Hearing(h.prompt, h.second, h.first, swap_references(h.explanation or "")) for h in hearings]
    assert 1 - listener.score(exchanged)[:, ::-1] == pytest.approx(listener.score(hearings), abs=1e-6)


@pytest.mark.parametrize("empty", [":", "", "<answer> 1 </answer>", "<|image_pad|>"])
def test_an_explanation_without_words_moves_nothing(
    processor: Any, tiny_model: Any, hearings: list[Hearing], empty: str
) -> None:
    listener = LocalListener(tiny_model(), processor, batch_size=5)
    silent = listener.score([hearing._replace(explanation=None) for hearing in hearings])
    assert np.abs(listener.score([h._replace(explanation=empty) for h in hearings]) - silent).max() <= 0.02


def test_the_listener_is_frozen(processor: Any, tiny_model: Any) -> None:
    model = tiny_model().train()
    LocalListener(model, processor, batch_size=1)
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


def test_the_slot_names_two_tokens(processor: Any) -> None:
    reply, (one, two) = answer_slot(processor)
    assert reply == "<answer> "
    assert processor.tokenizer.decode([one]) == "1"
    assert processor.tokenizer.decode([two]) == "2"


def test_a_tokenizer_that_cannot_tell_the_answers_apart_is_refused() -> None:
    class Tokenizer:
        def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
            return {"input_ids": [ord(letter) + 500 * ("1" in text) for letter in text]}

    class Processor:
        tokenizer = Tokenizer()

    with pytest.raises(SuasionError, match="differ in more than the last one"):
        answer_slot(Processor())


def test_the_study_of_an_untrained_listener_finds_no_effect(processor: Any, tiny_model: Any) -> None:
    found = study(tiny_model(), processor, seed=0, pairs=16)
    assert set(found) == {"none", "true", "corrupted", "exchanged", "differences"}
    assert abs(found["differences"]["need"]) < 0.1
    assert 0.3 < found["true"]["p_right"] < 0.7
