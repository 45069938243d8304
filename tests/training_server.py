"""Server that imports the training code once and forks a process for every run requested on its standard input."""

from __future__ import annotations

import atexit
import json
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

import src.commands.train
import src.train

CONF = Path(__file__).resolve().parents[1] / "conf"


def run_training(request: dict[str, Any]) -> int:
    """Run ``python -m src.train`` in this process and return its exit code."""
    os.setsid()
    log = os.open(request["log"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ |= request["environment"]
    rank_zero_only.rank = int(os.environ.get("RANK", "0"))  # Lightning reads it when it is imported
    if request["file_size"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"], request["file_size"]))
    sys.argv = ["src/train.py", "--config-path", str(CONF), *request["arguments"]]
    try:
        src.train.main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main() -> None:
    """Answer every line with a pid, and a line ``wait <pid>`` with its exit code."""
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer(os.waitstatus_to_exitcode(status))
            continue
        child = os.fork()
        if child == 0:
            code = run_training(request)
            atexit._run_exitfuncs()  # W&B's process writes its last block when it is reported that the run's process ends
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        answer(child)


if __name__ == "__main__":
    main()
