"""What a loader process sets up before it reads its first sample."""

from __future__ import annotations

import signal

import cv2
import numpy as np
import torch

# Bytes; with its header just under the 32 MiB up to which the C library of Linux learns (mallopt(3), M_MMAP_THRESHOLD).
_KEPT_BLOCK = 2**25 - 2**16


def prepare_worker(worker: int) -> None:
    """Set up a loader process: one thread, and freed memory is kept for the next sample.

    Several processes with a pool of threads each would fight for the same cores. The C library of Linux hands blocks of the size
    of a picture back to the system and asks for empty pages for the next one, which can take longer than decoding the picture
    does. It stops doing so for blocks no larger than the largest it has seen freed, 32 MiB at most.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    np.empty(_KEPT_BLOCK, np.uint8)


def start_worker(worker: int) -> None:
    """:func:`prepare_worker` for a process that lives as long as training does: it leaves stopping to the training process.

    A scheduler that stops a job signals all of its processes, and a loader that died of it would take training along before its
    checkpoint.
    """
    prepare_worker(worker)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
