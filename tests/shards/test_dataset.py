import copy
import hashlib
import multiprocessing
import os
import pickle
import threading
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import torch.distributed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from suasion.errors import SuasionError
from suasion.images.pack import PackedImages
from suasion.records import PAIR
from suasion.shards import ShardDataset
from suasion.shards.manifest import ShardFile, dump, load
from suasion.shards.writer import write_shards
from tests.shards.pairs import SETTINGS, make_pairs


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty training pairs in shards of three."""
    folder = tmp_path_factory.mktemp("forty")
    pairs = make_pairs(folder / "images", train=40, val=5)
    write_shards(pairs, PackedImages(folder / "images"), {}, SETTINGS, folder / "shards")
    return folder / "shards"


def ids(samples: object) -> list[str]:
    return [sample.pair["pair_id"] for sample in samples]  # type: ignore[attr-defined]


def test_what_was_written_is_read_back(shards: Path) -> None:
    train, test = [*ShardDataset(shards, "train")], [*ShardDataset(str(shards), "test")]
    assert ids(train) == [f"pair-{index:04d}" for index in range(7)]
    assert len(test) == 2
    assert train[0].pair.keys() == {*PAIR}
    assert train[0].pair["prompt"] == 'a "cat" <b>ü</b>'
    assert (train[0].scene_a, train[0].scene_b) == ("one red circle top left", None)
    assert hashlib.sha256(train[0].image_a).hexdigest() == train[0].pair["image_a"], "a small JPEG keeps its bytes"
    assert train[0].open_b().size == (64, 64)
    assert pickle.loads(pickle.dumps(train[0])) == train[0]


def test_several_splits_come_one_after_the_other(shards: Path) -> None:
    both = ShardDataset(shards, ["test", "train"])
    assert ids(both) == ["pair-0007", "pair-0008"] + [f"pair-{index:04d}" for index in range(7)]
    assert len(both) == 9
    assert [*ShardDataset(shards, "ood")] == []


def test_shards_one_by_one_are_the_whole(forty: Path) -> None:
    data = ShardDataset(forty, "train")
    parts = [data.only(shard.name) for shard in data.shards]
    assert [len(part) for part in parts] == [3] * 13 + [1]
    assert ids(sample for part in parts for sample in part) == ids(data)
    with pytest.raises(SuasionError, match="another shards"):
        data.load_state_dict(parts[0].state_dict())


def test_a_pass_can_be_left_and_begun_again(shards: Path) -> None:
    data = ShardDataset(shards, "train")
    assert ids(sample for sample, _ in zip(data, range(2), strict=False)) == ["pair-0000", "pair-0001"]
    assert len([*data]) == 7


def test_epochs_are_shuffled_each_its_own_way_and_again_the_same_way(forty: Path) -> None:
    data = ShardDataset(forty, "train", shuffle_buffer=10, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        data.set_epoch(epoch)
        orders.append(ids(data))
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == [f"pair-{index:04d}" for index in range(40)]
    assert ids(ShardDataset(forty, "train", shuffle_buffer=10, seed=4)) != orders[0]


@pytest.mark.parametrize(("even", "counts"), [(False, [13, 13, 14]), (True, [13, 13, 13])])
def test_ranks_with_workers_share_the_samples_without_overlap(forty: Path, even: bool, counts: list[int]) -> None:
    found = []
    for rank in range(3):
        data = ShardDataset(forty, "train", shuffle_buffer=5, rank=rank, world_size=3, even=even)
        loader = DataLoader(data, batch_size=4, num_workers=2, collate_fn=ids)
        found.append([pair for batch in loader for pair in batch])
        assert len(found[-1]) == len(data)
    assert sorted(map(len, found)) == counts
    assert max(Counter(pair for share in found for pair in share).values()) == 1


def train_rank(forty: Path, meeting: Path, rank: int) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2)
    data = ShardDataset(forty, "val", shuffle_buffer=5, rank=rank, world_size=2, even=True)
    for _ in DataLoader(data, batch_size=1, num_workers=2, collate_fn=ids):
        torch.distributed.all_reduce(torch.ones(1))  # waits for the other rank
    torch.distributed.destroy_process_group()


def test_even_ranks_never_wait_for_each_other_in_vain(forty: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=train_rank, args=(forty, tmp_path / "meeting", rank)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0]


def test_more_ranks_and_workers_than_samples_leave_some_without(shards: Path) -> None:
    found = [ids(ShardDataset(shards, "test", rank=rank, world_size=5)) for rank in range(5)]
    assert sorted(pair for share in found for pair in share) == ["pair-0007", "pair-0008"]
    loader = DataLoader(ShardDataset(shards, "test"), batch_size=None, num_workers=3)
    assert sorted(ids(loader)) == ["pair-0007", "pair-0008"]


@given(st.integers(0, 40), st.sampled_from([None, 0, 1, 7, 1000]), st.integers(1, 3), st.integers(0, 2))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_state_resumes_exactly(forty: Path, taken: int, buffer: int | None, ranks: int, epoch: int) -> None:
    def fresh() -> ShardDataset:
        return ShardDataset(forty, "train", shuffle_buffer=buffer, rank=ranks - 1, world_size=ranks)

    data = fresh()
    data.set_epoch(epoch)
    whole = ids(data)
    data.set_epoch(epoch)
    first = ids(sample for _, sample in zip(range(taken), data, strict=False))
    assert first == whole[:taken]
    state = pickle.loads(pickle.dumps(data.state_dict()))
    resumed = fresh()
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert ids(resumed) == whole[len(first) :]
    assert ids(resumed) == whole, "the next pass is a whole one"


def test_a_state_of_something_else_is_refused(forty: Path, shards: Path) -> None:
    state = ShardDataset(forty, "train", shuffle_buffer=5).state_dict()
    for other, what in (
        (ShardDataset(shards, "train", shuffle_buffer=5), "another shards or splits"),
        (ShardDataset(forty, "val", shuffle_buffer=5), "another shards or splits"),
        (ShardDataset(forty, "train", shuffle_buffer=6), "another seed or shuffle_buffer"),
        (ShardDataset(forty, "train", shuffle_buffer=5, seed=1), "another seed or shuffle_buffer"),
    ):
        with pytest.raises(SuasionError, match=what):
            other.load_state_dict(state)
    ranked = ShardDataset(forty, "train", shuffle_buffer=5, rank=0, world_size=2)
    ranked.load_state_dict(state)
    with pytest.raises(SuasionError, match="another rank, worker or their number"):
        next(iter(ranked))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_resumes_in_the_middle_of_an_epoch(forty: Path, workers: int) -> None:
    def loader() -> StatefulDataLoader:
        data = ShardDataset(forty, "train", shuffle_buffer=10, seed=1)
        return StatefulDataLoader(data, batch_size=3, num_workers=workers, collate_fn=ids)

    whole = [*loader()]
    assert sorted(pair for batch in whole for pair in batch) == [f"pair-{index:04d}" for index in range(40)]
    stopped = loader()
    rest = iter(stopped)
    first = [next(rest) for _ in range(5)]
    state = copy.deepcopy(stopped.state_dict())
    resumed = loader()
    resumed.load_state_dict(state)
    assert [*first, *resumed] == whole


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[1000] ^= 1  # in an image
    path.write_bytes(content)


def test_a_shard_is_verified_once_always_or_never(shards: Path) -> None:
    once, always, never = (ShardDataset(shards, "test", verify=how) for how in ("once", "always", "never"))
    whole = [*once]
    assert [*always] == [*never] == whole
    spoil(shards / "test-00000.tar")
    assert [*once] != whole, "verified in the first pass"
    assert [*never] != whole
    with pytest.raises(SuasionError, match=r"test-00000\.tar holds other bytes than were written"):
        next(iter(always))
    with pytest.raises(SuasionError, match="other bytes"):
        next(iter(ShardDataset(shards, "test")))


def test_only_the_shards_of_the_split_are_read(shards: Path) -> None:
    (shards / "test-00000.tar").unlink()
    assert len([*ShardDataset(shards, "train")]) == 7
    with pytest.raises(SuasionError, match=r"test-00000\.tar cannot be opened: No such file"):
        next(iter(ShardDataset(shards, "test")))


def test_a_shard_with_another_number_of_samples_is_refused(shards: Path) -> None:
    manifest = shards / "manifest.json"
    *others, last = load(manifest.read_bytes(), "")
    manifest.write_bytes(dump([*others, last._replace(samples=3)]))
    with pytest.raises(SuasionError, match="2 samples where the manifest has 3"):
        next(iter(ShardDataset(shards, "test")))


def test_mistakes_are_named(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(SuasionError, match=r"no manifest\.json"):
        ShardDataset(tmp_path, "train")
    with pytest.raises(SuasionError, match="no split 'trian'"):
        ShardDataset(shards, "trian")
    with pytest.raises(SuasionError, match="rank 2 of 2"):
        ShardDataset(shards, "train", rank=2, world_size=2)
    with pytest.raises(SuasionError, match="verify = 'sometimes'"):
        ShardDataset(shards, "train", verify="sometimes")  # type: ignore[arg-type]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_files_and_maps_are_given_back(forty: Path) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(str(forty))

    data = ShardDataset(forty, "train", shuffle_buffer=5)
    assert len([*data]) == 40
    before = open_files()
    for _ in range(3):
        most = 0
        for _ in data:
            most = max(most, mapped())
        next(iter(data))
    assert most <= 7, "of 14 shards: those in the buffer, and two ahead"
    until = time.monotonic() + 20  # what was being opened is closed when it has been
    while (mapped() or open_files() > before) and time.monotonic() < until:
        time.sleep(0.01)
    assert mapped() == 0
    assert open_files() <= before


def test_a_pass_that_nobody_has_ends_in_a_thread_that_is_beginning(forty: Path) -> None:
    """Where Python may collect it: a join there would ask for the lock that every thread holds when it begins and ends."""
    left = iter(ShardDataset(forty, "train"))
    next(left)
    ended = threading.Event()

    def begins() -> None:
        with threading._shutdown_locks_lock:  # type: ignore[attr-defined]
            left.close()  # type: ignore[attr-defined]
        ended.set()

    threading.Thread(target=begins, daemon=True).start()
    assert ended.wait(20)


def test_a_shard_is_never_named_twice(shards: Path) -> None:
    entry = ShardFile("train-00000.tar", "train", 3, 1, "0" * 64)
    (shards / "manifest.json").write_bytes(dump([entry, entry]))
    with pytest.raises(SuasionError, match="a shard twice"):
        ShardDataset(shards, "train")


def test_pairs_are_those_of_the_table(pairs: pl.DataFrame, shards: Path) -> None:
    read = [sample.pair for sample in ShardDataset(shards, ["train", "test"])]
    assert pl.DataFrame(read, schema=PAIR).equals(pairs)
