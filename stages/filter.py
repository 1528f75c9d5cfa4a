"""Stage `filter`: votes to labelled pairs, voters weighed by their reliability."""

import json
from pathlib import Path

from suasion.records import DROP, PAIR, VOTE, VOTER, read, write
from suasion.stage import publish, stage
from suasion.votes.filter import filter_votes


def main() -> None:
    with stage("filter") as params, publish(Path("data/filter")) as out:
        votes = read(Path("data/ingest/votes.parquet"), VOTE)
        filtered = filter_votes(votes, params.filter, seed=params.seed)
        write(filtered.pairs, out / "pairs.parquet", PAIR)
        write(filtered.voters, out / "voters.parquet", VOTER)
        write(filtered.drops, out / "drops.parquet", DROP)
        (out / "summary.json").write_text(json.dumps(filtered.summary, indent=2) + "\n")
        kept = ", ".join(f"{count} {split}" for split, count in filtered.summary["splits"].items())
        print(
            f"[filter] {filtered.summary['pairs_in']} pairs: {kept}; flagged {filtered.summary['voters_flagged']} voters"
        )


if __name__ == "__main__":
    main()
