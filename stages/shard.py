"""Stage `shard`: pairs and their images to WebDataset shards."""

from pathlib import Path

from suasion.images.pack import PackedImages
from suasion.records import PAIR, SCENE, read
from suasion.shards.writer import write_shards
from suasion.stage import publish, stage


def main() -> None:
    with stage("shard") as params, publish(Path("data/shards")) as out:
        pairs = read(Path("data/filter/pairs.parquet"), PAIR)
        scenes = read(Path("data/ingest/scenes.parquet"), SCENE)
        known = dict(zip(scenes["sha256"], scenes["scene"], strict=True))
        shards = write_shards(pairs, PackedImages(Path("data/ingest/images")), known, params.shard, out)
        print(
            f"[shard] {pairs.height} pairs in {len(shards)} shards, {sum(shard['bytes'] for shard in shards) / 1e6:.1f} MB"
        )


if __name__ == "__main__":
    main()
