"""Which split a pair is in, so that nothing seen in training is asked in a test: neither a prompt nor an image.

Pairs hang together by prompts and by clusters of near-alike images. With shares, whole components go to one split, and
what `splits.lock` says of a prompt or image is kept for ever. With the source's own splits, a pair that shares a prompt or an
image with a more held-out one is dropped. A pair of a held-out generator is out of distribution, or in no split.
Given up: balancing splits by anything but their number of pairs.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from suasion.errors import SuasionError
from suasion.params import Filter
from suasion.records import SPLIT, SPLITS

LOCK = "splits.lock"
NO_SPLIT = "none"
_HELD_OUT = {
    "train": 0,
    "val": 1,
    "test": 2,
    "ood": 2,
}  # how far: of two pairs that share something the higher one stays
_SHARED = ("train", "val", "test", NO_SPLIT)


def read_lock(path: Path) -> pl.DataFrame:
    """The locked splits (`records.SPLIT`) of a file, none where it is not there.

    Raises:
        SuasionError: the file is not of this form.
    """
    if not path.is_file():
        return pl.DataFrame(schema=SPLIT)
    lines = [line.split(" ") for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    for number, line in enumerate(lines, start=1):
        if len(line) != 3 or line[0] not in ("prompt", "image") or line[2] not in ("train", "val", "test"):
            raise SuasionError(
                f"entry {number} is {' '.join(line)[:80]!r}, not `prompt|image ID train|val|test`",
                where=str(path),
                do="take the file back from git, or remove the entry",
            )
    return pl.DataFrame(lines, schema=SPLIT, orient="row")


def write_lock(splits: pl.DataFrame, path: Path) -> int:
    """Add the rows of `splits` (`records.SPLIT`) that the lock at `path` lacks; returns how many."""
    known = read_lock(path)
    new = splits.join(known, on=["kind", "id"], how="anti")
    lines = pl.concat([known, new]).sort("kind", "id").rows()
    text = "# Prompts and images that have been in a split, for ever: filter reads it, make pin adds to it.\n"
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(text + "".join(f"{kind} {name} {split}\n" for kind, name, split in lines), encoding="utf-8")
    aside.replace(path)
    return new.height


def hanging_together(pairs: pl.DataFrame) -> dict[str, float | int]:
    """How many components `pairs` (as `assign` takes them) fall into, and the share of the pairs in the largest one."""
    size = np.bincount(_components(_keys(pairs)))
    share = size.max() / pairs.height if pairs.height else 0.0
    return {"count": len(size), "largest_share": round(float(share), 6)}


def assign(pairs: pl.DataFrame, settings: Filter, *, seed: int, locked: pl.DataFrame) -> pl.DataFrame:
    """`split`, `refused` (a drop's reason or null) and `detail` for every row of `pairs`, in its order.

    `pairs` has the columns of `records.PAIR` that are known before (ids, prompt_id, images, models), `source_split`, and
    `cluster_a`, `cluster_b` (int): equal numbers are images that count as one.

    Raises:
        SuasionError: shares of more than one; a prompt without a split in the source; a component of more than
            `settings.max_component` of the pairs.
    """
    keys = _keys(pairs)
    by_source = settings.splits == "source"
    found = _of_source(pairs, keys) if by_source else _of_shares(pairs, keys, settings, seed, locked)
    if settings.ood_generators:
        found = _hold_out_generators(found, pairs, settings.ood_generators)
    out = (pl.col("split") == NO_SPLIT) & pl.col("refused").is_null()
    return found.with_columns(
        refused=pl.when(out).then(pl.lit("held_out")).otherwise("refused"),
        detail=pl.when(out).then(pl.lit("the shares of filter.splits leave it over")).otherwise("detail"),
    )


def locks_of(pairs: pl.DataFrame) -> pl.DataFrame:
    """What a lock says of `pairs` (`records.PAIR`): prompts and images (`records.SPLIT`), ood as test."""
    split = pl.when(pl.col("split") == "ood").then(pl.lit("test")).otherwise("split")
    prompts = pairs.select(kind=pl.lit("prompt"), id="prompt_id", split=split)
    images = [pairs.select(kind=pl.lit("image"), id=pl.col(side), split=split) for side in ("image_a", "image_b")]
    return pl.concat([prompts, *images]).unique(["kind", "id"], keep="first", maintain_order=True).sort("kind", "id")


def _keys(pairs: pl.DataFrame) -> np.ndarray:
    """Numbers (n, 3) of each pair's prompt and of the clusters of its images, all different from each other."""
    prompt = pairs["prompt_id"].rank("dense").to_numpy().astype(np.int64) - 1
    keys = np.stack([prompt, pairs["cluster_a"].to_numpy(), pairs["cluster_b"].to_numpy()], axis=1)
    keys[:, 1:] += prompt.max(initial=-1) + 1
    return keys


def lock_copies(locked: pl.DataFrame, images: pl.DataFrame) -> pl.DataFrame:
    """`locked` with all images that are copies of a locked one, whether or not that is in a pair that stays.

    `images` has the columns `sha256` and `cluster`. Of two splits of one cluster the more held-out one counts.
    """
    held = pl.col("split").replace_strict(_HELD_OUT, return_dtype=pl.Int64)
    shown = locked.filter(pl.col("kind") == "image").join(images, left_on="id", right_on="sha256")
    of_cluster = shown.sort(held, descending=True).unique("cluster", keep="first", maintain_order=True)
    copies = images.join(of_cluster.select("cluster", "split"), on="cluster")
    new = copies.select(kind=pl.lit("image"), id="sha256", split="split").join(locked, on=["kind", "id"], how="anti")
    return pl.concat([locked, new])


def _of_source(pairs: pl.DataFrame, keys: np.ndarray) -> pl.DataFrame:
    unknown = pairs.filter(pl.col("source_split").is_null() | ~pl.col("source_split").is_in(SPLITS))
    if not unknown.is_empty():
        row = unknown.row(0, named=True)
        raise SuasionError(
            f"{unknown.height} pairs have no split of {', '.join(SPLITS)}; {row['pair_id']} has {row['source_split']}",
            where="params.yaml: filter.splits = source",
            do="give every vote a split in the source, or set filter.splits to shares",
        )
    rank = pairs["source_split"].replace_strict(_HELD_OUT, return_dtype=pl.Int64).to_numpy()
    highest = np.zeros(keys.max(initial=-1) + 1, dtype=np.int64)
    for column in keys.T:
        np.maximum.at(highest, column, rank)
    leaks = highest[keys] > rank[:, None]
    prompt, either = pl.Series(leaks[:, 0]), pl.Series(leaks.any(axis=1))
    what = pl.when(prompt).then(pl.lit("prompt")).otherwise(pl.lit("image"))
    return pairs.select(
        split="source_split",
        refused=pl.when(either).then(pl.lit("leak")),
        detail=pl.when(either).then(pl.format("its {} is in a held-out split too", what)),
    )


def _of_shares(
    pairs: pl.DataFrame, keys: np.ndarray, settings: Filter, seed: int, locked: pl.DataFrame
) -> pl.DataFrame:
    shares: Mapping[Any, float] = settings.splits  # type: ignore[assignment]  # not "source"
    if sum(shares.values()) > 1 + 1e-9:
        raise SuasionError(
            f"the shares {dict(shares)} add up to {sum(shares.values()):g}",
            where="params.yaml: filter.splits",
            do="to 1 at most",
        )
    component = _components(keys)
    size = np.bincount(component)
    if len(component) and size.max() > settings.max_component * len(component):
        raise _too_large(pairs, keys, component, size, settings.max_component)
    held, all_locked = _locked_of(pairs, keys, locked)
    seen = np.zeros((len(size), 3), dtype=bool)  # component x (train, val, test): what is locked in it
    for at in range(3):
        np.logical_or.at(seen[:, at], component, (held == at).any(axis=1))
    code = np.where(seen.sum(axis=1) == 1, seen.argmax(axis=1), -1)
    free = seen.sum(axis=1) == 0
    code[free] = _by_hash(pairs, component, size, free, code, shares, seed)
    split = code[component]
    torn = seen.sum(axis=1)[component] > 1
    old = torn & all_locked
    split[old] = held[old, 0]
    refused = torn & ~old
    names = pl.Series([*_SHARED, NO_SPLIT])  # -1 is the last
    conflict = pl.Series(refused)
    return pl.select(
        split=names.gather(np.where(split < 0, len(_SHARED), split)),
        refused=pl.when(conflict).then(pl.lit("split_conflict")),
        detail=pl.when(conflict).then(pl.lit("joins prompts or images of two splits")),
    )


def _components(keys: np.ndarray) -> np.ndarray:
    """The number of each pair's component: pairs with a key in common, in chains, are in one."""
    from scipy.sparse.csgraph import connected_components

    nodes = int(keys.max(initial=-1)) + 1
    first, second = np.repeat(keys[:, 0], 2), keys[:, 1:].ravel()
    graph = sp.coo_array((np.ones(len(first), dtype=np.int8), (first, second)), shape=(nodes, nodes))
    numbers = connected_components(graph, directed=False)[1][keys[:, 0]]
    found: np.ndarray = np.unique(numbers, return_inverse=True)[1]
    return found


def _locked_of(pairs: pl.DataFrame, keys: np.ndarray, locked: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What the lock says of each pair's prompt and images, (n, 3) as 0 train, 1 val, 2 test, -1 unknown; and of whom it
    says the same of all three."""
    held = np.full(keys.shape, -1, dtype=np.int64)
    if not locked.is_empty():
        names = {name: at for at, name in enumerate(_SHARED[:3])}
        for at, (kind, column) in enumerate((("prompt", "prompt_id"), ("image", "image_a"), ("image", "image_b"))):
            known = locked.filter(pl.col("kind") == kind).select("id", code=pl.col("split").replace_strict(names))
            looked = pairs.select(id=column).join(known, on="id", how="left", maintain_order="left")
            held[:, at] = looked["code"].fill_null(-1).to_numpy()
    return held, (held[:, 0] >= 0) & (held == held[:, :1]).all(axis=1)


def _by_hash(
    pairs: pl.DataFrame,
    component: np.ndarray,
    size: np.ndarray,
    free: np.ndarray,
    code: np.ndarray,
    shares: Mapping[Any, float],
    seed: int,
) -> np.ndarray:
    """Splits (0, 1, 2, or 3 for none) of the free components: in the order of a seeded hash, cut where the shares are met.

    What locked components already hold of a split counts towards its share.
    """
    total = len(component)
    wanted = [shares.get(name, 0.0) * total for name in _SHARED[:3]]
    has = [int(size[code == at].sum()) for at in range(3)]
    need = np.maximum(np.array([*wanted, total - sum(wanted)]) - [*has, 0], 0.0)
    if need.sum() < 1e-9:  # locked components hold more than all: go by the shares alone
        need = np.array([*wanted, 0.0])
    of_component = pairs.select("prompt_id").with_columns(component=component).group_by("component").min()
    names = of_component.sort("component")["prompt_id"].to_list()
    numbers = np.flatnonzero(free)
    order = sorted(numbers, key=lambda at: hashlib.sha256(f"{seed}:{names[at]}".encode()).digest())
    middle = np.cumsum(size[order]) - size[order] / 2
    bounds = np.cumsum(need) / max(need.sum(), 1e-9) * size[order].sum()
    last = int(np.flatnonzero(need > 1e-9).max(initial=0))  # rounding must not lead past it
    cut = np.minimum(np.searchsorted(bounds, middle, side="right"), last)
    found = np.empty(len(size), dtype=np.int64)
    found[order] = cut
    of_free: np.ndarray = found[free]
    return of_free


def _too_large(
    pairs: pl.DataFrame, keys: np.ndarray, component: np.ndarray, size: np.ndarray, allowed: float
) -> SuasionError:
    inside = component == size.argmax()
    used = np.bincount(keys[inside].ravel())
    row, column = np.argwhere((keys == used.argmax()) & inside[:, None])[0]
    name = pairs[("prompt_id", "image_a", "image_b")[column]][int(row)]
    what = f"the prompt {pairs['prompt'][int(row)]!r}" if column == 0 else f"the image {name} or copies of it"
    return SuasionError(
        f"{size.max()} of {len(component)} pairs hang together by prompts and images, {size.max() / len(component):.0%}"
        f" where {allowed:.0%} are allowed; {what[:160]} is in {used.max()} of them",
        where="params.yaml: filter.max_component",
        do="lower filter.copies if images are joined that are no copies, drop what joins them, or allow more",
    )


def _hold_out_generators(found: pl.DataFrame, pairs: pl.DataFrame, generators: list[str]) -> pl.DataFrame:
    of_them = pairs.select(
        (pl.col("model_a").is_in(generators) | pl.col("model_b").is_in(generators)).fill_null(value=False)
    ).to_series()
    fits = of_them & found["split"].is_in(["test", "ood"])
    refused = of_them & ~fits & found["refused"].is_null()
    return found.with_columns(
        split=pl.when(fits).then(pl.lit("ood")).otherwise("split"),
        refused=pl.when(refused).then(pl.lit("held_out_generator")).otherwise("refused"),
        detail=pl.when(refused)
        .then(pl.lit("what it hangs together with is in training or validation"))
        .otherwise("detail"),
    )
