import pickle

import pytest
import torch._utils

from suasion.errors import SuasionError

SAID = {"where": "votes.csv: row 7", "do": "mend it"}


def test_what_where_and_do_are_told() -> None:
    assert str(SuasionError("a vote for 'c'", **SAID)) == "a vote for 'c'\n  where: votes.csv: row 7\n  do:    mend it"


@pytest.mark.parametrize("what", ["a vote for 'c'", "", "two\nlines", "a: b\n  where: c\n  do:    d", "%s {x} \\n"])
def test_an_error_passes_from_process_to_process(what: str) -> None:
    error = SuasionError(what, **SAID)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.what, again.where, again.do) == (SuasionError, what, error.where, error.do)
    assert str(again) == str(error)


@pytest.mark.parametrize("what", ["a vote for 'c'", "two\nlines", "a: b\n  where: c\n  do:    d", "%s {x} \\n"])
def test_torch_hands_it_on_as_it_was(what: str) -> None:
    try:
        try:
            raise ValueError("the first of a chain")
        except ValueError as error:
            raise SuasionError(what, **SAID) from error
    except SuasionError:
        wrapped = torch._utils.ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(SuasionError) as caught:
        pickle.loads(pickle.dumps(wrapped)).reraise()
    assert (caught.value.what, caught.value.where, caught.value.do) == (what, *SAID.values())


def test_a_text_that_is_no_error_of_ours_is_kept() -> None:
    error = SuasionError("something else")  # type: ignore[call-arg]
    assert error.what == "something else"
    assert error.where
    assert error.do
