"""Training processes that start fast: one process imports the training code, and each run is a fork of it.

A run behaves like ``python -m src.train <arguments>`` without the seconds of imports. It is a separate process that can be
killed, limited and given an environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.tiny_run import ROOT

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


@dataclass
class TrainingProcesses:
    """Starts runs and kills the remaining ones.

    Attributes:
        server: process that runs are forked from.
        folder: folder for the output file of each run.
    """

    server: subprocess.Popen[str]
    folder: Path
    pids: list[int] = field(default_factory=list)

    def start(self, *arguments: str, file_size: int = 0, **environment: str) -> Run:
        """Start a run; ``file_size`` is the size limit of its files, bytes."""
        log = self.folder / f"{len(self.pids)}.log"
        pid = self.ask({"arguments": arguments, "log": str(log), "environment": environment, "file_size": file_size})
        self.pids.append(pid)
        return Run(self, pid, log)

    def ask(self, question: dict[str, Any]) -> int:
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(question) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())


@dataclass
class Run:
    """A training process, the first of a process group.

    Attributes:
        processes: owner of the run.
        pid: process id.
        log: file with its output.
    """

    processes: TrainingProcesses
    pid: int
    log: Path

    @property
    def printed(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def wait_for(self, text: str, timeout: float = 300) -> None:
        """Wait until the process has printed a text."""
        deadline = time.monotonic() + timeout
        while text not in self.printed:
            assert time.monotonic() < deadline, f"{text!r} was not printed:\n{self.printed[-3000:]}"
            time.sleep(0.02)

    def signal(self, number: signal.Signals, whole_group: bool = False) -> None:
        (os.killpg if whole_group else os.kill)(self.pid, number)

    def wait(self) -> int:
        """Wait for the end and return the exit code; a negative one is a signal."""
        return self.processes.ask({"wait": self.pid})


@contextmanager
def training_processes(folder: Path) -> Iterator[TrainingProcesses]:
    command = [sys.executable, "-m", "tests.training_server"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "SLURM_"))}
    server = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment | ENVIRONMENT
    )
    processes = TrainingProcesses(server, folder)
    try:
        yield processes
    finally:
        for pid in processes.pids:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        assert server.stdin is not None
        server.stdin.close()
        server.wait(timeout=60)
