"""What processes that write a shard load before they begin."""

import subprocess
import sys

from suasion.params import ROOT


def test_a_process_that_writes_waits_for_no_heavy_import() -> None:
    code = "import sys, suasion.shards.file; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"polars", "numpy", "torch", "pydantic", "PIL"} & {*loaded.stdout.split()}
