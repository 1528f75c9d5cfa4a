"""What is the same in all but name: images that are nearly alike, and prompts that share a run of words.

Near-alike images are found exactly, not by sampling: two hashes that differ in at most k bits agree in one of k + 1 bands, so
only images with a band in common are compared (multi-index hashing: Norouzi et al., CVPR 2012). Given up: what changes the
perceptual hash more than a few bits (crops, mirrors), and paraphrases of prompts.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
import scipy.sparse as sp

from suasion.images.phash import BYTES
from suasion.records import HELD_OUT

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def as_rows(hashes: Sequence[bytes]) -> np.ndarray:
    """Perceptual hashes as rows of bytes, (n, 24) uint8."""
    return np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(-1, BYTES)


def cluster_images(images: pl.DataFrame, held_out: pl.DataFrame | None, limit: int) -> pl.DataFrame:
    """`sha256, cluster, width, height, held_out` of every row of `images`, in its order.

    `images` is an index (`records.IMAGE`) with a column `bits` as of `clusters`; `held_out` (`records.HELD_OUT`) are evaluation
    sets, whose images count as copies up to `limit` bits. Images in one chain of copies have one number.
    """
    shown = pl.DataFrame(schema=HELD_OUT) if held_out is None else held_out.drop_nulls(["sha256", "phash"])
    hashes = as_rows([*images["phash"], *shown["phash"]])
    cluster = clusters(hashes, np.append(images["bits"].to_numpy(), np.full(shown.height, limit)))
    size = images.height
    met = pl.Series(np.isin(cluster[:size], cluster[size:])) | images["sha256"].is_in(shown["sha256"].implode())
    return images.select("sha256", "width", "height").with_columns(cluster=cluster[:size], held_out=met)


def clusters(hashes: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Cluster numbers (n,) of images with `hashes` (n, 24) uint8: those that are nearly alike, in chains, are in one.

    `bits` (n,) int is how far an image's source lets a copy be away, -1 where only equal bytes are copies; of two images the
    smaller counts.
    """
    from scipy.sparse.csgraph import connected_components  # slow to import: while the other core estimates

    asked = np.flatnonzero(bits >= 0)
    first, second = close(hashes[asked], bits[asked])
    size = len(bits)
    edges = sp.coo_array((np.ones(len(first), dtype=np.int8), (asked[first], asked[second])), shape=(size, size))
    return np.asarray(connected_components(edges, directed=False)[1])


def close(hashes: np.ndarray, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Enough pairs (i, j) of images at most min(bits[i], bits[j]) bits apart to connect all that are connected.

    Images of one hash are chained, and one of them stands for all.
    """
    if len(hashes) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    words = np.ascontiguousarray(hashes).view(np.uint64)
    # Of one hash the most lenient image comes first and stands for all of them.
    order = np.lexsort((-bits, words[:, 0], words[:, 1], words[:, 2]))
    same = (words[order[1:]] == words[order[:-1]]).all(axis=1)
    some = order[np.concatenate([[True], ~same])]
    i, j, apart = _within(words[some], int(bits.max()))
    near = apart <= np.minimum(bits[some[i]], bits[some[j]])
    return (
        np.concatenate([order[:-1][same], some[i[near]]]),
        np.concatenate([order[1:][same], some[j[near]]]),
    )


def _within(words: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of rows of `words` (n, 3) uint64 that are at most `most` bits apart, and how far; some more than once."""
    found = [(np.zeros(0, np.int64),) * 3]
    for band in np.array_split(np.arange(64, dtype=np.uint64), most + 1):
        # A band has bits of all three words: the colour bits of grey pictures alone would put them all in one bucket.
        width, mask = np.uint64(len(band)), np.uint64((1 << len(band)) - 1)
        first, second, third = ((words[:, at] >> band[0]) & mask for at in range(3))
        key = ((first << width | second) << width | third) if 3 * width <= 64 else first
        order = np.argsort(key)
        key = key[order]
        here, step = np.arange(len(key)), 1
        while len(here := here[here + step < len(key)]):
            here = here[key[here] == key[here + step]]
            i, j = order[here], order[here + step]
            apart = np.bitwise_count(words[i] ^ words[j]).sum(axis=1, dtype=np.int64)
            found.append((i[apart <= most], j[apart <= most], apart[apart <= most]))
            step += 1
    first, second, distance = (np.concatenate(side) for side in zip(*found, strict=True))
    return first, second, distance


def shared_run(prompts: pl.Series, held_out: pl.Series, *, words: int) -> np.ndarray:
    """Which of `prompts` (n,) share `words` words in a row with one of `held_out`; case and punctuation do not count.

    A prompt of fewer words is one run of them all: it is only met by the very same words.
    """
    if held_out.is_empty():
        return np.zeros(len(prompts), dtype=bool)
    each = prompts.unique()  # pairs share prompts
    rows, runs = _runs(pl.concat([each, held_out]), words)
    known = rows >= len(each)
    hits = np.isin(runs[~known], np.unique(runs[known]))
    met = each.gather(np.unique(rows[~known][hits]))
    return prompts.is_in(met.implode()).to_numpy()


def _runs(prompts: pl.Series, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and hash (uint64) of every run of `size` words; of a shorter prompt that of all its words."""
    table = pl.DataFrame({"text": prompts}).with_row_index("row")
    table = table.with_columns(word=pl.col("text").str.normalize("NFKC").str.to_lowercase().str.extract_all(r"\w+"))
    table = table.with_columns(n=pl.col("word").list.len()).explode("word").drop_nulls("word")
    row, word = table["row"].to_numpy().astype(np.int64), table["word"].hash(seed=0).to_numpy()
    length = np.minimum(table["n"].to_numpy(), size)
    place = np.arange(len(row)) - np.searchsorted(row, row)
    starts = np.flatnonzero(place + length <= table["n"].to_numpy())
    run = length[starts].astype(np.uint64)
    for step in range(size):
        inside = step < length[starts]
        run[inside] = run[inside] * _MULTIPLIER + word[starts[inside] + step]
    return row[starts], run
