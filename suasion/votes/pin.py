"""`make pin`: what the last run put in a split stays there for ever, whatever votes arrive.

`splits.lock` is in git, so a rebuild from a tag splits as the run did. `make repro` and the flow pin by themselves when the
votes of a source that was there before have changed: then the filter runs anyway. Given up: pinning by a bare `dvc repro`,
which must not change what it reads.
"""

import json
from pathlib import Path

from suasion.errors import SuasionError, cli_errors
from suasion.params import PARAMS, Params, TableSource, load_params
from suasion.records import PAIR, read
from suasion.votes.splits import LOCK, locks_of, write_lock

PAIRS, INGESTED = Path("data/filter/pairs.parquet"), Path("data/ingest/summary.json")


def pin() -> int:
    """Add the prompts and images of `data/filter/pairs.parquet` to `splits.lock`; returns how many were new.

    Raises:
        SuasionError: there are no pairs.
    """
    return write_lock(locks_of(read(PAIRS, PAIR)), Path(LOCK))


def pin_if_votes_changed() -> int:
    """`pin` where shares decide the splits and a source has other votes than those that were ingested last."""
    if not (Path(PARAMS).is_file() and PAIRS.is_file() and INGESTED.is_file()):
        return 0
    params = load_params()
    if params.filter.splits == "source" or not votes_changed(params):
        return 0
    return pin()


def votes_changed(params: Params) -> bool:
    """Whether a source of `params` was ingested before, by its name or label, with another snapshot."""
    known = json.loads(INGESTED.read_text(encoding="utf-8")).get("sources", {})
    for source in params.ingest.sources:
        label = source.label if isinstance(source, TableSource) else source.name
        if label in known and known[label].get("snapshot") != getattr(source, "snapshot", None):
            return True
    return False


@cli_errors
def main() -> None:
    params = load_params()
    if params.filter.splits == "source":
        raise SuasionError(
            "the source's own splits decide here, so there is nothing to pin",
            where="params.yaml: filter.splits",
            do="nothing; or set shares",
        )
    print(f"{pin()} more prompts and images are in {LOCK}; commit it")


if __name__ == "__main__":
    main()
