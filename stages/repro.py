"""`make repro`: choose the profile, run `dvc repro`, and say in five lines what came out."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from stages.mend import mend
from suasion.errors import SuasionError, cli_errors
from suasion.params import PARAMS, load_params
from suasion.summary import print_summary
from suasion.votes.pin import pin_if_votes_changed
from suasion.votes.splits import LOCK

PROFILES = Path("profiles")


@cli_errors
def main() -> None:
    choose_profile(sys.argv[1] if len(sys.argv) > 1 else None)
    params = load_params()
    for mended in mend():
        print(mended)
    if pinned := pin_if_votes_changed():
        print(f"other votes than in the last run: {pinned} prompts and images are pinned to their splits in {LOCK}")
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    print(f"profile {params.profile}: votes to a released checkpoint, in 14 stages", flush=True)
    code = subprocess.run([sys.executable, "-m", "dvc", "repro"], env=environment, check=False).returncode
    if code != 0:
        print("\nThe outputs of the last whole run come back with: dvc checkout", file=sys.stderr)
        raise SystemExit(code)
    print_summary()


def choose_profile(name: str | None) -> None:
    """Make `params.yaml` the profile called `name`; without a name keep it, or start with the default one.

    Raises:
        SuasionError: no such profile.
    """
    if name is None and Path(PARAMS).is_file():
        return
    path = PROFILES / f"{name or 'world'}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in PROFILES.glob("*.yaml")))
        raise SuasionError(f"no profile {name}", where=str(PROFILES), do=f"choose one of {known}, or add a file there")
    if not Path(PARAMS).is_file() or Path(PARAMS).read_bytes() != path.read_bytes():
        shutil.copyfile(path, PARAMS)


if __name__ == "__main__":
    main()
