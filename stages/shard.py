"""Stage `shard`: pairs and their images to WebDataset shards."""

from pathlib import Path

from suasion.images.pack import INDEX, PackedImages
from suasion.records import PAIR, SCENE, read
from suasion.shards.writer import write_shards
from suasion.stage import checkpoint_folder, publish, stage


def main() -> None:
    with stage("shard") as params, publish(Path("data/shards")) as out:
        pairs = read(Path("data/filter/pairs.parquet"), PAIR)
        scenes = read(Path("data/ingest/scenes.parquet"), SCENE)
        images = PackedImages(Path("data/ingest/images"))
        known = dict(zip(scenes["sha256"], scenes["scene"], strict=True))
        inputs = [Path("data/filter/pairs.parquet"), Path("data/ingest/scenes.parquet"), images.folder / INDEX]
        work = checkpoint_folder("shard", params.shard.model_dump(mode="json"), inputs)
        shards = write_shards(pairs, images, known, params.shard, out, workers=params.threads, work=work)
        size = sum(shard.bytes for shard in shards) / 1e6
        print(f"[shard] {pairs.height} pairs in {len(shards)} shards, {size:.1f} MB, {params.shard.location or 'here'}")


if __name__ == "__main__":
    main()
