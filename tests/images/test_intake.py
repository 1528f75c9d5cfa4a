import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from PIL import Image

from suasion.errors import SuasionError
from suasion.images.check import BadImage, Checked
from suasion.images.intake import READERS, check_all, key_of, readers


@dataclass
class Picture:
    """An image of `width` pixels that takes its time; `trouble` is raised instead."""

    name: str
    width: int = 20
    seconds: float = 0.0
    trouble: Exception | None = None
    remote: bool = False
    reads: list[str] = field(default_factory=list)

    def read(self) -> bytes:
        time.sleep(self.seconds)
        self.reads.append(threading.current_thread().name)
        if self.trouble is not None:
            raise self.trouble
        import io

        buffer = io.BytesIO()
        Image.new("RGB", (self.width, 20)).save(buffer, format="PNG")
        return buffer.getvalue()


def checked(pictures: list[Picture], threads: int = 3) -> list[Checked | BadImage]:
    with ThreadPoolExecutor(threads) as pool:
        return [seen for _, seen in check_all(pictures, pool, threads=threads, max_pixels=10_000, min_side=20)]


def test_results_come_in_the_order_of_the_question() -> None:
    pictures = [Picture(str(number), 20 + number, seconds=0.02 * (number % 3 == 0)) for number in range(20)]
    widths = [seen.width for seen in checked(pictures) if isinstance(seen, Checked)]
    assert widths == [20 + number for number in range(20)]
    assert len({thread for picture in pictures for thread in picture.reads}) > 1


def test_what_is_not_there_or_no_image_is_told_with_its_name() -> None:
    found = checked([Picture("gone", trouble=FileNotFoundError()), Picture("thin", width=2), Picture("fine")])
    assert [seen.reason if isinstance(seen, BadImage) else "" for seen in found] == [
        "image_missing",
        "image_too_small",
        "",
    ]
    assert [seen.detail for seen in found if isinstance(seen, BadImage)] == [
        "gone",
        "thin: 2 x 20 pixels; each side needs 20",
    ]


@pytest.mark.parametrize("trouble", [ConnectionError("lost"), TimeoutError("late"), RuntimeError("NoCredentials")])
def test_a_storage_that_cannot_be_reached_stops_and_loses_no_image(trouble: Exception) -> None:
    with pytest.raises(SuasionError, match="image x cannot be read") as caught:
        checked([Picture("a"), Picture("x", trouble=trouble)])
    assert "it goes on where it stopped" in caught.value.do


def test_no_more_is_read_ahead_than_a_few_images_a_thread() -> None:
    asked: list[int] = []

    def endless() -> Iterator[Picture]:
        for number in range(1000):
            asked.append(number)
            yield Picture(str(number))

    with ThreadPoolExecutor(2) as pool:
        found = check_all(endless(), pool, threads=2, max_pixels=10_000, min_side=1)
        next(found)
        assert len(asked) <= 8
        found.close()  # type: ignore[attr-defined]  # a generator


def test_a_remote_storage_is_waited_for_by_more_than_check() -> None:
    everyone = threading.Barrier(READERS, timeout=60)

    class Far(Picture):
        def read(self) -> bytes:
            everyone.wait()  # until as many are on their way
            return super().read()

    with readers(1) as pool:
        pictures = [Far(str(number), remote=True) for number in range(2 * READERS)]
        found = [*check_all(pictures, pool, threads=1, max_pixels=10_000, min_side=1)]
    assert len(found) == 2 * READERS
    assert all(isinstance(seen, Checked) for _, seen in found)


def test_what_a_storage_says_itself_is_said() -> None:
    trouble = SuasionError("there is no such bucket", where="s3://gone/x", do="make it")
    with pytest.raises(SuasionError) as caught:
        checked([Picture("a"), Picture("x", trouble=trouble)])
    assert caught.value is trouble


def test_images_are_told_apart_by_source_and_place() -> None:
    assert key_of(Picture("1.jpg"), "one") != key_of(Picture("1.jpg"), "two")
    assert key_of(Picture("1.jpg"), "one") == key_of(Picture("1.jpg"), "one")
    assert len(key_of(Picture("\ud800"), "one")) == 16
