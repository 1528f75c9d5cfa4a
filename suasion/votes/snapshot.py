"""`python -m suasion.votes.snapshot FOLDER`: the snapshot hash of a folder of votes, for `ingest.source.snapshot`."""

import sys
from pathlib import Path

from suasion.errors import SuasionError, cli_errors
from suasion.votes.sources.folder import snapshot_of


@cli_errors
def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        raise SuasionError(
            "one folder is needed", where=" ".join(sys.argv), do="python -m suasion.votes.snapshot FOLDER"
        )
    print(snapshot_of(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
