from collections.abc import Iterator

import pytest

from suasion import progress as module


class Clock:
    """A clock that stands still until it is told to go on."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_what_happens_before_the_first_item_does_not_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)

    def items() -> Iterator[int]:
        clock.now += 600  # models are loaded
        for item in range(10):
            yield item
            clock.now += 10

    assert list(module.progress(items(), total=10, label="asking")) == [*range(10)]
    assert capsys.readouterr().err.splitlines()[0] == "asking: 3/10, about 47 s left"
