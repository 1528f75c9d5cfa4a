from pathlib import Path

import pytest

from suasion.errors import SuasionError
from suasion.params import PublicSource, data_folder, load_params
from suasion.votes.sources import RawVote
from suasion.votes.sources.avt import COLUMNS, read_votes
from suasion.votes.sources.files import snapshot_of

ROW = {
    "pair_id": "avt-1",
    "prompt": "a cat",
    "image_a": "images/1.jpg",
    "image_b": "images/2.jpg",
    "model_a": "one",
    "model_b": "two",
    "annotator_id": "u1",
    "choice": "tie",
}


def source(folder: Path, header: str, line: str) -> PublicSource:
    (folder / "votes.csv").write_text(f"{header}\n{line}\n")
    snapshot = snapshot_of(str(folder / "votes.csv"), str(folder), ("image_a", "image_b"))
    return PublicSource(name="avt", path=str(folder), snapshot=snapshot)


def test_a_row_is_a_vote(tmp_path: Path) -> None:
    (found,) = read_votes(source(tmp_path, ",".join(COLUMNS), ",".join(ROW[name] for name in COLUMNS)), 0)
    assert isinstance(found, RawVote)
    assert {name: getattr(found, name) for name in ROW if not name.startswith("image")} == {
        name: value for name, value in ROW.items() if not name.startswith("image")
    }
    assert (found.image_a.name, found.image_b.name) == ("images/1.jpg", "images/2.jpg")


def test_another_layout_is_said(tmp_path: Path) -> None:
    with pytest.raises(SuasionError, match="no column prompt, image_a.*found pair_id; expected pair_id, prompt"):
        [*read_votes(source(tmp_path, "pair_id", "1"), 0)]


def test_the_real_votes_are_those_of_the_profile() -> None:
    if not (data_folder() / "avt-ai-images").is_dir():
        pytest.skip("no AVT AI images")
    (settings,) = load_params(Path(__file__).parents[3] / "profiles" / "avt.yaml").ingest.sources
    assert isinstance(settings, PublicSource)
    assert sum(isinstance(vote, RawVote) for vote in read_votes(settings, 0)) == 12_590
