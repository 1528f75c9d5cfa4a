"""What only S3 has: errors of a real server, each provoked there, and a network that fails by a seeded schedule."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from suasion import storage
from suasion.errors import SuasionError
from tests.proxy import proxied, schedule
from tests.s3 import Bucket

MIB = 2**20
PLANTED = "planted-and-never-said"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AWS_SECRET_ACCESS_KEY", PLANTED, "the secret key is wrong"),
        ("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN", "the access key is unknown there"),
        ("AWS_SECRET_ACCESS_KEY", None, "no credentials"),
    ],
)
def test_wrong_credentials_are_named_at_once_whatever_is_asked(
    s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, message: str
) -> None:
    place = f"{s3.url}/x"
    storage.put(b"x", place, new=True)
    monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    for ask in (
        lambda: storage.size(place),
        lambda: storage.read(place),
        lambda: storage.names(s3.url),
        lambda: storage.put(b"y", f"{s3.url}/y", new=True),
        lambda: storage.put(bytes(17 * MIB), f"{s3.url}/z", new=True),
        lambda: storage.fetch(place, tmp_path / "x", size=1),
    ):
        started = time.monotonic()
        with pytest.raises(SuasionError, match=message) as caught:
            ask()
        assert time.monotonic() - started < 30, "what cannot pass is not tried for two minutes"
        assert s3.name in caught.value.where
        assert "AWS_" in caught.value.do
        assert PLANTED not in str(caught.value)
        assert s3.server.secret not in str(caught.value)
    assert not [*tmp_path.iterdir()]


def test_a_bucket_that_is_not_there_is_named(s3: Bucket, tmp_path: Path) -> None:
    for ask in (
        lambda: storage.size("s3://not-there/x"),
        lambda: storage.read("s3://not-there/x"),
        lambda: storage.put(b"x", "s3://not-there/x", new=True),
        lambda: storage.fetch("s3://not-there/x", tmp_path / "x", size=1),
    ):
        with pytest.raises(SuasionError, match="there is no such bucket") as caught:
            ask()
        assert "s3://not-there/x" in caught.value.where


def test_expired_credentials_are_named(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is AWS's, given in the server's place: this server knows no tokens that expire."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", PLANTED)
    with proxied(s3.endpoint, lambda *_: "400 ExpiredToken") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        with pytest.raises(SuasionError, match="the credentials have expired") as caught:
            storage.read(f"{s3.url}/x")
        assert PLANTED not in str(caught.value)
        assert sum(proxy.done.values()) == 1, "asked once"


def test_a_server_that_is_not_there_is_named_after_the_deadline(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    with pytest.raises(SuasionError, match=r"the server cannot be reached: tried \d+ times in"):
        storage.read(f"{s3.url}/x", deadline=1.5)


@pytest.mark.parametrize("fault", ["stall", "hang", "503 SlowDown", "reset", "cut"])
def test_the_total_deadline_holds(s3: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str) -> None:
    place = f"{s3.url}/x"
    storage.put(bytes(MIB), place, new=True)
    with proxied(s3.endpoint, lambda *_: fault) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        asks: list[Callable[[], object]] = [
            lambda: storage.read(place, deadline=2.0),
            lambda: storage.fetch(place, tmp_path / "x", size=MIB, deadline=2.0),
        ]
        if fault not in ("hang", "cut"):  # which spoil a body, and the answer to a PUT has none
            asks.append(lambda: storage.put(b"x", f"{s3.url}/y", new=True, deadline=2.0))
        for ask in asks:
            started = time.monotonic()
            with pytest.raises(SuasionError, match=r"tried \d+ times in"):
                ask()
            assert time.monotonic() - started < 30
        assert sum(proxy.done.values()) >= 2 * len(asks), "each was tried again"
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("seed", [0, 1])
def test_faults_by_a_schedule_change_no_byte(
    s3: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    contents = {f"{size}": rng.randbytes(size) for size in (0, 1, 70_000, 9 * MIB, 20 * MIB)}
    with proxied(s3.endpoint, schedule(seed, rate=0.3)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        for name, content in contents.items():
            place = f"{s3.url}/{name}"
            storage.put(content, place, new=True, deadline=40.0)
            assert storage.size(place, deadline=40.0) == len(content)
            assert storage.read(place, deadline=40.0) == content
            storage.fetch(place, tmp_path / name, size=len(content), deadline=40.0)
            assert (tmp_path / name).read_bytes() == content
            with pytest.raises(FileExistsError):
                storage.put(b"other", place, new=True, deadline=40.0)
        assert storage.names(s3.url, deadline=40.0) == sorted(contents)
    assert sum(count for what, count in proxy.done.items() if what != "passed") > 5, proxy.done


def test_a_put_whose_answer_was_lost_is_ours(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = iter(["lost"])
    with proxied(s3.endpoint, lambda *_: next(faults, None)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        storage.put(b"ours", f"{s3.url}/x", new=True)
        assert proxy.done["lost"] == 1
    assert storage.read(f"{s3.url}/x") == b"ours"
