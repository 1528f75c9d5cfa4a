import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suasion.votes.agreement import krippendorff_alpha

TABLES = st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=12)


def by_definition(counts: np.ndarray) -> float | None:
    """1 - D_o / D_e from single votes: all pairs of votes within a unit against all pairs of votes at all."""
    units = [
        [at for at, n in enumerate(row) for _ in range(n)] for row in np.concatenate([counts, counts[:, [1, 0, 2]]])
    ]
    units = [unit for unit in units if len(unit) >= 2]
    values = [value for unit in units for value in unit]
    if not values:
        return None
    observed = sum(sum(a != b for a in unit for b in unit) / (len(unit) - 1) for unit in units) / len(values)
    expected = sum(a != b for a in values for b in values) / (len(values) * (len(values) - 1))
    return 1 - observed / expected if expected else None


@given(TABLES)
def test_it_is_what_the_definition_says_of_the_votes_and_their_mirror_image(rows: list[tuple[int, ...]]) -> None:
    counts = np.array(rows)
    found, wanted = krippendorff_alpha(counts), by_definition(counts)
    assert found == (None if wanted is None else pytest.approx(wanted))


@given(TABLES, st.data())
def test_exchanging_the_sides_of_any_pair_changes_nothing(rows: list[tuple[int, ...]], data: st.DataObject) -> None:
    counts = np.array(rows)
    exchanged = counts.copy()
    for at in data.draw(st.sets(st.integers(0, len(rows) - 1))):
        exchanged[at] = exchanged[at][[1, 0, 2]]
    before, after = krippendorff_alpha(counts), krippendorff_alpha(exchanged)
    assert after == (None if before is None else pytest.approx(before))


def test_full_agreement_is_one_and_coins_are_near_zero() -> None:
    assert krippendorff_alpha(np.array([[5, 0, 0], [0, 5, 0], [5, 0, 0]])) == pytest.approx(1.0)
    coins = np.random.default_rng(0).multinomial(9, [0.5, 0.5, 0.0], size=2000)
    assert abs(krippendorff_alpha(coins) or 1) < 0.02
