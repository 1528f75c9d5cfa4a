import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suasion.errors import SuasionError
from suasion.images.phash import BYTES
from suasion.params import Filter, VoterRules
from suasion.records import HELD_OUT, IMAGE, PAIR, SPLIT, VOTE
from suasion.votes.filter import Filtered, filter_votes
from suasion.votes.splits import locks_of, read_lock, write_lock

LOOSE = Filter(
    labels="one_coin",
    ties="drop",
    min_votes=1,
    min_margin=0.0,
    voters=VoterRules(min_votes=20, min_accuracy=0.55, max_side_share=0.95, min_seconds=0.0),
    copies={},
    max_prompt_chars=100,
    max_prompt_tokens=100,
    ngram=4,
    splits="source",
    ood_generators=[],
    max_component=1.0,
)
SWAPPED = {"a": "b", "b": "a", "tie": "tie", "both_bad": "both_bad"}


def vote(pair: str, who: str | None, choice: str, **changes: object) -> dict[str, object]:
    row = {
        "vote_id": f"{pair}-{who}-{choice}-{changes.get('voted_at')}",
        "pair_id": pair,
        "prompt_id": f"prompt-{pair}",
        "prompt": "a cat",
        "image_a": f"a-{pair}",
        "image_b": f"b-{pair}",
        "annotator_id": who,
        "choice": choice,
        "count": 1,
        "weight": 1.0,
        "voted_at": None,
        "source": "test",
        "source_split": "train",
        "model_a": None,
        "model_b": None,
    }
    return row | changes


def index(votes: pl.DataFrame, **hashes: bytes) -> pl.DataFrame:
    """The index of all images of `votes`; their hashes are far from each other where `hashes` does not say otherwise."""
    rows = [
        (name, "x.tar", 0, 1, 64, 64, "jpg", hashes.get(name, hashlib.sha384(name.encode()).digest()[:BYTES]))
        for name in sorted({*votes["image_a"], *votes["image_b"]})
    ]
    return pl.DataFrame(rows, schema=IMAGE, orient="row")


def run(votes: pl.DataFrame, changes: dict[str, object] | None = None, **context: Any) -> Filtered:
    images = context.pop("images", None)
    return filter_votes(
        votes,
        LOOSE.model_copy(update=changes or {}),
        seed=0,
        images=index(votes) if images is None else images,
        **context,
    )


def table(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=VOTE)


def crowd(seed: int, pairs: int = 12, voters: int = 6) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    choices = rng.choice(["a", "b", "tie"], p=[0.45, 0.45, 0.1], size=(pairs, voters))
    return table(*(vote(f"p{p}", f"v{v}", str(choices[p, v])) for p in range(pairs) for v in range(voters)))


def reasons(votes: pl.DataFrame, **changes: object) -> dict[str, int]:
    kept = [vote("keep", name, "a") for name in "xyz"]
    summary = run(pl.concat([votes, table(*kept)]), changes).summary
    return summary["dropped_votes"] | summary["dropped_pairs"]


def test_each_reason_is_counted() -> None:
    assert reasons(table(vote("p", "v", "tie"))) == {"tie": 1}
    assert reasons(table(vote("p", "v", "a", prompt="x" * 101))) == {"prompt_too_long": 1}
    assert reasons(table(vote("p", "v", "a", image_b="a-p"))) == {"same_image": 1}
    assert reasons(table(vote("p", "v", "a")), min_votes=2) == {"too_few_votes": 1}
    even = table(vote("p", "v", "a"), vote("p", "w", "b"), vote("p", "u", "b", weight=0.1))
    assert reasons(even, min_margin=0.2) == {"low_margin": 1}


def test_the_last_vote_of_a_person_on_a_pair_counts() -> None:
    early, late = datetime(2026, 1, 1), datetime(2026, 1, 2)
    votes = table(vote("p", "v", "a", voted_at=late), vote("p", "v", "b", voted_at=early))
    found = run(votes)
    assert found.pairs["label"].to_list() == ["a"]
    assert found.drops.select("id", "reason").rows() == [(f"p-v-b-{early}", "repeated_vote")]


def test_votes_of_nobody_known_all_count() -> None:
    found = run(table(vote("p", None, "a", count=5), vote("p", None, "b", count=2)))
    assert found.pairs.select("votes_a", "votes_b", "n_votes", "label").rows() == [(5, 2, 7, "a")]


def test_a_voter_who_always_chooses_the_left_is_left_out() -> None:
    rows = []
    for index in range(40):
        better = "ab"[index % 2]
        rows += [vote(f"p{index:02d}", f"good{n}", better) for n in range(3)] + [vote(f"p{index:02d}", "left", "a")]
    found = run(table(*rows))
    assert found.voters.filter(pl.col("flagged"))["annotator_id"].to_list() == ["left"]
    assert found.summary["dropped_votes"] == {"voter_flagged": 40}
    assert found.voters.filter(pl.col("flagged"))["flag"].to_list() == ["one_side"]
    assert found.pairs["label"].to_list() == ["a", "b"] * 20


def test_nothing_left_is_one_clear_error() -> None:
    with pytest.raises(SuasionError, match="no pair is left; dropped: 1 tie"):
        run(table(vote("p", "v", "tie")))


def test_a_pair_that_shares_a_prompt_or_an_image_with_a_more_held_out_one_leaves() -> None:
    votes = table(
        vote("kept", "v", "a"),
        vote("prompt", "v", "a", prompt_id="p"),
        vote("asked", "v", "a", prompt_id="p", source_split="val"),
        vote("image", "v", "a", image_a="shown"),
        vote("shown", "v", "a", image_b="shown", source_split="test"),
    )
    found = run(votes)
    assert found.pairs["pair_id"].to_list() == ["asked", "kept", "shown"]
    assert found.drops.select("id", "reason", "detail").rows() == [
        ("image", "leak", "its image is in a held-out split too"),
        ("prompt", "leak", "its prompt is in a held-out split too"),
    ]


def test_a_pair_without_a_split_in_the_source_is_an_error() -> None:
    with pytest.raises(SuasionError, match="1 pairs have no split of train, val, test, ood; q has None"):
        run(table(vote("p", "v", "a"), vote("q", "v", "a", source_split=None)))


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing(seed: int, random: object) -> None:
    votes = crowd(seed)
    order = list(range(votes.height))
    random.shuffle(order)  # type: ignore[attr-defined]  # hypothesis' Random
    first, second = (run(rows) for rows in (votes, votes[order]))
    assert first.pairs.equals(second.pairs)
    assert first.voters.equals(second.voters)
    assert first.drops.equals(second.drops)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_exchanging_a_and_b_of_a_pair_exchanges_its_result_alone(seed: int) -> None:
    votes = crowd(seed)
    one = pl.col("pair_id") == "p3"
    exchanged = votes.with_columns(
        image_a=pl.when(one).then("image_b").otherwise("image_a"),
        image_b=pl.when(one).then("image_a").otherwise("image_b"),
        choice=pl.when(one).then(pl.col("choice").replace(SWAPPED)).otherwise("choice"),
    )
    first, second = (run(rows).pairs for rows in (votes, exchanged))
    others = pl.col("pair_id") != "p3"
    assert first.filter(others)["label"].equals(second.filter(others)["label"])
    assert first.filter(others)["p_a"].to_numpy() == pytest.approx(second.filter(others)["p_a"].to_numpy(), abs=1e-9)
    mine, theirs = first.filter(~others), second.filter(~others)
    assert mine.height == theirs.height
    if mine.height:
        assert SWAPPED[mine["label"][0]] == theirs["label"][0]
        assert mine["p_a"][0] == pytest.approx(1 - theirs["p_a"][0], abs=1e-9)


def test_shares_of_prompts_are_met_and_no_prompt_is_in_two_splits() -> None:
    rows = [vote(f"p{i}", "v", "ab"[i % 2], prompt_id=f"prompt-{i // 2}", source_split=None) for i in range(60)]
    pairs = run(table(*rows), {"splits": {"train": 0.5, "val": 0.2, "test": 0.3}}).pairs
    assert pairs.schema == PAIR
    by_prompt = pairs.group_by("prompt_id").agg(pl.col("split").n_unique())
    assert by_prompt["split"].max() == 1
    prompts = pairs.unique("prompt_id")["split"].value_counts()
    assert dict(prompts.rows()) == {"train": 15, "val": 6, "test": 9}


def bits_away(name: str, bits: int) -> bytes:
    """The hash that `index` gives the image `name`, with `bits` bits turned."""
    row = np.unpackbits(np.frombuffer(hashlib.sha384(name.encode()).digest()[:BYTES], np.uint8))
    row[:bits] ^= 1
    return np.packbits(row).tobytes()


def test_near_identical_images_of_a_pair_are_found_by_the_threshold_of_their_source() -> None:
    votes = table(vote("keep", "v", "a"), vote("p", "v", "a"))
    images = index(votes, **{"b-p": bits_away("a-p", 5)})
    assert run(votes, {"copies": {"test": 5}}, images=images).summary["dropped_pairs"] == {"near_identical": 1}
    assert run(votes, {"copies": {"test": 4}}, images=images).summary["dropped_pairs"] == {}
    assert run(votes, {"copies": {"other": 5}}, images=images).summary["dropped_pairs"] == {}


def test_a_copy_of_a_test_image_never_stays_in_training() -> None:
    votes = table(vote("keep", "v", "a"), vote("p", "v", "a"), vote("q", "v", "a", source_split="test"))
    images = index(votes, **{"b-p": bits_away("a-q", 6)})
    assert run(votes, {"copies": {"test": 8}}, images=images).drops.select("id", "reason").rows() == [("p", "leak")]


def test_overlap_with_an_evaluation_set_by_words_or_by_image() -> None:
    votes = table(
        vote("keep", "v", "a", prompt="a dog"),
        vote("words", "v", "a", prompt="A big cat, on a mat"),
        vote("bytes", "v", "a", image_b="known", prompt="two"),
        vote("copy", "v", "a", prompt="three"),
    )
    rows = [
        ("eval", "one big cat on a mat today", "known", bits_away("known", 0)),
        ("eval", "x", "k2", bits_away("a-copy", 3)),
    ]
    held_out = pl.DataFrame(rows, schema=HELD_OUT, orient="row")
    found = run(votes, {"ngram": 5, "copies": {"test": 3}}, held_out=held_out)
    assert found.pairs["pair_id"].to_list() == ["keep"]
    assert dict(found.drops.select("id", "reason").rows()) == {
        "words": "evaluation_prompt",
        "bytes": "evaluation_image",
        "copy": "evaluation_image",
    }
    only_bytes = run(votes, {"ngram": 6}, held_out=held_out)
    assert dict(only_bytes.drops.select("id", "reason").rows()) == {"bytes": "evaluation_image"}


def test_pairs_over_the_token_budget_leave_with_their_count() -> None:
    votes = table(vote("keep", "v", "a"), vote("p", "v", "a"))

    def tokens(pairs: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        assert pairs.select("width_a", "height_a", "width_b", "height_b").row(0) == (64, 64, 64, 64)
        return (pairs["pair_id"] == "p").to_numpy(), np.array([90, 300])

    drops = run(votes, tokens=tokens).drops
    assert drops.select("id", "reason", "detail").rows() == [("p", "prompt_too_many_tokens", "300 tokens")]


def test_both_orders_of_presentation_are_one_pair() -> None:
    turned = {"image_a": "b-p", "image_b": "a-p", "model_a": "m2", "model_b": "m1"}
    rows = [vote("p", f"v{n}", "a", model_a="m1", model_b="m2") for n in range(3)]
    rows += [vote("p", f"w{n}", "b", **turned) for n in range(2)] + [vote("p", "x", "a", **turned)]
    found = run(table(*rows))
    wanted = (5, 1, "a-p", "b-p", "m1", "m2", "a")
    assert (
        found.pairs.select("votes_a", "votes_b", "image_a", "image_b", "model_a", "model_b", "label").row(0) == wanted
    )
    assert dict(found.voters.select("annotator_id", "left_share").rows())["w0"] == 0.0, (
        "the side is the one that was seen"
    )


def test_policies_for_ties() -> None:
    rows = [vote("keep", name, "a") for name in "xyz"]
    rows += [vote("p", "x", "tie"), vote("p", "y", "both_bad"), vote("p", "z", "a")]
    rows += [vote("q", "x", "tie", source_split="test"), vote("q", "y", "tie", source_split="test")]
    found = {policy: run(table(*rows), {"ties": policy}) for policy in ("drop", "keep", "half")}
    assert found["drop"].pairs.select("pair_id", "label").rows() == [("keep", "a"), ("q", "tie")]
    assert found["keep"].pairs.select("pair_id", "label").rows() == [("keep", "a"), ("p", "tie"), ("q", "tie")]
    half = found["half"].pairs
    assert half.select("pair_id", "label").rows() == [("keep", "a"), ("p", "a"), ("q", "tie")]
    sure, pulled = half["p_a"].to_list()[:2]
    assert 0.5 < pulled < sure
    assert half["tie_rate"].to_list() == pytest.approx([0, 2 / 3, 1])


def test_who_votes_too_fast_is_left_out_and_pauses_do_not_count() -> None:
    start, rows = datetime(2026, 1, 1), []
    for index_ in range(30):
        better = "ab"[index_ % 2]
        pause = timedelta(days=index_ // 10)
        rows += [
            vote(f"p{index_:02d}", "slow", better, voted_at=start + pause + timedelta(seconds=20 * index_)),
            vote(f"p{index_:02d}", "fast", better, voted_at=start + pause + timedelta(seconds=0.5 * index_)),
            vote(f"p{index_:02d}", "timeless", better),
        ]
    rules = LOOSE.voters.model_copy(update={"min_seconds": 2.0})
    voters = run(table(*rows), {"voters": rules}).voters
    assert voters.select("annotator_id", "seconds", "flag").rows() == [
        ("fast", 0.5, "too_fast"),
        ("slow", 20.0, None),
        ("timeless", None, None),
    ]


def test_held_out_generators_are_out_of_distribution_or_nowhere() -> None:
    models = {"model_a": "new", "model_b": "old"}
    votes = table(
        vote("keep", "v", "a"), vote("p", "v", "a", **models), vote("q", "v", "a", source_split="test", **models)
    )
    found = run(votes, {"ood_generators": ["new"]})
    assert found.pairs.select("pair_id", "split").rows() == [("keep", "train"), ("q", "ood")]
    assert found.summary["dropped_pairs"] == {"held_out_generator": 1}


SHARES = {"splits": {"train": 0.5, "val": 0.2, "test": 0.3}}


def test_pairs_that_hang_together_by_images_are_in_one_split() -> None:
    rows = [vote(f"p{n:02d}", None, "a", image_a=f"shared-{n // 3}", source_split=None) for n in range(60)]
    pairs = run(table(*rows), SHARES).pairs
    assert pairs.group_by("image_a").agg(pl.col("split").n_unique())["split"].to_list() == [1] * 20
    assert dict(pairs["split"].value_counts().rows()) == {"train": 30, "val": 12, "test": 18}


def test_a_component_that_is_too_large_is_an_error_that_names_what_joins_it() -> None:
    rows = [vote(f"p{n:02d}", None, "a", image_a="hub" if n < 7 else f"a{n}", source_split=None) for n in range(20)]
    with pytest.raises(
        SuasionError, match="7 of 20 pairs hang together .*35% where 20% are allowed; the image hub"
    ) as caught:
        run(table(*rows), SHARES | {"max_component": 0.2})
    assert "filter.copies" in caught.value.do


def locked(found: Filtered) -> pl.DataFrame:
    return locks_of(found.pairs)


def test_splits_stay_when_votes_arrive() -> None:
    old = [vote(f"p{n:02d}", None, "a", source_split=None) for n in range(40)]
    before = run(table(*old), SHARES)
    new = [vote(f"new{n:02d}", None, "a", source_split=None, image_a=f"a-p{n:02d}") for n in range(20)]
    new += [vote(f"other{n:02d}", None, "a", source_split=None) for n in range(40)]
    after = run(table(*old, *new), SHARES, locked=locked(before))
    was, now = (dict(found.pairs.select("pair_id", "split").rows()) for found in (before, after))
    assert {name: now[name] for name in was} == was
    assert all(now[f"new{n:02d}"] == was[f"p{n:02d}"] for n in range(20))
    assert dict(after.pairs["split"].value_counts().rows()) == {"train": 50, "val": 20, "test": 30}


def test_a_pair_that_would_merge_two_splits_is_dropped_and_the_old_ones_stay() -> None:
    old = [vote(f"p{n:02d}", None, "a", source_split=None) for n in range(40)]
    before = run(table(*old), SHARES)
    was = dict(before.pairs.select("pair_id", "split").rows())
    train, test = (next(name for name, split in was.items() if split == wanted) for wanted in ("train", "test"))
    bridge = vote("bridge", None, "a", source_split=None, image_a=f"a-{train}", image_b=f"b-{test}")
    after = run(table(*old, bridge), SHARES, locked=locked(before))
    assert dict(after.pairs.select("pair_id", "split").rows()) == was
    assert after.drops.select("id", "reason").rows() == [("bridge", "split_conflict")]


def test_a_copy_of_an_image_that_was_in_test_stays_out_of_training_even_when_the_old_pair_has_left() -> None:
    votes = table(
        *[vote(f"p{n:02d}", None, "a", source_split=None) for n in range(20)],
        vote("old", None, "a", source_split=None, prompt="x" * 101),  # leaves
        vote("new", None, "a", source_split=None),
    )
    images = index(votes, **{"a-new": bits_away("b-old", 4)})
    lock = pl.DataFrame([("image", "b-old", "test")], schema=SPLIT, orient="row")
    only_train = {"splits": {"train": 1.0}, "copies": {"test": 4}}
    split = dict(run(votes, only_train, images=images, locked=lock).pairs.select("pair_id", "split").rows())
    assert "old" not in split
    assert split.pop("new") == "test"
    assert {*split.values()} == {"train"}


def test_a_lock_comes_back_from_its_file_as_it_went_and_only_grows(tmp_path: Path) -> None:
    before = locked(run(table(*[vote(f"p{n}", None, "a", source_split=None) for n in range(10)]), SHARES))
    path = tmp_path / "splits.lock"
    assert write_lock(before, path) == before.height == 30
    assert read_lock(path).equals(before)
    moved = before.with_columns(split=pl.lit("train"))
    assert write_lock(moved, path) == 0
    assert read_lock(path).equals(before)
    path.write_text("prompt abc nowhere\n")
    with pytest.raises(SuasionError, match="entry 1 is 'prompt abc nowhere'"):
        read_lock(path)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_new_names_of_voters_change_nothing(seed: int) -> None:
    votes = crowd(seed)
    turned = pl.col("vote_id").str.reverse()
    renamed = votes.with_columns(annotator_id=pl.format("z{}", pl.col("annotator_id").str.reverse()), vote_id=turned)
    first, second = (run(rows).pairs for rows in (votes, renamed))
    assert first.equals(second)


@settings(max_examples=25)
@given(
    st.integers(0, 10_000), st.sampled_from(["one_coin", "confusion", "bradley_terry", "majority", "weighted_majority"])
)
def test_rows_in_are_rows_kept_and_dropped(seed: int, labels: str) -> None:
    rng = np.random.default_rng(seed)
    votes = crowd(seed, pairs=30).with_columns(source_split=pl.lit(None, pl.String))
    images = index(votes, **{f"b-p{n}": bits_away(f"a-p{n}", 3) for n in rng.integers(0, 30, 4)})
    found = run(
        votes, SHARES | {"labels": labels, "copies": {"test": 4}, "min_margin": 0.2, "ties": "keep"}, images=images
    )
    summary = found.summary
    assert summary["votes_in"] == summary["votes_kept"] + sum(summary["dropped_votes"].values())
    assert summary["pairs_in"] == summary["pairs_kept"] + sum(summary["dropped_pairs"].values())
    assert found.drops.height == sum([*summary["dropped_votes"].values(), *summary["dropped_pairs"].values()])
    assert found.pairs.height == summary["pairs_kept"] == sum(summary["splits"].values())
