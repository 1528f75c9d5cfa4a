"""The whole pipeline with its votes and shards in a bucket, and DVC's remote in it: the same bytes as on a disk, and no secret.

The world's votes are written out as a table with images, to a folder and to a bucket, and run from both by the real DVC.
"""

import csv
import hashlib
import os
import re
import secrets
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from suasion.params import WorldSource
from suasion.votes.sources.files import snapshot_of
from suasion.world.votes import read_votes
from tests.proxy import proxied
from tests.s3 import Bucket, Server, bucket
from tests.workspace import clone, dvc, micro, run

pytestmark = pytest.mark.timeout(600)

COLUMNS = ("prompt", "image_a", "image_b", "choice", "annotator_id", "pair_id", "split")
OUTPUTS = ("data", "report", "release", "metrics.json")
WRONG, TOKEN = secrets.token_hex(16), secrets.token_hex(16)  # drawn, since the workspaces hold this file too


class Runs(NamedTuple):
    """The workspaces of the run on the disk and of that in the bucket, and all that the latter's commands said."""

    here: Path
    there: Path
    bucket: Bucket
    said: list[str]

    def go_on(self, *stages: str) -> None:
        """Run `stages`, or all, on the disk, then in the bucket: there, what has the same inputs comes from DVC's run cache."""
        self.said.append(run(self.here, "repro", *stages))
        self.said.append(run(self.there, "repro", *stages))


def write_world(source: dict[str, Any], folder: Path, seed: int) -> None:
    """The world's votes as `votes.csv`, its images as files."""
    rows = []
    for vote in read_votes(WorldSource(**source), seed):
        assert not isinstance(vote, str)
        for image in (vote.image_a, vote.image_b):
            path = folder / f"{image.name}.png"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(image.read())
        row = {name: getattr(vote, name, None) for name in COLUMNS} | {"split": vote.source_split}
        rows.append(row | {"image_a": f"{vote.image_a.name}.png", "image_b": f"{vote.image_b.name}.png"})
    with (folder / "votes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def parameters(folder: Path) -> dict[str, Any]:
    """The smallest parameters that go through all stages, with votes in `folder`."""
    params: dict[str, Any] = yaml.safe_load(micro())
    write_world(params["ingest"]["sources"][0], folder, params["seed"])
    columns = {name: name for name in COLUMNS}
    snapshot = snapshot_of(f"{folder}/votes.csv", str(folder), ("image_a", "image_b"))
    table = {"name": "table", "label": "mine", "path": f"{folder}/votes.csv", "images": None, "encoding": "choice"}
    params["ingest"]["sources"] = [table | {"columns": columns, "choices": {}, "snapshot": snapshot}]
    params["base"]["reasoner"]["steps"] = 4
    params["warmstart"] |= {"steps": 4, "lot_steps": 2}
    params["listener"]["steps"] = 2
    params["train"] |= {"steps": 2, "checkpoint_every": 1}
    params["evaluate"]["max_pairs"] = 2
    params["measure"]["resamples"] = 50
    return params


@pytest.fixture(scope="module")
def runs(s3_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """One run on the disk, then one with votes and shards in a bucket, which takes the models' beginnings from the first."""
    tmp = tmp_path_factory.mktemp("runs")
    params = parameters(tmp / "votes")
    with pytest.MonkeyPatch.context() as patch, bucket(s3_server) as target:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("XDG_CACHE_HOME", str(tmp / "cache"))
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp / "site"))
        here = clone(tmp / "here", yaml.safe_dump(params))
        (tmp / "aws").touch()  # what a developer has at home is not asked
        environment = s3_server.environment() | {"AWS_EC2_METADATA_DISABLED": "true"}
        environment |= dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), str(tmp / "aws"))
        for name, value in environment.items():
            patch.setenv(name, value)
        params["ingest"]["sources"][0]["path"] = f"{target.bring(tmp / 'votes', 'votes')}/votes.csv"
        params["shard"]["location"] = f"{target.url}/shards"
        there = clone(tmp / "there", yaml.safe_dump(params))
        run(there, "config", "--local", "cache.dir", str(here / ".dvc" / "cache"))
        runs = Runs(here, there, target, [])
        runs.go_on("shard")
        assert "Stage 'base' is cached - skipping run" in runs.said[-1]
        assert all(f"Running stage '{name}'" in runs.said[-1] for name in ("ingest", "shard"))
        run(there, "remote", "add", "--default", "bucket", f"{target.url}/dvc")
        git(there, "add", "--all")
        git(there, "commit", "--quiet", "-m", "a run in a bucket")
        yield runs


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], cwd=folder, check=True)


def hashes(folder: Path, *names: str) -> dict[str, str]:
    """sha256 of every file below `names`."""
    found = [path for name in names for path in [folder / name, *(folder / name).rglob("*")] if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def compare(runs: Runs, *outputs: str) -> dict[str, str]:
    """See that both runs have the same files, shards wherever they are; returns those of the run on the disk."""
    all_here, there = hashes(runs.here, *outputs), hashes(runs.there, *outputs)
    location = (runs.there / "data" / "shards" / "location.txt").read_text().strip()
    assert location.startswith(f"{runs.bucket.url}/shards/")
    assert there.pop("data/shards/location.txt")
    shards = {name: found for name, found in all_here.items() if name.startswith("data/shards/")}
    here = {name: found for name, found in all_here.items() if not name.endswith(".tar") or name not in shards}
    assert len(shards) > 3
    brought = runs.bucket.objects(location.removeprefix(f"{runs.bucket.url}/") + "/")
    of_brought = {f"data/shards/{key.rpartition('/')[2]}": body for key, body in brought.items()}
    assert {name: hashlib.sha256(body).hexdigest() for name, body in of_brought.items()} == shards
    assert here == there
    return all_here


def fresh(runs: Runs, name: str, *targets: str) -> Path:
    """A clone of the bucket's workspace, with what `dvc pull` brings."""
    target = runs.there.with_name(name)
    git(runs.there, "clone", "--quiet", str(runs.there), str(target))
    runs.said.append(run(target, "pull", *targets))
    return target


def test_votes_and_shards_in_a_bucket_are_those_of_the_disk(runs: Runs) -> None:
    assert {"data/ingest/votes.parquet", "data/filter/pairs.parquet"} < {*compare(runs, "data")}


def test_a_push_that_was_killed_is_pushed_again_and_pulled_by_a_fresh_clone(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after_some(*_: str) -> str | None:
        return None if len(runs.bucket.objects("dvc/")) < 5 else "stall"

    with proxied(runs.bucket.endpoint, after_some) as proxy, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        killed = dvc(runs.there, "push")
        wait_for(lambda: proxy.done["stall"] > 0)
        killed.kill()
        killed.communicate()
    some = runs.bucket.objects("dvc/")
    runs.said.append(run(runs.there, "push"))
    assert some.items() < runs.bucket.objects("dvc/").items()
    pulled = fresh(runs, "pulled", "--with-deps", "shard")
    assert hashes(pulled, "data") == hashes(runs.there, "data")
    assert "up to date" in run(pulled, "status", "--with-deps", "shard")


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_what_keeps_a_stage_from_the_bucket_is_one_message_and_no_secret(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong secret, a token that is none, and buckets that are not there, each by the stage that meets it first."""
    kept = hashes(runs.there, "data")
    params = runs.there / "params.yaml"
    asked = params.read_text()
    for stage, changes, environment, message in (
        ("ingest", {}, {"AWS_SECRET_ACCESS_KEY": WRONG}, "the secret key is wrong"),
        ("ingest", {}, {"AWS_SESSION_TOKEN": TOKEN}, "the credentials have expired, or the access key is unknown"),
        ("ingest", {f"{runs.bucket.name}/votes": "not-there/votes"}, {}, "there is no such bucket"),
        ("shard", {f"{runs.bucket.name}/shards": "not-there/shards"}, {}, "there is no such bucket"),
    ):
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            for old, new in changes.items():
                params.write_text(asked.replace(old, new))
            process = dvc(runs.there, "repro", "--force", "--single-item", stage)
            said, _ = process.communicate()
            runs.said.append(said)
        params.write_text(asked)
        assert process.returncode != 0, said
        assert re.search(rf"^error: ({message})", said, re.MULTILINE), said
        assert "Traceback" not in said
        run(runs.there, "checkout", stage)
    assert hashes(runs.there, "data") == kept
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", WRONG)
        process = dvc(runs.there, "push", "--verbose")
        runs.said.append(process.communicate()[0])
    assert process.returncode != 0
    look_for_secrets(runs)


def look_for_secrets(runs: Runs) -> None:
    """See that no secret is in a file of workspaces, caches and bucket, nor in what commands said."""
    files = {str(path): path.read_bytes() for path in runs.there.parent.rglob("*") if path.is_file()}
    files |= {f"output {number}": text.encode() for number, text in enumerate(runs.said)}
    files |= runs.bucket.objects()
    for name in files:
        if re.search("/[.]git/objects/[0-9a-f]{2}/", name):
            files[name] = zlib.decompress(files[name])
    bucket = runs.bucket.name.encode()
    assert {f"{runs.there}/{name}" for name in ("dvc.lock", "params.yaml", ".dvc/config")} < {
        name for name, content in files.items() if bucket in content
    }, "what is written is found"
    for secret in (runs.bucket.server.secret, WRONG, TOKEN):
        assert [name for name, content in files.items() if secret.encode() in content] == []


@pytest.mark.slow
def test_a_run_in_a_bucket_ends_with_the_same_release_and_a_fresh_clone_pulls_it(runs: Runs) -> None:
    runs.go_on()
    assert all(f"Running stage '{name}'" in runs.said[-1] for name in ("prescore", "train", "evaluate"))
    found = compare(runs, *OUTPUTS)
    assert {"metrics.json", "release/model.safetensors", "data/prescore/scores.parquet", "report/index.html"} < {*found}
    git(runs.there, "add", "--all")
    git(runs.there, "commit", "--quiet", "-m", "to the end")
    runs.said.append(run(runs.there, "push"))
    pulled = fresh(runs, "whole")
    assert hashes(pulled, *OUTPUTS) == hashes(runs.there, *OUTPUTS)
    assert "up to date" in run(pulled, "status")
    look_for_secrets(runs)
