"""Errors of all entry points: one line and an exit code."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import OmegaConfBaseException

from src.files.own_package import NAME

log = logging.getLogger(__name__)

# Variables of torchrun and Lightning, and of SLURM: number within the machine, and of all processes.
_RANKS = (("LOCAL_RANK", "SLURM_LOCALID"), ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
_SOURCE = str(Path(__file__).resolve().parents[1])


@contextmanager
def errors_in_a_line(exit_code: int = 1) -> Iterator[None]:
    """End the process with one line and an exit code on errors of arguments, files, memory and missing optional packages.

    Other errors are bugs and keep their stack; ``HYDRA_FULL_ERROR=1`` in the environment keeps the stack of all errors.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1" or not is_of_the_user(error):
            raise
        report(one_line(error))
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else exit_code)


def is_of_the_user(error: BaseException | None) -> bool:
    """Return whether a user can mend the cause of an error, so that a line is enough."""
    if isinstance(error, InstantiationException):
        # A TypeError is an argument that the target does not take.
        return isinstance(error.__cause__, TypeError | ImportError | None) or is_of_the_user(error.__cause__)
    if isinstance(error, ModuleNotFoundError):
        return (error.name or NAME).partition(".")[0] != NAME
    if type(error) is RuntimeError:
        # Ours explain themselves; torch's are bugs, unless memory ends.
        frames = traceback.extract_tb(error.__traceback__)
        return "can't allocate memory" in str(error) or (bool(frames) and frames[-1].filename.startswith(_SOURCE))
    # By its name, since importing torch takes seconds.
    known = (OSError, ValueError, HydraException, OmegaConfBaseException, FloatingPointError, MemoryError, KeyboardInterrupt)
    return isinstance(error, known) or type(error).__name__ == "OutOfMemoryError"


def one_line(error: BaseException) -> str:
    """Return the message of an error without line breaks; of a failed ``_target_`` the message of its cause."""
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        where = str(error).rpartition("full_key: ")[2] if "full_key: " in str(error) else ""
        cause = one_line(error.__cause__)
        return f"{where}: {cause}" if where and isinstance(error.__cause__, TypeError) else cause
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return text or {MemoryError: "not enough memory", KeyboardInterrupt: "stopped"}.get(type(error), type(error).__name__)


def report(line: str) -> None:
    """Log an error, or print it before logging is configured.

    Of several processes of one machine, only the first reports an error until they are connected: up to then all have the same.
    """
    local, rank = (next((os.environ[key] for key in keys if os.environ.get(key)), "0") for keys in _RANKS)
    torch_distributed: Any = sys.modules.get("torch.distributed")
    if local != "0" and not (torch_distributed and torch_distributed.is_available() and torch_distributed.is_initialized()):
        return
    line = line if rank == "0" else f"process {rank}: {line}"
    if logging.getLogger().handlers:
        log.error("%s", line)
    else:
        sys.stderr.write(f"{line}\n")
