"""The filter against what is known to be true: the world's voters, and faults that are planted among clean votes."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from suasion.images.phash import phash
from suasion.params import Columns, Ingest, TableSource, WorldSource, data_folder, load_params
from suasion.records import DROP, IMAGE, VOTE, read
from suasion.votes.cast import estimate, number
from suasion.votes.copies import as_rows, clusters
from suasion.votes.filter import filter_votes
from suasion.votes.ingest import ingest
from suasion.votes.sources.files import snapshot_of
from suasion.world.votes import Voter, cast_vote, make_pairs, read_votes

PARAMS = load_params(Path(__file__).parents[2] / "profiles" / "world.yaml")
WORLD = next(source for source in PARAMS.ingest.sources if isinstance(source, WorldSource))
SEEDS = (PARAMS.seed, 1, 2)


def world_votes(seed: int) -> pl.DataFrame:
    """The world's votes as ingest leaves them, but for the images: names stand for hashes, nothing is drawn."""
    rows = [
        dict.fromkeys(VOTE.names())
        | {
            "vote_id": raw.row,
            "pair_id": raw.pair_id,
            "prompt_id": raw.prompt,
            "prompt": raw.prompt,
            "image_a": raw.image_a.name,
            "image_b": raw.image_b.name,
            "annotator_id": raw.annotator_id,
            "choice": raw.choice,
            "count": 1,
            "weight": 1.0,
            "voted_at": raw.voted_at,
            "source": "world",
            "source_split": raw.source_split,
        }
        for raw in read_votes(WORLD, seed)
    ]
    return pl.DataFrame(rows, schema=VOTE)


def index_of(votes: pl.DataFrame) -> pl.DataFrame:
    names = sorted({*votes["image_a"], *votes["image_b"]})
    return pl.DataFrame([(name, "x", 0, 1, 64, 64, "jpg", bytes(24)) for name in names], schema=IMAGE, orient="row")


def right(p_a: Sequence[float], votes: pl.DataFrame, better: dict[str, str]) -> float:
    """Share of the pairs with a better image whose label is right; an even one is half right."""
    table = pl.DataFrame({"pair_id": number(votes).facts["pair_id"], "p_a": p_a})
    table = table.with_columns(better=pl.col("pair_id").replace_strict(better)).filter(pl.col("better") != "tie")
    hit = ((pl.col("p_a") > 0.5) == (pl.col("better") == "a")).cast(pl.Float64)
    return float(table.select(pl.when(pl.col("p_a") == 0.5).then(0.5).otherwise(hit).mean()).item())


@pytest.fixture(scope="module", params=SEEDS)
def world(request: pytest.FixtureRequest) -> tuple[pl.DataFrame, dict[str, str]]:
    return world_votes(request.param), {pair.pair_id: pair.better for pair in make_pairs(WORLD, request.param)}


def test_estimated_accuracies_are_those_of_the_votes_cast(world: tuple[pl.DataFrame, dict[str, str]]) -> None:
    votes, better = world
    voters = filter_votes(votes, PARAMS.filter, seed=0, images=index_of(votes)).voters
    judged = votes.with_columns(better=pl.col("pair_id").replace_strict(better))
    judged = judged.filter((pl.col("better") != "tie") & pl.col("choice").is_in(["a", "b"]))
    real = judged.group_by("annotator_id").agg(real=(pl.col("choice") == pl.col("better")).mean())
    known = voters.filter(pl.col("n_votes") >= 200).join(real, on="annotator_id")
    assert known.height == WORLD.voters
    error = (known["accuracy"] - known["real"]).abs()
    assert error.mean() <= 0.01
    assert error.max() <= 0.03


def test_all_who_guess_or_always_choose_a_side_are_flagged_and_nobody_else(
    world: tuple[pl.DataFrame, dict[str, str]],
) -> None:
    votes, _ = world
    found = filter_votes(votes, PARAMS.filter, seed=0, images=index_of(votes)).voters
    bad = int(WORLD.voters * WORLD.careless_share) + int(WORLD.voters * WORLD.left_share)
    assert found["flagged"].sum() == bad
    assert found.filter("flagged")["seconds"].max() < found.filter(~pl.col("flagged"))["seconds"].min()


@pytest.mark.parametrize("labels", ["one_coin", "confusion", "bradley_terry"])
def test_posterior_labels_beat_the_majority_where_reliabilities_differ(
    world: tuple[pl.DataFrame, dict[str, str]], labels: str
) -> None:
    votes, better = world
    cast = number(votes)
    assert (
        right(estimate(cast, labels).p_a, votes, better) > right(estimate(cast, "majority").p_a, votes, better) + 0.005
    )


def test_posterior_labels_are_the_majority_where_reliabilities_are_equal() -> None:
    rng = np.random.default_rng(0)
    voters = [Voter(f"v{n:02d}", "careful", 0.8, 0.05) for n in range(40)]
    better = {f"p{n:04d}": "ab"[n % 2] for n in range(1500)}
    rows = [
        dict.fromkeys(VOTE.names())
        | {"vote_id": f"{pair}-{at}", "pair_id": pair, "image_a": "a", "image_b": "b", "count": 1, "weight": 1.0}
        | {"annotator_id": voters[at].annotator_id, "choice": cast_vote(voters[at], side, rng)}
        for pair, side in better.items()
        for at in rng.choice(len(voters), 9, replace=False)
    ]
    votes = pl.DataFrame(rows, schema=VOTE)
    cast = number(votes)
    majority, posterior = (np.asarray(estimate(cast, name).p_a) for name in ("majority", "one_coin"))
    uneven = majority != 0.5
    assert ((majority > 0.5) == (posterior > 0.5))[uneven].mean() > 0.995
    assert abs(right(posterior, votes, better) - right(majority, votes, better)) < 0.005


CLEAN, PLANTED = 1000, 30


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    """1,000 clean pairs of drawn scenes, and 30 each of: votes cast twice, leaks, copies, damaged images; ingested."""
    folder = tmp_path_factory.mktemp("planted")
    pairs = make_pairs(WORLD.model_copy(update={"pairs": {"train": CLEAN + PLANTED, "test": PLANTED}}), 3)
    rows: list[dict[str, str]] = []
    for at, pair in enumerate(pairs):
        split = "train" if pair.split == "train" else "test"
        for side, drawing in (("a", pair.image_a), ("b", pair.image_b)):
            (folder / f"{at}{side}.jpg").write_bytes(drawing.read())
        rows += [vote(f"pair{at:04d}", f"prompt {at}", f"{at}a.jpg", f"{at}b.jpg", split, who) for who in "xyz"]
    test = [at for at, pair in enumerate(pairs) if pair.split == "test"]
    train = [at for at, pair in enumerate(pairs) if pair.split == "train"][:PLANTED]
    for number_, (hidden, seen) in enumerate(zip(test, train, strict=True)):
        rows.append(vote(f"pair{seen:04d}", f"prompt {seen}", f"{seen}a.jpg", f"{seen}b.jpg", "train", "x", choice="b"))
        rows += [
            vote(f"leak{number_}", f"leak {number_}", f"{hidden}a.jpg", f"{seen}b.jpg", "train", who) for who in "xyz"
        ]
        rows += [
            vote(f"same{number_}", f"same {number_}", f"{hidden}b.jpg", f"{hidden}b.jpg", "test", who) for who in "xyz"
        ]
        cut = (folder / f"{seen}a.jpg").read_bytes()
        (folder / f"cut{number_}.jpg").write_bytes(cut[: len(cut) * (number_ + 1) // (PLANTED + 2)])
        rows.append(vote(f"cut{number_}", f"cut {number_}", f"cut{number_}.jpg", f"{seen}b.jpg", "train", "x"))
    with (folder / "votes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    path = str(folder / "votes.csv")
    source = TableSource(
        name="table",
        label="world",
        path=path,
        images=None,
        encoding="choice",
        columns=Columns(**{name: name for name in rows[0]}),
        choices={},
        snapshot=snapshot_of(path, str(folder), ["image_a", "image_b"]),
    )
    settings = Ingest(sources=[source], evaluation_sets=[], max_megapixels=1.0, min_side=16)
    ingest(settings, folder / "out", seed=0, threads=2)
    return folder / "out", read(folder / "out" / "drops.parquet", DROP)


def vote(pair: str, prompt: str, a: str, b: str, split: str, who: str, choice: str = "a") -> dict[str, str]:
    row = {"pair_id": pair, "prompt": prompt, "image_a": a, "image_b": b, "split": split}
    return row | {"annotator_id": who, "choice": choice, "voted_at": "2026-01-02" if choice == "b" else "2026-01-01"}


def test_every_planted_fault_is_found_and_no_clean_pair_is_blamed(planted: tuple[Path, pl.DataFrame]) -> None:
    out, ingested = planted
    damaged = ingested.filter(pl.col("reason").is_in(["image_corrupt", "image_format"]))
    assert damaged.height == ingested.height == PLANTED
    rules = PARAMS.filter.voters.model_copy(update={"max_side_share": 1.0})
    found = filter_votes(
        read(out / "votes.parquet", VOTE),
        PARAMS.filter.model_copy(update={"voters": rules}),
        seed=0,
        images=read(out / "images" / "index.parquet", IMAGE),
    )
    reasons = {reason: {*rows["id"]} for (reason,), rows in found.drops.group_by("reason")}
    assert len(reasons.pop("repeated_vote")) == PLANTED
    assert reasons.pop("leak") == {f"world-leak{number_}" for number_ in range(PLANTED)}
    assert reasons.pop("same_image") == {f"world-same{number_}" for number_ in range(PLANTED)}
    assert not reasons
    assert found.pairs.height == CLEAN + 2 * PLANTED


@pytest.mark.skipif(not (data_folder() / "avt-ai-images").is_dir(), reason="SUASION_DATA has no avt-ai-images")
def test_copies_of_real_pictures_are_found_and_other_pictures_are_not_taken_for_them() -> None:
    files = sorted((data_folder() / "avt-ai-images" / "images").rglob("*.jpg"))[::2]
    originals = [Image.open(file).convert("RGB") for file in files]
    hashes = [phash(image) for image in originals]
    for change in ("smaller", "worse", "webp"):
        hashes += [phash(copy_of(image, change)) for image in originals]
    found = clusters(as_rows(hashes), np.full(len(hashes), 8)).reshape(4, -1)
    assert len({*found[0]}) == len(files)
    assert (found == found[0]).all()


def copy_of(image: Image.Image, change: str) -> Image.Image:
    buffer = io.BytesIO()
    if change == "smaller":
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    image.save(buffer, "WEBP" if change == "webp" else "JPEG", quality=50 if change == "worse" else 85)
    return Image.open(buffer)
