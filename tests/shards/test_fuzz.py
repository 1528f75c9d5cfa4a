import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(120)
def test_ten_thousand_changed_shards_are_read_exactly_or_refused(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "tests.shards.fuzz", "20250624", "10000"]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths}
    ended = subprocess.run(run, capture_output=True, text=True, timeout=100, cwd=tmp_path, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout)
    print(found)
    assert found["refused"] + found["read"] == 10_000
    assert found["refused"] > 7000
    assert found["read"] > 300, "changes that leave a good shard are among them"
    assert found["slowest"] < 5, "seconds"
    assert found["kilobytes"] < 50_000
    assert not found["executed"]
    assert [*tmp_path.iterdir()] == []
