"""Start the `train` stage's GRPO as several processes of this machine, by `accelerate launch`.

The stage's own process starts them and waits, as torch's elastic agent; nothing stands between. Files in `configs/` say how
they share the model. Given up: several machines, which would need a stage on each of them, and starting again after a
process has failed: that is DVC's or the flow's to do, from the last checkpoint.
"""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from suasion.errors import SuasionError
from suasion.params import ROOT, Launch
from suasion.stage import PARENT, die_with_parent, quiet_libraries

CONFIGS = ROOT / "configs"


def launch(settings: Launch, module: str, *arguments: str) -> None:
    """Run `python -m MODULE ARGUMENTS` as `settings.processes` processes, and wait for them.

    Raises:
        SuasionError: there is no such file in `configs/`; or what a process has reported, or how they ended.
    """
    file = CONFIGS / settings.config
    if not file.is_file():
        raise SuasionError(
            f"no file {settings.config} in {CONFIGS.name}/",
            where="params.yaml: train.launch.config",
            do=f"choose of {', '.join(sorted(path.name for path in CONFIGS.glob('*.yaml')))}",
        )
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    _silence_the_agent()
    options = ["--config_file", str(file), "--num_processes", str(settings.processes), "--main_process_port", "0"]
    os.environ[PARENT] = str(os.getpid())
    try:
        launch_command(launch_command_parser().parse_args([*options, "--module", module, *arguments]))
    except ChildFailedError as error:
        raise _explained(error.failures) from None
    finally:
        del os.environ[PARENT]


def as_process(work: Callable[[], None]) -> None:
    """Do `work` in a process that `launch` has started: it ends with its stage, and its `SuasionError` is the stage's."""
    die_with_parent()
    quiet_libraries()
    try:
        work()
    except SuasionError as error:
        _report(error)
    from torch import distributed

    if distributed.is_initialized():  # left to the end of the process, its threads may abort what is done already
        distributed.destroy_process_group()


def _report(error: SuasionError) -> NoReturn:
    """Leave `error` where the agent finds it."""
    said = {"what": error.what, "where": error.where, "do": error.do}
    message = {"message": json.dumps(said), "extraInfo": {"timestamp": str(int(time.time()))}}
    with open(os.environ["TORCHELASTIC_ERROR_FILE"], "w") as file:
        json.dump({"message": message}, file)
    sys.exit(1)


def _explained(failures: dict[int, Any]) -> SuasionError:
    """What a process has reported, or else how all that did not just follow another one ended; `failures` by rank."""
    for failure in failures.values():
        if isinstance(failure.message, dict):
            said = json.loads(failure.message["message"])
            return SuasionError(said["what"], where=said["where"], do=said["do"])
    own = {rank: failure for rank, failure in failures.items() if failure.exitcode != -signal.SIGTERM} or failures
    ended = [f"process {rank} ended with {_how(failure.exitcode)}" for rank, failure in own.items()]
    return SuasionError(
        f"training has failed: {', '.join(ended)}",
        where="params.yaml: train.launch",
        do="read what they say above; SIGKILL is usually out of memory. Run again: training goes on from its checkpoint",
    )


def _how(exitcode: int) -> str:
    return signal.Signals(-exitcode).name if exitcode < 0 else f"exit code {exitcode}"


def _silence_the_agent() -> None:
    """What the agent says of a failed process is said by the error that the stage shows."""
    for name in ("agent.server.api", "multiprocessing.api", "multiprocessing.errors.error_handler"):
        logging.getLogger(f"torch.distributed.elastic.{name}").setLevel(logging.CRITICAL)
