"""Stage `filter`: votes to labelled pairs, voters weighed by their reliability."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

from suasion.records import DROP, HELD_OUT, IMAGE, PAIR, VOTE, VOTER, read, write
from suasion.stage import publish, stage

INGEST, PROCESSOR = Path("data/ingest"), Path("data/base/reasoner")


def main() -> None:
    with stage("filter") as params, publish(Path("data/filter")) as out, ThreadPoolExecutor(1) as pool:
        # Read while the rest is still being imported: both take a while.
        votes = pool.submit(read, INGEST / "votes.parquet", VOTE)
        images = pool.submit(read, INGEST / "images" / "index.parquet", IMAGE)
        held_out = pool.submit(read, INGEST / "held_out.parquet", HELD_OUT)
        from suasion.votes.budget import image_tokens, over_budget
        from suasion.votes.filter import filter_votes
        from suasion.votes.splits import LOCK, read_lock

        def tokens(pairs: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
            sizes = [(pairs[f"width_{side}"].to_numpy(), pairs[f"height_{side}"].to_numpy()) for side in "ab"]
            of_a, of_b = (image_tokens(*size, PROCESSOR, max_side=params.shard.max_side) for size in sizes)
            return over_budget(pairs["prompt"], of_a + of_b, PROCESSOR, limit=params.filter.max_prompt_tokens)

        filtered = filter_votes(
            votes.result(),
            params.filter,
            seed=params.seed,
            images=images.result(),
            held_out=held_out.result(),
            locked=read_lock(Path(LOCK)),
            tokens=tokens,
        )
        write(filtered.pairs, out / "pairs.parquet", PAIR)
        write(filtered.voters, out / "voters.parquet", VOTER)
        write(filtered.drops, out / "drops.parquet", DROP)
        summary = filtered.summary
        (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        kept = ", ".join(f"{count} {split}" for split, count in summary["splits"].items())
        flagged = f"flagged {summary['voters_flagged']} of {summary['voters']} voters"
        print(f"[filter] {summary['votes_in']} votes on {summary['pairs_in']} pairs: {kept}; {flagged}")


if __name__ == "__main__":
    main()
