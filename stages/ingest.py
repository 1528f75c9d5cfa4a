"""Stage `ingest`: votes of any sources to one table, images packed by content hash."""

from pathlib import Path

from suasion.stage import checkpoint_folder, publish, stage


def main() -> None:
    with stage("ingest") as params, publish(Path("data/ingest")) as out:
        from suasion.votes.ingest import ingest

        work = checkpoint_folder("ingest", [params.ingest.model_dump(mode="json"), params.seed], [])
        counts = ingest(params.ingest, out, seed=params.seed, threads=params.threads, work=work)
        print(
            f"[ingest] {counts['rows']} rows: {counts['votes']} votes on {counts['images']} images, {counts['dropped']} dropped"
        )


if __name__ == "__main__":
    main()
