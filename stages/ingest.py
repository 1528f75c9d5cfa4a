"""Stage `ingest`: votes of any source to one table, images packed by content hash."""

from pathlib import Path

from suasion.stage import publish, stage
from suasion.votes.ingest import ingest


def main() -> None:
    with stage("ingest") as params, publish(Path("data/ingest")) as out:
        counts = ingest(params.ingest, out, seed=params.seed)
        print(
            f"[ingest] {counts['rows']} rows: {counts['votes']} votes on {counts['images']} images, {counts['dropped']} dropped"
        )


if __name__ == "__main__":
    main()
