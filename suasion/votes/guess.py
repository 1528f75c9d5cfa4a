"""What the columns of an unknown votes file mean, by the names that people give them. A guess; the user sees and mends it.

Given up: looking at images or at the sense of texts.
"""

import re
from collections.abc import Iterable, Sequence

from suasion.errors import SuasionError
from suasion.params import Columns
from suasion.votes.sources.table import NEEDED

_SINGLE = {
    "prompt": "prompt caption text prompttext query instruction description question imageprompt textprompt",
    "choice": "choice label vote winner preference preferred chosen selected answer response result verdict judgement "
    "judgment votetype humanchoice humanpreference humanvote better bestimage winningimage",
    "annotator_id": "annotatorid annotator userid user username workerid worker raterid rater voterid voter participantid "
    "participant evaluatorid evaluator labelerid labeler personid person who subject subjectid userhash",
    "pair_id": "pairid pair comparisonid comparison rankingid matchid battleid",
    "voted_at": "votedat createdat timestamp time datetime date submittedat votetime",
    "split": "split partition sourcesplit",
    "weight": "weight trust trustscore",
    "count": "count votecount numvotes nvotes",
    "images": "images imagepaths imagepath generations imagefiles pictures files paths",
    "rank": "rank ranks ranking rankings humanpreferencerank",
    "count_tie": "counttie countties tiecount votestie tievotes ties ntie nties",
}
_SIDES = (("a", "b"), ("1", "2"), ("0", "1"), ("left", "right"), ("first", "second"), ("one", "two"))
_STEMS = {
    ("image_a", "image_b"): "image img path file imagepath imagefile filename filepath jpg png picture photo imagename",
    ("count_a", "count_b"): "count votes wins votesimage votecount numvotes nvotes n votesfor imagevotes totalvotes",
    ("model_a", "model_b"): "model generator system modelname imagemodel method modelimage generatorimage",
}
_BARE = {("image_a", "image_b"): (("left", "right"), ("a", "b"), ("first", "second"))}


def guess_columns(found: Sequence[str], told: dict[str, str]) -> tuple[str, Columns]:
    """Encoding (choice, counts or ranking), and which of the columns `found` holds what; what the user `told` counts first.

    Raises:
        SuasionError: a column that an encoding needs is not among them, or the user told of one that is not there.
    """
    for key, name in told.items():
        if key not in Columns.model_fields or name not in found:
            known = ", ".join(Columns.model_fields) if key not in Columns.model_fields else ", ".join(found)
            raise SuasionError(f"--column {key}={name}: not one of {known}", where="command line", do="mend the option")
    free = [name for name in found if name not in told.values()]
    meant = {**_pairs(free), **told}
    meant = {**_singles([name for name in free if name not in meant.values()]), **meant}
    encoding = _encoding(meant)
    missing = [key for key in NEEDED[encoding] if key not in meant]
    if missing:
        raise SuasionError(
            f"no column is known as {', '.join(missing)}: found {', '.join(found)}",
            where="the votes file",
            do="say which it is: " + " ".join(f"--column {key}=NAME" for key in missing),
        )
    used = {key: meant[key] for key in Columns.model_fields if key in meant and key not in _unused(encoding)}
    return encoding, Columns(**used)


def _encoding(meant: dict[str, str]) -> str:
    """Rankings have lists of images; of votes and counts, single votes are preferred where a person is named."""
    if "images" in meant and "rank" in meant and "image_a" not in meant:
        return "ranking"
    if "count_a" in meant and ("choice" not in meant or "annotator_id" not in meant):
        return "counts"
    return "choice"


def _unused(encoding: str) -> set[str]:
    others = {key for name, keys in NEEDED.items() if name != encoding for key in keys} - {*NEEDED[encoding]}
    return (
        others
        | {
            "choice": {"count_tie"},
            "counts": {"count", "annotator_id"},
            "ranking": {"count", "count_tie", "pair_id", "model_a", "model_b"},
        }[encoding]
    )


def _pairs(found: Sequence[str]) -> dict[str, str]:
    plain = {_plain(name): name for name in reversed(found)}
    meant: dict[str, str] = {}
    for (one, two), stems in _STEMS.items():
        for first, second in [*_spelled(stems.split()), *_BARE.get((one, two), ())]:
            if first in plain and second in plain:
                meant |= {one: plain[first], two: plain[second]}
                break
    return meant


def _spelled(stems: Iterable[str]) -> Iterable[tuple[str, str]]:
    for first, second in _SIDES:
        for stem in stems:
            yield stem + first, stem + second
            yield first + stem, second + stem


def _singles(found: Sequence[str]) -> dict[str, str]:
    plain = {_plain(name): name for name in reversed(found)}
    meant: dict[str, str] = {}
    for key, names in _SINGLE.items():
        name = next((plain[name] for name in names.split() if name in plain), None)
        if name is not None and name not in meant.values():
            meant[key] = name
    return meant


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
